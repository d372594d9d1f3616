"""The second dial: how the over-correction point moves with the margin, one fit a margin (no surface is fitted).

The frontier is m → (λ_L, λ_OC). Its shift is one parameter, x_OC(m) = x_OC(m₀) + β·(m − m₀) with x = log10 λ: in every
joint draw of the margins' posteriors β is the slope of the weighted least-squares line. The margins share seeds, so
their errors go up and down together; they are drawn as if independent, which makes the interval of β too wide rather
than too narrow. A margin whose point is not within the range has no x_OC and takes no part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sweeper.decision.input.decision_settings import DecisionSettings
from sweeper.decision.verdict.states import State
from sweeper.decision.verdict.values import JudgedCurve

Array = NDArray[np.float64]
BOUNDED = (
    State.IDENTIFIED,
    State.IDENTIFIED_WIDE,
    State.CONFLICTING_METRICS,
    State.BRACKET_ONLY,
    State.BELOW_RANGE,
    State.NOT_REACHED,
    State.INCONCLUSIVE,
    State.UNSTABLE,
)
"""States whose bounds are about over-correction."""
Order = Literal["later", "earlier", "not told apart"]
STREAM = 4000  # of the random numbers that shuffle the draws


@dataclass(frozen=True)
class FrontierPoint:
    """One margin of the frontier; λ, None where the data give none.

    Attributes:
        method: what bounds the point, "posterior" or "bracket"; None without bounds.
        safe_bound: λ_L, the lower end of the interval of λ_OC; where that lies beyond the range, or by the bracket, the
            largest trained λ that is shown safe.
        lambda_oc, upper: median and upper end; by the bracket None and its unsafe strength.
        p_detect: probability that the point lies within the range; None for the bracket.
    """

    margin: float
    state: State
    method: str | None
    safe_bound: float | None
    lambda_oc: float | None
    upper: float | None
    p_detect: float | None


@dataclass(frozen=True)
class Pair:
    """Two margins compared: where the point lies at the larger margin, "later" meaning at a larger λ."""

    smaller: float
    larger: float
    order: Order


@dataclass(frozen=True)
class Shift:
    """β, decades of λ a radian of margin; numbers None unless `status` is "estimated".

    Attributes:
        status: "estimated", "not estimable" (fewer than two margins have a located point) or "bracket" (brackets have
            no point: see the pairs).
        margins: those that take part.
        left_out: the others, with the reason.
        reference: m₀, the smallest margin that takes part.
        slope, lower, upper: median and two-sided interval, each end a one-sided bound at the settings' confidence.
        p_later: probability that β > 0.
    """

    status: Literal["estimated", "not estimable", "bracket"]
    margins: tuple[float, ...]
    left_out: tuple[tuple[float, str], ...]
    reference: float | None = None
    slope: float | None = None
    lower: float | None = None
    upper: float | None = None
    p_later: float | None = None


@dataclass(frozen=True)
class Frontier:
    """The margins of one view, ascending, and how the point moves between them."""

    points: tuple[FrontierPoint, ...]
    pairs: tuple[Pair, ...]
    shift: Shift


def frontier(decisions: Sequence[JudgedCurve], settings: DecisionSettings) -> Frontier:
    """The frontier of one view's curves."""
    ordered = sorted((item for item in decisions if item.margin is not None), key=lambda item: item.margin or 0.0)
    points = tuple(_point(item, settings) for item in ordered)
    pairs = tuple(_pair(first, second) for first, second in combinations(points, 2))
    return Frontier(points, pairs, _shift(ordered, points, settings))


def _point(decision: JudgedCurve, settings: DecisionSettings) -> FrontierPoint:
    """Bounds of one margin: the estimate's interval, and whose it is."""
    estimate, margin = decision.estimate, decision.margin or 0.0
    if estimate is None or decision.state not in BOUNDED:
        return FrontierPoint(margin, decision.state, None, None, None, None, None)
    found, ends = estimate.location, (estimate.interval.lower, estimate.interval.median, estimate.interval.upper)
    if estimate.fallback is not None or found is None or (found.p_detect < settings.p_identify and found.lower):
        return FrontierPoint(margin, decision.state, "bracket", *ends, None)
    return FrontierPoint(margin, decision.state, "posterior", *ends, found.p_detect)


def _pair(first: FrontierPoint, second: FrontierPoint) -> Pair:
    """Disjoint intervals put the points in order; a missing end is open."""
    low, high = (_interval(point) for point in (first, second))
    order: Order = "not told apart"
    if low[1] <= high[0]:
        order = "later"
    elif high[1] <= low[0]:
        order = "earlier"
    return Pair(first.margin, second.margin, order)


def _interval(point: FrontierPoint) -> tuple[float, float]:
    """Where λ_OC lies; the whole axis without bounds."""
    if point.method is None:
        return 0.0, float("inf")
    start = 0.0 if point.safe_bound is None or point.state is State.BELOW_RANGE else point.safe_bound
    return start, float("inf") if point.upper is None else point.upper


def _shift(decisions: Sequence[JudgedCurve], points: Sequence[FrontierPoint], settings: DecisionSettings) -> Shift:
    taken: dict[float, Array] = {}
    left_out: list[tuple[float, str]] = []
    for decision, point in zip(decisions, points, strict=True):
        reason, draws = _usable(decision, point, settings)
        if draws is None:
            left_out.append((point.margin, reason))
        else:
            taken[point.margin] = draws
    margins = tuple(taken)
    if len(taken) < 2:
        bracketed = any(point.method == "bracket" for point in points)
        return Shift("bracket" if bracketed and not taken else "not estimable", margins, tuple(left_out))
    slopes = _slopes(np.array(margins), np.array(list(taken.values())), settings.seed)
    tail = 1 - settings.confidence
    lower, middle, upper = (float(value) for value in np.quantile(slopes, (tail, 0.5, settings.confidence)))
    later = float((slopes > 0).mean())
    return Shift("estimated", margins, tuple(left_out), margins[0], middle, lower, upper, later)


def _usable(decision: JudgedCurve, point: FrontierPoint, settings: DecisionSettings) -> tuple[str, Array | None]:
    """Draws of x_OC (inf beyond the range) of a located margin, or why there are none."""
    estimate = decision.estimate
    if decision.state is State.NOT_REACHED:
        return "not reached within the range", None
    if point.method != "posterior" or estimate is None:
        return "bounded by tests only" if point.method else str(decision.state).replace("_", " ").lower(), None
    draws = np.asarray(estimate.crossings, dtype=np.float64)
    if not len(draws) or point.p_detect is None or point.p_detect < settings.p_identify:
        return "not located within the range", None
    if decision.state is State.BELOW_RANGE:
        return "at or below the smallest strength", None
    return "", draws


def _slopes(margins: Array, draws: Array, seed: int) -> Array:
    """Slope of x on m (M,) in every joint draw of (M, R); margins weigh by the precision of their point."""
    rng = np.random.default_rng((seed, STREAM))
    joint = np.array([rng.permutation(row) for row in draws])
    joint = joint[:, np.isfinite(joint).all(axis=0)]
    weights = 1 / np.maximum([np.var(row[np.isfinite(row)]) for row in draws], 1e-12)
    centred = margins - np.average(margins, weights=weights)
    return np.asarray((weights * centred) @ joint / (weights @ centred**2))
