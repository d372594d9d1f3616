"""The report's tables as plain rows: strengths, controls and cells."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from dashboards.records import cells, controls, level_means, trained

STATUSES = ("ok", "failed", "collapsed", "oom")


@dataclass(frozen=True)
class Summary:
    """Mean and sample s.d. over n seeds (folds averaged first); mean None where nothing was measured."""

    mean: float | None
    sd: float | None
    n: int


@dataclass(frozen=True)
class StrengthRow:
    """One strength of one view; `metrics` in the order asked for, `statuses` counts its cells."""

    margin: float
    adversarial_weight: float
    metrics: tuple[Summary, ...]
    statuses: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class ControlRow:
    """One control embedding of one view; `metrics` in the order asked for."""

    control: str
    metrics: tuple[Summary, ...]


@dataclass(frozen=True)
class CellRow:
    """One cell: controls have no strength (None); `reason` says why values are lost or missing ("" when none is)."""

    cell_id: str
    trainer: str
    view: str
    split: str
    margin: float | None
    adversarial_weight: float | None
    seed: int
    status: str
    measured: int
    reason: str


def strength_rows(frame: pd.DataFrame, *, view: str, metrics: tuple[str, ...]) -> tuple[StrengthRow, ...]:
    """Every trained strength of a view, by margin, then λ; strengths that only failed are there too."""
    rows = trained(frame[frame["view"] == view])
    keys = ["margin", "adversarial_weight"]
    found = _summaries(level_means(rows), keys)
    statuses = cells(rows).groupby([*keys, "status"]).size()
    strengths = rows[keys].drop_duplicates().sort_values(keys)
    return tuple(
        StrengthRow(
            margin=margin,
            adversarial_weight=weight,
            metrics=tuple(found.get((margin, weight, metric), _NOTHING) for metric in metrics),
            statuses=_counts(statuses.loc[(margin, weight)]),
        )
        for margin, weight in zip(strengths["margin"].tolist(), strengths["adversarial_weight"].tolist(), strict=True)
    )


def control_rows(frame: pd.DataFrame, *, view: str, metrics: tuple[str, ...]) -> tuple[ControlRow, ...]:
    """Every control of a view, by name."""
    rows = controls(frame[frame["view"] == view])
    found = _summaries(level_means(rows), ["trainer"])
    return tuple(
        ControlRow(control, tuple(found.get((control, metric), _NOTHING) for metric in metrics))
        for control in sorted(rows["trainer"].unique())
    )


def cell_rows(frame: pd.DataFrame) -> tuple[CellRow, ...]:
    """Every cell, in the table's order."""
    return tuple(
        CellRow(
            cell_id=str(row["cell_id"]),
            trainer=str(row["trainer"]),
            view=str(row["view"]),
            split=str(row["split"]),
            margin=_number(row["margin"]),
            adversarial_weight=_number(row["adversarial_weight"]),
            seed=int(row["seed"]),
            status=str(row["status"]),
            measured=int(row["measured"]),
            reason=str(row["reason"]),
        )
        for row in cells(frame).to_dict("records")
    )


def status_counts(frame: pd.DataFrame) -> tuple[tuple[str, int], ...]:
    """Cells by status, `ok` first."""
    return _counts(cells(frame)["status"].value_counts())


_NOTHING = Summary(mean=None, sd=None, n=0)


def _summaries(levels: pd.DataFrame, keys: list[str]) -> dict[tuple[object, ...], Summary]:
    columns = [levels[key].tolist() for key in [*keys, "metric", "mean", "sd", "n"]]
    return {tuple(key): Summary(mean, _number(sd), n) for *key, mean, sd, n in zip(*columns, strict=True)}


def _counts(statuses: pd.Series) -> tuple[tuple[str, int], ...]:
    found = {str(status): int(count) for status, count in statuses.items()}
    order = [*(status for status in STATUSES if status in found), *sorted(set(found) - set(STATUSES))]
    return tuple((status, found[status]) for status in order)


def _number(value: float) -> float | None:
    return float(value) if pd.notna(value) else None
