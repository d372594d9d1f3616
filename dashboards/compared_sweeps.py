"""Sweeps beside each other, as text and as one page: a table, one plane, paired differences."""

from __future__ import annotations

import html
from collections.abc import Iterator

import plotly.graph_objects as go

from dashboards.chart import chart
from dashboards.document import document
from dashboards.figures.style import BIOLOGICAL, EFFECTIVE, PAPER, SAFE, TECHNICAL, UNSAFE, finish
from dashboards.formatting import fixed, number, percent, signed
from sweeper.findings.compared import Compared, Comparison, Difference, Pair

COLOURS = (BIOLOGICAL, TECHNICAL, SAFE, EFFECTIVE, UNSAFE)
HEAD = ("sweep", "trainer", "view", "state", "advised", "T", "B", "safe up to", "unsafe from", "seeds", "wells")
NOTE = (
    "Each sweep chose its strength on the runs that are compared here, so a difference flatters whoever had more "
    "strengths to choose from; fresh seeds would not."
)
LONGEST = 40
WORDS = {"technical": "batch removal T", "biological": "biology B"}


def comparison_lines(found: Comparison) -> Iterator[str]:
    """For a terminal."""
    rows = [HEAD, *(_cells(row) for row in found.sweeps)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(HEAD))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    for pair in found.pairs:
        yield ""
        yield from pair_lines(pair)
    if any(pair.differences for pair in found.pairs):
        yield ""
        yield NOTE


def pair_lines(pair: Pair) -> Iterator[str]:
    """The difference of two sweeps, or why there is none."""
    if pair.reasons:
        yield f"{pair.against} and {pair.base}: not comparable: {'; '.join(pair.reasons)}"
        return
    yield f"{pair.against} against {pair.base}, each at what it advises, paired by seed:"
    for item in pair.differences:
        yield f"  {WORDS[item.role]:<16} {_said(item, pair.level)}"


def _said(item: Difference, level: float) -> str:
    found = "not told apart" if item.lower <= 0 <= item.upper else "higher" if item.lower > 0 else "lower"
    spread = f"{percent(level)} interval {signed(item.lower)} to {signed(item.upper)}"
    return f"{signed(item.mean)} ({spread}, {item.seeds} seeds): {found}"


def _cells(row: Compared) -> tuple[str, ...]:
    numbers = (fixed(row.technical), fixed(row.biological), number(row.safe_up_to), number(row.unsafe_from))
    state = row.state.replace("_", " ")
    return (row.label, row.trainer, row.view, state, row.advised, *numbers, str(row.seeds), str(row.wells))


def plane(found: Comparison) -> go.Figure:
    """Biology against batch removal: a curve a sweep, its advised strength marked."""
    figure = go.Figure()
    for place, row in enumerate(found.sweeps):
        colour, name = COLOURS[place % len(COLOURS)], html.escape(_short(row.label))
        figure.add_scatter(
            x=[point.technical for point in row.curve],
            y=[point.biological for point in row.curve],
            text=[f"{point.weight:g}" for point in row.curve],
            name=name,
            mode="lines+markers",
            line={"color": colour},
            hovertemplate="%{text}: T %{x:.3f}, B %{y:.3f}<extra>%{fullData.name}</extra>",
        )
        if row.technical is not None:
            figure.add_scatter(
                x=[row.technical],
                y=[row.biological],
                name=name,
                text=[f"advised {row.advised}"],
                showlegend=False,
                mode="markers",
                marker={"color": colour, "size": 16, "symbol": "star", "line": {"color": PAPER, "width": 1}},
            )
    figure.update_xaxes(title="batch removal T")
    figure.update_yaxes(title="biology B")
    return finish(figure, height=460).update_layout(showlegend=True, legend={"orientation": "h", "y": -0.2})


def _short(label: str) -> str:
    """Of a length that a legend has room for on paper."""
    return label if len(label) <= LONGEST else f"{label[: LONGEST - 1]}…"


def describe(found: Comparison) -> str:
    """The plane in words."""
    told = [
        f"{row.label}: {len(row.curve)} strengths"
        + (
            ""
            if row.technical is None
            else f", advised {row.advised} at T {fixed(row.technical)}, B {fixed(row.biological)}"
        )
        for row in found.sweeps
    ]
    return f"Biology B against batch removal T. {'; '.join(told)}."


def comparison_page(found: Comparison) -> str:
    """One page of this package's kind (`dashboards.document`)."""
    return document(
        "compared.html",
        names=", ".join(row.label for row in found.sweeps),
        heads=HEAD,
        rows=[_cells(row) for row in found.sweeps],
        pairs=[{"reasons": pair.reasons, "lines": list(pair_lines(pair))} for pair in found.pairs],
        note=NOTE if any(pair.differences for pair in found.pairs) else "",
        charts=[chart("plane", plane(found), describe(found))],
    )


__all__ = ["comparison_lines", "comparison_page", "pair_lines", "plane"]
