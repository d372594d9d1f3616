"""The study as a picture: coverage and unsafe share of every method on every curve that has a true point.

One panel a measure, one row a curve, one mark a method with a bar of two Monte Carlo standard errors; the release gate
is a line. Plain SVG, so that the committed file is text and its change can be read.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from benchmarks.locator.methods import METHODS

Figures = dict[str, Any]
# Okabe & Ito's colours, told apart by the colour-blind; marks differ in shape as well.
LOOKS = {
    "locator": ("#000000", "circle"),
    "broken stick": ("#E69F00", "square"),
    "unimodal": ("#56B4E9", "diamond"),
    "gp": ("#009E73", "up"),
    "score": ("#D55E00", "cross"),
    "kneedle": ("#CC79A7", "down"),
}
LEFT, PANEL, GAP, ROW, TOP, BOTTOM = 250, 300, 40, 24, 76, 40
PANELS = (
    ("coverage", "90 % interval holds the true point", 0.85, "at least"),
    ("unsafe", "lower end (or estimate) above the true point", 0.08, "at most"),
)


def write_figure(rows: Sequence[Figures], setting: str, path: Path) -> None:
    """Write the picture of one setting's cells; nothing where none of them has a true point."""
    cells = [row for row in rows if row["setting"] == setting and row["true"] is not None]
    names = list(dict.fromkeys((row["design"], row["shape"]) for row in cells))
    if names:
        path.write_text("\n".join(_picture(cells, names, setting)) + "\n", encoding="utf-8")


def _picture(cells: Sequence[Figures], names: Sequence[tuple[str, str]], setting: str) -> list[str]:
    width = LEFT + len(PANELS) * (PANEL + GAP)
    height = TOP + ROW * len(names) + BOTTOM
    fewest, most = (of(row["repetitions"] for row in cells) for of in (min, max))
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12" role="img">',
        f"<title>{escape(setting)}: coverage and unsafe share of the locator and five other methods</title>",
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for place, method in enumerate(METHODS):
        x = 20 + place * 125
        lines += [_mark(method, x, 20), f'<text x="{x + 12}" y="24">{escape(method)}</text>']
    said = f"{setting}; {fewest} repetitions a cell" if fewest == most else f"{setting}; {fewest} to {most} a cell"
    lines.append(f'<text x="20" y="48" fill="#555">{escape(said)}; bars: two Monte Carlo standard errors</text>')
    for number, (design, shape) in enumerate(names):
        y = TOP + ROW * number + ROW / 2
        label = shape if design == "grid" else f"{shape}, {design}"
        lines.append(f'<text x="{LEFT - 12}" y="{y + 4:.1f}" text-anchor="end">{escape(label)}</text>')
    for panel, (key, title, gate, sense) in enumerate(PANELS):
        lines += _panel(cells, names, LEFT + panel * (PANEL + GAP), key, f"{title} (gate: {sense} {gate:g})", gate)
    return [*lines, "</svg>"]


def _panel(
    cells: Sequence[Figures], names: Sequence[tuple[str, str]], left: float, key: str, title: str, gate: float
) -> list[str]:
    bottom = TOP + ROW * len(names)
    lines = [f'<text x="{left}" y="{TOP - 8}" font-size="11">{escape(title)}</text>']
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        x = left + PANEL * tick
        lines.append(f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{bottom}" stroke="#ddd"/>')
        lines.append(f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{tick:g}</text>')
    x = left + PANEL * gate
    lines.append(f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{bottom}" stroke="#b00" stroke-dasharray="4 3"/>')
    for number, (design, shape) in enumerate(names):
        for row in cells:
            if (row["design"], row["shape"]) != (design, shape) or row.get(key) is None:
                continue
            share = float(row[key])
            error = 2 * (share * (1 - share) / row["repetitions"]) ** 0.5
            # The locator in the middle of its row, the others just above and below it.
            y = TOP + ROW * (number + 0.5) + 3 * (list(METHODS).index(row["method"]) % 3)
            low, high = (left + PANEL * min(max(end, 0.0), 1.0) for end in (share - error, share + error))
            colour = LOOKS[row["method"]][0]
            lines.append(f'<line x1="{low:.1f}" y1="{y:.1f}" x2="{high:.1f}" y2="{y:.1f}" stroke="{colour}"/>')
            lines.append(_mark(row["method"], left + PANEL * share, y))
    return lines


def _mark(method: str, x: float, y: float) -> str:
    colour, form = LOOKS[method]
    if form == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>'
    if form == "cross":
        arms = f"M{x - 3.5:.1f} {y - 3.5:.1f}l7 7m0 -7l-7 7"
        return f'<path d="{arms}" stroke="{colour}" stroke-width="1.6" fill="none"/>'
    turns = {
        "square": ((-3.2, -3.2), (3.2, -3.2), (3.2, 3.2), (-3.2, 3.2)),
        "diamond": ((0, -4.5), (4.5, 0), (0, 4.5), (-4.5, 0)),
        "up": ((0, -4.5), (4, 3), (-4, 3)),
        "down": ((0, 4.5), (4, -3), (-4, -3)),
    }[form]
    corners = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in turns)
    return f'<polygon points="{corners}" fill="{colour}"/>'
