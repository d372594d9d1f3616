"""The rule in words, rendered from the rule alone, so that text and numbers cannot disagree."""

from __future__ import annotations

from sweeper.decision.verdict.certainty import DOWNGRADES, steps
from sweeper.decision.verdict.rule import Rule
from sweeper.decision.verdict.states import State
from sweeper.decision.words.numbers import probability_text, share_text, strength_text
from sweeper.decision.words.remark_text import first_texts, further_texts
from sweeper.metrics.catalogue import BETWEEN_TARGETS
from sweeper.spoken import at_its_end, dials_of

PURPOSES = {
    "held_out_plates": "to correct the screen itself (held-out plates)",
    "held_out_batches": "to correct batches it has never seen (held-out batches)",
    "held_out_cell_types": "to correct batches of a cell type it has never seen (held-out cell types)",
    "official": "to correct the batches that a published split holds out (official split)",
}
TARGETS = {
    "this_screen": "This holds for the perturbations of this screen.",
    "new_perturbations": "This holds for new perturbations of the same kind, of which those screened are a sample.",
}
OF_TARGETS = (
    "Biology is judged between different perturbations that share a target, in different batches, not between "
    "replicates."
)
ELSEWHERE = "Sweep smaller λ, or try another critic or method."
LARGER = "Batch removal was still improving there: sweep larger λ."
TIMES = {1: "once", 2: "twice"}


def sentence(rule: Rule) -> str:
    """If / then / unless, certainty, and what was not tested: one short paragraph."""
    state = rule.state
    if state in (State.INVALID_INPUT, State.INSUFFICIENT_DATA, State.CONFOUNDED_BY_DESIGN):
        return f"No rule: {' '.join(rule.reasons)}"
    if state is State.UNSTABLE and rule.estimate.lambda_peak is None:
        return f"No rule: {' '.join(rule.reasons)} {ELSEWHERE}"
    body = {
        State.NO_BASELINE_SIGNAL: _no_signal,
        State.NO_TECHNICAL_EFFECT: _no_effect,
        State.INCONCLUSIVE: _inconclusive,
        State.BELOW_RANGE: _below_range,
    }.get(state, _bounds)(rule)
    first, further = (first_texts(rule.remarks), further_texts(rule.remarks)) if rule.remarks else ([], [])
    return " ".join(part for part in (*first, *body[:2], *further, *body[2:], *_closing(rule)) if part)


def _subject(rule: Rule) -> str:
    """What the rule is about: "abra on this screen with margin 0.3 to correct …"."""
    one_dial = rule.margin is None or len(dials_of(rule.trainer)) == 1
    margin = "" if one_dial else f" with margin {rule.margin:.3g}"
    purpose = PURPOSES.get(rule.view, f"and judge it in the view {rule.view}")
    return f"{rule.trainer or 'this model'} on this screen{margin} {purpose}"


def _span(rule: Rule) -> tuple[float, float]:
    """The smallest λ above 0 and the largest; only rules of curves that could be read have them."""
    if rule.design.span is None:
        raise ValueError("a rule without strengths has nothing to say of their range")
    return rule.design.span


def _loss(rule: Rule) -> str:
    return share_text(rule.estimate.delta)


def _sure(rule: Rule) -> str:
    return f"{share_text(rule.estimate.confidence)} sure"


def _power(rule: Rule) -> str:
    drop = rule.design.detectable_drop
    if drop is None or drop > 1:
        return "even the loss of everything would have been missed more than twice in 10 such sweeps"
    return f"a loss of {share_text(drop)} would have been seen in 8 of 10 such sweeps"


def _fitted(rule: Rule) -> bool:
    """Whether the posterior decides."""
    return (
        rule.estimate.p_detect is not None and rule.method.fallback is not None and rule.method.fallback.because is None
    )


