"""A decision for a terminal: state, sentence, what goes with it, bounds at every δ and ready rules."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from sweeper.decision.input.decision_settings import Departure
from sweeper.decision.verdict.decision import Decision
from sweeper.decision.verdict.ready_rules import in_words
from sweeper.decision.verdict.rule import AtDelta, Rule
from sweeper.decision.verdict.states import STATES
from sweeper.decision.words.advice import choice_text, confirmation_text, frontier_text, mechanism_text, next_text
from sweeper.decision.words.numbers import share_text
from sweeper.spoken import dial_of, dials_of, spoken

WIDTH = 100


def printed(decision: Decision) -> str:
    """What `sweeper decide` prints: rendered from the decision alone."""
    rule, dials = decision.rule, dials_of(decision.rule.trainer)
    blocks = [f"{rule.state.replace('_', ' ')}: {STATES[rule.state]}"]
    view = decision.views.get(decision.deciding_view)
    said = [
        decision.sentence,
        confirmation_text(decision),
        mechanism_text(rule),
        next_text(decision.next_points),
    ]
    if view is not None:
        said += [choice_text(view.choice), frontier_text(view.frontier, decision.settings.confidence)]
    blocks += [filled(spoken(words, dials)) for words in (*said, *decision.notes) if words]
    if decision.departures:
        blocks.append(filled(departed(decision.departures)))
    if rule.by_delta:
        blocks.append(delta_table(rule))
    if decision.ready_rules:
        words = [spoken(in_words(item), dials) for item in decision.ready_rules.rules]
        lines = [filled(text, first="- ", others="  ") for text in words]
        blocks.append("\n".join(["ready rules", *lines]))
    return "\n\n".join(blocks)


def filled(text: str, *, first: str = "", others: str = "") -> str:
    """A paragraph of `WIDTH` columns, lines broken between words only: a broken "held-out" reads as two."""
    return textwrap.fill(text, WIDTH, initial_indent=first, subsequent_indent=others, break_on_hyphens=False)


def departed(departures: Sequence[Departure]) -> str:
    """What was declared before the sweep and is used otherwise, in words."""
    changes = "; ".join(f"{item.setting}: declared {item.declared}, here {item.used}" for item in departures)
    return f"This is not the sweep's own decision: these settings differ from those declared before it. {changes}."


def delta_table(rule: Rule) -> str:
    """The bounds at every δ as aligned lines; the δ that decides is marked."""
    letter = dial_of(rule.trainer).symbol
    bounds = (f"point {letter}_OC", f"safe up to {letter}", f"unsafe from {letter}", f"{letter} to use")
    lines: list[tuple[str, ...]] = [("loss", "state", *bounds, "loss seen in 8 of 10")]
    for key, entry in rule.by_delta.items():
        decides = float(key) == rule.estimate.delta
        drop = entry.detectable_drop
        lines.append(
            (
                share_text(float(key)) + ("*" if decides else ""),
                entry.state.replace("_", " "),
                _point(entry),
                *(_number(value) for value in (entry.safe_up_to, entry.unsafe_from, entry.recommended)),
                "none" if drop is None or drop > 1 else share_text(drop),
            )
        )
    return "\n".join(["by the loss of biology that counts (* decides)", *aligned(lines)])


def aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines with columns of equal width."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def _point(entry: AtDelta) -> str:
    if entry.ci90 is None or entry.lambda_oc is None:
        return "–"
    low, high = entry.ci90
    return f"{entry.lambda_oc:.3g} [{low:.3g}, {high:.3g}]"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"
