"""The trade-off curve drawn: biology above, batch removal below it, over one strength axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dashboards.dial import axis_title, letter
from dashboards.figures.axis import StrengthAxis, draw_axis, strength_axis
from dashboards.figures.marks import Marks
from dashboards.figures.style import (
    COLOURS,
    EFFECTIVE,
    INK,
    MUTED,
    PAPER,
    SAFE,
    SAFE_INK,
    SYMBOLS,
    UNSAFE,
    finish,
    spread,
    tint,
)
from dashboards.figures.tradeoff import Mean, Panel, TradeOff
from dashboards.formatting import drawn, fixed, name, number, percent

_LETTERS = {"biological": "B", "technical": "T"}
_AXES = {"biological": "biology B", "technical": "batch removal T"}
_LINE = 15  # pixels of a line of labels
_LOST = 44  # pixels of the panel of lost runs
_GAP = 30  # pixels between panels


@dataclass(frozen=True)
class _Frame:
    """Where things go: a wide figure has the controls' names beside it, a narrow one inside."""

    narrow: bool
    lost: bool
    pixels: int

    @property
    def heights(self) -> tuple[float, ...]:
        """Pixels of the panels."""
        rest = self.pixels - _GAP - (_GAP + _LOST if self.lost else 0)
        return (0.56 * rest, 0.44 * rest, *((_LOST,) if self.lost else ()))

    @property
    def gutter(self) -> int:
        """Pixels above B: a line for the bounds (two where they would meet) and one for the recommended strength."""
        return _LINE * (3 if self.narrow else 2) + 8

    @property
    def sides(self) -> tuple[int, int]:
        return (58, 14) if self.narrow else (58, 190)


def draw_trade_off(numbers: TradeOff, *, pixels: int = 420, narrow: bool = False) -> go.Figure:
    """B, T and, where there are any, lost runs over one λ axis; the rule's bounds as regions and labelled lines.

    Args:
        numbers: as `trade_off`.
        pixels: height of the panels together.
        narrow: laid out for a phone; the same traces on the same axes.
    """
    axis = strength_axis(numbers.strengths)
    frame = _Frame(narrow, any(lost for _, lost, _ in numbers.lost) or numbers.unstable is not None, pixels)
    rows = len(frame.heights)
    figure = make_subplots(
        rows=rows, cols=1, shared_xaxes=True, row_heights=list(frame.heights), vertical_spacing=_GAP / pixels
    )
    marks = Marks(figure)
    left, right = frame.sides
    finish(figure, height=frame.gutter + pixels + 52, margin=(left, right, frame.gutter, 52))
    for row, panel in enumerate(numbers.panels, start=1):
        of_loss = [numbers.loss_line[1]] if row == 1 and numbers.loss_line is not None else []
        limits = panel.limits(*of_loss)
        _draw_panel(figure, panel, axis, limits, row)
        lines = [(f"{name(control)} {fixed(value)}", value, MUTED, "dot") for control, value in panel.controls]
        if row == 1 and numbers.loss_line is not None:
            delta, value = numbers.loss_line
            lines.append((f"{percent(delta)} below peak (δ)", value, UNSAFE, "dash"))
        _draw_lines(marks, lines, limits, row, frame)
    if frame.lost:
        _draw_lost(figure, numbers, axis)
    for row in range(1, rows + 1):
        _draw_regions(marks, numbers, axis, row)
        last = row == rows
        draw_axis(marks, axis, row=row, col=1, labels=last, title=axis_title() if last else None)
    _draw_marks(marks, numbers, axis, frame)
    marks.draw()
    _draw_point(figure, numbers, axis)
    return figure


def _swept(axis: StrengthAxis) -> float:
    """Where the grey of what was not swept begins: just right of the largest strength's marks."""
    return axis.highest + 0.3 * (axis.limits[1] - axis.highest)


def _draw_regions(marks: Marks, numbers: TradeOff, axis: StrengthAxis, row: int) -> None:
    low, high = axis.limits
    end = _swept(axis)
    regions = [(end, high, MUTED, 0.25)]
    if numbers.safe_up_to is not None:
        regions.append((low, axis.place(numbers.safe_up_to), SAFE, 0.10))
    if numbers.unsafe_from is not None:
        regions.append((axis.place(numbers.unsafe_from), end, UNSAFE, 0.09))
    for left, right, colour, alpha in regions:
        marks.region(left, right, colour=tint(colour, alpha), row=row, col=1)


