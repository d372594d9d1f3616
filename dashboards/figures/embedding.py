"""Embeddings before and after: a plane an embedding, coloured by batch above and by perturbation below."""

from __future__ import annotations

from collections.abc import Iterator

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dashboards.figures.style import CATEGORIES, INK, MUTED, finish, tint
from dashboards.formatting import drawn, percent
from dashboards.projection import Projection

_OTHER = "others"
_CONTROLS = "negative controls"
_SIDE, _NARROW_SIDE = 290, 130  # pixels of a panel
_LEGEND = 190


def draw_embeddings(planes: Projection, *, narrow: bool = False) -> go.Figure:
    """Two rows of panels, a column an embedding; a point a well, which the page follows through all panels.

    `meta.linked` says once what each well is: a trace has the numbers of its wells alone.
    """
    columns = len(planes.labels)
    side = _NARROW_SIDE if narrow else _SIDE
    legend = 104 if narrow else 0  # under the panels of a phone, beside them elsewhere
    titles = [_titled(planes, place, narrow=narrow) for place in range(columns)]
    figure = make_subplots(rows=2, cols=columns, horizontal_spacing=0.02, vertical_spacing=0.04, column_titles=titles)
    finish(figure, height=2 * side + 66 + legend, margin=(26, 8 if narrow else _LEGEND, 46, 16 + legend))
    figure.update_annotations(font_size=11 if narrow else 12)
    for row, (kind, groups) in enumerate(_groups(planes), start=1):
        for place, plane in enumerate(planes.planes, start=1):
            for name, colour, wells in groups:
                figure.add_scatter(
                    x=[float(plane[well, 0]) for well in wells],
                    y=[float(plane[well, 1]) for well in wells],
                    customdata=wells,
                    mode="markers",
                    name=drawn(name),
                    legendgroup=drawn(f"{kind} {name}"),
                    legend="legend" if row == 1 else "legend2",
                    showlegend=place == 1,
                    marker={"color": colour, "size": 4.5},
                    unselected={"marker": {"opacity": 0.06}},
                    hoverinfo="name",
                    row=row,
                    col=place,
                )
        figure.update_yaxes(title_text=f"by {kind}", title_font_size=12, title_standoff=2, row=row, col=1)
    for update in (figure.update_xaxes, figure.update_yaxes):
        update(range=[-1.08, 1.08], showticklabels=False, ticks="", showgrid=False, mirror=True)
    common = {
        "font": {"size": 11, "color": INK},
        "itemsizing": "constant",
        "tracegroupgap": 0,
        "bgcolor": "rgba(0,0,0,0)",
    }
    places = (
        (
            {"orientation": "h", "x": 0, "y": -0.02, "yanchor": "top"},
            {"orientation": "h", "x": 0, "y": -0.17, "yanchor": "top"},
        )
        if narrow
        else ({"x": 1.01, "y": 1.0, "yanchor": "top"}, {"x": 1.01, "y": 0.48, "yanchor": "top"})
    )
    first, second = ({**common, **place} for place in places)
    said = [drawn(f"{batch}, {name}") for batch, name in zip(planes.batches, planes.perturbations, strict=True)]
    figure.update_layout(showlegend=True, legend=first, legend2=second, meta={"linked": said})
    return figure


def _titled(planes: Projection, place: int, *, narrow: bool) -> str:
    """Two lines: the embedding, and how much of it is seen; on a phone the strength in place of that."""
    label, share = drawn(planes.labels[place]), planes.explained[place]
    if narrow or share is None:
        return label.replace(", ", "<br>")
    return f"{label}<br>{percent(share)} of its variance"


def _groups(planes: Projection) -> Iterator[tuple[str, list[tuple[str, str, list[int]]]]]:
    """What is coloured alike: (kind, [(name, colour, wells)]), those without a colour of their own first."""
    yield "batch", _coloured(planes.batches, planes.named_batches, [False] * planes.wells)
    yield "perturbation", _coloured(planes.perturbations, planes.named_perturbations, list(planes.controls))


def _coloured(names: tuple[str, ...], own: tuple[str, ...], controls: list[bool]) -> list[tuple[str, str, list[int]]]:
    members: dict[str, list[int]] = {_OTHER: [], _CONTROLS: [], **{name: [] for name in own}}
    for well, name in enumerate(names):
        members[_CONTROLS if controls[well] else name if name in own else _OTHER].append(well)
    colours = {_OTHER: tint(MUTED, 0.35), _CONTROLS: INK, **dict(zip(own, CATEGORIES, strict=False))}
    return [(name, colours[name], wells) for name, wells in members.items() if wells]


def describe_embeddings(planes: Projection) -> str:
    """The picture in words: what is drawn, not what a reader may see in it."""
    shares = ", ".join(
        f"{label} ({percent(share)} of its variance)" if share is not None else label
        for label, share in zip(planes.labels, planes.explained, strict=True)
    )
    return (
        f"{planes.method} of {planes.wells} of {planes.of} held-out wells: {shares}. Coloured by batch "
        f"({len(set(planes.batches))}) and by perturbation ({len(set(planes.perturbations))})."
    )


__all__ = ["describe_embeddings", "draw_embeddings"]
