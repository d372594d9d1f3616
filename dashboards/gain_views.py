"""Gains by batch, cell type and perturbation, as the report shows them: distribution, failure rate, worst units."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from dashboards.dial import letter
from dashboards.formatting import number
from dashboards.records import level_means, missing_reason, trained
from dashboards.unit_values import UnitTable, unit_tables
from sweeper.decision import JudgedCurve
from sweeper.findings.unit_gains import BASELINES, RAW_FEATURES, UNCORRECTED, Gains, pointed

DRAWN = ("batch", "perturbation")
"""The axes that the figure draws; others have few units and stand in the tables alone."""
_NAMED = 3


@dataclass(frozen=True)
class Spread:
    """Gains of all units at one strength.

    Attributes:
        quantiles: 5, 25, 50, 75 and 95 % of the gain over units.
        losses, clear, large: units with a loss; with one beyond the noise of its runs; of more than δ of the range.
        failure: share of losses with its 95 % interval (share, lower, upper).
        lost_runs: most runs that a unit lacks here.
    """

    weight: float
    units: int
    quantiles: tuple[float, ...]
    losses: int
    clear: int
    large: int
    failure: tuple[float, float, float]
    lost_runs: int


@dataclass(frozen=True)
class UnitGain:
    """Gain of one unit at one strength; `error` is None for a single run."""

    weight: float
    unit: str
    gain: float
    error: float | None


@dataclass(frozen=True)
class GainCurve:
    """Gains of one metric on one axis against one baseline: `spreads` by ascending λ, `units` by λ, then unit."""

    metric: str
    axis: str
    baseline: str
    spreads: tuple[Spread, ...]
    units: tuple[UnitGain, ...]

    @property
    def against(self) -> str:
        """The baseline in words."""
        return {UNCORRECTED: f"{letter()}\u00a0=\u00a00", RAW_FEATURES: "raw features"}[self.baseline]

    def at(self, weight: float) -> Spread | None:
        """The spread at a trained strength."""
        return next((spread for spread in self.spreads if spread.weight == weight), None)

    def worst(self, weight: float) -> tuple[UnitGain, ...]:
        """The units that lose most there, worst first; those that gain when none loses are not named."""
        losing = [unit for unit in self.units if unit.weight == weight and unit.gain < 0]
        return tuple(sorted(losing, key=lambda unit: (unit.gain, unit.unit))[:_NAMED])


@dataclass(frozen=True)
class Drop:
    """Balanced accuracy on seen and on test batches at one strength (None: raw features), and the drop between."""

    label: str
    inside: float | None
    outside: float | None
    drop: float | None


@dataclass(frozen=True)
class GainView:
    """Where one view's correction helps and hurts, at one margin.

    Attributes:
        label, weight: how the strength was chosen that the table is about, and its λ.
        primary, secondary: curves by metric, axis and baseline.
        drops: accuracy in distribution against the test wells; () when not measured, see `drop_reason`.
        tables: the metrics themselves by batch, cell type or further column.
    """

    view: str
    margin: float
    label: str
    weight: float
    primary: tuple[GainCurve, ...]
    secondary: tuple[GainCurve, ...]
    drops: tuple[Drop, ...]
    drop_reason: str
    tables: tuple[UnitTable, ...]

    def drawn(self) -> tuple[tuple[str, tuple[GainCurve, ...]], ...]:
        """The primary metrics against λ = 0, with their curves by axis: what the figure shows."""
        against = [curve for curve in self.primary if curve.baseline == UNCORRECTED]
        names = dict.fromkeys(curve.metric for curve in against)
        return tuple((metric, tuple(curve for curve in against if curve.metric == metric)) for metric in names)


def gain_view(
    gains: Gains | None,
    frame: pd.DataFrame,
    *,
    view: str,
    margin: float | None,
    curve: JudgedCurve | None,
    primary: Sequence[str],
) -> GainView | None:
    """Numbers of one view, or None where no cell has units or nothing but λ = 0 was trained.

    Args:
        gains: as `sweeper.findings.unit_gains.gains`.
        frame: the checked results.
        view: the view, and
        margin: the margin it is shown at.
        curve: the judged curve there, for the strength that it points at.
        primary: names of the primary metrics, in the order shown.
    """
    if gains is None or margin is None:
        return None
    of = gains.summary[(gains.summary["view"] == view) & (gains.summary["margin"].map(_as_in_decision) == margin)]
    by_unit = gains.by_unit[(gains.by_unit["view"] == view) & (gains.by_unit["margin"].map(_as_in_decision) == margin)]
    found = pointed(
        sorted(of["adversarial_weight"].map(_as_in_decision).unique()),
        recommended=curve.recommended if curve else None,
        safe_up_to=curve.safe_up_to if curve else None,
        best=curve.best_weight if curve else None,
    )
    if found is None:
        return None
    label, weight = found
    first = [metric for metric in primary if metric in set(of["metric"])]
    rest = sorted(set(of["metric"]) - set(first))
    axes = _axes(of)
    curves = {
        metric: tuple(
            _curve(of, by_unit, metric, axis, baseline)
            for axis in axes
            for baseline in BASELINES
            if len(of[(of["metric"] == metric) & (of["axis"] == axis) & (of["baseline"] == baseline)])
        )
        for metric in (*first, *rest)
    }
    rows = frame[frame["view"] == view]
    drops = _drops(rows, margin, label, weight)
    return GainView(
        view=view,
        margin=margin,
        label=label,
        weight=weight,
        primary=tuple(curve for metric in first for curve in curves[metric]),
        secondary=tuple(curve for metric in rest for curve in curves[metric]),
        drops=drops,
        tables=unit_tables(_canonical(gains.values), view=view, margin=margin, weight=weight, primary=first),
        drop_reason="" if drops else missing_reason(rows, "accuracy_gap") or "not in the panel",
    )


def _axes(of: pd.DataFrame) -> list[str]:
    """Batches, then columns with two or more values, then perturbations."""
    units = of.groupby("axis")["units"].max()
    further = sorted(str(axis) for axis, count in units.items() if axis not in DRAWN and count > 1)
    return [DRAWN[0], *further, DRAWN[1]]


def _canonical(values: pd.DataFrame) -> pd.DataFrame:
    strengths = ("margin", "adversarial_weight")
    return values.assign(**{name: values[name].map(_as_in_decision, na_action="ignore") for name in strengths})


def _curve(of: pd.DataFrame, by_unit: pd.DataFrame, metric: str, axis: str, baseline: str) -> GainCurve:
    def mine(frame: pd.DataFrame) -> list[dict[Hashable, Any]]:
        chosen = frame[(frame["metric"] == metric) & (frame["axis"] == axis) & (frame["baseline"] == baseline)]
        return chosen.to_dict("records")

    return GainCurve(
        metric=metric,
        axis=axis,
        baseline=baseline,
        spreads=tuple(
            Spread(
                weight=_as_in_decision(row["adversarial_weight"]),
                units=row["units"],
                quantiles=tuple(row[f"q{level:02d}"] for level in (5, 25, 50, 75, 95)),
                losses=row["losses"],
                clear=row["clear_losses"],
                large=row["large_losses"],
                failure=(row["failure_rate"], row["failure_lower"], row["failure_upper"]),
                lost_runs=row["lost_runs"],
            )
            for row in mine(of)
        ),
        units=tuple(
            UnitGain(
                weight=_as_in_decision(row["adversarial_weight"]),
                unit=str(row["unit"]),
                gain=row["gain"],
                error=row["error"] if math.isfinite(row["error"]) else None,
            )
            for row in mine(by_unit)
        ),
    )


def _drops(rows: pd.DataFrame, margin: float, label: str, weight: float) -> tuple[Drop, ...]:
    """Raw features, λ = 0 and the strength pointed at, where the gap was measured."""
    means = level_means(
        rows[rows["metric"].isin(["in_distribution_accuracy", "perturbation_accuracy", "accuracy_gap"])]
    )
    own = trained(means)
    found = []
    for words, part in (
        ("raw features", means[means["trainer"] == "control:raw"]),
        (f"no correction, {letter()}\u00a0=\u00a00", own[(own["margin"] == margin) & (own["adversarial_weight"] == 0)]),
        (
            f"{label}, {letter()}\u00a0=\u00a0{number(weight)}",
            own[(own["margin"] == margin) & (own["adversarial_weight"] == weight)],
        ),
    ):
        raw = part.groupby("metric")["raw"].mean()
        if "accuracy_gap" in raw:
            found.append(
                Drop(words, raw.get("in_distribution_accuracy"), raw.get("perturbation_accuracy"), raw["accuracy_gap"])
            )
    return tuple(found)


def _as_in_decision(weight: float) -> float:
    return float(f"{weight:.12g}")
