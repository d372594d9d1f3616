"""The states a trade-off curve can be in: exactly one each, as a machine code."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class State(StrEnum):
    """Outcome of one trade-off curve; `STATES` says what each means."""

    INVALID_INPUT = "INVALID_INPUT"
    INSUFFICIENT_DATA = "INSUFFICIENT_DATA"
    NO_BASELINE_SIGNAL = "NO_BASELINE_SIGNAL"
    NO_TECHNICAL_EFFECT = "NO_TECHNICAL_EFFECT"
    UNSTABLE = "UNSTABLE"
    NOT_OVERCORRECTION = "NOT_OVERCORRECTION"
    BELOW_RANGE = "BELOW_RANGE"
    IDENTIFIED = "IDENTIFIED"
    IDENTIFIED_WIDE = "IDENTIFIED_WIDE"
    BRACKET_ONLY = "BRACKET_ONLY"
    NOT_REACHED = "NOT_REACHED"
    INCONCLUSIVE = "INCONCLUSIVE"
    CONFLICTING_METRICS = "CONFLICTING_METRICS"


STATES: Mapping[str, str] = MappingProxyType(
    {
        State.INVALID_INPUT: "the table cannot be judged; the reason says what to mend",
        State.INSUFFICIENT_DATA: "too few strengths or seeds; the reason says what to add",
        State.NO_BASELINE_SIGNAL: "biology is not above its floor at any strength: nothing measurable to lose",
        State.NO_TECHNICAL_EFFECT: "no strength in the range improves batch removal",
        State.UNSTABLE: "training fails before biology is lost",
        State.NOT_OVERCORRECTION: "biology is lost, but batch removal is lost with it: training damage",
        State.BELOW_RANGE: "biology is already lost at the smallest strength above 0",
        State.IDENTIFIED: "the over-correction point is located within one decade",
        State.IDENTIFIED_WIDE: "the over-correction point is located within two decades",
        State.BRACKET_ONLY: "a safe bound, an unsafe bound or both, and nothing proven between or beyond them",
        State.NOT_REACHED: "a relevant loss is excluded up to the largest strength, where batch removal has saturated",
        State.INCONCLUSIVE: "a relevant loss is neither established nor excluded",
        State.CONFLICTING_METRICS: "the biological metrics place the point more than half a decade apart",
    }
)

# The bracket gives bounds, not a point: it cannot return IDENTIFIED, IDENTIFIED_WIDE or CONFLICTING_METRICS, which need
# an interval of the point itself. They are named here so that readers of the document need not change.
BRACKET_STATES = tuple(
    state for state in State if state not in (State.IDENTIFIED, State.IDENTIFIED_WIDE, State.CONFLICTING_METRICS)
)


def bracket_state(
    *,
    strengths: tuple[float, ...],
    safe_up_to: float | None,
    unsafe_from: float | None,
    lambda_unstable: float | None,
    has_signal: bool,
    has_technical_effect: bool,
    technical_saturated: bool,
    technical_falls: bool,
) -> State:
    """The state of a curve with enough valid data; the conditions are tried in the order of `State`.

    Args:
        strengths: λ of the kept levels, ascending, 0 first.
        safe_up_to: largest λ > 0 up to which a relevant loss is excluded; None: not even at the smallest.
        unsafe_from: smallest λ at which a relevant loss is established; None: nowhere.
        lambda_unstable: smallest λ at which too many runs were lost.
        has_signal: biology's peak is above the floor.
        has_technical_effect: batch removal improved by a relevant amount.
        technical_saturated: two strengths or more lie above the one at which batch removal is near its best.
        technical_falls: batch removal is relevantly worse at `unsafe_from` than at some smaller strength.
    """
    if not has_signal:
        return State.NO_BASELINE_SIGNAL
    if not has_technical_effect:
        return State.NO_TECHNICAL_EFFECT
    if lambda_unstable is not None:
        below = [s for s in strengths if 0 < s < lambda_unstable]
        if not below or safe_up_to == below[-1]:
            return State.UNSTABLE
    if unsafe_from is not None and technical_falls:
        return State.NOT_OVERCORRECTION
    if unsafe_from == strengths[1]:
        return State.BELOW_RANGE
    if safe_up_to == strengths[-1] and technical_saturated:
        return State.NOT_REACHED
    if safe_up_to is not None or unsafe_from is not None:
        return State.BRACKET_ONLY
    return State.INCONCLUSIVE
