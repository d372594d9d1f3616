"""The rule in words, rendered from the rule alone, so that text and numbers cannot disagree."""

from __future__ import annotations

from sweeper.decision.verdict.certainty import DOWNGRADES, steps
from sweeper.decision.verdict.rule import Rule
from sweeper.decision.verdict.states import State
from sweeper.decision.words.reasons import probability_text, share_text, strength_text
from sweeper.decision.words.remark_text import first_texts, further_texts

PURPOSES = {
    "held_out_plates": "to correct the screen itself (held-out plates)",
    "held_out_batches": "to correct batches it has never seen (held-out batches)",
    "held_out_cell_types": "to correct batches of a cell type it has never seen (held-out cell types)",
    "official": "to correct the batches that a published split holds out (official split)",
}
TARGETS = {
    "this_screen": "This is about the perturbations of this screen.",
    "new_perturbations": "This is about new perturbations of the same kind, of which those screened are a sample.",
}
TIMES = {1: "once", 2: "twice"}


def sentence(rule: Rule) -> str:
    """If / then / unless, certainty, and what was not tested: one short paragraph."""
    state = rule.state
    if state in (State.INVALID_INPUT, State.INSUFFICIENT_DATA):
        return f"No rule: {' '.join(rule.reasons)}"
    if state is State.UNSTABLE and rule.estimate.lambda_peak is None:
        return f"No rule: {' '.join(rule.reasons)} Sweep smaller strengths, or try another critic."
    body = {
        State.NO_BASELINE_SIGNAL: _no_signal,
        State.NO_TECHNICAL_EFFECT: _no_effect,
        State.INCONCLUSIVE: _inconclusive,
        State.BELOW_RANGE: _below_range,
    }.get(state, _bounds)(rule)
    first, further = (first_texts(rule.remarks), further_texts(rule.remarks)) if rule.remarks else ([], [])
    return " ".join(part for part in (*first, body[0], *further, *body[1:], *_closing(rule)) if part)


def _subject(rule: Rule) -> str:
    """What the rule is about: "abra on this screen with margin 0.3 to correct …"."""
    margin = "" if rule.margin is None else f" with margin {rule.margin:.3g}"
    purpose = PURPOSES.get(rule.view, f"and judge it in the view {rule.view}")
    return f"{rule.trainer or 'this model'} on this screen{margin} {purpose}"


def _span(rule: Rule) -> tuple[float, float]:
    """The smallest λ above 0 and the largest; only rules of curves that could be read have them."""
    if rule.design.span is None:
        raise ValueError("a rule without strengths has nothing to say of their range")
    return rule.design.span


def _loss(rule: Rule) -> str:
    return share_text(rule.estimate.delta)


def _level(rule: Rule) -> str:
    return share_text(rule.estimate.confidence)


def _power(rule: Rule) -> str:
    drop = rule.design.detectable_drop
    if drop is None or drop > 1:
        return "the sweep had less than 80 % power to establish even the loss of everything"
    return f"the sweep could have established a loss of {share_text(drop)} with 80 % power"


def _fitted(rule: Rule) -> bool:
    """Whether the posterior decides."""
    return (
        rule.estimate.p_detect is not None and rule.method.fallback is not None and rule.method.fallback.because is None
    )


def _no_signal(rule: Rule) -> list[str]:
    if rule.design.sigma == 0:
        return [
            f"No rule: if you train {_subject(rule)}, biology is the same number in every run and measures nothing."
        ]
    return [
        f"No rule: if you train {_subject(rule)}, biology is not shown to lie above its floor at any strength "
        f"({_level(rule)}), so there is nothing measurable to lose.",
    ]


def _no_effect(rule: Rule) -> list[str]:
    best, nothing = (
        rule.advice.recommended,
        "no strength in the swept range improves batch removal by an amount that counts",
    )
    start = f"No rule: if you train {_subject(rule)}, {nothing}."
    if best == 0:
        start = f"If you train {_subject(rule)}, then do not correct: {nothing}, and none is shown to improve biology."
    elif best is not None:
        better = "but biology is shown to be better there than without correction"
        start = f"If you train {_subject(rule)}, then we {rule.firmness} {strength_text(best)}: {nothing}, {better}."
    return [start, *rule.reasons[1:2] * (rule.estimate.unsafe_from is not None)]


