"""The report of a comparison: the methods side by side, above the report of each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dashboards.chart import chart
from dashboards.document import document, write_page
from dashboards.figures.methods_plane import describe_plane, draw_plane, plane_marks
from dashboards.formatting import fixed, number
from sweeper.decision.methods.comparison import Comparison, Standing
from sweeper.decision.methods.comparison_text import grounds, headline, place_text, strength_of
from sweeper.decision.verdict.values import LevelMean
from sweeper.decision.words.printed import aligned, filled


def write_comparison_report(comparison: Comparison, description: Mapping[str, Any], path: Path) -> None:
    """Write the report to `path`, whole or not at all.

    Args:
        description: name, notes, command, given: what was compared, as JSON.
        path: in the comparison's folder; each method's own report is linked from it.
    """
    content = render_comparison(comparison, description).encode()
    write_page(path, content)


def render_comparison(comparison: Comparison, description: Mapping[str, Any]) -> str:
    """The HTML document; scripts and what may be loaded as in the report of a sweep."""
    import yaml

    marks = plane_marks(comparison)
    return document(
        "comparison.html",
        comparison=comparison,
        headline=headline(comparison),
        grounds=grounds(comparison),
        rows=comparison_rows(comparison),
        sentences={verdict.method: verdict.sentence for verdict in comparison.methods},
        charts=[chart("plane", draw_plane(marks), describe_plane(marks))] if marks else [],
        notes=description.get("notes", ()),
        commands=[" ".join(description.get("command", ()))],
        config=yaml.safe_dump(description.get("given", {}), sort_keys=False, allow_unicode=True),
    )


def comparison_rows(comparison: Comparison) -> list[dict[str, str]]:
    """What the first table says of each method, as texts."""
    rows = []
    for verdict in comparison.methods:
        safe = "none shown" if verdict.safe_up_to is None else f"up to {strength_of(verdict, verdict.safe_up_to)}"
        unsafe = "" if verdict.unsafe_from is None else f"unsafe from {number(verdict.unsafe_from)}"
        advised = "do not correct" if verdict.advised == 0 else strength_of(verdict, verdict.advised)
        rows.append(
            {
                "method": verdict.method,
                "state": verdict.state.replace("_", " "),
                "safe": ", ".join(part for part in (safe, unsafe) if part),
                "advised": "none" if verdict.advised is None else advised,
                "technical": _interval(verdict.at_advised, "technical"),
                "biological": _interval(verdict.at_advised, "biological"),
                "published": place_text(verdict) or "none published",
                "published_technical": _interval(verdict.at_published, "technical"),
                "published_biological": _interval(verdict.at_published, "biological"),
                "worse": _worse(comparison, verdict.method),
                "refit": "refit" if verdict.refit else "as it is",
            }
        )
    return rows


def comparison_summary(comparison: Comparison) -> str:
    """The comparison for a terminal: headline, table, grounds."""
    heads = {
        "method": "method",
        "safe": "safe range",
        "advised": "advised",
        "technical": "T there",
        "biological": "B there",
        "published": "published setting",
        "worse": "against the best",
    }
    rows = [[row[key] for key in heads] for row in (heads, *comparison_rows(comparison))]
    blocks = [filled(headline(comparison)), "\n".join(aligned(rows))]
    if comparison.uncorrected is not None:
        at = comparison.uncorrected
        blocks.append(f"no correction: T {_interval(at, 'technical')}, B {_interval(at, 'biological')}")
    blocks.append("\n".join(filled(sentence) for sentence in grounds(comparison)))
    return "\n\n".join(blocks)


def _worse(comparison: Comparison, method: str) -> str:
    verdict = comparison.of(method)
    if comparison.reason:
        return "not compared"
    if not verdict.advised:
        return "no strength to compare"
    return "not shown to be worse" if method in comparison.not_worse else "worse"


def _interval(at: Standing | None, role: str) -> str:
    found: LevelMean | None = None if at is None else getattr(at, role)
    return "–" if found is None else f"{fixed(found.mean)} ({fixed(found.lower)} to {fixed(found.upper)})"


__all__ = ["comparison_rows", "comparison_summary", "render_comparison", "write_comparison_report"]
