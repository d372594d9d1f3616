"""Corrections side by side."""

from __future__ import annotations

from tables.common import load


def table() -> list[str]:
    """Corrections side by side, a table a screen."""
    titles = {
        "demo": "The demo's simulated screen",
        "jump": "JUMP-CP source_3, as the quick answer reads it",
        "bbbc021": "BBBC021 (biology: mechanisms)",
    }
    heads = {
        "method": "method",
        "state": "state",
        "safe": "safe range",
        "advised": "advised",
        "technical": "T there",
        "biological": "B there",
        "published": "published setting",
        "worse": "against the best",
    }
    lines = [
        "**Corrections side by side** (`make benchmark-methods-compared`; 3 seeds, no sham arm). T is batch removal, B",
        "biology, 0 at chance and 1 the best there can be, with 90 % intervals.",
        "",
    ]
    result = load("methods_compared")
    for name, title in titles.items():
        if name not in result:
            continue
        found = result[name]
        lines += [f"*{title}*: {found['headline']}", ""]
        lines += ["| " + " | ".join(heads.values()) + " |", "|" + "---|" * len(heads)]
        lines += ["| " + " | ".join(row[key] for key in heads) + " |" for row in found["rows"]]
        lines.append("")
    return lines
