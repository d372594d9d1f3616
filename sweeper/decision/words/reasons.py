"""Why a curve is in its state, in plain sentences."""

from __future__ import annotations

from sweeper.decision.inference.posterior import Location
from sweeper.decision.verdict.states import State
from sweeper.decision.verdict.values import Estimate, JudgedCurve
from sweeper.decision.words.numbers import counted, probability_text, share_text, strength_text, were
from sweeper.spoken import at_its_end


def reasons(decision: JudgedCurve) -> tuple[str, ...]:
    """What put the curve in its state, then what limits the answer.

    Args:
        decision: a decision with an estimate.
    """
    estimate = decision.estimate
    if estimate is None:
        raise ValueError("a decision without an estimate carries its own reason")
    return (*_state_reasons(decision, estimate), *_limits(decision, estimate))


def _state_reasons(decision: JudgedCurve, estimate: Estimate) -> list[str]:
    sure, loss = f"{share_text(decision.confidence)} sure", share_text(decision.delta)
    technical = estimate.technical
    match decision.state:
        case State.NO_BASELINE_SIGNAL if estimate.signal_lower > 0:
            return ["Biology is the same number in every run: a constant metric measures nothing."]
        case State.NO_BASELINE_SIGNAL:
            return [
                f"Biology cannot be told from chance at any strength: its best level may be as low as "
                f"{estimate.signal_lower:.3g} ({sure}), where 0 is chance and 1 the best value possible."
            ]
        case State.NO_TECHNICAL_EFFECT:
            rise = max(technical.rise, 0.0)
            found = [f"Batch removal gains {rise:.2g} on its scale from 0 to 1, too little to count."]
            if estimate.unsafe_from is not None:
                where = strength_text(estimate.unsafe_from)
                found.append(f"Biology still loses {loss} or more at {where} ({sure}).")
            return found
        case State.UNSTABLE:
            worst = next(item for item in decision.levels if item.weight == decision.lambda_unstable)
            where = strength_text(worst.weight)
            return [
                f"Training fails at {where}: {worst.lost} of {counted(worst.recorded, 'run')} {were(worst.lost)} lost."
            ]
        case State.NOT_OVERCORRECTION:
            return ["Batch removal falls where biology falls: the training is damaged, nothing is over-corrected."]
        case _ if estimate.fallback is None and estimate.location is not None:
            return _located(decision, estimate, estimate.location)
        case State.BELOW_RANGE:
            return [f"{loss} of biology or more is lost at the smallest λ above 0 ({sure}).", *_fallback(estimate)]
        case State.NOT_REACHED:
            safe = f"Every strength is safe (less than {loss} of biology lost, {sure})"
            return [f"{safe}, and batch removal gains nothing more.", *_fallback(estimate)]
        case State.INCONCLUSIVE:
            unknown = f"No strength was shown to cost {loss} of biology, and not even the smallest to be safe ({sure})."
            return [unknown, *_fallback(estimate)]
        case _:
            found = [
                "Strengths were tested one by one: that bounds the point and does not locate it.",
                *_fallback(estimate),
            ]
            if estimate.safe_up_to == decision.levels[-1].weight:
                found.append(_unsaturated(decision))
            return found


def _located(decision: JudgedCurve, estimate: Estimate, point: Location) -> list[str]:
    """The reasons where the posterior decides."""
    loss = share_text(decision.delta)
    probability = f"A loss of {loss} of biology within the range is {probability_text(point.p_detect)}"
    match decision.state:
        case State.CONFLICTING_METHODS:
            return [_contradiction(estimate, point)]
        case State.BELOW_RANGE:
            return ["The point may lie at the smallest λ above 0, or below it."]
        case State.CONFLICTING_METRICS:
            name = estimate.earliest_metric or ""
            end = max(
                estimate.metric_locations.items(),
                key=lambda item: decision.levels[-1].weight if item[1].lower is None else item[1].lower,
            )
            later = "not within the range" if end[1].lower is None else f"not below {strength_text(end[1].lower)}"
            return [f"{name} loses {loss} at about {strength_text(point.median or 0.0)}, {end[0]} {later}."]
        case State.IDENTIFIED | State.IDENTIFIED_WIDE:
            return [f"{probability}, and where is known within a factor of {10**point.width:.3g}."]
        case State.NOT_REACHED:
            return [f"{probability}, and batch removal gains nothing more."]
        case _:
            found = [f"{probability}: too little to locate it, too much to rule it out."]
            if not estimate.technical.saturated:
                found.append(_unsaturated(decision))
            return found


def _unsaturated(decision: JudgedCurve) -> str:
    """What follows from batch removal that still improves at the largest strength."""
    found = "Batch removal was still improving at the largest strength"
    if at_its_end(decision.trainer, decision.levels[-1].weight):
        return f"{found}, and there is no stronger setting."
    return f"{found}: sweep larger λ."


def _fallback(estimate: Estimate) -> list[str]:
    """Why the bracket decides."""
    match estimate.fallback:
        case "poor_fit":
            return [
                f"No smooth curve fits the results (p = {estimate.lof_p:.2g}): strengths are tested one by one instead."
            ]
        case _:
            return []


def _contradiction(estimate: Estimate, point: Location) -> str:
    """How tests and fitted curves exclude each other."""
    if estimate.contradiction == "safe_above":
        where, end = strength_text(estimate.bracket.safe_up_to or 0.0), strength_text(point.upper or 0.0)
        return f"The tests exclude a loss up to {where}, and the fitted curves put it at or below {end}."
    where = strength_text(estimate.bracket.unsafe_from or 0.0)
    bound = "place none in the range" if point.lower is None else f"call safe up to {strength_text(point.lower)}"
    return f"The tests prove a loss at {where}, which the fitted curves {bound}."


def _limits(decision: JudgedCurve, estimate: Estimate) -> list[str]:
    found = []
    for name in early_metrics(decision):
        where = estimate.metric_brackets[name].unsafe_from
        if where is not None:
            found.append(f"{name} by itself loses {share_text(decision.delta)} at {strength_text(where)} already.")
    if estimate.psi is not None and estimate.psi < 2:
        loss = share_text(decision.delta)
        found.append(
            f"Seeds differ too much to see a loss of {loss} well (ψ = {estimate.psi:.2g}; it should be 2 or more)."
        )
    dropped = [item.weight for item in decision.levels if not item.kept]
    if dropped:
        found.append(f"Left out because training fails there: {', '.join(map(strength_text, dropped))}.")
    incomplete = sorted({run.seed for run in decision.runs} - set(decision.seeds))
    if incomplete:
        noun = "seed" if len(incomplete) == 1 else "seeds"
        listed = ", ".join(map(str, incomplete))
        found.append(f"Left out because half of their strengths or more failed or are missing: {noun} {listed}.")
    found += [f"Left out of the {item.role} composite: {item.name} ({item.reason})." for item in decision.left_out]
    return found


def early_metrics(decision: JudgedCurve) -> tuple[str, ...]:
    """Biological metrics that by themselves prove the loss at a strength the composite calls safe."""
    estimate = decision.estimate
    if estimate is None or estimate.safe_up_to is None:
        return ()
    return tuple(
        name
        for name, item in sorted(estimate.metric_brackets.items())
        if item.unsafe_from is not None and item.unsafe_from <= estimate.safe_up_to
    )
