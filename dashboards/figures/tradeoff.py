"""The trade-off curve: biology above, batch removal below it, lost runs at the foot, over one strength axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dashboards.dial import axis_title, letter
from dashboards.figures.axis import StrengthAxis, draw_axis, strength_axis
from dashboards.figures.style import (
    COLOURS,
    EFFECTIVE,
    INK,
    MUTED,
    SAFE,
    SYMBOLS,
    UNSAFE,
    finish,
    spread,
    tint,
)
from dashboards.formatting import drawn, fixed, name, number, percent
from sweeper.decision import JudgedCurve
from sweeper.decision.verdict.values import LevelMean

ROLES = ("biological", "technical")
_LETTERS = {"biological": "B", "technical": "T"}
_AXES = {"biological": "biology B<br>(0 floor, 1 ceiling)", "technical": "batch removal T<br>(0 floor, 1 ceiling)"}
_HEIGHTS, _SPACING = (0.5, 0.37, 0.13), 0.075  # of the drawn area
_TOP, _BOTTOM = 40, 56  # pixels


@dataclass(frozen=True)
class Mean:
    """A level mean; `lower` and `upper` are None where the decision gives no interval."""

    weight: float
    mean: float
    lower: float | None
    upper: float | None


@dataclass(frozen=True)
class Dot:
    """The composite of one seed; `used` tells whether the decision rests on it."""

    weight: float
    seed: int
    value: float
    used: bool


@dataclass(frozen=True)
class Panel:
    """One composite against λ, anchored (0 floor, 1 ceiling), higher is better; `controls` are (name, value)."""

    role: str
    means: tuple[Mean, ...]
    dots: tuple[Dot, ...]
    controls: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class TradeOff:
    """Everything the trade-off chart of one view and margin shows.

    Attributes:
        strengths: every recorded λ, ascending.
        panels: biological, technical.
        loss_line: (δ, B at a loss of δ from the peak), or None without an estimate.
        point: λ_OC with its interval (lower, median, upper), or None.
        safe_up_to, unsafe_from, effective, recommended, unstable: λ, or None where there is none.
        lost: (λ, lost runs, recorded runs).
    """

    view: str
    margin: float
    strengths: tuple[float, ...]
    panels: tuple[Panel, ...]
    loss_line: tuple[float, float] | None
    safe_up_to: float | None
    unsafe_from: float | None
    point: tuple[float, float, float] | None
    effective: float | None
    recommended: float | None
    unstable: float | None
    lost: tuple[tuple[float, int, int], ...]


def trade_off(curve: JudgedCurve) -> TradeOff:
    """Numbers of the chart from one judged curve; level means are plain seed means where the curve was not judged."""
    panels = []
    for role in ROLES:
        dots = tuple(
            Dot(run.weight, run.seed, value, run.used)
            for run in curve.runs
            if (value := getattr(run, role)) is not None
        )
        means = tuple(
            mean for level in curve.levels if (mean := _mean(curve, level.weight, getattr(level, role), dots))
        )
        named = sorted((curve.controls or {}).items())
        controls = tuple((control, value) for control, of in named if (value := of.get(role)) is not None)
        panels.append(Panel(role, means, dots, controls))
    return TradeOff(
        view=curve.view,
        margin=curve.margin or 0.0,
        strengths=tuple(level.weight for level in curve.levels),
        panels=tuple(panels),
        loss_line=None if curve.estimate is None else (curve.delta, (1 - curve.delta) * curve.estimate.peak),
        safe_up_to=curve.safe_up_to,
        unsafe_from=curve.unsafe_from,
        point=curve.point,
        effective=curve.estimate.technical.lambda_effective if curve.estimate else None,
        recommended=curve.recommended,
        unstable=curve.lambda_unstable,
        lost=tuple((level.weight, level.lost, level.recorded) for level in curve.levels),
    )


def _mean(curve: JudgedCurve, weight: float, level: LevelMean | None, dots: Sequence[Dot]) -> Mean | None:
    """None for a level that a judged curve leaves out: the survivors of a failing strength have no meaningful mean."""
    if level is not None:
        return Mean(weight, level.mean, level.lower, level.upper)
    values = [dot.value for dot in dots if dot.weight == weight]
    return Mean(weight, sum(values) / len(values), None, None) if values and curve.estimate is None else None


def draw_trade_off(numbers: TradeOff, *, pixels: int = 560) -> go.Figure:
    """B, T and lost runs over one λ axis, `pixels` high; the rule's bounds as shaded regions and labelled lines."""
    axis = strength_axis(numbers.strengths)
    figure = make_subplots(rows=3, cols=1, shared_xaxes=True, row_heights=list(_HEIGHTS), vertical_spacing=_SPACING)
    finish(figure, height=_TOP + _BOTTOM + pixels, margin=(82, 150, _TOP, _BOTTOM))
    for row, panel in enumerate(numbers.panels, start=1):
        _draw_panel(figure, panel, axis, row)
        lines = [(f"{name(control)} {fixed(value)}", value, MUTED, "dot") for control, value in panel.controls]
        if row == 1 and numbers.loss_line is not None:
            delta, value = numbers.loss_line
            lines.append((f"{percent(delta)} below peak (δ)", value, UNSAFE, "dash"))
        _draw_lines(figure, lines, row, pixels * _HEIGHTS[row - 1] * (1 - 2 * _SPACING))
    _draw_lost(figure, numbers, axis)
    for row in (1, 2, 3):
        _draw_regions(figure, numbers, axis, row)
        title = axis_title() if row == 3 else None
        draw_axis(figure, axis, row=row, col=1, labels=row == 3, title=title)
    _draw_marks(figure, numbers, axis)
    _draw_point(figure, numbers, axis)
    return figure


