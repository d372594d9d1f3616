"""The noise of the perturbations: how far a curve would move with other perturbations of the same kind.

Seeds tell how far the level means of *these* perturbations would move with other trainings. Where the claim is about
perturbations that were not screened (`decision.target: new_perturbations`), these are themselves a sample: clusters of
wells, drawn anew with the same resample at every strength and seed, so that what all strengths share cancels in their
differences. The covariance of the resampled level means is added to that of the seeds.

Where the seed also draws which perturbations are held out, the seeds' own noise holds a part of this one already; the
sum is then too wide, never too narrow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweeper.decision.inference.noise import run_design
from sweeper.decision.input.collapse_screen import Screened
from sweeper.decision.input.curve import Curve
from sweeper.decision.input.decision_settings import DecisionSettings
from sweeper.decision.input.results_table import canonical
from sweeper.decision.verdict.values import JudgedCurve

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
RESAMPLES = 500
_STREAM = 3000
MIN_PERTURBATIONS = 10  # of every metric in every seed; a bootstrap of fewer clusters is too narrow


class NoPerturbationsError(Exception):
    """The units do not allow a statement about new perturbations; the message says why."""


@dataclass(frozen=True, eq=False)
class PerturbationValues:
    """One metric of one curve by perturbation, paired over strengths.

    Attributes:
        names: the P perturbations, sorted.
        array: (L, S, P), averaged over folds. For a seed a perturbation has a value at every used strength, or at
            none: then it was not held out there, or dropped. NaN for none, and at strengths whose run is not used.
        dropped: pairs of seed and perturbation left out because some used strength lacks the value.
    """

    names: tuple[str, ...]
    array: Array
    dropped: int


def curve_covariances(
    units: pd.DataFrame | None, curve: Curve, screened: Screened, known: JudgedCurve, settings: DecisionSettings
) -> dict[str, Array]:
    """`perturbation_covariances` of a screened curve, at the strengths and seeds that are kept.

    Args:
        units: as `sweeper.store.results.units`, the whole sweep's, or None.
        known: names the curve: trainer, view and margin.

    Raises:
        NoPerturbationsError: as there, or without units.
    """
    if units is None:
        raise NoPerturbationsError("no values by perturbation are at hand")
    margins = [margin for margin in units["margin"].unique() if canonical(margin) == canonical(known.margin or 0.0)]
    rows = units[(units["trainer"] == known.trainer) & (units["view"] == known.view) & units["margin"].isin(margins)]
    usable = screened.usable()
    seeds = np.flatnonzero(usable.any(axis=0))
    return perturbation_covariances(
        rows,
        {use.name: use.ceiling - use.floor for use in curve.metrics if use.role == "biological"},
        strengths=[strength for strength, kept in zip(curve.strengths, screened.kept, strict=True) if kept],
        seeds=[curve.seeds[seed] for seed in seeds],
        used=usable[screened.kept][:, seeds],
        seed=(settings.seed, _STREAM),
    )


def paired_values(
    units: pd.DataFrame, *, strengths: Sequence[float], seeds: Sequence[int], used: Mask
) -> PerturbationValues:
    """The units of one metric of one curve as an array.

    Args:
        units: rows of that metric, trainer, view and margin, axis "perturbation": adversarial_weight, seed, fold, unit,
            value. Other strengths and seeds are ignored.
        strengths: (L,) λ.
        seeds: (S,).
        used: (L, S) runs that the curve rests on.
    """
    level = {canonical(strength): place for place, strength in enumerate(strengths)}
    block = {int(seed): place for place, seed in enumerate(seeds)}
    at = (
        units["adversarial_weight"].map(lambda weight: level.get(canonical(float(weight)), -1)).to_numpy(dtype=np.int64)
    )
    of = units["seed"].map(lambda seed: block.get(int(seed), -1)).to_numpy(dtype=np.int64)
    unit = units["unit"].astype(str).to_numpy(dtype=str)
    found = units["value"].to_numpy(dtype=np.float64)
    keep = (at >= 0) & (of >= 0) & np.isfinite(found)
    names, column = np.unique(unit[keep], return_inverse=True)
    shape = (len(strengths), len(seeds), len(names))
    total, count = np.zeros(shape), np.zeros(shape)
    place = (at[keep], of[keep], column)
    np.add.at(total, place, found[keep])
    np.add.at(count, place, 1.0)
    there = count > 0
    everywhere = (there | ~used[:, :, None]).all(axis=0)
    somewhere = (there & used[:, :, None]).any(axis=0)
    valid = there & used[:, :, None] & everywhere
    values = np.where(valid, total / np.maximum(count, 1.0), np.nan)
    return PerturbationValues(tuple(names.tolist()), values, int((somewhere & ~everywhere).sum()))


def resample(perturbations: int, resamples: int, seed: tuple[int, ...]) -> Array:
    """(R, P) how often each perturbation is drawn, with replacement, from `seed` alone."""
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(perturbations, np.full(perturbations, 1 / perturbations), resamples)
    return np.asarray(drawn, dtype=np.float64)


def resampled_runs(values: Array, weights: Array) -> Array:
    """(R, L, S) mean over the drawn perturbations of each run; NaN where a run has none of them.

    Args:
        values: (L, S, P), NaN where absent.
        weights: (R, P).
    """
    there = np.isfinite(values)
    total = np.tensordot(weights, np.where(there, values, 0.0), axes=(1, 2))
    count = np.tensordot(weights, there.astype(np.float64), axes=(1, 2))
    return np.asarray(np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0))


def level_covariance(runs: Array, used: Mask) -> Array:
    """(L, L) covariance over resamples of the level means, fitted to the used runs as `fit_levels` does.

    Resamples that leave some used run without a perturbation are set aside.

    Args:
        runs: (R, L, S) values of each run in each resample.
        used: (L, S); every level has a run.
    """
    at, of = np.nonzero(used)
    drawn = runs[:, at, of]
    drawn = drawn[np.isfinite(drawn).all(axis=1)]
    means = drawn @ np.linalg.pinv(run_design(at, of, used.shape))[: used.shape[0]].T
    return np.atleast_2d(np.cov(means, rowvar=False))


def perturbation_covariances(
    units: pd.DataFrame,
    scales: Mapping[str, float],
    *,
    strengths: Sequence[float],
    seeds: Sequence[int],
    used: Mask,
    seed: tuple[int, ...],
    resamples: int = RESAMPLES,
) -> dict[str, Array]:
    """Level covariance (L, L) of each metric and, under "", of their unweighted mean, in anchored units.

    One resample is shared by every metric, strength and seed. The mean over perturbations stands for a metric that
    averages over something else (targets).

    Args:
        units: as `sweeper.store.results.units`, rows of one trainer, view and margin; columns metric, axis and those of
            `paired_values`.
        scales: metric → ceiling minus floor: the biological metrics of the composite.
        strengths, seeds, used: the curve, see `paired_values`.
        seed: of the resamples.

    Raises:
        NoPerturbationsError: a metric has no values by perturbation in some run, or too few perturbations.
    """
    paired: dict[str, PerturbationValues] = {}
    for metric in scales:
        rows = units[(units["axis"] == "perturbation") & (units["metric"] == metric)]
        found = paired_values(rows, strengths=strengths, seeds=seeds, used=used)
        fewest = np.isfinite(found.array).sum(axis=2)[used].min() if used.any() else 0
        if fewest == 0:
            raise NoPerturbationsError(f"{metric} has no values by perturbation in some runs")
        if fewest < MIN_PERTURBATIONS:
            raise NoPerturbationsError(
                f"{metric} has {fewest} perturbations in some runs and {MIN_PERTURBATIONS} are needed"
            )
        paired[metric] = found
    names = sorted(set().union(*(found.names for found in paired.values())))
    weights = resample(len(names), resamples, seed)
    runs: dict[str, Array] = {}
    inflation = 1.0
    for metric, found in paired.items():
        own = weights[:, np.searchsorted(names, found.names)]
        runs[metric] = resampled_runs(found.array, own) / scales[metric]
        # A bootstrap of n clusters has (n − 1)/n of the variance.
        fewest = int(np.isfinite(found.array).sum(axis=2)[used].min())
        inflation = max(inflation, fewest / (fewest - 1))
    runs[""] = np.mean(list(runs.values()), axis=0)
    return {name: inflation * level_covariance(values, used) for name, values in runs.items()}


__all__ = [
    "MIN_PERTURBATIONS",
    "RESAMPLES",
    "NoPerturbationsError",
    "PerturbationValues",
    "curve_covariances",
    "level_covariance",
    "paired_values",
    "perturbation_covariances",
    "resample",
    "resampled_runs",
]
