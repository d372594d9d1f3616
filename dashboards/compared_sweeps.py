"""Sweeps beside each other, as text and as one page: a table, one plane, paired differences."""

from __future__ import annotations

import html
from collections.abc import Iterator

import plotly.graph_objects as go

from dashboards.figures.style import BIOLOGICAL, EFFECTIVE, SAFE, TECHNICAL, UNSAFE, finish
from dashboards.formatting import fixed, number, percent, signed
from dashboards.plotly_bundle import plotly_bundle
from sweeper.findings.compared import Compared, Comparison, Difference, Pair

COLOURS = (BIOLOGICAL, TECHNICAL, SAFE, EFFECTIVE, UNSAFE)
HEAD = ("sweep", "trainer", "view", "state", "advised", "T", "B", "safe up to", "unsafe from", "seeds", "wells")
NOTE = (
    "Each sweep chose its strength on the runs that are compared here, so a difference flatters whoever had more "
    "strengths to choose from; fresh seeds would not."
)
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
        colour = COLOURS[place % len(COLOURS)]
        figure.add_scatter(
            x=[point.technical for point in row.curve],
            y=[point.biological for point in row.curve],
            text=[f"{point.weight:g}" for point in row.curve],
            name=html.escape(row.label),
            mode="lines+markers",
            line={"color": colour},
            hovertemplate="%{text}: T %{x:.3f}, B %{y:.3f}<extra>%{fullData.name}</extra>",
        )
        if row.technical is not None:
            figure.add_scatter(
                x=[row.technical],
                y=[row.biological],
                name=html.escape(f"{row.label}: advised {row.advised}"),
                mode="markers",
                marker={"color": colour, "size": 16, "symbol": "star", "line": {"color": "white", "width": 1}},
            )
    figure.update_xaxes(title="batch removal T")
    figure.update_yaxes(title="biology B")
    return finish(figure, height=460).update_layout(showlegend=True, legend={"orientation": "h", "y": -0.2})


def comparison_page(found: Comparison) -> str:
    """One self-contained page; everything from data is escaped."""
    head = "".join(f'<th scope="col">{cell}</th>' for cell in HEAD)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in _cells(row)) + "</tr>" for row in found.sweeps
    )
    pairs = "".join(f"<p>{'<br>'.join(html.escape(line) for line in pair_lines(pair))}</p>" for pair in found.pairs)
    drawn = plane(found).to_html(full_html=False, include_plotlyjs=False, div_id="plane", config={"displaylogo": False})
    names = html.escape(", ".join(row.label for row in found.sweeps))
    style = (
        "body{font:16px/1.5 system-ui,sans-serif;max-width:1100px;margin:2rem auto;padding:0 1rem;color:#222;"
        "background:#fff}table{border-collapse:collapse;display:block;overflow-x:auto}td,th{padding:.3rem .7rem;"
        "text-align:left;border-bottom:1px solid #ddd;white-space:nowrap}"
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Sweeps compared: {names}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{style}</style>'
        f"<script>{plotly_bundle()}</script></head>\n<body><main><h1>Sweeps compared</h1>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        f"<h2>Biology against batch removal</h2>{drawn}<h2>Differences</h2>{pairs}<p>{NOTE}</p></main></body></html>\n"
    )


__all__ = ["comparison_lines", "comparison_page", "pair_lines", "plane"]
