"""The frontier over margins: where the over-correction point lies at each margin, on one strength axis."""

from __future__ import annotations

from dataclasses import dataclass

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dashboards.dial import at_second, axis_title, letter, second_title
from dashboards.figures.axis import draw_axis, strength_axis
from dashboards.figures.marks import Marks
from dashboards.figures.style import INK, MUTED, SAFE, UNSAFE, finish, tint
from dashboards.formatting import drawn, number
from sweeper.decision import ViewDecision
from sweeper.decision.verdict.margin_frontier import FrontierPoint

_UNBOUNDED = "no bounds: {}"


@dataclass(frozen=True)
class FrontierNumbers:
    """What the chart shows: one row a margin, ascending.

    Attributes:
        strengths: every swept λ of the view.
        points: bounds of each margin; λ, None where there is none.
        marked: (λ, margin) recommended, or None.
    """

    view: str
    strengths: tuple[float, ...]
    points: tuple[FrontierPoint, ...]
    marked: tuple[float, float] | None


def frontier_numbers(name: str, view: ViewDecision, marked: tuple[float, float] | None) -> FrontierNumbers:
    """Numbers of one view's chart."""
    strengths = sorted({level.weight for curve in view.margins for level in curve.levels})
    return FrontierNumbers(name, tuple(strengths), view.frontier.points, marked)


def draw_frontier(numbers: FrontierNumbers) -> go.Figure:
    """A bar a margin: green up to the safe bound, red from the upper end on, the point between them."""
    axis = strength_axis(numbers.strengths)
    figure = make_subplots(rows=1, cols=1)
    finish(figure, height=120 + 44 * len(numbers.points), margin=(70, 20, 30, 50))
    low, high = axis.limits
    for row, point in enumerate(numbers.points):
        if point.safe_bound is not None:
            _bar(
                figure,
                row,
                low,
                axis.place(point.safe_bound),
                tint(SAFE, 0.35),
                f"safe up to {number(point.safe_bound)}",
            )
        if point.upper is not None:
            _bar(figure, row, axis.place(point.upper), high, tint(UNSAFE, 0.3), f"unsafe from {number(point.upper)}")
        if point.lambda_oc is not None:
            figure.add_scatter(
                x=[axis.place(point.lambda_oc)],
                y=[row],
                mode="markers",
                marker={"symbol": "diamond", "size": 11, "color": UNSAFE, "line": {"color": "white", "width": 1}},
                hoverinfo="text",
                hovertext=f"{letter()}<sub>OC</sub> = {number(point.lambda_oc)}{at_second(point.margin, ' at ')}",
            )
        if point.method is None:
            figure.add_annotation(
                x=0.5,
                xref="x domain",
                y=row,
                text=drawn(_UNBOUNDED.format(point.state.replace("_", " ").lower())),
                showarrow=False,
                font={"size": 11, "color": MUTED},
            )
    if numbers.marked is not None:
        weight, margin = numbers.marked
        rows = [row for row, point in enumerate(numbers.points) if point.margin == margin]
        figure.add_scatter(
            x=[axis.place(weight)] * len(rows),
            y=rows,
            mode="markers",
            marker={"symbol": "line-ns", "size": 22, "line": {"color": INK, "width": 2.5}},
            hoverinfo="text",
            hovertext=f"recommended {letter()} = {number(weight)}",
        )
    figure.update_layout(barmode="overlay")
    marks = Marks(figure)
    draw_axis(marks, axis, row=1, col=1, labels=True, title=axis_title())
    marks.draw()
    figure.update_yaxes(
        tickvals=list(range(len(numbers.points))),
        ticktext=[number(point.margin) for point in numbers.points],
        range=[-0.6, len(numbers.points) - 0.4],
        title_text=second_title(),
        title_font_size=12,
        title_standoff=12,
        showgrid=False,
    )
    return figure


def _bar(figure: go.Figure, row: int, start: float, end: float, colour: str, words: str) -> None:
    figure.add_bar(
        x=[end - start],
        y=[row],
        base=[start],
        width=0.42,
        orientation="h",
        marker={"color": colour, "line": {"width": 0}},
        hoverinfo="text",
        hovertext=words,
    )


def describe_frontier(numbers: FrontierNumbers) -> str:
    """The chart in words."""
    return " ".join(_described(point) for point in numbers.points)


def _described(point: FrontierPoint) -> str:
    start = f"{at_second(point.margin).capitalize()}:"
    if point.method is None:
        return f"{start} {_UNBOUNDED.format(point.state.replace('_', ' ').lower())}."
    safe = (
        "none shown to be safe" if point.safe_bound is None else f"safe up to {letter()} = {number(point.safe_bound)}"
    )
    upper = "none shown to be unsafe" if point.upper is None else f"unsafe from {letter()} = {number(point.upper)}"
    middle = "" if point.lambda_oc is None else f", over-correction at about {letter()} = {number(point.lambda_oc)}"
    return f"{start} {safe}{middle}, {upper}."
