"""What the report's first screen says of a decision: its order, its colours, and the words that go with the rule."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dashboards.dial import letter
from dashboards.formatting import name, number, signed
from sweeper.decision import STATES, Decision, RuledCurve, State, ViewDecision
from sweeper.decision.verdict.baselines import UNTRAINED
from sweeper.decision.verdict.ready_rules import ReadyRule, detail_text
from sweeper.decision.verdict.ruling import ASSUMPTIONS
from sweeper.decision.words.advice import confirmation_text, mechanism_text, next_text

HARM = (State.BELOW_RANGE, State.INVALID_INPUT, State.UNSTABLE, State.NOT_OVERCORRECTION)
VERDICTS = {True: "holds", False: "does not hold", None: "not measurable"}


@dataclass(frozen=True)
class FirstScreen:
    """The sentences around the rule; "" where there is nothing to say.

    Attributes:
        before: what is said before the rule (an untrained baseline that does as well, an encoder that has lost).
        lead: the rule and the bound behind it, and
        rest: what qualifies them.
        baseline: the untrained baseline to compare with, where `before` does not name it.
        meaning: what the state means.
        ready: each ready rule with "holds", "does not hold" or "not measurable", and its numbers or why.
        assumptions: code and words.
    """

    before: str
    lead: str
    rest: str
    baseline: str
    meaning: str
    tone: str
    confirmation: str
    mechanism: str
    next: str
    ready: tuple[tuple[ReadyRule, str, str], ...]
    assumptions: tuple[tuple[str, str], ...]


def first_screen(decision: Decision) -> FirstScreen:
    """The words of a decision."""
    rule, ready = decision.rule, decision.ready_rules
    before, lead, rest = rule_in_parts(decision.sentence)
    return FirstScreen(
        before=before,
        lead=lead,
        rest=rest,
        baseline=baseline_text(decision.curve),
        meaning=STATES[rule.state],
        tone=tone(rule.state, rule.advice.recommended),
        confirmation=confirmation_text(decision),
        mechanism=mechanism_text(rule),
        next=next_text(decision.next_points),
        ready=tuple((item, VERDICTS[item.holds], detail_text(item)) for item in (ready.rules if ready else ())),
        assumptions=tuple((code, ASSUMPTIONS.get(code, "")) for code in rule.assumptions),
    )


_BOUNDS = ("Unsafe", "In between", "Above", "Below")
"""Words that a sentence about the bounds begins with, after the first of them."""
_SENTENCES = re.compile(r"(?<=\.) (?=[A-Z])")


def rule_in_parts(sentence: str) -> tuple[str, str, str]:
    """What is said before the rule, the rule with the bound behind it, and what qualifies them.

    The rule goes on from the sentence with the If to the last one that bounds it, so that it is never about batch
    removal alone.
    """
    pieces = _SENTENCES.split(sentence)
    start = next((place for place, piece in enumerate(pieces) if piece.startswith(("If", "No rule"))), 0)
    end = start + 2
    while end < len(pieces) and pieces[end].startswith(_BOUNDS):
        end += 1
    return " ".join(pieces[:start]), " ".join(pieces[start:end]), " ".join(pieces[end:])


def baseline_text(curve: RuledCurve | None) -> str:
    """The best untrained baseline against the strength looked at; "" where the rule itself begins with it."""
    found = curve.remarks.baselines if curve and curve.remarks else None
    if found is None:
        return "Untrained baselines: not compared."
    if found.best is not None:
        return ""
    best = max(found.measured, key=lambda item: (item.biological, item.technical))
    return (
        f"Baseline: {UNTRAINED[best.name][0].lower()}{UNTRAINED[best.name][1:]} is worse than training at λ = "
        f"{number(found.weight)}: biology {signed(best.biology.mean, 2)}, batch removal {signed(best.removal.mean, 2)}."
    )


def verdict_text(curve: RuledCurve) -> str:
    """What one view says, in a line: its state, what it would use, and its bounds."""
    parts = [curve.state.replace("_", " ")]
    if curve.recommended is not None:
        use = f"use {letter()}\u00a0=\u00a0{number(curve.recommended)}" if curve.recommended else "do not correct"
        parts.append(use)
    if curve.estimate is not None:
        safe, unsafe = curve.safe_up_to, curve.unsafe_from
        parts.append("none shown to be safe" if safe is None else f"safe up to {number(safe)}")
        parts.append("none shown to be unsafe" if unsafe is None else f"unsafe from {number(unsafe)}")
    early = curve.remarks.early if curve.remarks else None
    if early is not None:
        parts.append(
            f"{name(early.name)} safe "
            + ("nowhere" if early.safe_up_to is None else f"up to {number(early.safe_up_to)} only")
        )
    return ", ".join(parts)


def tone(state: State, recommended: float | None) -> str:
    """Returns "good" with a λ > 0 to use, "stop" where use does harm or nothing could be read, else "warn"."""
    if recommended:
        return "good"
    return "stop" if state in HARM else "warn"


def ordered_views(decision: Decision) -> list[str]:
    """The views, the deciding one first."""
    return sorted(decision.views, key=lambda view: (view != decision.deciding_view, view))


def ordered_curves(decision: Decision, view: ViewDecision) -> tuple[RuledCurve, ...]:
    """The curves of a view, the one at the deciding margin first, so that views are compared at one margin."""
    leading = view.at(decision.rule.margin) or view.chosen
    return tuple(sorted(view.margins, key=lambda curve: (curve is not leading, curve.margin or 0.0)))
