"""One composite over the whole grid of strengths: λ × margin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from dashboards.dial import at_second, dial, letter, second_title
from dashboards.figures.style import INK, MUTED, finish
from dashboards.figures.tradeoff import TradeOff
from dashboards.formatting import drawn, fixed, number

# Light to darker in one hue each: the order survives in grey, and dark text is legible on all.
SCALES = {
    "biological": [[0.0, "#F4F9FD"], [0.5, "#A6CDE8"], [1.0, "#3F8FC9"]],
    "technical": [[0.0, "#FFF7EF"], [0.5, "#FDC38D"], [1.0, "#EC7A2B"]],
}
_TITLES = {"biological": "Biological composite B", "technical": "Technical composite T"}


@dataclass(frozen=True)
class Grid:
    """Level means of a composite at every strength of one view; anchored (0 floor, 1 ceiling), higher is better.

    Attributes:
        means: `means[i][j]` belongs to `margins[i]` and `strengths[j]`; None where there is no level mean.
        trained: whether that strength was run at all, so that a None means lost runs rather than a gap in the plan.
        marked: the (λ, margin) to outline.
    """

    view: str
    role: str
    strengths: tuple[float, ...]
    margins: tuple[float, ...]
    means: tuple[tuple[float | None, ...], ...]
    trained: tuple[tuple[bool, ...], ...]
    marked: tuple[float, float] | None


def composite_grid(curves: Sequence[TradeOff], *, role: str, marked: tuple[float, float] | None = None) -> Grid:
    """Level means of one view's curves; `marked` is the (λ, margin) to outline, where it was trained."""
    strengths = tuple(sorted({weight for curve in curves for weight in curve.strengths}))
    ordered = sorted(curves, key=lambda curve: curve.margin)
    found = {
        (mean.weight, curve.margin): mean.mean
        for curve in curves
        for panel in curve.panels
        if panel.role == role
        for mean in panel.means
    }
    margins = tuple(curve.margin for curve in ordered)
    means = tuple(tuple(found.get((weight, margin)) for weight in strengths) for margin in margins)
    inside = marked is not None and marked[0] in strengths and marked[1] in margins
    run = tuple(tuple(weight in curve.strengths for weight in strengths) for curve in ordered)
    return Grid(curves[0].view, role, strengths, margins, means, run, marked if inside else None)


def draw_grid(grid: Grid) -> go.Figure:
    """Numbers in the cells; lost strengths are crossed, untrained ones empty, the marked one is outlined."""
    columns, rows = len(grid.strengths), len(grid.margins)
    figure = go.Figure(
        go.Heatmap(
            z=[list(row) for row in grid.means],
            x=list(range(columns)),
            y=list(range(rows)),
            text=[["" if value is None else fixed(value) for value in row] for row in grid.means],
            texttemplate="%{text}",
            textfont={"size": 11, "color": INK},
            colorscale=SCALES[grid.role],
            zmin=0,
            zmax=1,
            xgap=2,
            ygap=2,
            hoverinfo="text",
            hovertext=[
                [
                    drawn(f"{letter()} = {number(weight)}{at_second(margin, ', ')}: {fixed(value, 3)}")
                    for weight, value in zip(grid.strengths, row, strict=True)
                ]
                for margin, row in zip(grid.margins, grid.means, strict=True)
            ],
            colorbar={"thickness": 10, "outlinewidth": 0, "tickfont": {"size": 10}, "tickvals": [0, 0.5, 1]},
        )
    )
    for i, row in enumerate(grid.means):
        for j, value in enumerate(row):
            if value is None and grid.trained[i][j]:
                figure.add_annotation(x=j, y=i, text="×", showarrow=False, font={"size": 14, "color": MUTED})
    if grid.marked is not None:
        j, i = grid.strengths.index(grid.marked[0]), grid.margins.index(grid.marked[1])
        figure.add_shape(
            type="rect", x0=j - 0.48, x1=j + 0.48, y0=i - 0.46, y1=i + 0.46, line={"color": INK, "width": 2.5}
        )
    finish(figure, height=110 + 46 * rows, margin=(60, 10, 34, 46))
    figure.update_layout(
        title={"text": _TITLES[grid.role], "x": 0, "xref": "paper", "font": {"size": 13}}, plot_bgcolor="#EEEEEE"
    )
    figure.update_xaxes(
        tickvals=list(range(columns)),
        ticktext=[number(weight) for weight in grid.strengths],
        showgrid=False,
        ticks="",
        title_text=dial().title,
        title_font_size=12,
        range=[-0.5, columns - 0.5],
        tickfont={"size": 11},
    )
    figure.update_yaxes(
        tickvals=list(range(rows)),
        ticktext=[number(margin) for margin in grid.margins],
        showgrid=False,
        ticks="",
        title_text=second_title(),
        title_font_size=12,
        range=[-0.5, rows - 0.5],
    )
    return figure


def describe_grid(grid: Grid) -> str:
    """The chart in words: where the composite is highest, and how many strengths have no value."""
    flat = [
        (value, weight, margin)
        for margin, row in zip(grid.margins, grid.means, strict=True)
        for weight, value in zip(grid.strengths, row, strict=True)
    ]
    known = [(value, weight, margin) for value, weight, margin in flat if value is not None]
    if not known:
        return f"{_TITLES[grid.role]}: nothing measured."
    value, weight, margin = max(known, key=lambda item: item[0])
    lost = sum(map(sum, grid.trained)) - len(known)
    tail = f" {lost} trained strengths have no value." if lost else ""
    where = f"{letter()} = {number(weight)}{at_second(margin, ', ')}"
    return f"{_TITLES[grid.role]} over {letter()} and {second_title()}: highest, {fixed(value)}, at {where}.{tail}"
