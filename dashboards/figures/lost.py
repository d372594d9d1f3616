"""The perturbations that are lost first: gain by strength, a row a perturbation."""

from __future__ import annotations

import plotly.graph_objects as go

from dashboards.dial import dial, letter
from dashboards.figures.style import EVEN, GAIN, GRID, INK, LOSS, finish
from dashboards.formatting import drawn, name, number, signed
from dashboards.lost_first import LostFirst

_ROW, _NARROW_ROW = 24, 19  # pixels
_LONGEST = 18  # letters of a name


def draw_lost(found: LostFirst, *, narrow: bool = False) -> go.Figure:
    """Gains over λ = 0 in colour; a dot where the loss is beyond the noise of the runs."""
    rows, columns = len(found.shown), len(found.strengths)
    known = [abs(gain) for item in found.shown for gain in item.gains if gain is not None]
    largest = max(known, default=1.0) or 1.0
    figure = go.Figure(
        go.Heatmap(
            z=[list(item.gains) for item in found.shown],
            x=list(range(columns)),
            y=list(range(rows)),
            text=[["●" if clear else "" for clear in item.clear] for item in found.shown],
            texttemplate="%{text}",
            textfont={"size": 9, "color": INK},
            colorscale=[[0.0, LOSS], [0.5, EVEN], [1.0, GAIN]],
            zmin=-largest,
            zmax=largest,
            xgap=2,
            ygap=2,
            hoverinfo="text",
            hovertext=[
                [
                    drawn(f"{item.unit}, {letter()} = {number(weight)}: {signed(gain)}")
                    for weight, gain in zip(found.strengths, item.gains, strict=True)
                ]
                for item in found.shown
            ],
            colorbar={"thickness": 10, "outlinewidth": 0, "tickfont": {"size": 10}, "nticks": 5},
        )
    )
    finish(figure, height=(_NARROW_ROW if narrow else _ROW) * rows + 62, margin=(92 if narrow else 150, 64, 6, 56))
    longest = _LONGEST // 2 if narrow else _LONGEST
    figure.update_xaxes(
        tickvals=list(range(columns)),
        ticktext=[number(weight) for weight in found.strengths],
        title_text=dial().title,
        title_font_size=12,
        showgrid=False,
        ticks="",
        range=[-0.5, columns - 0.5],
        tickfont={"size": 11},
    )
    figure.update_yaxes(
        tickvals=list(range(rows)),
        ticktext=[drawn(_short(item.unit, longest)) for item in found.shown],
        showgrid=False,
        ticks="",
        range=[rows - 0.5, -0.5],
        tickfont={"size": 11},
    )
    figure.update_layout(plot_bgcolor=GRID)
    return figure


def _short(unit: str, longest: int) -> str:
    return unit if len(unit) <= longest else unit[: longest - 1] + "…"


def describe_lost(found: LostFirst) -> str:
    """The picture in words."""
    first = "; ".join(
        f"{item.unit} from {letter()} = {number(item.lost_from)}" for item in found.shown[:5] if item.lost_from
    )
    tail = f"; first {first}" if first else ""
    return f"{name(found.metric)}: {found.lost} of {found.of} perturbations are lost somewhere{tail}."


__all__ = ["describe_lost", "draw_lost"]
