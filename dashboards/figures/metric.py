"""One metric against strength, a line a margin: the small multiples of the report."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dashboards.dial import at_second, dial, letter
from dashboards.figures.axis import StrengthAxis, draw_axis
from dashboards.figures.marks import Marks
from dashboards.figures.style import COLOURS, GRID, INK, MUTED, SYMBOLS, finish, tint
from dashboards.formatting import drawn, fixed, name, number
from dashboards.records import common_note, level_means, missing_reason, seed_means, trained

_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")


@dataclass(frozen=True)
class Level:
    """A metric at one strength: mean and sample s.d. over seeds (folds averaged first); `sd` is None for one seed."""

    adversarial_weight: float
    mean: float
    sd: float | None
    seeds: tuple[float, ...]


@dataclass(frozen=True)
class MetricCurve:
    """One metric in one view.

    Attributes:
        lines: (margin, levels by ascending λ), the leading margin first.
        raw_features: mean of the uncorrected features, or None.
        floor: chance level of the value, or None.
        reason: why values are missing ("" when none is).
        note: what qualifies the values, where it is the same for all ("" otherwise), e.g. how many classes there are.
    """

    view: str
    metric: str
    role: str
    primary: bool
    lines: tuple[tuple[float, tuple[Level, ...]], ...]
    raw_features: float | None
    floor: float | None
    reason: str
    note: str

    @property
    def measured(self) -> bool:
        """Whether there is anything to draw."""
        return any(levels for _, levels in self.lines)


def metric_curve(frame: pd.DataFrame, *, view: str, metric: str, margins: tuple[float, ...]) -> MetricCurve:
    """Numbers of one metric in one view; `frame` is the checked table, `margins` in drawing order."""
    rows = frame[(frame["view"] == view) & (frame["metric"] == metric)]
    means, seeds = level_means(rows), seed_means(rows)
    lines = tuple((margin, _levels(trained(means), trained(seeds), margin)) for margin in margins)
    reference = means.loc[means["trainer"] == "control:raw", "mean"]
    return MetricCurve(
        view=view,
        metric=metric,
        role=str(rows["role"].iloc[0]) if len(rows) else "technical",
        primary=bool(rows["primary"].any()),
        lines=lines,
        raw_features=float(reference.iloc[0]) if len(reference) else None,
        floor=_finite(trained(means)["floor"].mean()),
        reason=missing_reason(trained(rows), metric),
        note=common_note(trained(rows)),
    )


def _levels(means: pd.DataFrame, seeds: pd.DataFrame, margin: float) -> tuple[Level, ...]:
    chosen = seeds[seeds["margin"] == margin]
    return tuple(
        Level(
            adversarial_weight=row["adversarial_weight"],
            mean=row["mean"],
            sd=_finite(row["sd"]),
            seeds=tuple(chosen.loc[chosen["adversarial_weight"] == row["adversarial_weight"], "value"].tolist()),
        )
        for row in means[means["margin"] == margin].sort_values("adversarial_weight").to_dict("records")
    )


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def draw_metric(curve: MetricCurve, axis: StrengthAxis) -> go.Figure:
    """Means with seed dots; the leading margin solid, the others broken and lighter; raw features dotted grey."""
    figure = make_subplots(rows=1, cols=1)
    colour, symbol = COLOURS[curve.role], SYMBOLS[curve.role]
    for i, (margin, levels) in reversed(list(enumerate(curve.lines))):
        shade = colour if i == 0 else tint(colour, 0.55)
        dots = [(level.adversarial_weight, value) for level in levels for value in level.seeds]
        figure.add_scatter(
            x=[axis.place(weight) for weight, _ in dots],
            y=[value for _, value in dots],
            mode="markers",
            marker={"color": tint(colour, 0.35 if i == 0 else 0.2), "size": 4},
            hoverinfo="skip",
        )
        positive = [level for level in levels if level.adversarial_weight > 0]
        for part, mode in ((levels, "markers"), (positive, "lines")):
            figure.add_scatter(
                x=[axis.place(level.adversarial_weight) for level in part],
                y=[level.mean for level in part],
                mode=mode,
                line={"color": shade, "width": 2, "dash": _DASHES[i % len(_DASHES)]},
                marker={"color": shade, "size": 6 if i == 0 else 5, "symbol": symbol},
                hoverinfo="skip" if mode == "lines" else "text",
                hovertext=None if mode == "lines" else [_hover(level, margin) for level in part],
            )
    marks = Marks(figure)
    for value, dash, shade in ((curve.raw_features, "dot", MUTED), (curve.floor, "solid", GRID)):
        if value is not None:
            marks.level(value, line={"color": shade, "width": 1.5, "dash": dash}, layer="below", row=1, col=1)
    finish(figure, height=230, margin=(48, 12, 8, 44))
    draw_axis(marks, axis, row=1, col=1, labels=True, title=dial().title)
    marks.draw()
    figure.update_layout(font={"size": 11, "color": INK})
    return figure


def _hover(level: Level, margin: float) -> str:
    return drawn(
        f"{letter()} = {number(level.adversarial_weight)}{at_second(margin, ', ')}: {fixed(level.mean, 3)}"
        f" ± {fixed(level.sd, 3)} (s.d.), {len(level.seeds)} seeds"
    )


def describe_metric(curve: MetricCurve) -> str:
    """The chart in one sentence, for readers who do not see it."""
    if not curve.measured:
        return f"{name(curve.metric)}: not measured. {curve.reason}"
    margin, levels = next((margin, levels) for margin, levels in curve.lines if levels)
    best = max(levels, key=lambda level: level.mean)
    first, top, last = (
        f"{fixed(level.mean, 3)} at {letter()} = {number(level.adversarial_weight)}"
        for level in (levels[0], best, levels[-1])
    )
    return f"{name(curve.metric)} against {letter()}{at_second(margin, ' at ')}: {first}, best {top}, {last}."
