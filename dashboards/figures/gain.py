"""Gain against strength: a line a held-out batch, the distribution over perturbations, and how often it is a loss."""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dashboards.dial import dial, letter
from dashboards.figures.axis import StrengthAxis, draw_axis, strength_axis
from dashboards.figures.marks import Marks
from dashboards.figures.style import BIOLOGICAL, EFFECTIVE, INK, MUTED, UNSAFE, finish, tint
from dashboards.formatting import drawn, fixed, name, number, percent, signed
from dashboards.gain_views import DRAWN, GainCurve, GainView, Spread

_ROW, _TOP, _BOTTOM = 190, 44, 52  # pixels
_NARROW_ROW = 104
_COLUMNS = ("gain of each batch", "gain over perturbations", "share of units that lose")
_AXIS_COLOURS = {"batch": INK, "perturbation": BIOLOGICAL}
Cell = Mapping[str, int]
_SYMBOLS = {"batch": "square", "perturbation": "circle"}


def draw_gains(view: GainView, *, narrow: bool = False) -> go.Figure:
    """A row a primary metric; columns: batches, perturbations, share of losses. Against λ = 0 of the same margin.

    `narrow` puts the panels under one another, for a phone: the same traces on the same axes.
    """
    metrics = view.drawn()
    strengths = {spread.weight for _, curves in metrics for curve in curves for spread in curve.spreads}
    axis = strength_axis([0.0, *strengths])
    figure = _panels([drawn(name(metric)) for metric, _ in metrics], narrow=narrow)
    marks = Marks(figure)
    for place, (metric, curves) in enumerate(metrics):
        cells = [
            {"row": 3 * place + col + 1, "col": 1} if narrow else {"row": place + 1, "col": col + 1} for col in range(3)
        ]
        for curve in (curve for curve in curves if curve.axis in DRAWN):
            if curve.axis == "batch":
                _batches(figure, curve, axis, view.weight, cells[0])
            else:
                _band(figure, curve, axis, cells[1])
            _failures(figure, curve, axis, cells[2])
        last = place == len(metrics) - 1
        for col, cell in enumerate(cells):
            labels = last and (not narrow or col == 2)
            draw_axis(marks, axis, **cell, labels=labels, title=dial().title if labels else None)
            line = {"color": EFFECTIVE, "width": 1.5, "dash": "dot"}
            marks.upright(axis.place(view.weight), line=line, layer="below", **cell)
            if col < 2:
                figure.update_yaxes(zeroline=True, zerolinecolor=MUTED, zerolinewidth=1, nticks=5, **cell)
        if not narrow:
            figure.update_yaxes(title_text=drawn(name(metric)), title_font_size=12, **cells[0])
        figure.update_yaxes(range=[-0.04, 1.04], tickformat=".0%", nticks=4, **cells[2])
    marks.draw()
    figure.update_layout(font={"size": 11, "color": INK})
    return figure


def _panels(metrics: list[str], *, narrow: bool) -> go.Figure:
    if narrow:
        rows = 3 * len(metrics)
        titles = [f"{metric}: {column}" for metric in metrics for column in _COLUMNS]
        height = _NARROW_ROW * rows
        figure = make_subplots(rows=rows, cols=1, vertical_spacing=24 / height, subplot_titles=titles)
        finish(figure, height=height + 30 + _BOTTOM, margin=(48, 12, 30, _BOTTOM))
    else:
        spacing = min(0.12, 0.3 / max(len(metrics), 1))
        figure = make_subplots(
            rows=len(metrics), cols=3, horizontal_spacing=0.07, vertical_spacing=spacing, column_titles=list(_COLUMNS)
        )
        finish(figure, height=_TOP + _BOTTOM + _ROW * len(metrics), margin=(64, 20, _TOP, _BOTTOM))
    figure.update_annotations(font_size=12)
    return figure


