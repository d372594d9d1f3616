"""Lines, regions and words laid over panels, put into a figure at once.

Plotly checks every shape that is there whenever one is added: a figure of thirty took seconds.
"""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go


class Marks:
    """What is to be laid over the panels of a figure made with subplots; `draw` puts it in."""

    def __init__(self, figure: go.Figure) -> None:
        self.figure = figure
        self._shapes: list[dict[str, Any]] = []
        self._words: list[dict[str, Any]] = []

    def upright(self, x: float, *, row: int, col: int, **look: Any) -> None:
        """A line over the whole height of a panel, at a position of its x axis; `look`: as Plotly's shapes."""
        across, up = self._axes(row, col)
        self._shapes.append(
            {"type": "line", "x0": x, "x1": x, "xref": across, "y0": 0, "y1": 1, "yref": f"{up} domain", **look}
        )

    def level(self, y: float, *, row: int, col: int, **look: Any) -> None:
        """A line over the whole width of a panel, at a value of its y axis."""
        across, up = self._axes(row, col)
        self._shapes.append(
            {"type": "line", "x0": 0, "x1": 1, "xref": f"{across} domain", "y0": y, "y1": y, "yref": up, **look}
        )

    def region(self, left: float, right: float, *, row: int, col: int, colour: str) -> None:
        """A part of a panel's width, coloured behind what is drawn."""
        across, up = self._axes(row, col)
        place = {"x0": left, "x1": right, "xref": across, "y0": 0, "y1": 1, "yref": f"{up} domain"}
        self._shapes.append({"type": "rect", **place, "fillcolor": colour, "line": {"width": 0}, "layer": "below"})

    def words(self, text: str, *, row: int, col: int, shares: str = "", **look: Any) -> None:
        """Words on a panel, without an arrow; `look`: as Plotly's annotations.

        Coordinates are values of the panel's axes; those in `shares` ("x", "y", "xy") are shares of its width, height.
        """
        across, up = (
            f"{axis} domain" if letter in shares else axis
            for letter, axis in zip("xy", self._axes(row, col), strict=True)
        )
        self._words.append({"text": text, "showarrow": False, "xref": across, "yref": up, **look})

    def draw(self) -> None:
        """Put all of it into the figure."""
        layout = self.figure.layout
        self.figure.update_layout(
            shapes=[*layout.shapes, *self._shapes], annotations=[*layout.annotations, *self._words]
        )
        self._shapes, self._words = [], []

    def _axes(self, row: int, col: int) -> tuple[str, str]:
        """How a panel's axes are called: x2, y2."""
        panel = self.figure.get_subplot(row, col)
        return panel.xaxis.plotly_name.replace("axis", ""), panel.yaxis.plotly_name.replace("axis", "")


__all__ = ["Marks"]
