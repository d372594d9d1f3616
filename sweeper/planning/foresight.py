"""What can be decided, known before training: from the table, its splits and the options of the metrics alone.

Whether a metric can be measured the metric itself says of the rows (`Metric.absent`, which its function asks, too), and
whether a curve can be judged the decision says of a table in which every measurable cell has a value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from sweeper.config.sweep_config import SweepConfig
from sweeper.decision.input.collapse_screen import screen
from sweeper.decision.input.curve import build_curve
from sweeper.decision.input.decision_settings import DecisionSettings
from sweeper.decision.input.results_table import COLUMNS, InvalidTableError, prepare, select
from sweeper.decision.input.shortage import shortage
from sweeper.decision.verdict.confounded import Nesting, confounded
from sweeper.metrics.layout import Absence
from sweeper.metrics.registry import REGISTRY
from sweeper.planning.cells import panel_names
from sweeper.planning.drawn_splits import DrawnSplits, deciding_metrics

Outlook = Literal["possible", "later", "impossible", "confounded"]
"""possible: a decision can come out; later: with more strengths or seeds than the grid has; impossible: not with these
rows; confounded: not at any, as perturbations and batches are one."""
HOPELESS: tuple[Outlook, ...] = ("impossible", "confounded")


@dataclass(frozen=True, kw_only=True)
class Missing:
    """A metric that a split cannot measure."""

    seed: int
    fold: int
    absence: Absence


@dataclass(frozen=True, kw_only=True)
class MetricForesight:
    """Where a metric of the panel can be measured in a view.

    Attributes:
        role: "technical" or "biological".
        deciding: whether the decision rests on it.
        splits: number of splits that it is measured on, over all seeds.
        missing: those that cannot measure it.
    """

    metric: str
    role: str
    deciding: bool
    splits: int
    missing: tuple[Missing, ...]

    @property
    def nowhere(self) -> bool:
        """No split measures it."""
        return len(self.missing) == self.splits

    @property
    def why(self) -> str:
        """For people: where it is missing, for what reason, and what would mend it."""
        first = self.missing[0].absence
        where = ""
        if not self.nowhere:
            seeds = sorted({item.seed for item in self.missing})
            where = f"in {len(self.missing)} of {self.splits} splits (seed{'s' * (len(seeds) > 1)} {listed(seeds)}): "
        return f"{where}{first.reason}{f'; {first.remedy}' if first.remedy else ''}"


@dataclass(frozen=True, kw_only=True)
class ViewForesight:
    """What can come out of a view.

    Attributes:
        outlook: see `Outlook`.
        reason: why it is not "possible"; "" where it is.
        metrics: the panel, in its order.
    """

    view: str
    outlook: Outlook
    reason: str
    metrics: tuple[MetricForesight, ...]

    @property
    def line(self) -> str:
        """For people: whether a decision is possible."""
        if self.outlook == "possible":
            able = [item for item in self.metrics if item.deciding and not item.nowhere]
            groups = [
                f"{role}: {', '.join(item.metric for item in able if item.role == role)}"
                for role in ("technical", "biological")
            ]
            return f"possible ({'; '.join(groups)})"
        word = {
            "later": "not possible yet",
            "impossible": "not possible",
            "confounded": "not possible, confounded by design",
        }
        return f"{word[self.outlook]}: {self.reason}"

    def lacking(self, *, brief: bool) -> tuple[str, ...]:
        """For people: metrics that are missing somewhere, those that decide first; one line a reason.

        What would mend a metric would not mend a confounded design, and what does not decide is named only if `brief`.
        """
        missing = [item for item in self.metrics if item.missing]
        deciding = [item for item in missing if item.deciding and self.outlook != "impossible"]  # there the reason
        others = [item for item in missing if not item.deciding]
        if self.outlook == "confounded":
            deciding, others, brief = [], missing, True
        names = [", ".join(item.metric for item in others)] if others else []
        return (*_by_reason(deciding), *(names if brief else _by_reason(others)))

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "outlook": self.outlook,
            "reason": self.reason,
            "metrics": [
                {
                    "metric": item.metric,
                    "role": item.role,
                    "deciding": item.deciding,
                    "splits": item.splits,
                    "missing": [
                        {"seed": at.seed, "fold": at.fold, "reason": at.absence.reason, "remedy": at.absence.remedy}
                        for at in item.missing
                    ],
                }
                for item in self.metrics
            ],
        }


@dataclass(frozen=True, kw_only=True)
class Foresight:
    """What can be decided.

    Attributes:
        deciding_view: the one whose curve makes the rule.
        views: by name, in the configuration's order.
    """

    deciding_view: str
    views: Mapping[str, ViewForesight]

    @property
    def hopeless(self) -> bool:
        """No decision can come out of any view."""
        return all(found.outlook in HOPELESS for found in self.views.values())

    @property
    def refusal(self) -> str:
        """For people, one line: why nothing can be decided."""
        reasons: dict[str, list[str]] = {}
        for view, found in self.views.items():
            reasons.setdefault(found.line, []).append(view)
        listed = "; ".join(f"{' and '.join(views)}: a decision is {line}" for line, views in reasons.items())
        return f"no view can decide. {listed}"

    @property
    def warnings(self) -> tuple[str, ...]:
        """One line for each view that cannot decide, or not yet, while the sweep goes on."""
        able = [view for view, found in self.views.items() if found.outlook not in HOPELESS]
        lines = []
        for view, found in self.views.items():
            if found.outlook == "possible":
                continue
            other = ""
            if view == self.deciding_view and found.outlook in HOPELESS and able:
                other = f"; it is the deciding view, and {' and '.join(able)} can (decision.deciding_view)"
            lines.append(f"view {view}: a decision is {found.line}{other}")
        return tuple(lines)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {view: found.to_json() for view, found in self.views.items()}


def _by_reason(metrics: Sequence[MetricForesight]) -> list[str]:
    """One line a reason, with the metrics that it holds for."""
    lines: dict[str, list[str]] = {}
    for item in metrics:
        lines.setdefault(item.why, []).append(item.metric)
    return [f"{', '.join(names)}: {why}" for why, names in lines.items()]


def foresee(config: SweepConfig, splits: DrawnSplits, folds: Mapping[str, int], nesting: Nesting) -> Foresight:
    """What the sweep's views can decide.

    Args:
        config: of the sweep.
        splits: its splits.
        folds: view → number of folds.
        nesting: of the whole screen.
    """
    views = {}
    for view, count in folds.items():
        metrics = _metrics(config, splits, view, count)
        outlook, reason = _outlook(config, view, count, metrics, nesting)
        views[view] = ViewForesight(view=view, outlook=outlook, reason=reason, metrics=metrics)
    return Foresight(deciding_view=config.decision.deciding_view, views=views)


def _metrics(config: SweepConfig, splits: DrawnSplits, view: str, folds: int) -> tuple[MetricForesight, ...]:
    names, deciding = panel_names(config), {name for role in deciding_metrics(config).values() for name in role}
    missing: dict[str, list[Missing]] = {name: [] for name in names}
    for seed in config.seeds:
        for fold in range(folds):
            layout = splits.layout(view, fold, seed)
            for name in names:
                if (absence := layout.once(REGISTRY[name].absent)) is not None:
                    missing[name].append(Missing(seed=seed, fold=fold, absence=absence))
    return tuple(
        MetricForesight(
            metric=name,
            role=REGISTRY[name].role,
            deciding=name in deciding,
            splits=folds * len(config.seeds),
            missing=tuple(missing[name]),
        )
        for name in names
    )


def _outlook(
    config: SweepConfig, view: str, folds: int, metrics: Sequence[MetricForesight], nesting: Nesting
) -> tuple[Outlook, str]:
    deciding = [item for item in metrics if item.deciding]
    biology = [item.metric for item in deciding if item.role == "biological"]
    if (why := confounded(nesting, biology)) is not None:
        return "confounded", why
    weights = sorted({weight for weight, _ in config.strengths.grid()})
    # More strengths may be added, and seeds where they are too few: these measure what the best of the others does.
    more = max(config.decision.min_strengths, config.decision.min_degrees_of_freedom)
    ample = [*weights, *(weights[-1] + 1.0 + number for number in range(more))]
    best = min(config.seeds, key=lambda seed: sum(at.seed == seed for item in deciding for at in item.missing))
    own = {seed: seed for seed in config.seeds}
    added = range(max(own) + 1, max(own) + 1 + max(0, config.decision.min_seeds - len(own)))
    mended = {**own, **dict.fromkeys(added, best)}
    rows = _Rows(config.trainer, view, folds, deciding)
    if (lacking := _refused(rows.table(ample, mended), view, config.decision)) is not None:
        return "impossible", "; ".join(_by_reason([item for item in deciding if item.missing])) or lacking
    if (lacking := _refused(rows.table(weights, own), view, config.decision)) is not None:
        return "later", lacking
    return "possible", ""


@dataclass(frozen=True)
class _Rows:
    """The results of finished cells in which every measurable metric has some value."""

    trainer: str
    view: str
    folds: int
    deciding: Sequence[MetricForesight]

    def table(self, weights: Sequence[float], seeds: Mapping[int, int]) -> pd.DataFrame:
        """Of these strengths and seeds, each of which measures what the seed that it is mapped to does."""
        rows = [
            self._row(metric, weight, seed, fold, like)
            for metric in self.deciding
            for weight in weights
            for seed, like in seeds.items()
            for fold in range(self.folds)
        ]
        return pd.DataFrame(rows, columns=[*COLUMNS])

    def _row(self, metric: MetricForesight, weight: float, seed: int, fold: int, like: int) -> dict[str, Any]:
        reason = next((at.absence.reason for at in metric.missing if (at.seed, at.fold) == (like, fold)), None)
        value = 0.5 + (seed % 512) / 1024  # seeds that differ, by as much at every strength: no copies, no collapse
        return {
            "trainer": self.trainer,
            "split": f"{self.view}/{fold}",
            "view": self.view,
            "metric": metric.metric,
            "role": metric.role,
            "status": "ok",
            "adversarial_weight": weight,
            "margin": 0.0,
            "seed": seed,
            "value": value if reason is None else None,
            "floor": 0.0,
            "ceiling": 1.0,
            "primary": True,
            "reason": reason or "",
        }


def _refused(results: pd.DataFrame, view: str, settings: DecisionSettings) -> str | None:
    """Why the decision would not judge such a table, in its own words."""
    try:
        curve = build_curve(select(prepare(results), view=view, margin=0.0), settings)
    except InvalidTableError as refused:
        return str(refused)
    lacking = shortage(curve, screen(curve, settings), settings)
    return None if lacking is None else lacking[1]


def listed(numbers: Sequence[int]) -> str:
    """Numbers for people, at most five of them."""
    return ", ".join(map(str, numbers[:5])) + (f" and {len(numbers) - 5} more" if len(numbers) > 5 else "")


__all__ = ["Foresight", "MetricForesight", "Missing", "ViewForesight", "foresee"]
