"""The states a trade-off curve can be in: exactly one each, as a machine code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sweeper.decision.inference.posterior import Location


class State(StrEnum):
    """Outcome of one trade-off curve; `STATES` says what each means."""

    INVALID_INPUT = "INVALID_INPUT"
    INSUFFICIENT_DATA = "INSUFFICIENT_DATA"
    CONFOUNDED_BY_DESIGN = "CONFOUNDED_BY_DESIGN"
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
    CONFLICTING_METHODS = "CONFLICTING_METHODS"


STATES: Mapping[str, str] = MappingProxyType(
    {
        State.INVALID_INPUT: "the table cannot be judged; the reason says what to fix",
        State.INSUFFICIENT_DATA: "too few strengths or seeds; the reason says what to add",
        State.CONFOUNDED_BY_DESIGN: "every perturbation lies in one batch: phenotype and batch cannot be told apart",
        State.NO_BASELINE_SIGNAL: "biology cannot be told from chance at any strength: nothing measurable to lose",
        State.NO_TECHNICAL_EFFECT: "no strength that was tried removes more batch than λ = 0",
        State.UNSTABLE: "training fails before biology is lost",
        State.NOT_OVERCORRECTION: "biology is lost by damage to the training, not by over-correction",
        State.BELOW_RANGE: "biology may already be lost at the smallest λ above 0",
        State.IDENTIFIED: "the over-correction point is known within a factor of 10",
        State.IDENTIFIED_WIDE: "the over-correction point is known within a factor of 100",
        State.BRACKET_ONLY: "a safe strength, an unsafe one or both are known; between and beyond them it is unknown",
        State.NOT_REACHED: "safe up to the largest strength, where batch removal gains nothing more",
        State.INCONCLUSIVE: "neither where biology is lost nor that it is kept could be shown",
        State.CONFLICTING_METRICS: "the biological metrics are lost at strengths more than a factor of 3 apart",
        State.CONFLICTING_METHODS: "fitted curve and tests of single λ contradict each other; the lower bound holds",
    }
)

WIDE, TOO_WIDE = 1.0, 2.0  # decades


@dataclass(frozen=True)
class Conditions:
    """What the state of a curve with enough valid data depends on, whichever method bounds the point.

    Attributes:
        strengths: λ of the kept levels, ascending, 0 first.
        safe_up_to: largest trained λ > 0 up to which a relevant loss is excluded; None: not even at the smallest.
        unsafe_from: smallest trained λ at which a relevant loss is established; None: nowhere.
        lambda_unstable: smallest λ at which too many runs were lost.
        has_signal: biology's peak is above the floor.
        has_technical_effect: batch removal improved by a relevant amount.
        technical_saturated: two strengths or more lie above the one at which batch removal is near its best.
        technical_falls: batch removal is relevantly worse at `unsafe_from` than at some smaller strength.
    """

    strengths: tuple[float, ...]
    safe_up_to: float | None
    unsafe_from: float | None
    lambda_unstable: float | None
    has_signal: bool
    has_technical_effect: bool
    technical_saturated: bool
    technical_falls: bool


def bracket_state(given: Conditions) -> State:
    """The state where the bracket decides; the conditions are tried in the order of `State`."""
    excluded = _excluded(given)
    if excluded is not None:
        return excluded
    if given.unsafe_from == given.strengths[1]:
        return State.BELOW_RANGE
    if given.safe_up_to == given.strengths[-1] and given.technical_saturated:
        return State.NOT_REACHED
    if given.safe_up_to is not None or given.unsafe_from is not None:
        return State.BRACKET_ONLY
    return State.INCONCLUSIVE


def located_state(
    given: Conditions,
    location: Location,
    *,
    conflicting: bool,
    contradicted: bool,
    tested: bool,
    p_identify: float,
    p_not_reached: float,
) -> State:
    """The state where the posterior locates.

    Args:
        location: of the composite or, where metrics conflict, of the earliest.
        conflicting: the metrics' intervals lie more than half a decade apart.
        contradicted: the tests contradict the location.
        tested: where it neither locates nor excludes, the tests' bounds still count.
    """
    excluded = _excluded(given)
    if excluded is not None:
        return excluded
    if contradicted:
        return State.CONFLICTING_METHODS
    if location.p_detect >= p_identify:
        if location.lower is not None and location.lower <= given.strengths[1]:
            return State.BELOW_RANGE
        if conflicting:
            return State.CONFLICTING_METRICS
        if location.width <= WIDE:
            return State.IDENTIFIED
        if location.width <= TOO_WIDE:
            return State.IDENTIFIED_WIDE
    if location.p_detect <= p_not_reached and given.technical_saturated:
        return State.NOT_REACHED
    return bracket_state(given) if tested else State.INCONCLUSIVE


def _excluded(given: Conditions) -> State | None:
    """States in which the bounds on the point are not what decides."""
    if not given.has_signal:
        return State.NO_BASELINE_SIGNAL
    if not given.has_technical_effect:
        return State.NO_TECHNICAL_EFFECT
    if given.lambda_unstable is not None:
        below = [s for s in given.strengths if 0 < s < given.lambda_unstable]
        if not below or given.safe_up_to == below[-1]:
            return State.UNSTABLE
    if given.unsafe_from is not None and given.technical_falls:
        return State.NOT_OVERCORRECTION
    return None