def _draw_panel(figure: go.Figure, panel: Panel, axis: StrengthAxis, limits: tuple[float, float], row: int) -> None:
    colour, symbol = COLOURS[panel.role], SYMBOLS[panel.role]
    low, high = limits
    aside = 0.008 * (axis.limits[1] - axis.limits[0])  # so that seeds do not hide the interval
    for used in (False, True):
        dots = [dot for dot in panel.dots if dot.used is used]
        figure.add_scatter(
            x=[axis.place(dot.weight) - aside for dot in dots],
            y=[min(max(dot.value, low), high) for dot in dots],  # what was left out does not stretch the axis
            mode="markers",
            marker={
                "color": tint(colour, 0.4) if used else PAPER,
                "size": 5,
                "line": {"color": tint(colour, 0.5), "width": 1},
            },
            cliponaxis=False,
            hoverinfo="text",
            hovertext=[
                f"seed {dot.seed}, {letter()} = {number(dot.weight)}: {fixed(dot.value, 3)}"
                + ("" if used else " (not used)")
                for dot in dots
            ],
            row=row,
            col=1,
        )
    positive = [mean for mean in panel.means if mean.weight > 0]
    figure.add_scatter(
        x=[axis.place(mean.weight) for mean in positive],
        y=[mean.mean for mean in positive],
        mode="lines",
        line={"color": colour, "width": 2},
        hoverinfo="skip",
        row=row,
        col=1,
    )
    figure.add_scatter(
        x=[axis.place(mean.weight) for mean in panel.means],
        y=[mean.mean for mean in panel.means],
        mode="markers",
        marker={"color": colour, "size": 8, "symbol": symbol, "line": {"color": PAPER, "width": 1}},
        error_y={
            "type": "data",
            "symmetric": False,
            "color": colour,
            "thickness": 2,
            "width": 6,
            "array": [0.0 if mean.upper is None else mean.upper - mean.mean for mean in panel.means],
            "arrayminus": [0.0 if mean.lower is None else mean.mean - mean.lower for mean in panel.means],
        },
        hoverinfo="text",
        hovertext=[_hover(panel.role, mean) for mean in panel.means],
        row=row,
        col=1,
    )
    figure.update_yaxes(
        range=list(limits), title_text=_AXES[panel.role], title_standoff=4, title_font_size=12, nticks=6, row=row, col=1
    )


def _draw_lines(
    marks: Marks,
    lines: Sequence[tuple[str, float, str, str]],
    limits: tuple[float, float],
    row: int,
    frame: _Frame,
) -> None:
    """Reference lines (text, value, colour, dash); those beyond the axis are named at its edge, with an arrow.

    A narrow figure names only what it shows: there is no room beside it for the others.
    """
    low, high = limits
    inside = [line for line in lines if low <= line[1] <= high]
    for _, value, colour, dash in inside:
        width = 1 if dash == "dot" else 1.5
        marks.level(value, line={"color": colour, "width": width, "dash": dash}, row=row, col=1, layer="below")
    labelled = inside if frame.narrow else lines
    gap = _LINE * (high - low) / frame.heights[row - 1]
    places = spread([value for _, value, _, _ in labelled], gap, low + gap / 2, high - gap / 2)
    left = frame.narrow and row == 1  # where the curve is high
    for (label, value, colour, _), place in zip(labelled, places, strict=True):
        arrow = "▲ " if value > high else "▼ " if value < low else ""
        marks.words(
            drawn(arrow + label),
            x=0 if left else 1,
            shares="x",
            y=place,
            xanchor="right" if frame.narrow and not left else "left",
            yanchor="bottom" if frame.narrow else "middle",
            xshift=2 if left else -2 if frame.narrow else 6,
            font={"size": 10 if frame.narrow else 11, "color": colour},
            row=row,
            col=1,
        )