def _swept(axis: StrengthAxis) -> float:
    """Where the grey of what was not swept begins: just right of the largest strength's marks."""
    return axis.highest + 0.3 * (axis.limits[1] - axis.highest)


def _draw_regions(figure: go.Figure, numbers: TradeOff, axis: StrengthAxis, row: int) -> None:
    low, high = axis.limits
    end = _swept(axis)
    regions = [(end, high, "#BDBDBD", 0.45)]
    if numbers.safe_up_to is not None:
        regions.append((low, axis.place(numbers.safe_up_to), SAFE, 0.10))
    if numbers.unsafe_from is not None:
        regions.append((axis.place(numbers.unsafe_from), end, UNSAFE, 0.09))
    for left, right, colour, alpha in regions:
        figure.add_vrect(x0=left, x1=right, fillcolor=tint(colour, alpha), line_width=0, layer="below", row=row, col=1)


def _draw_panel(figure: go.Figure, panel: Panel, axis: StrengthAxis, row: int) -> None:
    colour, symbol = COLOURS[panel.role], SYMBOLS[panel.role]
    for used in (False, True):
        dots = [dot for dot in panel.dots if dot.used is used]
        figure.add_scatter(
            x=[axis.place(dot.weight) for dot in dots],
            y=[dot.value for dot in dots],
            mode="markers",
            marker={
                "color": tint(colour, 0.4) if used else "white",
                "size": 5,
                "line": {"color": tint(colour, 0.5), "width": 1},
            },
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
        marker={"color": colour, "size": 9, "symbol": symbol, "line": {"color": "white", "width": 1}},
        error_y={
            "type": "data",
            "symmetric": False,
            "color": colour,
            "thickness": 1.5,
            "width": 4,
            "array": [0.0 if mean.upper is None else mean.upper - mean.mean for mean in panel.means],
            "arrayminus": [0.0 if mean.lower is None else mean.mean - mean.lower for mean in panel.means],
        },
        hoverinfo="text",
        hovertext=[_hover(panel.role, mean) for mean in panel.means],
        row=row,
        col=1,
    )
    shown = [dot.value for dot in panel.dots] + [value for _, value in panel.controls]
    shown += [end for mean in panel.means for end in (mean.lower, mean.upper) if end is not None]
    low, high = min([0.0, *shown]), max([0.2, *shown])
    low, high = low - 0.05 * (high - low), high + 0.05 * (high - low)
    figure.update_yaxes(
        range=[low, high], title_text=_AXES[panel.role], title_standoff=6, title_font_size=12, nticks=6, row=row, col=1
    )


