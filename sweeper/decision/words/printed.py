"""A decision document for a terminal: state, sentence, what goes with it, bounds at every δ and ready rules."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from sweeper.decision.verdict.ready_rules import in_words
from sweeper.decision.verdict.states import STATES
from sweeper.decision.words.advice import choice_text, confirmation_text, frontier_text, mechanism_text, next_text
from sweeper.decision.words.reasons import share_text

WIDTH = 100


def printed(document: Mapping[str, Any]) -> str:
    """What `sweeper decide` prints: rendered from the document alone."""
    rule = document["rule"]
    blocks = [f"{rule['state'].replace('_', ' ')}: {STATES[rule['state']]}"]
    view = document["views"].get(document["deciding_view"])
    said = [document["sentence"], confirmation_text(document), mechanism_text(rule)]
    if document.get("next_points"):
        said.append(next_text(document["next_points"]))
    if view is not None:
        said += [choice_text(view["choice"]), frontier_text(view["frontier"], document["settings"]["confidence"])]
    blocks += [textwrap.fill(words, WIDTH) for words in (*said, *document["notes"]) if words]
    if document["departures"]:
        blocks.append(textwrap.fill(departed(document["departures"]), WIDTH))
    if rule["sensitivity"]:
        blocks.append(delta_table(rule))
    if document["ready_rules"]:
        words = [in_words(item) for item in document["ready_rules"]["rules"]]
        lines = [textwrap.fill(text, WIDTH, initial_indent="- ", subsequent_indent="  ") for text in words]
        blocks.append("\n".join(["ready rules", *lines]))
    return "\n\n".join(blocks)


def departed(departures: Sequence[Mapping[str, Any]]) -> str:
    """What was declared before the sweep and is used otherwise, in words."""
    changes = "; ".join(f"{item['setting']}: declared {item['declared']}, here {item['used']}" for item in departures)
    return f"These settings depart from those declared before the sweep, so this is not its decision. {changes}."


def delta_table(rule: Mapping[str, Any]) -> str:
    """The bounds at every δ as aligned lines; the δ that decides is marked."""
    lines = [("δ", "state", "λ_OC", "safe up to λ", "unsafe from λ", "recommended λ", "seen with 80 % power")]
    for key, entry in rule["sensitivity"].items():
        decides = float(key) == rule["estimate"]["delta"]
        drop = entry["detectable_drop80"]
        lines.append(
            (
                share_text(float(key)) + ("*" if decides else ""),
                entry["state"].replace("_", " "),
                _point(entry),
                *(_number(entry[name]) for name in ("safe_up_to", "unsafe_from", "lambda_recommended")),
                "none" if drop is None or drop > 1 else share_text(drop),
            )
        )
    return "\n".join(["loss δ of biology's peak (* decides)", *aligned(lines)])


def aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines with columns of equal width."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def _point(entry: Mapping[str, Any]) -> str:
    if entry["ci90"] is None:
        return "–"
    low, high = entry["ci90"]
    return f"{entry['lambda_oc']:.3g} [{low:.3g}, {high:.3g}]"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"