def _draw_lost(figure: go.Figure, numbers: TradeOff, axis: StrengthAxis) -> None:
    rates = [lost / recorded if recorded else 0.0 for _, lost, recorded in numbers.lost]
    places = [axis.place(weight) for weight, _, _ in numbers.lost]
    gaps = [right - left for left, right in pairwise(places)]
    figure.add_bar(
        x=places,
        y=rates,
        width=0.6 * min(gaps, default=0.5),
        marker={"color": INK},
        hoverinfo="text",
        hovertext=[
            f"{letter()} = {number(weight)}: {lost} of {recorded} runs lost" for weight, lost, recorded in numbers.lost
        ],
        row=3,
        col=1,
    )
    figure.update_yaxes(
        range=[0, 1.05],
        tickvals=[0, 1],
        ticktext=["0", "100 %"],
        title_text="lost",
        title_standoff=4,
        title_font_size=12,
        row=3,
        col=1,
    )


def _draw_marks(marks: Marks, numbers: TradeOff, axis: StrengthAxis, frame: _Frame) -> None:
    """Labels stand in gutters, the effective strength between the panels, so that marks at one λ do not collide."""
    highest = 2 if frame.narrow else 1
    places = [
        (numbers.safe_up_to, "safe up to {}", SAFE, SAFE_INK, "right", 0, "solid"),
        (numbers.unsafe_from, "unsafe from {}", UNSAFE, UNSAFE, "left", 1 if frame.narrow else 0, "solid"),
        (numbers.recommended, f"recommended {letter()} = {{}}", INK, INK, "center", highest, "dot"),
        (
            numbers.effective,
            f"effective from {letter()}<sub>E</sub> = {{}}",
            EFFECTIVE,
            EFFECTIVE,
            "center",
            -1,
            "dash",
        ),
    ]
    low, high = axis.limits
    for weight, text, colour, ink, anchor, line, dash in places:
        if weight is None:
            continue
        place = axis.place(weight)
        for row in (2,) if line < 0 else (1, 2):
            marks.upright(place, line={"color": colour, "width": 1.5, "dash": dash}, row=row, col=1)
        share = (place - low) / (high - low)
        marks.words(
            text.format(number(weight)),
            row=2 if line < 0 else 1,
            col=1,
            x=place,
            y=1.0,
            shares="y",
            yshift=max(line, 0) * _LINE,
            xanchor=_anchored(anchor, share, narrow=frame.narrow),
            yanchor="bottom",
            font={"size": 12, "color": ink},
        )
    if numbers.unstable is not None:
        marks.words(
            "training unstable",
            row=3,
            col=1,
            x=axis.place(numbers.unstable),
            y=1,
            shares="y",
            xanchor="right",
            yanchor="top",
            xshift=-12,
            font={"size": 11, "color": INK},
        )
    if not frame.narrow:
        marks.words(
            "not swept",
            row=1,
            col=1,
            x=(_swept(axis) + high) / 2,
            y=0.5,
            shares="y",
            textangle=-90,
            xanchor="center",
            font={"size": 10, "color": MUTED},
        )


def _anchored(anchor: str, share: float, *, narrow: bool) -> str:
    """The side that a label extends to: inwards where its own would leave the figure."""
    if share < (0.4 if narrow else 0.2) and anchor != "left":
        return "left"
    if narrow and share > 0.6:
        return "right"
    return anchor


def _draw_point(figure: go.Figure, numbers: TradeOff, axis: StrengthAxis) -> None:
    """λ_OC and its interval, drawn on the δ line, where the curve is estimated to cross it."""
    if numbers.point is None or numbers.loss_line is None:
        return
    low, middle, high = numbers.point
    figure.add_scatter(
        x=[axis.place(weight) for weight in numbers.point],
        y=[numbers.loss_line[1]] * 3,
        mode="lines+markers",
        line={"color": UNSAFE, "width": 4},
        marker={"symbol": ["line-ns-open", "diamond", "line-ns-open"], "size": [12, 11, 12], "color": UNSAFE},
        hoverinfo="text",
        hovertext=f"{letter()}<sub>OC</sub> = {number(middle)} [{number(low)}, {number(high)}]",
        row=1,
        col=1,
    )


def _hover(role: str, mean: Mean) -> str:
    interval = "" if mean.lower is None else f" [{fixed(mean.lower, 3)}, {fixed(mean.upper, 3)}]"
    return f"{letter()} = {number(mean.weight)}: {_LETTERS[role]} = {fixed(mean.mean, 3)}{interval}"


__all__ = ["draw_trade_off"]
