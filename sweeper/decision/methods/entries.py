"""The methods at their own strengths as one field of levels, compared on the same runs.

Each method's curve is anchored by its own cells. Here the rows of all entries, each a method at one strength, are put
into one table as if they were levels of one curve: one set of anchors, seeds as blocks (a seed draws the same held-out
rows for every method), perturbations drawn anew together where the bounds are about new ones. Their order along the
axis means nothing, so the noise of a run is one variance, pooled over entries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import stdtrit

from sweeper.arms.arm import Arm, in_arms
from sweeper.decision.inference.best_of import Entrants, entrants
from sweeper.decision.inference.fitted import Fitted
from sweeper.decision.inference.noise import draw, fit_levels, level_errors
from sweeper.decision.inference.perturbations import NoPerturbationsError, perturbation_covariances
from sweeper.decision.input.curve import Curve, build_curve
from sweeper.decision.input.decision_settings import DecisionSettings
from sweeper.decision.input.results_table import InvalidTableError, Selection, canonical, prepare
from sweeper.decision.verdict.values import LevelMean

Array = NDArray[np.float64]
_STREAMS = {"biological": 6000, "technical": 6001}
_PERTURBATIONS = 6002
FEWEST_SEEDS = 2


@dataclass(frozen=True)
class Entry:
    """A method at one strength: settings of its first and second dial."""

    method: str
    weight: float
    margin: float


@dataclass(frozen=True, eq=False)
class Field:
    """Entries on common anchors.

    Attributes:
        entries: (C,) those that have runs, in the order given.
        fitted: role → level means and noise.
        compared: role → what the differences are known to, over all pairs at once.
        about_new: perturbations drawn anew are in the biological noise.
        confidence: one-sided.
    """

    entries: tuple[Entry, ...]
    fitted: Mapping[str, Fitted]
    compared: Mapping[str, Entrants]
    about_new: bool
    confidence: float

    def interval(self, role: str, entry: Entry) -> LevelMean:
        """Mean with a two-sided interval whose ends are each a one-sided bound; what a seed shares is removed."""
        at, fitted = self.entries.index(entry), self.fitted[role]
        half = stdtrit(fitted.noise.degrees[at], self.confidence) * level_errors(fitted.noise)[at]
        mean = float(fitted.means[at])
        return LevelMean(mean, mean - float(half), mean + float(half))


def make_field(
    entries: Sequence[Entry],
    results: Mapping[str, pd.DataFrame],
    units: Mapping[str, pd.DataFrame] | None,
    *,
    view: str,
    settings: DecisionSettings,
    fresh_seeds: Sequence[int] = (),
) -> Field:
    """The field of the entries that have an ok run; seeds in which some entry has none are left out.

    Args:
        entries: no two alike.
        results: method → tidy table of its sweep; the controls of the first method's are everybody's.
        units: method → units of its sweep, or None where perturbations are not drawn anew.
        fresh_seeds: seeds of confirmations, left out.

    Raises:
        InvalidTableError: the tables cannot be read as one curve.
    """
    tables = {method: prepare(table) for method, table in results.items()}
    chosen = [entry for entry in entries if len(_rows(tables[entry.method], entry, view))]
    parts = []
    for place, entry in enumerate(chosen):
        rows = _rows(tables[entry.method], entry, view)
        rows = rows[~rows["seed"].isin(list(fresh_seeds))]
        parts.append(rows.assign(trainer="methods", adversarial_weight=float(place), margin=0.0))
    first = next(iter(tables.values()))
    controls = first[(first["view"] == view) & in_arms(first["trainer"], Arm.CONTROL)]
    curve = build_curve(Selection("methods", pd.concat(parts, ignore_index=True), controls), settings)
    whole = (curve.status == "ok").all(axis=0)
    if len(chosen) < 2 or whole.sum() < FEWEST_SEEDS:
        raise InvalidTableError(f"{len(chosen)} methods share {whole.sum()} seeds; 2 of each are needed to compare")
    values = {"biological": curve.biological[:, whole], "technical": curve.technical[:, whole]}
    extra = None if units is None else _extra(chosen, curve, whole, units, view, settings)
    fitted = {}
    for role, stream in _STREAMS.items():
        # One position for all: the kernel then pools the noise of the runs.
        means, noise = fit_levels(
            values[role], np.zeros(len(chosen)), 1.0, extra=extra if role == "biological" else None
        )
        fitted[role] = Fitted(means, noise, draw(noise, settings.draws, (settings.seed, stream)))
    compared = {
        role: entrants([(found, len(chosen))], confidence=settings.confidence, seed=settings.seed)
        for role, found in fitted.items()
    }
    return Field(tuple(chosen), fitted, compared, extra is not None, settings.confidence)


def _rows(table: pd.DataFrame, entry: Entry, view: str) -> pd.DataFrame:
    own = table[(table["view"] == view) & (table["trainer"] == entry.method)]
    return own[_same(own["adversarial_weight"], entry.weight) & _same(own["margin"], entry.margin)]


def _same(column: pd.Series, setting: float) -> pd.Series:
    return column.isin([value for value in column.unique() if canonical(float(value)) == canonical(setting)])


def _extra(
    entries: Sequence[Entry],
    curve: Curve,
    whole: NDArray[np.bool_],
    units: Mapping[str, pd.DataFrame],
    view: str,
    settings: DecisionSettings,
) -> Array | None:
    """(C, C) covariance of the biological means from perturbations drawn anew; None where they do not allow it."""
    parts = []
    for place, entry in enumerate(entries):
        own = units[entry.method]
        own = own[(own["view"] == view) & (own["trainer"] == entry.method)]
        own = own[_same(own["adversarial_weight"], entry.weight) & _same(own["margin"], entry.margin)]
        parts.append(own.assign(adversarial_weight=float(place), margin=0.0))
    seeds = [seed for seed, kept in zip(curve.seeds, whole, strict=True) if kept]
    try:
        found = perturbation_covariances(
            pd.concat(parts, ignore_index=True),
            {use.name: use.ceiling - use.floor for use in curve.metrics if use.role == "biological"},
            strengths=[float(place) for place in range(len(entries))],
            seeds=seeds,
            used=np.ones((len(entries), len(seeds)), dtype=bool),
            seed=(settings.seed, _PERTURBATIONS),
        )
    except NoPerturbationsError:
        return None
    return found[""]


__all__ = ["Entry", "Field", "make_field"]
