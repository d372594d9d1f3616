"""Malformed input at every door."""

from __future__ import annotations

from tables.common import load


def table() -> list[str]:
    """Its lines."""
    result = load("fuzz")
    rows = {name: list(found.values()) for name, found in result["outcomes"].items()}
    kinds = list(next(iter(result["outcomes"].values())))
    total = [sum(column) for column in zip(*rows.values(), strict=True)]
    lines = [
        f"**Malformed input at the doors** (`make fuzz`, seed {result['seed']}): what came of {sum(total):,} inputs.",
        "",
        f"| input | tried | {' | '.join(kinds)} |",
        "|---" * (len(kinds) + 2) + "|",
    ]
    for name, counts in {**rows, "all": total}.items():
        lines.append(f"| {name} | {sum(counts):,} | {' | '.join(f'{count:,}' for count in counts)} |")
    return [*lines, ""]
