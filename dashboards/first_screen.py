"""What the report's first screen says of a decision: its order, its colours, and the words that go with the rule."""

from __future__ import annotations

from dataclasses import dataclass

from sweeper.decision import STATES, Decision, RuledCurve, State, ViewDecision
from sweeper.decision.verdict.ready_rules import ReadyRule, detail_text
from sweeper.decision.verdict.ruling import ASSUMPTIONS
from sweeper.decision.words.advice import confirmation_text, mechanism_text, next_text

HARM = (State.BELOW_RANGE, State.INVALID_INPUT, State.UNSTABLE, State.NOT_OVERCORRECTION)
VERDICTS = {True: "holds", False: "does not hold", None: "not measurable"}


@dataclass(frozen=True)
class FirstScreen:
    """The sentences around the rule; "" where there is nothing to say.

    Attributes:
        meaning: what the state means.
        ready: each ready rule with "holds", "does not hold" or "not measurable", and its numbers or why.
        assumptions: code and words.
    """

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
    return FirstScreen(
        meaning=STATES[rule.state],
        tone=tone(rule.state, rule.advice.recommended),
        confirmation=confirmation_text(decision),
        mechanism=mechanism_text(rule),
        next=next_text(decision.next_points),
        ready=tuple((item, VERDICTS[item.holds], detail_text(item)) for item in (ready.rules if ready else ())),
        assumptions=tuple((code, ASSUMPTIONS.get(code, "")) for code in rule.assumptions),
    )


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
