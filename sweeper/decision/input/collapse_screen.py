"""The collapse screen: runs that failed outright, or fell far below the other seeds of their strength, are counted.

Collapsed runs are bimodal noise: kept, they break the normal theory behind every bound; dropped silently, they hide
that training fails at strong correction. So they are excluded from the means and reported as a rate over λ.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from sweeper.decision.inference.noise import kernel_weights, positions
from sweeper.decision.input.curve import Curve
from sweeper.decision.input.decision_settings import DecisionSettings
from sweeper.decision.input.results_table import LOST

Array = NDArray[np.float64]
SCREENED = "screened"
SEEN = 2  # collapses that must stand out by themselves before less is enough


@dataclass(frozen=True, eq=False)
class Screened:
    """What the screen leaves.

    Attributes:
        status: (L, S) as in `Curve.status`, with "screened" for runs that this screen calls collapsed.
        lost: (L,) runs collapsed, failed, out of memory or screened.
        recorded: (L,) runs recorded at all.
        kept: (L,) the level lost at most the tolerated share of its runs.
        lambda_unstable: smallest λ that is not kept.
    """

    status: NDArray[np.str_]
    lost: NDArray[np.int64]
    recorded: NDArray[np.int64]
    kept: NDArray[np.bool_]
    lambda_unstable: float | None

    @property
    def rates(self) -> Array:
        """(L,) share of the recorded runs that was lost."""
        return self.lost / np.maximum(self.recorded, 1)

    def usable(self) -> NDArray[np.bool_]:
        """(L, S) runs the curve rests on: ok, at a kept level, of a seed that can be compared with the others.

        That is a *whole* seed, ok at more than half of the kept levels, any two of which meet at some level; or one
        that was asked for at some levels only, is ok at more than half of those, and meets whole seeds at two or more.
        Either way the seeds are connected through levels, so that level and seed effects can be told apart.
        """
        ok = (self.status == "ok") & self.kept[:, None]
        asked = ((self.status != "absent") & self.kept[:, None]).sum(axis=0)
        whole = ok.sum(axis=0) > self.kept.sum() / 2
        meets = (ok & ok[:, whole].any(axis=1)[:, None]).sum(axis=0) >= 2
        partial = (asked <= self.kept.sum() / 2) & (ok.sum(axis=0) > asked / 2) & meets
        return np.asarray(ok & (whole | partial))


def screen(curve: Curve, settings: DecisionSettings) -> Screened:
    """Mark runs whose biology lies more than `collapse_deviations` robust s.d. below their level; count the lost."""
    status = curve.status.copy()
    status[_fallen(curve, settings)] = SCREENED
    lost = np.isin(status, (*LOST, SCREENED)).sum(axis=1)
    recorded = (status != "absent").sum(axis=1)
    kept = lost <= settings.max_collapse_rate * recorded
    unstable = np.flatnonzero(~kept)
    return Screened(status, lost, recorded, kept, curve.strengths[unstable[0]] if len(unstable) else None)


def _fallen(curve: Curve, settings: DecisionSettings) -> NDArray[np.bool_]:
    """(L, S) runs far below the median of their level, after each seed's median offset is removed.

    Where `SEEN` or more are, collapses do occur in this sweep, and their depth is known: then a further run counts as
    one as soon as that is likelier than noise, which at twice the noise is well before `collapse_deviations`. Hidden
    collapses pull their level down, or, where one seed in five lifts another's median, up.
    """
    values = curve.biological
    if not any(s > 0 for s in curve.strengths) or values.shape[1] < 2:
        return np.zeros(values.shape, dtype=bool)
    deviation, spread = _deviations(values, curve.strengths, settings)
    fallen = _below(deviation, settings.collapse_deviations * spread)
    if fallen.sum() < SEEN:
        return fallen
    depth, share = float(np.median(-deviation[fallen])), fallen.sum() / np.isfinite(values).sum()
    deviation, spread = _deviations(np.where(fallen, np.nan, values), curve.strengths, settings)
    likelier = depth / 2 + spread**2 / depth * np.log((1 - share) / share)
    return fallen | _below(deviation, np.minimum(settings.collapse_deviations * spread, likelier))


def _below(deviation: Array, limit: Array) -> NDArray[np.bool_]:
    """(L, S) deviations below −limit (L,); none where the limit is 0 or not known."""
    with np.errstate(invalid="ignore"):
        return np.asarray((deviation < -limit[:, None]) & (limit[:, None] > 0))


def _deviations(values: Array, strengths: tuple[float, ...], settings: DecisionSettings) -> tuple[Array, Array]:
    """(L, S) deviations from the level's median, seeds' median offsets removed, and the (L,) robust s.d. of a run.

    The robust s.d. comes from differences between seeds, not from deviations about a level's median: with three seeds
    one deviation in three is zero, and their median absolute value would be far too small. Median |y_i − y_j| / √2 over
    all pairs estimates 0.674·σ whatever the number of seeds. It is taken over neighbouring levels, weighted by twice
    the noise kernel's width, as a median needs more values than a mean.
    """
    gaps = np.full((len(values), 0), np.nan)
    for i, j in combinations(range(values.shape[1]), 2):
        gap = values[:, i] - values[:, j]
        if np.isfinite(gap).any():
            gaps = np.column_stack([gaps, np.abs(gap - np.nanmedian(gap)) / np.sqrt(2)])
    if not gaps.shape[1]:
        return np.zeros(values.shape), np.zeros(len(values))
    kernel = kernel_weights(positions(strengths), 2 * settings.kernel_width)
    spread = np.array([_weighted_median(gaps, weights) for weights in kernel]) / NormalDist().inv_cdf(0.75)
    offset = _medians((values - _medians(values)[:, None]).T)
    centred = values - offset
    return centred - _medians(centred)[:, None], spread


def _medians(values: Array) -> Array:
    """Median of each row's finite entries; NaN for a row without any."""
    return np.array([np.median(row[np.isfinite(row)]) if np.isfinite(row).any() else np.nan for row in values])


def _weighted_median(gaps: Array, weights: Array) -> float:
    """Smallest gap at which half of the weight is reached; gaps (L, P), weights (L,) shared by a level's pairs."""
    finite = np.isfinite(gaps)
    flat, mass = gaps[finite], np.broadcast_to(weights[:, None], gaps.shape)[finite]
    order = np.argsort(flat, kind="stable")
    reached = np.cumsum(mass[order])
    return float(flat[order][np.searchsorted(reached, 0.5 * reached[-1])])