def _inconclusive(rule: Rule) -> list[str]:
    low, high = _span(rule)
    safe, ends = rule.estimate.safe_up_to, rule.estimate.ci90
    if rule.estimate.unsafe_from is not None and ends is not None:
        return [
            "Not identified in the swept range.",
            f"If you train {_subject(rule)}, a loss of {_loss(rule)} of biology's peak is "
            f"{probability_text(rule.estimate.p_detect)}, but anywhere from {ends[0]:.3g} to {ends[1]:.3g}.",
            "Add strengths between the two or, where they lie densely already, seeds there.",
        ]
    chance = f", though one is {probability_text(rule.estimate.p_detect)}" if _fitted(rule) else ""
    excluded = f"even at {strength_text(low)}, none could be excluded"
    if safe is not None:
        where = "at every strength" if safe == high else f"only up to {strength_text(safe)}"
        excluded = f"{where}, one was excluded ({_level(rule)})"
    exhausted = rule.design.technical_saturated or rule.estimate.lambda_unstable is not None
    return [
        "Not identified in the swept range.",
        f"If you train {_subject(rule)}, up to {strength_text(high)} no loss of {_loss(rule)} of biology's peak was "
        f"established{chance} and, {excluded}; {_power(rule)}.",
        "Add seeds at every strength."
        if exhausted
        else "Batch removal was still improving there: extend the sweep upwards.",
    ]


def _below_range(rule: Rule) -> list[str]:
    unsafe, lowest = rule.estimate.unsafe_from, _span(rule)[0]
    smallest = f"{strength_text(lowest)}, the smallest above 0,"
    shown = f"at {smallest if unsafe == lowest else strength_text(unsafe or lowest)}"
    shown += f" a loss of at least {_loss(rule)} of its peak is established ({_level(rule)})"
    if unsafe != lowest:
        shown = f"even {smallest} is not shown to be safe" + (f", and {shown}" if unsafe is not None else "")
    return [
        f"If you train {_subject(rule)}, then any tested strength may already cost biology: {shown}.",
        "Do not correct, or test smaller strengths.",
    ]


def _bounds(rule: Rule) -> list[str]:
    """States with bounds on the point: what to do, where the loss lies, what the state adds, other losses."""
    where = _located(rule) if _fitted(rule) and rule.state is not State.BRACKET_ONLY else _excluded(rule)
    return [_advice(rule), where, _state_remark(rule), _other_losses(rule)]


def _located(rule: Rule) -> str:
    """Where the posterior puts the loss."""
    estimate, chance = rule.estimate, probability_text(rule.estimate.p_detect)
    if estimate.unsafe_from is None or estimate.ci90 is None:
        top = strength_text(_span(rule)[1])
        return f"Up to {top} a loss of {_loss(rule)} of biology's peak is {chance}."
    low, high = estimate.ci90
    inside = share_text(2 * estimate.confidence - 1)
    return (
        f"Above about {strength_text(estimate.lambda_oc)} ({inside} interval {low:.3g} to {high:.3g}) biology falls "
        f"by {_loss(rule)} of its peak or more ({chance})."
    )


def _advice(rule: Rule) -> str:
    best, most = rule.advice.recommended, rule.advice.most
    start = f"If you train {_subject(rule)}, then"
    if best == 0:
        return f"{start} do not correct: we {rule.firmness} λ = 0{_why_zero(rule)}."
    if best is not None:
        limit = ", and no more" if most == best else "" if most is None else f", and not above {most:.3g}"
        return f"{start} we {rule.firmness} {strength_text(best)}{limit}."
    if most is None:
        return f"{start} no strength can be suggested: none was shown to be safe."
    return f"{start} no strength is advised as batch correction."


def _why_zero(rule: Rule) -> str:
    """What speaks for no correction."""
    advised = rule.remarks.advised if rule.remarks else None
    if advised is None:
        return ""
    if advised.basis == "removal":
        return ", whose batch removal is not shown to be worse than at any safe strength, and whose biology is best"
    if rule.advice.most is None:
        return ", as no strength above it is shown to be safe"
    return ", as no safe strength improves batch removal, and none is shown to improve biology"


