"""What to train next so that the over-correction point becomes known: strengths, seeds, and what they cost.

Two-stage placement (docs/explanation/inference.md): new strengths where the point is believed to lie, at quantiles
of λ_OC, and one where biology is best, or evenly (in decades) inside the bracket's gap; beyond an end of the range
when the point is believed there; and more seeds once strengths lie densely, or where noise hides whether there is a
point. Strengths come first: one between two trained ones serves against noise as well as a further seed at either,
since curves are fitted through both, and narrows the gap besides. Seeds are added where the point is believed to lie
and at λ = 0, which ties them to the other seeds (`Screened.usable`); at every strength where no interval says where
that is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf, log10
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.special import ndtri

from sweeper.decision.verdict.json_codec import MAY_LACK, under
from sweeper.decision.verdict.states import State

if TYPE_CHECKING:
    from sweeper.decision.verdict.values import Estimate, JudgedCurve

FIRST, LAST = 0.2, 0.8
"""Quantiles of λ_OC between which new strengths are spread."""
FOR_THE_BEST = 3
"""New strengths from which on one goes below the interval: the loss is a share of the best biology, and the runs that
would fix λ_OC best (c-optimal) if the curve were known lie about half at the crossing, half where B is best."""
REACH = 1.5
"""Decades by which a range is extended at a time."""
APART = 0.03
"""Decades below which two strengths tell the same."""
DENSE = 0.1
"""Decades between trained strengths from which on further ones are not worth a fit of their own."""
DIGITS = 4
Why = Literal["settled", "terminal", "between", "above", "below", "seeds"]
REASONS: dict[Why, str] = {
    "settled": "the state is settled",
    "terminal": "more strengths or seeds would not change the state",
    "between": "strengths where the point is believed to lie",
    "above": "strengths above the range: the point, or batch removal's end, lies beyond it",
    "below": "strengths below the range: biology may already be lost at the smallest",
    "seeds": "the noise is what is left, not the gaps between strengths: seeds against it",
}
OPEN = (
    State.IDENTIFIED,
    State.IDENTIFIED_WIDE,
    State.CONFLICTING_METRICS,
    State.BRACKET_ONLY,
    State.BELOW_RANGE,
    State.INCONCLUSIVE,
)
"""States that more data may change."""


@dataclass(frozen=True)
class NextPoints:
    """A proposal for one curve.

    Attributes:
        why: a key of `REASONS`; "settled" and "terminal" propose nothing.
        weights: new λ, ascending, for every seed there is.
        seeds: how many seeds to add.
        seeds_at: λ at which to add them, ascending: 0 and those where the point is believed to lie; None: at every one.
        cells: trainings that this is, over the view's splits.
        seconds: worker seconds that they take; None where no cell's cost is known.
        interval: where the point is believed to lie, λ; an end beyond the range is null.
    """

    why: Why
    weights: tuple[float, ...] = field(default=(), metadata=under("strengths"))
    seeds: int = 0
    seeds_at: tuple[float, ...] | None = field(default=None, metadata=MAY_LACK)
    cells: int = 0
    seconds: float | None = None
    interval: tuple[float | None, float | None] | None = None


@dataclass(frozen=True, kw_only=True)
class NextOptions:
    """What a proposal may ask for.

    Attributes:
        strengths: new λ at most.
        seeds: seeds added when strengths would not help.
        width: decades of the interval of λ_OC (or of the bracket's gap) from which on the point is settled.
        seconds_per_cell: worker seconds of a training, for the estimate of the cost.
        largest: the strongest setting there is.
    """

    strengths: int = 4
    seeds: int = 2
    width: float = 0.5
    seconds_per_cell: float | None = None
    largest: float = inf


def next_points(decision: JudgedCurve, options: NextOptions, *, splits: int) -> NextPoints:
    """What to train next for this curve; a training is a cell in each of its view's `splits` splits."""
    strengths, width = options.strengths, options.width
    estimate, state = decision.estimate, decision.state
    levels = decision.kept_weights
    if state is State.NOT_REACHED:
        return NextPoints("settled")
    if state not in OPEN or estimate is None or not levels:
        return NextPoints("terminal")
    low, high = estimate.interval.lower, estimate.interval.upper
    inside = low is not None and high is not None
    if inside and log10(high / low) <= width and state is not State.BELOW_RANGE:  # type: ignore[operator]
        return NextPoints("settled", interval=(low, high))
    # above an unstable strength training fails, and beyond its end the dial cannot be turned: the range cannot grow
    top_reached = decision.lambda_unstable is not None or levels[-1] >= options.largest
    why: Why
    if state is State.BELOW_RANGE:
        why, wanted = "below", _spread(levels[0] / 10**REACH, levels[0], strengths, ends=(True, False))
    elif high is None and not top_reached and not estimate.technical.saturated:
        why, wanted = (
            "above",
            _spread(levels[-1], min(levels[-1] * 10**REACH, options.largest), strengths, ends=(False, True)),
        )
    elif high is None and state is State.INCONCLUSIVE:
        why, wanted = "seeds", []
    else:
        why, wanted = "between", _inside(estimate, levels, low, high, strengths)
        if not wanted or _widest_gap(levels, low, high) <= min(width / 2, DENSE):
            why, wanted = "seeds", []
    new = _new(wanted, levels)
    if why == "between":
        new = _filled(new, levels, low, high, strengths)
        if not new:
            why = "seeds"
    extra = options.seeds if why == "seeds" else 0
    seeds_at = _seeds_at(levels, low, high) if extra else None
    where = len(levels) + 1 if seeds_at is None else len(seeds_at)
    cells = splits * (len(new) * len(decision.seeds) + extra * where)
    return NextPoints(
        why,
        weights=new,
        seeds=extra,
        seeds_at=seeds_at,
        cells=cells,
        seconds=None if options.seconds_per_cell is None else cells * options.seconds_per_cell,
        interval=(low, high),
    )


def _inside(
    estimate: Estimate, levels: Sequence[float], low: float | None, high: float | None, count: int
) -> list[float]:
    """λ at quantiles of λ_OC, by a normal on each side of its median in log λ, and one in the widest gap below them;
    evenly in the bracket's gap.
    """
    start, end = low or levels[0], high or levels[-1]
    median = estimate.interval.median
    if median is None or not start < end:
        return _spread(start, end, count, ends=(False, False)) if start < end else []
    best = []
    if count >= FOR_THE_BEST and start > levels[0]:
        marks = [*(level for level in levels if level < start), start]
        below, above = max(pairwise(marks), key=lambda pair: pair[1] / pair[0])
        best = [(below * above) ** 0.5]
    middle = min(max(median, start), end)
    x = np.log10([start, middle, end])
    z = ndtri(np.linspace(FIRST, LAST, count - len(best))) / ndtri(0.95)
    placed = x[1] + np.where(z < 0, (x[1] - x[0]) * z, (x[2] - x[1]) * z)
    return [*best, *(float(10**place) for place in placed)]


def _seeds_at(levels: Sequence[float], low: float | None, high: float | None) -> tuple[float, ...] | None:
    """λ = 0 and the trained λ within the interval and next to its ends; None (all) where an end is missing."""
    if low is None or high is None:
        return None
    inside, below, above = (
        [x for x in levels if low <= x <= high],
        [x for x in levels if x < low],
        [x for x in levels if x > high],
    )
    return (0.0, *below[-1:], *inside, *above[:1])


def _spread(low: float, high: float, count: int, *, ends: tuple[bool, bool]) -> list[float]:
    """`count` log-spaced λ between two, each end included or not."""
    inner = np.linspace(log10(low), log10(high), count + 2 - sum(ends))
    return [float(10**place) for place in inner[not ends[0] : len(inner) - (not ends[1])]]


def _widest_gap(levels: Sequence[float], low: float | None, high: float | None) -> float:
    """Decades of the widest hole between trained strengths within [low, high]."""
    start, end = low or levels[0], high or levels[-1]
    marks = [start, *(level for level in levels if start < level < end), end]
    return max(log10(b / a) for a, b in pairwise(marks))


def _filled(
    new: tuple[float, ...], levels: Sequence[float], low: float | None, high: float | None, count: int
) -> tuple[float, ...]:
    """As many as asked for: where a wanted λ stood beside a trained one, the middle of the widest hole instead."""
    start, end = low or levels[0], high or levels[-1]
    while len(new) < count:
        marks = sorted({start, end, *(mark for mark in (*levels, *new) if start < mark < end)})
        below, above = max(pairwise(marks), key=lambda pair: pair[1] / pair[0])
        middle = _new([(below * above) ** 0.5], (*levels, *new))
        if not middle:
            break
        new = tuple(sorted((*new, *middle)))
    return new


def _new(wanted: Sequence[float], levels: Sequence[float]) -> tuple[float, ...]:
    """The wanted λ, rounded, that are neither trained nor next to one that is."""
    kept: list[float] = []
    for strength in sorted(float(f"{value:.{DIGITS}g}") for value in wanted):
        if all(abs(log10(strength / other)) >= APART for other in (*levels, *kept)):
            kept.append(strength)
    return tuple(kept)
