"""Why a curve is in its state, in plain sentences."""

from __future__ import annotations

from sweeper.decision.inference.posterior import Location
from sweeper.decision.verdict.states import State
from sweeper.decision.verdict.values import Estimate, JudgedCurve

WORDS = (  # least probability, word
    (0.99, "virtually certain"),
    (0.90, "very likely"),
    (0.66, "likely"),
    (0.33, "about as likely as not"),
    (0.10, "unlikely"),
    (0.01, "very unlikely"),
    (0.0, "exceptionally unlikely"),
)


def strength_text(value: float | None) -> str:
    """λ as people write it: 3 significant digits; "–" where there is none."""
    return "λ = –" if value is None else f"λ = {value:.3g}"


def share_text(value: float) -> str:
    """A share as a percentage: 0.1 → "10 %"."""
    return f"{100 * value:.3g} %"


def counted(count: int, noun: str) -> str:
    """A number of things: "1 seed", "3 seeds"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def were(count: int) -> str:
    """The verb that goes with a number of things in the past."""
    return "was" if count == 1 else "were"


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
    level, loss = share_text(decision.confidence), share_text(decision.delta)
    technical = estimate.technical
    match decision.state:
        case State.NO_BASELINE_SIGNAL if estimate.signal_lower > 0:
            return ["Biology is the same number in every run: a constant metric measures nothing."]
        case State.NO_BASELINE_SIGNAL:
            bound = f"lower {level} bound of its best level {estimate.signal_lower:.3g}, anchored scale"
            return [f"Biology is not shown to lie above its floor at any strength ({bound})."]
        case State.NO_TECHNICAL_EFFECT:
            rise = max(technical.rise, 0.0)
            found = [f"Batch removal rises by an estimated {rise:.2g} of its scale, too little to count."]
            if estimate.unsafe_from is not None:
                where = strength_text(estimate.unsafe_from)
                found.append(f"Biology nevertheless loses at least {loss} of its peak at {where} ({level}).")
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
            return [f"The loss of {loss} is established at the smallest strength above 0.", *_fallback(estimate)]
        case State.NOT_REACHED:
            excluded = f"A loss of {loss} is excluded at every strength, and batch removal has saturated ({level})."
            return [excluded, *_fallback(estimate)]
        case State.INCONCLUSIVE:
            nowhere = "is established nowhere and not excluded even at the smallest strength"
            return [f"A loss of {loss} {nowhere} ({level}).", *_fallback(estimate)]
        case _:
            found = ["The tests bound the over-correction point; they do not locate it.", *_fallback(estimate)]
            if estimate.safe_up_to == decision.levels[-1].weight:
                found.append("Batch removal has not saturated at the largest strength: extend the range upwards.")
            return found


def _located(decision: JudgedCurve, estimate: Estimate, point: Location) -> list[str]:
    """The reasons where the posterior decides."""
    loss = share_text(decision.delta)
    probability = f"A loss of {loss} of the peak within the range is {probability_text(point.p_detect)}"
    match decision.state:
        case State.CONFLICTING_METHODS:
            return [_contradiction(estimate, point)]
        case State.BELOW_RANGE:
            return ["The interval of the over-correction point reaches down to the smallest strength above 0."]
        case State.CONFLICTING_METRICS:
            name = estimate.earliest_metric or ""
            end = max(
                estimate.metric_locations.items(),
                key=lambda item: decision.levels[-1].weight if item[1].lower is None else item[1].lower,
            )
            later = "not within the range" if end[1].lower is None else f"not below {strength_text(end[1].lower)}"
            return [f"{name} loses {loss} at about {strength_text(point.median or 0.0)}, {end[0]} {later}."]
        case State.IDENTIFIED | State.IDENTIFIED_WIDE:
            return [f"{probability}, and its interval spans {point.width:.2g} decades."]
        case State.NOT_REACHED:
            return [f"{probability}, and batch removal has saturated."]
        case _:
            found = [f"{probability}: neither located nor excluded."]
            if not estimate.technical.saturated:
                found.append("Batch removal has not saturated at the largest strength: extend the range upwards.")
            return found


def _fallback(estimate: Estimate) -> list[str]:
    """Why the bracket decides."""
    match estimate.fallback:
        case "poor_fit":
            return [
                f"No curve of gains and losses fits the level means (p = {estimate.lof_p:.2g}): the bracket decides."
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


def probability_text(probability: float | None) -> str:
    """A probability in the words of the IPCC (2010 guidance note) and as a number, never as certainty."""
    if probability is None:
        return "of unknown probability"
    word = next(word for least, word in WORDS if probability >= least)
    number = "> 0.99" if probability > 0.995 else "< 0.01" if probability < 0.005 else f"= {probability:.2f}"
    return f"{word}, P {number}"


def _limits(decision: JudgedCurve, estimate: Estimate) -> list[str]:
    found = []
    for name in early_metrics(decision):
        where = estimate.metric_brackets[name].unsafe_from
        if where is not None:
            found.append(f"{name} by itself loses {share_text(decision.delta)} at {strength_text(where)} already.")
    if estimate.psi is not None and estimate.psi < 2:
        loss = share_text(decision.delta)
        found.append(f"Seed noise is large for a loss of {loss} (ψ = {estimate.psi:.2g}, below 2).")
    dropped = [item.weight for item in decision.levels if not item.kept]
    if dropped:
        found.append(f"Left out because training fails there: {', '.join(map(strength_text, dropped))}.")
    incomplete = sorted({run.seed for run in decision.runs} - set(decision.seeds))
    if incomplete:
        noun = "seed" if len(incomplete) == 1 else "seeds"
        listed = ", ".join(map(str, incomplete))
        found.append(f"Left out because ok at no more than half of the strengths: {noun} {listed}.")
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
