"""The study in a table: each fault, how often it struck, and what came of the sweeps that it struck."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

COUNTED = {
    "lost": "finished cells lost",
    "trained_again": "trained again",
    "doubled": "MLflow runs doubled",
    "hangs": "hangs",
    "another": "another decision",
    "orphans": "processes or files left",
    "tracebacks": "tracebacks shown",
}


def counts(sweep: Mapping[str, Any]) -> dict[str, int]:
    """What a sweep is counted by; 0 is well throughout."""
    return {
        **{key: int(sweep[key]) for key in ("lost", "trained_again", "doubled", "hangs", "tracebacks")},
        "another": int(sweep["decision"] is not True),
        "orphans": len(sweep["orphans"]) + len(sweep["left"]),
    }


def table(document: Mapping[str, Any]) -> list[str]:
    """Lines of Markdown. A sweep meets several faults, and counts for each that hit it."""
    sweeps = document["sweeps"]
    struck: dict[str, list[tuple[Mapping[str, Any], int]]] = {}
    for sweep in sweeps:
        for strike in sweep["faults"]:
            if strike["hit"]:
                struck.setdefault(strike["fault"], []).append((sweep, sweep["codes"][strike["command"]]))
    hits = sum(map(len, struck.values()))
    commands = sum(len(sweep["codes"]) for sweep in sweeps)
    done = sum(sweep["finished"] for sweep in sweeps)
    lines = [
        f"{len(sweeps)} sweeps of 33 cells were hit by {hits} faults in {commands} commands; {done} of them ended",
        "by giving the same command again. A sweep meets several faults, and counts in the row of each.",
        "",
        f"| fault | hits | exit codes of the command | {' | '.join(COUNTED.values())} |",
        "|---|---|---|" + "---|" * len(COUNTED),
    ]
    for fault, found in sorted(struck.items(), key=lambda item: (-len(item[1]), item[0])):
        codes = Counter(code for _, code in found)
        told = ", ".join(f"{code} ({count}×)" for code, count in sorted(codes.items()))
        lines.append(_row(fault, str(len(found)), told, {sweep["name"]: sweep for sweep, _ in found}.values()))
    ends = Counter(code for sweep in sweeps for code in sweep["codes"])
    told = ", ".join(f"{code} ({count}×)" for code, count in sorted(ends.items()))
    return [*lines, _row("**all sweeps**", str(hits), told, sweeps)]


def _row(title: str, hits: str, codes: str, sweeps: Iterable[Mapping[str, Any]]) -> str:
    total: Counter[str] = Counter()
    for sweep in sweeps:
        total.update(counts(sweep))
    return f"| {title} | {hits} | {codes} | " + " | ".join(str(total[key]) for key in COUNTED) + " |"
