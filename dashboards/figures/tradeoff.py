"""The trade-off curve in numbers: biology and batch removal against strength, with the rule's bounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dashboards.dial import letter
from dashboards.formatting import fixed, name, number
from sweeper.decision import JudgedCurve
from sweeper.decision.verdict.values import LevelMean

ROLES = ("biological", "technical")
LEAST_SPAN = 0.1
"""Of an axis: what is flat within it shall look flat."""
_ROOM = 0.08  # of the span, above and below


@dataclass(frozen=True)
class Mean:
    """A level mean; `lower` and `upper` are None where the decision gives no interval."""

    weight: float
    mean: float
    lower: float | None
    upper: float | None


@dataclass(frozen=True)
class Dot:
    """The composite of one seed; `used` tells whether the decision rests on it."""

    weight: float
    seed: int
    value: float
    used: bool


@dataclass(frozen=True)
class Panel:
    """One composite against λ, anchored (0 floor, 1 ceiling), higher is better; `controls` are (name, value)."""

    role: str
    means: tuple[Mean, ...]
    dots: tuple[Dot, ...]
    controls: tuple[tuple[str, float], ...]

    def limits(self, *further: float) -> tuple[float, float]:
        """The axis that the curve fills: its means, intervals and used seeds, and `further` values."""
        shown = [*further, *(dot.value for dot in self.dots if dot.used)]
        shown += [end for mean in self.means for end in (mean.lower, mean.mean, mean.upper) if end is not None]
        low, high = (min(shown), max(shown)) if shown else (0.0, 1.0)
        missing = max(0.0, LEAST_SPAN - (high - low)) / 2
        room = _ROOM * max(high - low, LEAST_SPAN)
        return low - missing - room, high + missing + room


@dataclass(frozen=True)
class TradeOff:
    """Everything the trade-off chart of one view and margin shows.

    Attributes:
        strengths: every recorded λ, ascending.
        panels: biological, technical.
        loss_line: (δ, B at a loss of δ from the peak), or None without an estimate.
        point: λ_OC with its interval (lower, median, upper), or None.
        safe_up_to, unsafe_from, effective, recommended, unstable: λ, or None where there is none.
        lost: (λ, lost runs, recorded runs).
    """

    view: str
    margin: float
    strengths: tuple[float, ...]
    panels: tuple[Panel, ...]
    loss_line: tuple[float, float] | None
    safe_up_to: float | None
    unsafe_from: float | None
    point: tuple[float, float, float] | None
    effective: float | None
    recommended: float | None
    unstable: float | None
    lost: tuple[tuple[float, int, int], ...]


def trade_off(curve: JudgedCurve) -> TradeOff:
    """Numbers of the chart from one judged curve; level means are plain seed means where the curve was not judged."""
    panels = []
    for role in ROLES:
        dots = tuple(
            Dot(run.weight, run.seed, value, run.used)
            for run in curve.runs
            if (value := getattr(run, role)) is not None
        )
        means = tuple(
            mean for level in curve.levels if (mean := _mean(curve, level.weight, getattr(level, role), dots))
        )
        named = sorted((curve.controls or {}).items())
        controls = tuple((control, value) for control, of in named if (value := of.get(role)) is not None)
        panels.append(Panel(role, means, dots, controls))
    return TradeOff(
        view=curve.view,
        margin=curve.margin or 0.0,
        strengths=tuple(level.weight for level in curve.levels),
        panels=tuple(panels),
        loss_line=None if curve.estimate is None else (curve.delta, (1 - curve.delta) * curve.estimate.peak),
        safe_up_to=curve.safe_up_to,
        unsafe_from=curve.unsafe_from,
        point=curve.point,
        effective=curve.estimate.technical.lambda_effective if curve.estimate else None,
        recommended=curve.recommended,
        unstable=curve.lambda_unstable,
        lost=tuple((level.weight, level.lost, level.recorded) for level in curve.levels),
    )


def _mean(curve: JudgedCurve, weight: float, level: LevelMean | None, dots: Sequence[Dot]) -> Mean | None:
    """None for a level that a judged curve leaves out: the survivors of a failing strength have no meaningful mean."""
    if level is not None:
        return Mean(weight, level.mean, level.lower, level.upper)
    values = [dot.value for dot in dots if dot.weight == weight]
    return Mean(weight, sum(values) / len(values), None, None) if values and curve.estimate is None else None


def describe_trade_off(numbers: TradeOff) -> str:
    """The chart in words: both composites at λ = 0, at the ends and at the marks."""
    parts = []
    for panel in numbers.panels:
        if panel.means:
            ends = (panel.means[0], max(panel.means, key=lambda mean: mean.mean), panel.means[-1])
            words = [f"{fixed(mean.mean)} at {letter()} = {number(mean.weight)}" for mean in ends]
            parts.append(f"{name(panel.role)} composite: {words[0]}, best {words[1]}, {words[2]}.")
        else:
            parts.append(f"{name(panel.role)} composite: nothing measured.")
    for weight, text in (
        (numbers.safe_up_to, f"Safe up to {letter()} = {{}}."),
        (numbers.unsafe_from, f"Unsafe from {letter()} = {{}}."),
        (numbers.effective, f"Effective from {letter()} = {{}}."),
        (numbers.recommended, f"Recommended {letter()} = {{}}."),
    ):
        if weight is not None:
            parts.append(text.format(number(weight)))
    if numbers.point is not None:
        low, middle, high = map(number, numbers.point)
        parts.append(f"Over-correction at about {letter()} = {middle} ({low} to {high}).")
    return " ".join(parts)
