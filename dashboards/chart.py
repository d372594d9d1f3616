"""A figure made ready for the page: its JSON, its size in wide and narrow places, and its text alternative."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go


@dataclass(frozen=True)
class Chart:
    """A figure ready for the page.

    Attributes:
        id: of its place in the page.
        json: data, layout and, where a narrow place needs another one, the layout there; safe inside a script tag.
        alternative: the figure in words.
        height, narrow_height: pixels.
    """

    id: str
    json: str
    alternative: str
    height: int
    narrow_height: int


def chart(identity: str, figure: go.Figure, alternative: str, *, narrow: go.Figure | None = None) -> Chart:
    """The chart of a figure; `narrow` is the same traces on axes laid out for a phone."""
    spec = _spec(figure)
    small = spec
    if narrow is not None:
        small = _spec(narrow)
        spec = {**spec, "narrow": small["layout"]}
    content = script_safe(json.dumps(spec, ensure_ascii=False, separators=(",", ":")))
    return Chart(identity, content, alternative, int(spec["layout"]["height"]), int(small["layout"]["height"]))


def _spec(figure: go.Figure) -> dict[str, Any]:
    """Data and layout."""
    found: dict[str, Any] = json.loads(figure.to_json(engine="json"), parse_float=_rounded)
    return found


def _rounded(text: str) -> float:
    """Five digits: below a pixel, and much of the page's size."""
    return float(f"{float(text):.5g}")


def script_safe(json_text: str) -> str:
    """JSON that cannot end the script element it stands in, nor open a comment in it; it parses to the same value."""
    return json_text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


__all__ = ["Chart", "chart", "script_safe"]