def _draw_lines(figure: go.Figure, lines: Sequence[tuple[str, float, str, str]], row: int, pixels: float) -> None:
    """Reference lines (text, value, colour, dash), labelled at the right end, labels moved apart where they touch."""
    low, high = next(figure.select_yaxes(row=row, col=1)).range
    places = spread([value for _, value, _, _ in lines], 15 * (high - low) / pixels, low, high)
    for (label, value, colour, dash), place in zip(lines, places, strict=True):
        figure.add_hline(
            y=value, line={"color": colour, "width": 1 if dash == "dot" else 1.5, "dash": dash}, row=row, col=1
        )
        figure.add_annotation(
            x=1,
            xref="x domain",
            y=place,
            text=drawn(label),
            showarrow=False,
            xanchor="left",
            xshift=6,
            font={"size": 11, "color": colour},
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
        title_text="runs<br>lost",
        title_standoff=6,
        title_font_size=12,
        row=3,
        col=1,
    )
    if not any(rates):
        figure.add_annotation(
            x=0.5,
            xref="x domain",
            y=0.5,
            text="no run lost",
            showarrow=False,
            font={"size": 11, "color": MUTED},
            row=3,
            col=1,
        )


def _draw_marks(figure: go.Figure, numbers: TradeOff, axis: StrengthAxis) -> None:
    """Labels stand in three gutters (above B, between B and T, below T) so that marks at one λ do not collide."""
    above, between, below = ("y domain", 1.0), ("y2 domain", 1.0), ("y3 domain", 1.0)
    marks = [
        (numbers.safe_up_to, "safe up to {}", SAFE, "right", above, "solid"),
        (numbers.unsafe_from, "unsafe from {}", UNSAFE, "left", above, "solid"),
        (numbers.recommended, f"recommended {letter()} = {{}}", INK, "center", between, "dot"),
        (numbers.effective, f"effective from {letter()}<sub>E</sub> = {{}}", EFFECTIVE, "center", below, "dash"),
    ]
    for weight, text, colour, anchor, (yref, y), dash in marks:
        if weight is None:
            continue
        place = axis.place(weight)
        rows = (2,) if colour == EFFECTIVE else (1, 2)
        for row in rows:
            figure.add_vline(x=place, line={"color": colour, "width": 1.5, "dash": dash}, row=row, col=1)
        figure.add_annotation(
            x=place,
            xref="x",
            y=y,
            yref=yref,
            text=text.format(number(weight)),
            showarrow=False,
            xanchor=anchor,
            yanchor="bottom",
            font={"size": 12, "color": colour},
        )
    if numbers.unstable is not None:
        figure.add_annotation(
            x=axis.place(numbers.unstable),
            xref="x3",
            y=1,
            yref="y3 domain",
            text="training unstable",
            showarrow=False,
            xanchor="right",
            yanchor="top",
            xshift=-12,
            font={"size": 11, "color": INK},
        )
    figure.add_annotation(
        x=(_swept(axis) + axis.limits[1]) / 2,
        xref="x",
        y=0.5,
        yref="y domain",
        text="not swept",
        textangle=-90,
        showarrow=False,
        xanchor="center",
        font={"size": 10, "color": MUTED},
    )


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


def describe_trade_off(numbers: TradeOff) -> str:
    """The chart in words: both composites at λ = 0, at the ends and at the marks."""
    parts = []
    for panel in numbers.panels:
        if panel.means:
            ends = (panel.means[0], max(panel.means, key=lambda mean: mean.mean), panel.means[-1])
            words = [f"{fixed(mean.mean)} at {letter()} = {number(mean.weight)}" for mean in ends]
            parts.append(f"{name(panel.role)} composite: {words[0]}, best {words[1]}, {words[2]}.")
        else:
            parts.append(f"{name(panel.role)} composite: nothing measured.")
    for weight, text in (
        (numbers.safe_up_to, f"Safe up to {letter()} = {{}}."),
        (numbers.unsafe_from, f"Unsafe from {letter()} = {{}}."),
        (numbers.effective, f"Effective from {letter()} = {{}}."),
        (numbers.recommended, f"Recommended {letter()} = {{}}."),
    ):
        if weight is not None:
            parts.append(text.format(number(weight)))
    if numbers.point is not None:
        low, middle, high = map(number, numbers.point)
        parts.append(f"Over-correction at about {letter()} = {middle} ({low} to {high}).")
    return " ".join(parts)
