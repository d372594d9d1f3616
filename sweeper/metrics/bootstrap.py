"""Intervals of T and B: plates drawn anew for T, perturbations for B, and the same draws for a baseline.

The drawn units stand for those that might have been screened instead. Floors, ceilings, neighbours, predictions and
clusters stay as they are (`resampling`), and draws are centred on the estimate, so that an interval always holds it.
Two embeddings of the same wells are compared draw by draw, so that what they share cancels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sweeper.metrics.composites import BIOLOGICAL, TECHNICAL, Composites, sources
from sweeper.metrics.controls import UnavailableControlError, control_embedding
from sweeper.metrics.evaluation import Evaluation, Float64Array, Measurement, Metric
from sweeper.metrics.resampling import draw_weights
from trainers.base import FloatArray

RESAMPLES = 1000
FEWEST = 3
_STREAM = 18

COMPOSITE_METRICS = tuple(
    dict.fromkeys(name for parts in (*TECHNICAL.values(), BIOLOGICAL) for names in parts.values() for name in names)
)
"""What T and B are made of."""


@dataclass(frozen=True, eq=False)
class Draws:
    """T and B of one embedding in every resample.

    Attributes:
        technical, biological: (r,), or None with too few units, or nothing measured.
        units: "technical" → number of plates, "biological" → number of perturbations.
    """

    technical: Float64Array | None
    biological: Float64Array | None
    units: Mapping[str, int]

    def of(self, name: str) -> Float64Array | None:
        """(r,) draws of "technical", "biological" or "geometric"."""
        if name != "geometric":
            return self.technical if name == "technical" else self.biological
        if self.technical is None or self.biological is None:
            return None
        return np.asarray(np.sqrt(self.technical * self.biological))

    def intervals(self) -> dict[str, tuple[float, float]]:
        """The 95 % interval of each composite that has draws."""
        found = {name: self.of(name) for name in COMPOSITES}
        return {name: interval(values) for name, values in found.items() if values is not None}


COMPOSITES = ("technical", "biological", "geometric")


def interval(values: Float64Array) -> tuple[float, float]:
    """Where the middle 95 % of the draws lie."""
    low, high = np.nanquantile(values, [0.025, 0.975]).tolist()
    return low, high


def composite_draws(evaluation: Evaluation, found: Sequence[tuple[Metric, Measurement]]) -> Draws:
    """T and B of what was measured on the evaluation, in 1000 resamples of its plates and of its perturbations."""
    by_name = {metric.name: measured for metric, measured in found}
    drawn: dict[str, Float64Array | None] = {}
    units = {}
    for number, (name, column) in enumerate((("technical", "plate"), ("biological", "perturbation"))):
        judged = evaluation.code(column)[evaluation.scored] if column == "perturbation" else evaluation.code(column)
        units[name] = len(np.unique(judged))
        if units[name] < FEWEST:
            drawn[name] = None
            continue
        weights = np.zeros((1 + RESAMPLES, evaluation.count(column)))
        weights[0, np.unique(judged)] = 1.0  # every unit once: the estimate itself
        weights[1:, np.unique(judged)] = draw_weights(units[name], RESAMPLES, seed=(evaluation.seed, _STREAM + number))
        factors = TECHNICAL.values() if name == "technical" else (BIOLOGICAL,)
        total = _mean(_mean(_part(names, by_name, weights) for names in factor.values()) for factor in factors)
        drawn[name] = None if total is None else centred(float(total[0]), total[1:])
    return Draws(drawn["technical"], drawn["biological"], units)


def centred(estimate: float, draws: Float64Array) -> Float64Array:
    """(r,) draws about the estimate, within [0, 1].

    A resample holds 63 % of the units, some several times. What is not a plain mean over units (variance explained,
    say) is therefore off in every resample alike, by the bootstrap's estimate of bias, mean(draws) - estimate, and
    percentiles would lie beside the estimate. It is the resample that is off, not the estimate, so the bias is taken
    from the draws (Efron & Tibshirani, An Introduction to the Bootstrap, 1993, ch. 10).
    """
    return np.asarray(np.clip(draws - (np.nanmean(draws) - estimate), 0.0, 1.0))


def _part(names: Sequence[str], by_name: Mapping[str, Measurement], weights: Float64Array) -> Float64Array | None:
    """(r,) anchored values of a part, the worst of its metrics; None where none is measured."""
    values = []
    for name in sources(names, by_name):
        measured = by_name[name]
        if measured.value is None or measured.weighted is None:
            continue
        if measured.ceiling > measured.floor:
            shares = (measured.weighted(weights) - measured.floor) / (measured.ceiling - measured.floor)
            values.append(np.clip(shares, 0.0, 1.0))
    return np.min(values, axis=0) if values else None


def _mean(parts: Iterable[Float64Array | None]) -> Float64Array | None:
    """(r,) mean over the parts that were measured."""
    values = [part for part in parts if part is not None]
    return np.mean(values, axis=0) if values else None


@dataclass(frozen=True)
class Difference:
    """A composite less that of a baseline, with the 95 % interval of the paired difference."""

    value: float
    interval: tuple[float, float] | None


def differences(own: Composites, draws: Draws, other: Composites, other_draws: Draws) -> dict[str, Difference | str]:
    """Of each composite its difference from another embedding of the same wells, or why there is none."""
    found: dict[str, Difference | str] = {}
    for name in COMPOSITES:
        value, baseline = getattr(own, name), getattr(other, name)
        if value is None or baseline is None:
            found[name] = "not measured"
        elif lacking := set(own.parts) ^ set(other.parts):
            found[name] = f"not comparable: {', '.join(sorted(lacking))} is measured in one of them only"
        else:
            mine, theirs = draws.of(name), other_draws.of(name)
            paired = None if mine is None or theirs is None else interval(mine - theirs)
            found[name] = Difference(value - baseline, paired)
    return found


BASELINES = {"raw": "raw features", "plate_control_centred": "features centred on their plate's controls"}


def baseline_features(name: str, features: FloatArray, wells: pd.DataFrame, *, seed: int) -> FloatArray | str:
    """The uncorrected features as one of `BASELINES`, z-scored by all rows, or why this screen has none."""
    try:
        return control_embedding(name, features, wells, train_rows=np.arange(len(wells)), seed=seed)
    except UnavailableControlError as absent:
        return str(absent)


def differences_json(found: Mapping[str, Difference | str]) -> dict[str, Any]:
    """Plain values."""
    return {
        name: {"reason": of} if isinstance(of, str) else {"value": of.value, "interval": of.interval}
        for name, of in found.items()
    }


__all__ = [
    "BASELINES",
    "COMPOSITES",
    "COMPOSITE_METRICS",
    "Difference",
    "Draws",
    "baseline_features",
    "composite_draws",
    "differences",
    "differences_json",
    "interval",
]
