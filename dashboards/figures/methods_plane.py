"""All methods in one plane: batch removal T along, biology B up, each with its uncertainty."""

from __future__ import annotations

from dataclasses import dataclass

import plotly.graph_objects as go

from dashboards.figures.style import BIOLOGICAL, EFFECTIVE, INK, MUTED, SAFE, finish
from dashboards.formatting import drawn
from sweeper.decision.methods.comparison import NONE, Comparison, Standing
from sweeper.decision.methods.comparison_text import strength_of

_KINDS = {"none": ("x", MUTED), "advised": ("circle", BIOLOGICAL), "published": ("diamond-open", EFFECTIVE)}


@dataclass(frozen=True)
class Mark:
    """One point of the plane.

    Attributes:
        kind: "none" (no correction), "advised" or "published".
        chosen: it is what the comparison advises.
    """

    label: str
    kind: str
    chosen: bool
    at: Standing


def plane_marks(comparison: Comparison) -> tuple[Mark, ...]:
    """No correction, then every method where it is advised and where it is published, where that was measured."""
    found = []
    if comparison.uncorrected is not None:
        found.append(Mark(NONE, "none", comparison.advised == NONE, comparison.uncorrected))
    for verdict in comparison.methods:
        advised, published = verdict.at_advised, verdict.at_published
        if advised is not None and advised.strength > 0:
            label = f"{verdict.method}, {strength_of(verdict, advised.strength)}"
            found.append(Mark(label, "advised", comparison.advised == verdict.method, advised))
        if published is not None and (advised is None or published.strength != advised.strength):
            label = f"{verdict.method} as published, {strength_of(verdict, published.strength)}"
            found.append(Mark(label, "published", False, published))
    return tuple(mark for mark in found if mark.at.technical is not None and mark.at.biological is not None)


def draw_plane(marks: tuple[Mark, ...]) -> go.Figure:
    """A cross a mark."""
    figure = finish(go.Figure(), height=440, margin=(70, 30, 20, 60))
    for mark in marks:
        technical, biological = mark.at.technical, mark.at.biological
        assert technical is not None  # noqa: S101 - only measured marks are drawn
        assert biological is not None  # noqa: S101
        symbol, colour = _KINDS[mark.kind]
        colour = SAFE if mark.chosen else colour
        figure.add_scatter(
            x=[technical.mean],
            y=[biological.mean],
            error_x={
                "array": [technical.upper - technical.mean],
                "arrayminus": [technical.mean - technical.lower],
                "color": colour,
                "thickness": 1.2,
            },
            error_y={
                "array": [biological.upper - biological.mean],
                "arrayminus": [biological.mean - biological.lower],
                "color": colour,
                "thickness": 1.2,
            },
            mode="markers+text",
            text=[drawn(mark.label)],
            textposition="top right",
            textfont={"size": 11, "color": INK},
            marker={"symbol": symbol, "size": 13 if mark.chosen else 9, "color": colour},
            hoverinfo="text",
            hovertext=f"{drawn(mark.label)}<br>T {technical.mean:.3f}, B {biological.mean:.3f}",
        )
    figure.update_xaxes(title="batch removal T (0 at its floor, 1: none left)")
    figure.update_yaxes(title="biology B (0 at chance, 1: the best there can be)")
    return figure


def describe_plane(marks: tuple[Mark, ...]) -> str:
    """The figure in words."""
    said = [
        f"{mark.label}: T {mark.at.technical.mean:.2f}, B {mark.at.biological.mean:.2f}"
        for mark in marks
        if mark.at.technical is not None and mark.at.biological is not None
    ]
    return "Batch removal against biology. " + "; ".join(said) + "."


__all__ = ["Mark", "describe_plane", "draw_plane", "plane_marks"]
