"""Packs against one cell a trial."""

from __future__ import annotations

from tables.common import load


def table() -> list[str]:
    """Its lines."""
    result = load("packs")
    lines = [
        f"**Packs** ({result['measured']['packs']['cells']} cells of 500 steps, {result['machine']['cpus']} cores; "
        "`make benchmark-packs`). Overhead: share of worker time that is neither training nor scoring.",
        "",
        "| | wall time | cells a minute | overhead | times packs |",
        "|---|---|---|---|---|",
    ]
    for name, found in result["measured"].items():
        lines.append(
            f"| {name} | {found['wall_seconds']:.0f} s | {found['cells_per_minute']:.0f} | "
            f"{100 * found['overhead_share']:.0f} % | {result['times_packs'][name]:.1f} |"
        )
    return [*lines, ""]
