"""T and B of the whole panel over strengths: drawn beside the decision, which rests on the primary metrics alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from dashboards.figures.metric import MetricCurve, metric_curve
from dashboards.records import trained
from dashboards.tables import Summary
from sweeper.store.results import COLUMNS, composite_table

ROLES = ("technical", "biological")
BASELINES = ("raw", "plate_control_centred")
_PAIR = ["seed", "split"]


@dataclass(frozen=True)
class CompositeRow:
    """One strength: T and B, and per baseline their differences from it, paired by seed and split."""

    adversarial_weight: float
    composites: tuple[Summary, ...]
    differences: tuple[tuple[Summary, ...], ...]


@dataclass(frozen=True)
class CompositeView:
    """T and B of one view.

    Attributes:
        margin: of the rows.
        curves: T and B against λ, a line a margin.
        rows: strengths of that margin, ascending.
        baselines: the controls that the differences are from.
        absent: parts that are in no mean of the trained cells; "" when none is.
        unequal: whether cells differ in what is absent, so that their levels are not quite comparable.
    """

    margin: float
    curves: tuple[MetricCurve, ...]
    rows: tuple[CompositeRow, ...]
    baselines: tuple[str, ...]
    absent: str
    unequal: bool


def composite_view(frame: pd.DataFrame, *, view: str, margins: Sequence[float]) -> CompositeView | None:
    """Numbers of one view, from the checked table; None when no trained cell has a composite."""
    rows = frame[frame["view"] == view]
    table = composite_table(rows)
    table["arm"] = table["cell_id"].map(rows.groupby("cell_id")["arm"].first())
    cells = trained(table)
    cells = cells[cells[list(ROLES)].notna().any(axis=1)]
    if cells.empty or not margins:
        return None
    absent = cells["absent"].mode().iloc[0]
    # A baseline that lacks other parts is another composite.
    usable = {name: table[(table["trainer"] == f"control:{name}") & (table["absent"] == absent)] for name in BASELINES}
    baselines = tuple(name for name, rows in usable.items() if len(rows))
    leading = cells[cells["margin"] == margins[0]]
    return CompositeView(
        margin=margins[0],
        curves=tuple(metric_curve(_tidy(table), view=view, metric=role, margins=tuple(margins)) for role in ROLES),
        rows=tuple(
            CompositeRow(
                float(str(weight)),
                tuple(_summary(rows, role) for role in ROLES),
                tuple(tuple(_difference(rows, usable[name], role) for role in ROLES) for name in baselines),
            )
            for weight, rows in leading.groupby("adversarial_weight", sort=True)
        ),
        baselines=baselines,
        absent=absent,
        unequal=len(set(cells["absent"])) > 1,
    )


def _tidy(table: pd.DataFrame) -> pd.DataFrame:
    """The composites as rows of two metrics of the results table."""
    keys = [column for column in table.columns if column in {*COLUMNS, "arm"}]
    rows = table.melt(id_vars=keys, value_vars=list(ROLES), var_name="role", value_name="value")
    rows = rows.assign(metric=rows["role"], status="ok", primary=False, floor=0.0, ceiling=1.0, reason=None)
    return rows.reindex(columns=[*COLUMNS, "arm"]).astype({"raw": "float64", "chance": "float64"})


def _summary(rows: pd.DataFrame, role: str) -> Summary:
    """Mean and s.d. over seeds, folds averaged first."""
    seeds = rows.groupby("seed")[role].mean().dropna()
    if seeds.empty:
        return Summary(mean=None, sd=None, n=0)
    return Summary(mean=float(seeds.mean()), sd=float(seeds.std()) if len(seeds) > 1 else None, n=len(seeds))


def _difference(rows: pd.DataFrame, baseline: pd.DataFrame, role: str) -> Summary:
    paired = rows.merge(baseline[[*_PAIR, role]], on=_PAIR, suffixes=("", "_baseline"))
    return _summary(paired.assign(**{role: paired[role] - paired[f"{role}_baseline"]}), role)


__all__ = ["CompositeRow", "CompositeView", "composite_view"]