def _excluded(rule: Rule) -> str:
    safe, unsafe = rule.estimate.safe_up_to, rule.estimate.unsafe_from
    what = f"a loss of {_loss(rule)} of biology's peak"
    if safe is None and unsafe is None:
        return f"{what[0].upper()}{what[1:]} is neither excluded nor established anywhere ({_level(rule)})."
    if safe is None:
        return f"At {strength_text(unsafe)} {what} or more is established ({_level(rule)}); below it nothing is proven."
    start = f"Up to {strength_text(safe)} {what} is excluded at every trained strength ({_level(rule)})"
    if unsafe is not None:
        lambdas = rule.design.weights
        next_one = lambdas.index(unsafe) == lambdas.index(safe) + 1
        between = "nothing was trained" if next_one else "nothing is proven"
        return f"{start}; at {strength_text(unsafe)} a loss of at least that is established; between the two {between}."
    if safe == lambdas_end(rule):
        return f"{start}, and that is the largest."
    return f"{start}; above it nothing is proven, and {_power(rule)}."


def _other_losses(rule: Rule) -> str:
    """The bounds at the other δ, so that no δ is read alone."""
    parts = []
    for key, entry in rule.by_delta.items():
        if float(key) != rule.estimate.delta:
            safe, unsafe = entry.safe_up_to, entry.unsafe_from
            below = "safe nowhere" if safe is None else f"safe up to {strength_text(safe)}"
            above = "unsafe nowhere" if unsafe is None else f"unsafe at {strength_text(unsafe)}"
            parts.append(f"{share_text(float(key))} {below} and {above}")
    return f"For other losses: {'; '.join(parts)}." if parts else ""


def _state_remark(rule: Rule) -> str:
    match rule.state:
        case State.CONFLICTING_METRICS:
            return f"The biological metrics disagree, and the rule follows the earliest: {rule.reasons[0]}"
        case State.CONFLICTING_METHODS:
            return f"{rule.reasons[0]} Neither is believed more: the lower bound holds; add seeds between the two."
        case State.NOT_REACHED:
            return f"Batch removal no longer improves there: over-correction was not reached; {_power(rule)}."
        case State.UNSTABLE:
            lost, recorded = rule.design.runs_lost_at_unstable or (0, 0)
            where = strength_text(rule.estimate.lambda_unstable)
            return f"At {where} training fails ({lost} of {recorded} runs lost), which is not over-correction."
        case State.NOT_OVERCORRECTION:
            sham = rule.cause.sham_drawdown
            shown = "Batch removal is lost together with biology"
            if sham is not None and sham >= rule.estimate.delta / 2:
                shown = f"With permuted batch labels training loses {share_text(sham)} of biology too"
            return (
                f"{shown}: this is damage to the training, not over-correction; stay below, or try another critic or "
                "method."
            )
        case _ if rule.estimate.safe_up_to == lambdas_end(rule):
            return "Batch removal was still improving there: extend the sweep upwards."
        case _:
            return ""


def lambdas_end(rule: Rule) -> float | None:
    """The largest strength that was trained."""
    swept = rule.design.span
    return None if swept is None else float(swept[1])


def _closing(rule: Rule) -> list[str]:
    """What could change the rule, how certain it is, and where it ends."""
    closing = [TARGETS[rule.design.target]]
    metrics = rule.metrics
    if metrics.lost_while_safe:
        names = " and ".join(metrics.lost_while_safe)
        closing.append(f"Caution: {names} taken alone loses {_loss(rule)} within what the composite calls safe.")
    if metrics.left_out:
        names = ", ".join(item.name for item in metrics.left_out)
        closing.append(f"Not measurable here, and so in no composite: {names}.")
    lost, runs = rule.design.runs_lost, rule.design.runs
    if lost and rule.state != State.UNSTABLE:
        unstable = rule.estimate.lambda_unstable
        limit = "" if unstable is None else f", and too often to judge {strength_text(unstable)}"
        closing.append(f"Training failed in {lost} of {runs} runs{limit}.")
    if rule.certainty is not None:
        unless = rule.unless
        closing.append(f"Unless {', '.join(unless[:-1])} or {unless[-1]}: then sweep again.")
        times = steps(rule.downgrades)
        why = "; ".join(DOWNGRADES[code] for code in rule.downgrades)
        lowered = f" (lowered {TIMES.get(times, f'{times} times')}: {why})" if times else ""
        closing.append(f"Certainty: {rule.certainty}{lowered}.")
    end = lambdas_end(rule)
    closing.append("" if end is None else f"Not tested above {strength_text(end)}.")
    return closing