def _batches(figure: go.Figure, curve: GainCurve, axis: StrengthAxis, weight: float, cell: Cell) -> None:
    """Thin lines, one a batch, and a point a batch and strength; two traces however many batches there are."""
    places: list[float | None] = []
    gains: list[float | None] = []
    for unit in dict.fromkeys(item.unit for item in curve.units):
        mine = [item for item in curve.units if item.unit == unit]
        places += [*(axis.place(item.weight) for item in mine), None]
        gains += [*(item.gain for item in mine), None]
    figure.add_scatter(
        x=places,
        y=gains,
        mode="lines",
        line={"color": tint(MUTED, 0.35), "width": 1},
        hoverinfo="skip",
        **cell,
    )
    here = [item.weight == weight for item in curve.units]
    figure.add_scatter(
        x=[axis.place(item.weight) for item in curve.units],
        y=[item.gain for item in curve.units],
        mode="markers",
        marker={
            "color": [
                tint(MUTED, 0.5) if not at else UNSAFE if item.gain < 0 else BIOLOGICAL
                for item, at in zip(curve.units, here, strict=True)
            ],
            "size": [9 if at else 4 for at in here],
        },
        hoverinfo="text",
        hovertext=[
            drawn(
                f"{item.unit}, {letter()} = {number(item.weight)}: {signed(item.gain)} ± {fixed(item.error, 3)} (s.e.)"
            )
            for item in curve.units
        ],
        **cell,
    )


def _band(figure: go.Figure, curve: GainCurve, axis: StrengthAxis, cell: Cell) -> None:
    places = [axis.place(spread.weight) for spread in curve.spreads]
    for low, high, alpha in ((0, 4, 0.12), (1, 3, 0.25)):
        figure.add_scatter(
            x=[*places, *reversed(places)],
            y=[spread.quantiles[high] for spread in curve.spreads]
            + [spread.quantiles[low] for spread in reversed(curve.spreads)],
            mode="lines",
            line={"width": 0, "color": BIOLOGICAL},
            fill="toself",
            fillcolor=tint(BIOLOGICAL, alpha),
            hoverinfo="skip",
            **cell,
        )
    figure.add_scatter(
        x=places,
        y=[spread.quantiles[2] for spread in curve.spreads],
        mode="lines+markers",
        line={"color": BIOLOGICAL, "width": 2},
        marker={"color": BIOLOGICAL, "size": 5},
        hoverinfo="text",
        hovertext=[_hover(spread) for spread in curve.spreads],
        **cell,
    )


def _failures(figure: go.Figure, curve: GainCurve, axis: StrengthAxis, cell: Cell) -> None:
    shift = 0.012 * (axis.highest - axis.zero) * (1 if curve.axis == "perturbation" else -1)
    colour = _AXIS_COLOURS[curve.axis]
    rates = [spread.failure for spread in curve.spreads]
    figure.add_scatter(
        x=[axis.place(spread.weight) + shift for spread in curve.spreads],
        y=[share for share, _, _ in rates],
        mode="lines+markers",
        name=f"{curve.axis}: share that loses",
        line={"color": tint(colour, 0.5), "width": 1},
        marker={"color": colour, "size": 6, "symbol": _SYMBOLS[curve.axis]},
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [upper - share for share, _, upper in rates],
            "arrayminus": [share - lower for share, lower, _ in rates],
            "color": tint(colour, 0.4),
            "thickness": 1,
            "width": 2,
        },
        hoverinfo="text",
        hovertext=[f"{curve.axis}, {_hover(spread)}" for spread in curve.spreads],
        **cell,
    )


def _hover(spread: Spread) -> str:
    share, lower, upper = spread.failure
    return drawn(
        f"{letter()} = {number(spread.weight)}: median {signed(spread.quantiles[2])}, 90 % of units from "
        f"{signed(spread.quantiles[0])} to {signed(spread.quantiles[4])}; {spread.losses} of {spread.units} lose "
        f"({percent(share)}, 95 % interval {percent(lower)} to {percent(upper)})"
    )


def describe_gains(view: GainView) -> str:
    """The chart in words: what happens at the strength pointed at, a clause a metric and axis."""
    parts = []
    for metric, curves in view.drawn():
        for curve in curves:
            spread = curve.at(view.weight)
            if spread is not None:
                parts.append(
                    f"{name(metric)}, {name(curve.axis)}: median {signed(spread.quantiles[2])}, "
                    f"{spread.losses} of {spread.units} lose"
                )
    return f"Gain over {letter()} = 0 at {letter()} = {number(view.weight)} ({view.label}). " + "; ".join(parts) + "."
