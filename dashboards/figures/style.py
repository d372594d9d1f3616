"""Colours, layout and small drawing helpers shared by the figures."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

# Okabe & Ito (2008), distinguishable with every common colour vision; roles also differ in marker shape.
BIOLOGICAL = "#0072B2"
TECHNICAL = "#D55E00"
EFFECTIVE = "#7A5195"
SAFE = "#009E73"
UNSAFE = "#B2182B"
INK = "#222222"
MUTED = "#666666"
GRID = "#E6E6E6"
PAPER = "white"
SAFE_INK = "#00684B"
"""The safe colour where it is text: 4.5 to 1 on paper, which `SAFE` is not."""
CATEGORIES = ("#0072B2", "#B36B00", "#00805E", "#B5527F", "#3A8FC2", "#C24E00", "#6E5A1E", "#7A5195")
"""Batches and perturbations that have a colour of their own; each 3 to 1 on paper."""
LOSS, EVEN, GAIN = "#B35806", "#F4F4F4", "#2166AC"
"""Ends and middle of what has a sign."""
SYMBOLS = {"biological": "circle", "technical": "diamond"}
COLOURS = {"biological": BIOLOGICAL, "technical": TECHNICAL}
FONT = "-apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'Liberation Sans', sans-serif"


_DARK = {
    BIOLOGICAL: "#5AB4EC",
    TECHNICAL: "#F58A3C",
    EFFECTIVE: "#C9A3DC",
    SAFE: "#2FBF92",
    SAFE_INK: "#4FD3A6",
    UNSAFE: "#FF8078",
    INK: "#E8EAED",
    MUTED: "#A9B0B8",
    GRID: "#333A42",
    PAPER: "#14181D",
    "#B36B00": "#E6A23C",
    "#00805E": "#36C79B",
    "#B5527F": "#E58AB5",
    "#3A8FC2": "#8CCBF2",
    "#C24E00": "#FF8F4D",
    "#6E5A1E": "#CDB46A",
    LOSS: "#C2621B",
    EVEN: "#262C33",
    GAIN: "#5AB4EC",
    # What the composites' heat maps go through.
    "#F4F9FD": "#1A232B",
    "#A6CDE8": "#20496B",
    "#3F8FC9": "#1F6AA5",
    "#FFF7EF": "#2A211A",
    "#FDC38D": "#6B3D17",
    "#EC7A2B": "#A8500F",
    "#EEEEEE": "#22282F",
    "#8C4A00": "#D9A066",
    "#E69F00": "#E6B23C",
}


def tint(colour: str, alpha: float) -> str:
    """`colour` ("#RRGGBB") with opacity `alpha` in [0, 1]."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha:g})"


def dark_palette() -> dict[str, str]:
    """Every colour of the figures with its counterpart on dark paper; a tint by how it begins, whatever its opacity."""
    tints = {_opened(light): _opened(dark) for light, dark in _DARK.items() if light.startswith("#")}
    return {**_DARK, **tints}


def _opened(colour: str) -> str:
    return tint(colour, 0).removesuffix("0)")


def finish(figure: go.Figure, *, height: int, margin: tuple[int, int, int, int] = (70, 30, 40, 55)) -> go.Figure:
    """Common layout: white, no template, no legend; `margin` is (left, right, top, bottom) in pixels."""
    left, right, top, bottom = margin
    figure.update_layout(
        template="none",
        height=height,
        autosize=True,
        showlegend=False,
        hovermode="closest",
        margin={"l": left, "r": right, "t": top, "b": bottom},
        paper_bgcolor=PAPER,
        plot_bgcolor=PAPER,
        font={"family": FONT, "size": 13, "color": INK},
        hoverlabel={"bgcolor": PAPER, "font": {"color": INK, "size": 12}},
    )
    for update in (figure.update_xaxes, figure.update_yaxes):
        update(showline=True, linecolor=MUTED, gridcolor=GRID, zeroline=False, ticks="outside", tickcolor=MUTED)
    return figure


def spread(values: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions near `values`, at least `gap` apart, inside [low, high] where there is room: places for labels."""
    order = sorted(range(len(values)), key=lambda i: values[i])
    placed = [min(max(values[i], low), high) for i in order]
    for i in range(1, len(placed)):
        placed[i] = max(placed[i], placed[i - 1] + gap)
    if placed and placed[-1] > high:
        placed[-1] = high
        for i in range(len(placed) - 2, -1, -1):
            placed[i] = min(placed[i], placed[i + 1] - gap)
    positions = [0.0] * len(values)
    for position, i in zip(placed, order, strict=True):
        positions[i] = position
    return positions
