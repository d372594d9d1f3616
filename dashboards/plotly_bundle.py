"""The drawing library inside a report: plotly.js's own bundle of cartesian charts, a third of the full one."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

BUNDLE = Path(__file__).parent / "vendor" / "plotly-cartesian.min.js"

TRACES = frozenset({"bar", "heatmap", "scatter"})
"""Kinds of trace that figures here may use; the bundle has more, but no map, no 3-D and no WebGL."""

_BANNER = re.compile(r"plotly\.js \(cartesian - minified\) v(\S+)")


@cache
def plotly_bundle() -> str:
    """The script."""
    return BUNDLE.read_text(encoding="utf-8")


def bundled_version() -> str:
    """plotly.js's version, as the script says it."""
    found = _BANNER.search(plotly_bundle()[:200])
    assert found is not None  # noqa: S101 - a file of this package
    return found[1]


__all__ = ["BUNDLE", "TRACES", "bundled_version", "plotly_bundle"]
