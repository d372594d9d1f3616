"""The tidy results table as the report reads it: checked, in one order, folds averaged within a seed."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import pandas as pd

from sweeper.arms.arm import Arm, arm_column
from sweeper.store.results import COLUMNS
from trainers.errors import InputError

_NUMBERS = ("adversarial_weight", "margin", "value", "floor", "ceiling", "raw", "chance")
_ORDER = ["view", "trainer", "margin", "adversarial_weight", "seed", "split", "role", "metric", "cell_id"]
_SEED_KEYS = ["view", "arm", "trainer", "margin", "adversarial_weight", "metric", "role", "primary", "seed"]
_LEVEL_KEYS = _SEED_KEYS[:-1]


def checked(results: pd.DataFrame, *, fresh_seeds: Collection[int] = ()) -> pd.DataFrame:
    """The table with every expected column, numbers as float64 and rows in one order, whatever order they came in.

    Args:
        results: tidy table.
        fresh_seeds: seeds of the confirmation. Their runs are the arm "confirm": no number of the sweep averages them.

    Returns:
        The table with the further column `arm`, of values of `Arm`.

    Raises:
        InputError: a column is missing.
    """
    missing = [column for column in COLUMNS if column not in results.columns]
    if missing:
        raise InputError(f"results table: column {missing[0]!r} is missing; it needs {', '.join(COLUMNS)}")
    frame = results.loc[:, list(COLUMNS)].copy()
    for column in _NUMBERS:
        frame[column] = pd.to_numeric(frame[column]).astype("float64")
    for column in ("adversarial_weight", "margin"):
        frame[column] = frame[column].map(_as_in_decision, na_action="ignore")
    frame["arm"] = arm_column(frame["trainer"], frame["seed"], fresh_seeds)
    frame["primary"] = frame["primary"].astype("boolean").fillna(value=False).astype(bool)
    return frame.sort_values(_ORDER, kind="stable", na_position="first", ignore_index=True)


def trained(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of the sweep itself: no control, no run of an arm beside it, no rung."""
    return frame[frame["arm"] == Arm.SWEEP]


def without_ladder(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of everything but the ladder, whose rungs measure more than the sweep's panel."""
    return frame[frame["arm"] != Arm.LADDER]


def controls(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of the non-trained reference embeddings."""
    return frame[frame["arm"] == Arm.CONTROL]


def seed_means(frame: pd.DataFrame) -> pd.DataFrame:
    """One row a (view, trainer, strength, metric, seed): plain means over folds, of measured values in `ok` cells."""
    usable = frame[(frame["status"] == "ok") & frame["value"].notna()]
    return usable.groupby(_SEED_KEYS, dropna=False, sort=True, as_index=False)[
        ["value", "floor", "ceiling", "raw", "chance"]
    ].mean()


def level_means(frame: pd.DataFrame) -> pd.DataFrame:
    """One row a (view, trainer, strength, metric): mean, sample s.d. over seeds (NaN for one), number of seeds n."""
    return (
        seed_means(frame)
        .groupby(_LEVEL_KEYS, dropna=False, sort=True, as_index=False)
        .agg(
            mean=("value", "mean"),
            sd=("value", "std"),
            n=("value", "size"),
            floor=("floor", "mean"),
            ceiling=("ceiling", "mean"),
            raw=("raw", "mean"),
            chance=("chance", "mean"),
        )
    )


def cells(frame: pd.DataFrame) -> pd.DataFrame:
    """One row a cell: where it sits, its status, and its reasons for lost or missing values joined in one line.

    What qualifies a value that is there is no such reason.
    """
    frame = frame.assign(reason=frame["reason"].where(frame["value"].isna() | (frame["status"] != "ok")))
    keys = ["cell_id", "trainer", "view", "margin", "adversarial_weight", "seed", "split", "status"]
    grouped = frame.groupby(keys, dropna=False, sort=False, as_index=False)
    table: pd.DataFrame = grouped.agg(measured=("value", "count"), reason=("reason", _joined))
    return table


def metric_names(frame: pd.DataFrame, role: str) -> list[str]:
    """Names of a role's metrics, primary ones first, then by name."""
    rows = frame.loc[(frame["role"] == role) & frame["metric"].notna(), ["metric", "primary"]]
    first = rows.groupby("metric")["primary"].any()
    return sorted(first.index, key=lambda metric: (not first[metric], metric))


def missing_reason(frame: pd.DataFrame, metric: str) -> str:
    """Why finished cells have no value of `metric`: the distinct reasons, in one line; "" when they all have one."""
    rows = frame[frame["metric"] == metric]
    if len(rows) and not (rows["status"] == "ok").any():
        return "no cell finished"
    return _joined(rows.loc[(rows["status"] == "ok") & rows["value"].isna(), "reason"])


def common_note(frame: pd.DataFrame) -> str:
    """What qualifies the values of these rows, where it is one and the same for all of them; "" otherwise."""
    notes = frame.loc[(frame["status"] == "ok") & frame["value"].notna(), "reason"].fillna("").unique()
    return str(notes[0]) if len(notes) == 1 else ""


def _as_in_decision(weight: float) -> float:
    """Numbers in the decision document have 12 significant digits; its strengths must be found in the table."""
    return float(f"{weight:.12g}")


def _joined(reasons: Iterable[object]) -> str:
    return "; ".join(dict.fromkeys(str(reason) for reason in reasons if isinstance(reason, str) and reason))
