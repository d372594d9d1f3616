"""Result records to the tidy table: one row a metric of a cell."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

COLUMNS = (
    "cell_id",
    "trainer",
    "adversarial_weight",
    "margin",
    "seed",
    "split",
    "view",
    "metric",
    "role",
    "value",
    "status",
    "primary",
    "floor",
    "ceiling",
    "raw",
    "chance",
    "reason",
)
"""Columns of results.parquet. `value`: higher is better; NaN where it could not be measured (see `reason`)."""

_FLOATS = ("adversarial_weight", "margin", "value", "floor", "ceiling", "raw", "chance")


def tidy(records: Iterable[Mapping[str, Any]], panel: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The tidy table, in a fixed order whatever the order of the records.

    Args:
        records: result records as in the store.
        panel: metric, role and primary of every metric of the panel: a cell without a panel (failed, collapsed) gets a
            row with NaN for each, so that it is counted and never silently absent.
    """
    rows: list[dict[str, Any]] = []
    for record in records:
        shared = {key: record[key] for key in COLUMNS if key in record and key not in {"reason"}}
        measured = record["metrics"] or [dict(metric) for metric in panel]
        rows.extend({**shared, **metric, "reason": metric.get("reason") or record["reason"]} for metric in measured)
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    for column in _FLOATS:
        frame[column] = pd.to_numeric(frame[column]).astype("float64")
    frame["seed"] = frame["seed"].astype("int64")
    frame["primary"] = frame["primary"].astype("bool")
    for column in ("cell_id", "trainer", "split", "view", "metric", "role", "status", "reason"):
        frame[column] = frame[column].astype("object")
        frame.loc[frame[column].isna(), column] = None
    keys = ["view", "trainer", "adversarial_weight", "margin", "seed", "split", "metric"]
    return frame.sort_values(keys, kind="stable", ignore_index=True)


def to_parquet_bytes(frame: pd.DataFrame) -> bytes:
    """The table as Parquet, for an atomic write."""
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()
