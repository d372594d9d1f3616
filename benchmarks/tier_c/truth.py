"""What the dense reference says of the over-correction point, with its standard error.

The curve is the mean over seeds at each strength, smoothed in log λ by local quadratic fits; λ = 0 is a level of its
own. The standard error is a bootstrap over seeds, whole seeds drawn with replacement: runs of one seed share split,
initialisation and order, and so their noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.tier_c.screens import STRENGTHS, VIEW
from sweeper.decision.input.curve import Curve, build_curve
from sweeper.decision.input.decision_settings import DecisionSettings
from sweeper.decision.input.results_table import prepare, select

Array = NDArray[np.float64]
BOOTSTRAPS = 400
BANDWIDTH = 0.15
"""Decades: standard deviation of the kernel."""
X = np.log10(np.array(STRENGTHS[1:]))
FINE = np.linspace(X[0], X[-1], 2001)


@dataclass(frozen=True)
class Truth:
    """λ_OC(δ) of the reference sweep.

    Attributes:
        point: log10 λ_OC, infinite where the mean curve loses less than δ within the range.
        se: bootstrap standard deviation of `point` where it is finite; None where it hardly ever is.
        reached: share of the bootstrap's curves that lose δ within the range.
        largest: largest drawdown of the curve; `largest_se` its bootstrap standard deviation.
        unsmoothed: log10 λ_OC of the level means joined by straight lines.
    """

    point: float
    se: float | None
    reached: float
    largest: float
    largest_se: float
    unsmoothed: float


def reference_curve(table: pd.DataFrame, margin: float, settings: DecisionSettings) -> Curve:
    """Anchored composites (strengths × seeds) of the whole reference sweep."""
    return build_curve(select(prepare(table), view=VIEW, margin=margin), settings)


def level_means(biology: Array) -> Array:
    """(L,) strengths' means of (L, S) runs, free of the seeds' own levels where runs are lost (NaN)."""
    seed = np.zeros(biology.shape[1])
    for _ in range(50 if np.isnan(biology).any() else 1):  # back-fitting of the two-way layout
        means = np.nanmean(biology - seed, axis=1)
        seed = np.nanmean(biology - means[:, None], axis=0)
        seed -= seed.mean()
    return np.asarray(np.nanmean(biology - seed, axis=1))


@cache
def _smoother() -> Array:
    """(FINE, L − 1) local quadratic fit by a Gaussian kernel in log λ, as a matrix on the level means."""
    rows = []
    for at in FINE:
        apart = X - at
        design = np.stack([np.ones_like(apart), apart, apart**2])
        weighed = design * np.exp(-0.5 * (apart / BANDWIDTH) ** 2)
        rows.append(np.linalg.solve(weighed @ design.T, weighed)[0])
    return np.array(rows)


def smoothed(biology: Array) -> tuple[float, Array]:
    """(value at λ = 0, values at `FINE`) of the mean of (L, S) runs, λ = 0 first; NaN are lost ones."""
    means = level_means(biology)
    return float(means[0]), _smoother() @ means[1:]


def drawdown(zero: float, values: Array) -> Array:
    """Share of the best value at any smaller strength, λ = 0 included, that is lost at each."""
    peak = np.maximum.accumulate(np.maximum(values, zero))
    return (peak - values) / peak


def crossing(lost: Array, delta: float, x: Array) -> float:
    """The first position at which δ is lost, by straight lines; infinite where none is."""
    over = np.flatnonzero(lost >= delta)
    if not len(over):
        return np.inf
    at = int(over[0])
    if at == 0:
        return float(x[0])
    share = (delta - lost[at - 1]) / (lost[at] - lost[at - 1])
    return float(x[at - 1] + share * (x[at] - x[at - 1]))


def point(biology: Array, delta: float) -> float:
    """log10 λ_OC of the smoothed mean curve."""
    return crossing(drawdown(*smoothed(biology)), delta, FINE)


def truth(biology: Array, delta: float) -> Truth:
    """Of (L, S) runs, λ = 0 first."""
    lost = drawdown(*smoothed(biology))
    rng = np.random.default_rng(71)
    seeds = biology.shape[1]
    drawn = [drawdown(*smoothed(biology[:, rng.integers(0, seeds, seeds)])) for _ in range(BOOTSTRAPS)]
    points = np.array([crossing(one, delta, FINE) for one in drawn])
    finite = points[np.isfinite(points)]
    means = level_means(biology)
    return Truth(
        point=crossing(lost, delta, FINE),
        se=float(finite.std(ddof=1)) if len(finite) > 0.05 * BOOTSTRAPS else None,
        reached=len(finite) / BOOTSTRAPS,
        largest=float(lost.max()),
        largest_se=float(np.std([one.max() for one in drawn], ddof=1)),
        unsmoothed=crossing(drawdown(float(means[0]), means[1:]), delta, X),
    )
