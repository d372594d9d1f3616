"""The metrics themselves by batch, cell type or further column, as the report tabulates them beside the gains."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

BESIDE = ("plain_accuracy",)
"""Shown where it was measured although it does not decide."""


@dataclass(frozen=True)
class Value:
    """Mean over runs (seed × fold) and its sample standard deviation; None for a single run."""

    mean: float
    sd: float | None


@dataclass(frozen=True)
class UnitRow:
    """One unit: the most wells of a run that it was measured on, and per metric raw, λ = 0 and the strength shown."""

    unit: str
    wells: int
    scores: tuple[tuple[Value | None, Value | None, Value | None], ...]


@dataclass(frozen=True)
class UnitTable:
    """One axis: a row a unit, three values a metric."""

    axis: str
    metrics: tuple[str, ...]
    rows: tuple[UnitRow, ...]


def unit_tables(
    values: pd.DataFrame, *, view: str, margin: float, weight: float, primary: Sequence[str]
) -> tuple[UnitTable, ...]:
    """A table an axis with two or more units; batches last, there are most of them.

    Args:
        values: as `sweeper.findings.unit_gains.unit_values`, strengths and margins as in the decision.
        view, margin, weight: where.
        primary: metrics that decide, in the order shown; `BESIDE` follow.
    """
    raw = values["margin"].isna()
    here = values[(values["view"] == view) & (raw | (values["margin"] == margin))]
    here = here[here["adversarial_weight"].isna() | here["adversarial_weight"].isin([0.0, weight])]
    found = []
    for axis in sorted(here["axis"].unique(), key=lambda name: (name == "batch", name)):
        mine = here[here["axis"] == axis]
        metrics = tuple(name for name in dict.fromkeys((*primary, *BESIDE)) if name in set(mine["metric"]))
        if mine["unit"].nunique() < 2 or not metrics:
            continue
        cells = {
            (row["metric"], row["unit"], _level(row["adversarial_weight"])): Value(
                row["mean"], row["sd"] if math.isfinite(row["sd"]) else None
            )
            for row in mine.to_dict("records")
        }
        wells = mine.groupby("unit", sort=True)["wells"].max()
        rows = tuple(
            UnitRow(
                str(unit),
                int(count),
                tuple(
                    (
                        cells.get((metric, unit, None)),
                        cells.get((metric, unit, 0.0)),
                        cells.get((metric, unit, weight)),
                    )
                    for metric in metrics
                ),
            )
            for unit, count in wells.items()
        )
        found.append(UnitTable(str(axis), metrics, rows))
    return tuple(found)


def _level(weight: float) -> float | None:
    return None if math.isnan(weight) else weight


__all__ = ["UnitRow", "UnitTable", "Value", "unit_tables"]