def _no_signal(rule: Rule) -> list[str]:
    if rule.design.sigma == 0:
        return [
            f"No rule: if you train {_subject(rule)}, biology is the same number in every run and measures nothing.",
            "Choose other biological metrics.",
        ]
    return [
        f"No rule: if you train {_subject(rule)}, biology cannot be told from chance at any strength ({_sure(rule)}), "
        "so there is nothing measurable to lose.",
        "Add replicates, or choose other biological metrics.",
    ]


def _no_effect(rule: Rule) -> list[str]:
    best = rule.advice.recommended
    nothing = "no strength that was tried removes more batch than λ = 0 does, by an amount that counts"
    start = f"No rule: if you train {_subject(rule)}, {nothing}."
    if best == 0:
        start = f"If you train {_subject(rule)}, then do not correct: {nothing}."
    elif best is not None:
        better = "but biology is shown to be better there than without correction"
        start = f"If you train {_subject(rule)}, then we {rule.firmness} {strength_text(best)}: {nothing}, {better}."
    return [start, *rule.reasons[1:2] * (rule.estimate.unsafe_from is not None)]


def _inconclusive(rule: Rule) -> list[str]:
    low, high = _span(rule)
    safe, ends = rule.estimate.safe_up_to, rule.estimate.ci90
    if rule.estimate.unsafe_from is not None and ends is not None:
        return [
            "Not identified.",
            f"If you train {_subject(rule)}, {_loss(rule)} of biology is lost somewhere from λ = {ends[0]:.3g} to "
            f"{ends[1]:.3g} ({probability_text(rule.estimate.p_detect)}), but where is unknown.",
            "Train more strengths in between or, where they lie densely already, add seeds there.",
        ]
    chance = f" (a loss is {probability_text(rule.estimate.p_detect)})" if _fitted(rule) else ""
    shown = f"nothing was shown to be safe, not even {strength_text(low)}"
    if safe is not None:
        where = "every strength" if safe == high else f"only what lies up to {strength_text(safe)}"
        shown = f"{where} was shown to be safe ({_sure(rule)})"
    exhausted = rule.design.technical_saturated or rule.estimate.lambda_unstable is not None
    exhausted = exhausted or at_its_end(rule.trainer, high)
    return [
        "Not identified.",
        f"If you train {_subject(rule)}, nothing up to {strength_text(high)} was shown to cost {_loss(rule)} of "
        f"biology{chance}, and {shown}; {_power(rule)}.",
        "Add seeds at every strength." if exhausted else LARGER,
    ]


