"""The position effect drawn on the plate, an embedding a panel."""

from __future__ import annotations

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dashboards.figures.style import EVEN, GAIN, GRID, LOSS, finish
from dashboards.formatting import drawn, percent, signed
from dashboards.position_effect import PositionEffect

_CELL, _NARROW_CELL = 20, 10  # pixels of a row of the plate


def draw_plates(effect: PositionEffect, *, narrow: bool = False) -> go.Figure:
    """A plate an embedding, all on one scale; `narrow` puts them under one another."""
    count, rows = len(effect.maps), len(effect.maps[0].scores)
    titles = [
        f"{drawn(item.label)}{': ' if narrow else '<br>'}{drawn(percent(item.share))} "
        f"({drawn(percent(item.chance))} by chance)"
        for item in effect.maps
    ]
    panel = max(rows * (_NARROW_CELL if narrow else _CELL), 80)
    grid = {"rows": count, "cols": 1} if narrow else {"rows": 1, "cols": count}
    height = panel * count + 44 * (count - 1) if narrow else panel
    figure = make_subplots(
        **grid, subplot_titles=titles, horizontal_spacing=0.05, vertical_spacing=44 / height if narrow else 0.1
    )
    finish(figure, height=height + 88, margin=(30, 70, 46, 42))
    figure.update_annotations(font_size=12)
    largest = max(abs(score) for item in effect.maps for row in item.scores for score in row if score is not None)
    for place, item in enumerate(effect.maps, start=1):
        cell = {"row": place, "col": 1} if narrow else {"row": 1, "col": place}
        letters = [chr(ord("A") + row) if row < 26 else "A" + chr(ord("A") + row - 26) for row in range(rows)]
        columns = len(item.scores[0])
        figure.add_heatmap(
            z=[[None if score is None else round(score, 3) for score in row] for row in item.scores],
            x=list(range(1, columns + 1)),
            y=list(range(rows)),
            zmin=-largest,
            zmax=largest,
            colorscale=[[0.0, LOSS], [0.5, EVEN], [1.0, GAIN]],
            showscale=place == 1,
            colorbar={
                "thickness": 10,
                "outlinewidth": 0,
                "tickfont": {"size": 10},
                "title": {"text": "s.d.", "font": {"size": 11}},
            },
            xgap=1,
            ygap=1,
            hoverinfo="text",
            hovertext=[
                [f"{letters[row]}{column + 1:02d}: {signed(score, 2)} s.d." for column, score in enumerate(scores)]
                for row, scores in enumerate(item.scores)
            ],
            **cell,
        )
        figure.update_yaxes(
            tickvals=list(range(0, rows, 1 if rows <= 8 else 2)),
            ticktext=letters[:: 1 if rows <= 8 else 2],
            range=[rows - 0.5, -0.5],
            **cell,
        )
        figure.update_xaxes(range=[0.5, columns + 0.5], nticks=12, **cell)
    for update in (figure.update_xaxes, figure.update_yaxes):
        update(showgrid=False, ticks="", showline=False, tickfont={"size": 10})
    figure.update_layout(plot_bgcolor=GRID)
    return figure


def describe_plates(effect: PositionEffect) -> str:
    """The maps in words."""
    shares = "; ".join(
        f"{item.label}: {percent(item.share)} ({percent(item.chance)} by chance)" for item in effect.maps
    )
    return f"Share of what is left after plate and perturbation that the position on the plate explains: {shares}."


__all__ = ["describe_plates", "draw_plates"]
