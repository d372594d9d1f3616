"""The bounds on a curve's over-correction point: what the posterior locates, what tests bound, and the lower of both.

The posterior gives an interval and a probability, the drawdown bracket a strength shown safe and one shown unsafe. What
may be advised lies below every bound that is known. Where the two exclude each other neither is believed more: the
lower of both holds, and the state says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sweeper.decision.inference.bracket import Bracket
from sweeper.decision.inference.fitted import Point
from sweeper.decision.inference.posterior import Location
from sweeper.decision.input.decision_settings import DecisionSettings

Contradiction = Literal["loss_below", "safe_above"]
Fallback = Literal["declared", "poor_fit", "no_signal"]
ROUNDING = 1e-9


@dataclass(frozen=True)
class Ends:
    """Largest trained λ > 0 that is safe, smallest that is unsafe; None where there is none."""

    safe: float | None
    unsafe: float | None


def fallback(location: Location | None, composite: Point | None, settings: DecisionSettings) -> Fallback | None:
    """Why the bracket decides alone; None: it does not."""
    if settings.method == "bracket":
        return "declared"
    if location is None or composite is None:
        return "no_signal"
    return "poor_fit" if composite.posterior.lof_p < settings.lack_of_fit else None


def contradiction(
    strengths: tuple[float, ...], bracket: Bracket, location: Location, *, same: bool, p_identify: float
) -> Contradiction | None:
    """How the tests and the fitted curves exclude each other; None where they agree.

    "loss_below": the tests prove a loss at or below the fitted safe bound, the error that does harm. "safe_above": they
    exclude one up to beyond the fitted interval.

    Args:
        strengths: (L,) trained λ, 0 first.
        same: the location is of the composite that the bracket tests, not of a single metric.
    """
    proven, safe = bracket.unsafe_from, location.lower
    beyond = safe is None or safe > strengths[1]  # at the smallest λ > 0 the bound stands for that or less
    if proven is not None and beyond and (safe is None or proven <= safe):
        return "loss_below"
    end, excluded = location.upper, bracket.safe_up_to
    if same and location.p_detect >= p_identify and end is not None and excluded is not None and excluded >= end:
        return "safe_above"
    return None


def ends(
    strengths: tuple[float, ...],
    bracket: Bracket,
    location: Location | None,
    *,
    contradicts: bool,
    unstable: float | None,
    settings: DecisionSettings,
) -> Ends:
    """Bounds at trained strengths.

    Args:
        location: None where the bracket decides alone.
        contradicts: the two exclude each other.
        unstable: smallest λ at which training fails.
    """
    tested = Ends(bracket.safe_up_to, bracket.unsafe_from)
    if location is None:
        return tested
    placed = _placed(strengths, location, unstable, settings)
    if placed is None:
        return tested
    if settings.method == "posterior" and not contradicts:
        return placed
    unsafe = [end for end in (placed.unsafe, tested.unsafe) if end is not None]
    return Ends(lowest(placed.safe, tested.safe), min(unsafe, default=None))


def _placed(
    strengths: tuple[float, ...], location: Location, unstable: float | None, settings: DecisionSettings
) -> Ends | None:
    """Largest trained λ > 0 below the safe bound, smallest at or above the interval's upper end.

    None between "located" and "not reached": there the quantiles rest on the prior as much as on the data.
    """
    unsafe: list[float] = []
    if location.lower is not None:
        if location.upper is None or location.p_detect < settings.p_identify:
            return None
        unsafe = [s for s in strengths[1:] if s >= location.upper * (1 - ROUNDING)]
    limits = [limit for limit in (location.lower, unstable) if limit is not None]
    safe = [s for s in strengths[1:] if all(s < limit for limit in limits)]
    return Ends(safe[-1] if safe else None, unsafe[0] if unsafe else None)


def lowest(*bounds: float | None) -> float | None:
    """The smallest of safe bounds; None, which is none shown safe, lies below all."""
    known = [bound for bound in bounds if bound is not None]
    return min(known) if len(known) == len(bounds) else None


@dataclass(frozen=True)
class EarlyMetric:
    """A biological metric that is lost before the composite.

    Attributes:
        name: of the metric.
        safe_up_to: largest trained λ > 0 that it allows; None: none.
    """

    name: str
    safe_up_to: float | None


def early_metric(
    strengths: tuple[float, ...],
    composite: Ends,
    located: Location | None,
    brackets: Mapping[str, Bracket],
    locations: Mapping[str, Location],
    p_identify: float,
) -> EarlyMetric | None:
    """The metric that bounds the advice most, among those lost before the composite; None where none is.

    A metric is lost before where the tests establish its loss at a smaller strength than the composite's, or where it
    is located and more likely than not lost at a strength below the composite's safe bound.

    Args:
        composite: its bounds.
        located: its location; None where the bracket decides alone.
        brackets, locations: of each metric.
    """
    found: list[EarlyMetric] = []
    for name, bracket in sorted(brackets.items()):
        proven, point = bracket.unsafe_from, locations.get(name)
        if proven is not None and (composite.unsafe is None or proven < composite.unsafe):
            found.append(EarlyMetric(name, bracket.safe_up_to))
        floor = None if located is None else located.lower
        sooner = point is not None and point.p_detect >= p_identify and point.median is not None
        if sooner and floor is not None and point is not None and point.median < floor:  # type: ignore[operator]
            below = [s for s in strengths[1:] if point.lower is not None and s < point.lower]
            found.append(EarlyMetric(name, below[-1] if below else None))
    return min(found, key=lambda item: (item.safe_up_to or 0.0, item.name), default=None)
