"""The strength axis: log10 λ, with λ = 0 at a place left of a break; or λ itself, where the dial is linear."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from dashboards.dial import dial
from dashboards.figures.marks import Marks
from dashboards.figures.style import MUTED
from dashboards.formatting import number


@dataclass(frozen=True)
class StrengthAxis:
    """Where each λ is drawn: at log10 λ, and λ = 0 at `zero`, left of the axis break; at λ where `linear`.

    Attributes:
        zero: position of λ = 0.
        gap: position of the axis break, between `zero` and the smallest λ > 0; `zero` where there is none.
        lowest, highest: positions of the smallest and largest swept λ > 0 (both `zero` when there is none).
        ticks: (position, label) pairs.
        linear: whether λ = 0 stands where it belongs.
    """

    zero: float
    gap: float
    lowest: float
    highest: float
    ticks: tuple[tuple[float, str], ...]
    linear: bool = False

    @property
    def limits(self) -> tuple[float, float]:
        """Drawn range: a little room left of λ = 0 and right of the largest λ."""
        pad = self._unit
        return self.zero - 0.6 * pad, self.highest + pad

    @property
    def _unit(self) -> float:
        return max(0.0 if self.linear and self.highest > 0 else 0.25, 0.07 * (self.highest - self.zero))

    def place(self, adversarial_weight: float) -> float:
        """Position of a λ ≥ 0; what lies between 0 and the swept range stays right of the break."""
        if adversarial_weight <= 0:
            return self.zero
        at = adversarial_weight if self.linear else math.log10(adversarial_weight)
        return min(max(at, self.gap), self.limits[1])


def strength_axis(strengths: Iterable[float]) -> StrengthAxis:
    """The axis for the swept λ (0 may be among them), by the scale of the dial that is spoken of."""
    linear = dial().scale == "linear"
    places = sorted({value if linear else math.log10(value) for value in strengths if value > 0})
    if not places:
        return StrengthAxis(
            zero=0.0, gap=0.0 if linear else 0.5, lowest=0.0, highest=0.0, ticks=((0.0, "0"),), linear=linear
        )
    lowest, highest = places[0], places[-1]
    if linear:
        return StrengthAxis(zero=0.0, gap=0.0, lowest=lowest, highest=highest, ticks=_even_ticks(highest), linear=True)
    step = max(0.5, 0.12 * (highest - lowest))
    zero = lowest - step
    return StrengthAxis(
        zero=zero, gap=lowest - 0.5 * step, lowest=lowest, highest=highest, ticks=_ticks(zero, lowest, highest)
    )


def _even_ticks(highest: float) -> tuple[tuple[float, str], ...]:
    """Round numbers from 0 on, four to eight of them."""
    decade = 10.0 ** math.floor(math.log10(highest))
    step = next(part * decade for part in (0.2, 0.25, 0.5, 1.0, 2.0) if highest / (part * decade) <= 8)
    return tuple(
        (place, number(place)) for place in (step * count for count in range(math.floor(highest / step + 1e-9) + 1))
    )


def _ticks(zero: float, lowest: float, highest: float) -> tuple[tuple[float, str], ...]:
    decades = range(math.floor(lowest), math.ceil(highest) + 1)
    steps = (1,) if highest - lowest > 2.5 else (1, 3) if highest - lowest > 1.2 else (1, 2, 5)
    marks = [(exponent + math.log10(step), step * 10.0**exponent) for exponent in decades for step in steps]
    inside = [(place, number(value)) for place, value in marks if lowest - 1e-9 <= place <= highest + 0.2]
    if not inside:
        inside = [(place, number(10.0**place)) for place in sorted({lowest, highest})]
    return ((zero, "0"), *inside)


def draw_axis(marks: Marks, axis: StrengthAxis, *, row: int, col: int, labels: bool, title: str | None = None) -> None:
    """Set the x axis of one panel of the figure, with the break among its marks."""
    marks.figure.update_xaxes(
        range=list(axis.limits),
        tickvals=[place for place, _ in axis.ticks],
        ticktext=[label for _, label in axis.ticks],
        showticklabels=labels,
        title_text=title,
        title_font_size=12,
        row=row,
        col=col,
    )
    if axis.highest > axis.zero and not axis.linear:
        look = {"color": MUTED, "width": 1, "dash": "1px,5px"}
        marks.upright(axis.gap, line=look, layer="below", row=row, col=col)
        if labels:
            marks.words(
                "//",
                x=axis.gap,
                y=0,
                shares="y",
                yanchor="middle",
                bgcolor="white",
                borderpad=0,
                font={"size": 12, "color": MUTED},
                row=row,
                col=col,
            )
