"""How long the quick verbs take."""

from __future__ import annotations

from tables.common import load


def table() -> list[str]:
    """Its lines."""
    result = load("doors")
    lines = [
        f"**The quick verbs** (`make benchmark-doors`; {result['table']}).",
        "Processor seconds of a process of its own, and the same in times of `import pandas` in the same round: median",
        f"and range of {result['rounds']} rounds, on {result['cores']} cores at a load of {result['load']}.",
        "",
        "| | seconds | × `import pandas` | aim |",
        "|---|---|---|---|",
    ]
    for verb, found in result["verbs"].items():
        low, high = found["range"]
        aim = "–" if found["aim"] is None else f"{found['aim']:g}"
        lines.append(f"| `{verb}` | {found['cpu_seconds']:.2f} | {found['ratio']:g} ({low:g} to {high:g}) | {aim} |")
    return [*lines, ""]