def _below_range(rule: Rule) -> list[str]:
    unsafe, lowest = rule.estimate.unsafe_from, _span(rule)[0]
    lost = f"({_loss(rule)} of biology or more lost, {_sure(rule)})"
    smallest = f"{strength_text(lowest)}, the smallest above 0,"
    shown = f"{smallest} is unsafe {lost}"
    if unsafe != lowest:
        shown = f"even {smallest} was not shown to be safe"
        shown += f", and {strength_text(unsafe)} is unsafe {lost}" if unsafe is not None else ""
    return [
        f"If you train {_subject(rule)}, then any strength may already cost biology: {shown}.",
        "Do not correct, or sweep smaller λ.",
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
        return f"Up to {top} a loss of {_loss(rule)} of biology is {chance}."
    low, high = estimate.ci90
    inside = share_text(2 * estimate.confidence - 1)
    return (
        f"Above about {strength_text(estimate.lambda_oc)} ({inside} interval {low:.3g} to {high:.3g}) {_loss(rule)} of "
        f"biology or more is lost ({chance})."
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
        return ", as nothing above it was shown to be safe"
    return ", as no safe strength removes more batch, and none is shown to improve biology"


def _excluded(rule: Rule) -> str:
    """The bounds where the bracket decides: safe, unsafe, and what is unknown."""
    safe, unsafe = rule.estimate.safe_up_to, rule.estimate.unsafe_from
    less, more = (f"({words}, {_sure(rule)})" for words in (f"less than {_loss(rule)} of biology lost", _lost(rule)))
    if safe is None and unsafe is None:
        return f"No strength was shown to be safe {less}, and none to be unsafe."
    if safe is None:
        return f"Unsafe at {strength_text(unsafe)} {more}. Below: unknown."
    if unsafe is not None:
        weights = rule.design.weights
        between = "not trained" if weights.index(unsafe) == weights.index(safe) + 1 else "unknown"
        return f"Safe up to {strength_text(safe)} {less}. Unsafe at {unsafe:.3g}. In between: {between}."
    if safe == lambdas_end(rule):
        return f"Safe up to {strength_text(safe)} {less}, and that is the largest."
    return f"Safe up to {strength_text(safe)} {less}. Above: unknown; {_power(rule)}."


def _lost(rule: Rule) -> str:
    return f"{_loss(rule)} of biology or more lost"


def _other_losses(rule: Rule) -> str:
    """The bounds at the other δ, so that no δ is read alone."""
    parts = []
    for key, entry in rule.by_delta.items():
        if float(key) != rule.estimate.delta:
            safe, unsafe = entry.safe_up_to, entry.unsafe_from
            below = "none shown to be safe" if safe is None else f"safe up to {strength_text(safe)}"
            above = "none shown to be unsafe" if unsafe is None else f"unsafe at {unsafe:.3g}"
            parts.append(f"For {share_text(float(key))}: {below}, {above}.")
    return " ".join(parts)


def _state_remark(rule: Rule) -> str:
    match rule.state:
        case State.CONFLICTING_METRICS:
            return (
                f"The biological metrics disagree, and the rule follows the one that is lost first: {rule.reasons[0]}"
            )
        case State.CONFLICTING_METHODS:
            return f"{rule.reasons[0]} Neither is believed more: the lower bound holds. Add seeds between the two."
        case State.NOT_REACHED:
            return f"Batch removal gains nothing more there, and over-correction was not reached; {_power(rule)}."
        case State.UNSTABLE:
            lost, recorded = rule.design.runs_lost_at_unstable or (0, 0)
            where = strength_text(rule.estimate.lambda_unstable)
            return f"At {where} training fails ({lost} of {recorded} runs lost), which is not over-correction."
        case State.NOT_OVERCORRECTION:
            sham = rule.cause.sham_drawdown
            shown = "Batch removal is lost together with biology"
            if sham is not None and sham >= rule.estimate.delta / 2:
                shown = f"With permuted batch labels training loses {share_text(sham)} of biology too"
            return f"{shown}: this is damage to the training, not over-correction. {ELSEWHERE}"
        case _ if rule.estimate.safe_up_to == lambdas_end(rule):
            if at_its_end(rule.trainer, rule.estimate.safe_up_to):
                return "Batch removal was still improving there, and there is no stronger setting."
            return LARGER
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
    if metrics.biological and set(metrics.biological) <= set(BETWEEN_TARGETS):
        closing.append(OF_TARGETS)
    if metrics.lost_while_safe:
        names = " and ".join(metrics.lost_while_safe)
        closing.append(f"Caution: {names} alone loses {_loss(rule)} at a λ that all metrics together call safe.")
    if metrics.left_out:
        names = ", ".join(item.name for item in metrics.left_out)
        closing.append(f"Not measurable here, and so not judged: {names}.")
    lost, runs = rule.design.runs_lost, rule.design.runs
    if lost and rule.state != State.UNSTABLE:
        unstable = rule.estimate.lambda_unstable
        limit = "" if unstable is None else f", and too often to judge {strength_text(unstable)}"
        closing.append(f"Training failed in {lost} of {runs} runs{limit}.")
    if rule.certainty is not None:
        unless = rule.unless
        closing.append(f"Sweep again if you {', '.join(unless[:-1]).removeprefix('you ')}, or {unless[-1]}.")
        times = steps(rule.downgrades)
        why = "; ".join(DOWNGRADES[code] for code in rule.downgrades)
        lowered = f" (lowered {TIMES.get(times, f'{times} times')}: {why})" if times else ""
        closing.append(f"Certainty: {rule.certainty}{lowered}.")
    end = lambdas_end(rule)
    closing.append("" if end is None else f"Not tested above {strength_text(end)}.")
    return closing
