"""Result records to tidy tables: one row a metric of a cell, one row a unit of a metric; composites of the former."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from sweeper.metrics.composites import composites

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

_OF_COMPOSITES = ("cell_id", "trainer", "adversarial_weight", "margin", "seed", "split", "view")
_OF_PARTS = ("metric", "value", "floor", "ceiling", "reason")
_FLOATS = ("adversarial_weight", "margin", "value", "floor", "ceiling", "raw", "chance")


UNIT_SCHEMA = pa.schema(
    [
        ("cell_id", pa.string()),
        ("trainer", pa.string()),
        ("adversarial_weight", pa.float64()),
        ("margin", pa.float64()),
        ("seed", pa.int64()),
        ("view", pa.string()),
        ("fold", pa.int64()),
        ("split", pa.string()),
        ("metric", pa.string()),
        ("axis", pa.string()),
        ("unit", pa.string()),
        ("wells", pa.int32()),
        ("value", pa.float32()),
    ]
)
"""Columns of units.parquet: a label metric of a cell on the queries of one batch or one perturbation (`axis`)."""

_OF_CELL = UNIT_SCHEMA.names[:8]
_CELLS_A_GROUP = 64

Units = Callable[[str], pd.DataFrame | None]
"""Reads the units of a cell by its id; None where there are none. `Store.units` is one."""


def tidy(records: Iterable[Mapping[str, Any]], panel: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The tidy table, in a fixed order whatever the order of the records.

    A metric that decided in any cell is primary in all: a sweep that goes on, goes on with what it was begun with.

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
    frame["primary"] = frame["primary"].astype("bool").groupby(frame["metric"]).transform("any")
    for column in ("cell_id", "trainer", "split", "view", "metric", "role", "status", "reason"):
        frame[column] = frame[column].astype("object")
        frame.loc[frame[column].isna(), column] = None
    keys = ["view", "trainer", "adversarial_weight", "margin", "seed", "split", "metric"]
    return frame.sort_values(keys, kind="stable", ignore_index=True)


def composite_table(results: pd.DataFrame) -> pd.DataFrame:
    """T, B and √(T·B) of every cell with a panel, from the tidy table; see `sweeper.metrics.composites`.

    Reported beside the decision, which rests on the primary metrics. Comparable between cells whose `absent` is equal.

    Returns:
        One row a cell, in the table's order: the columns that name it, technical, biological, geometric (NaN where
        nothing could be measured) and absent (the parts that are in no mean, joined by commas).
    """
    rows = []
    for _, cell in results[results["status"] == "ok"].groupby("cell_id", sort=False):
        lines = cell[list(_OF_PARTS)].itertuples(index=False, name=None)
        found = composites(dict(zip(_OF_PARTS, line, strict=True)) for line in lines)
        rows.append(
            {
                **{name: cell[name].iloc[0] for name in _OF_COMPOSITES},
                "technical": found.technical,
                "biological": found.biological,
                "geometric": found.geometric,
                "absent": ", ".join(found.absent),
            }
        )
    table = pd.DataFrame(rows, columns=[*_OF_COMPOSITES, "technical", "biological", "geometric", "absent"])
    return table.astype(dict.fromkeys(("technical", "biological", "geometric"), "float64"))


def units(records: Iterable[Mapping[str, Any]], read: Units) -> pd.DataFrame:
    """Every unit of the cells, with the columns of `UNIT_SCHEMA`; texts are categories.

    In a fixed order whatever that of the records. A cell without units (none kept, not `ok`) has no row.
    """
    found = pa.Table.from_batches(
        (batch for table in _unit_groups(records, read) for batch in table.to_batches()), UNIT_SCHEMA
    )
    return _unit_frame(found)


def write_units(records: Iterable[Mapping[str, Any]], read: Units, path: Path) -> int:
    """Write `units` as Parquet, a group of cells at a time; returns the number of rows. Not atomic."""
    rows = 0
    with pq.ParquetWriter(path, UNIT_SCHEMA, compression="zstd") as writer:
        for table in _unit_groups(records, read):
            writer.write_table(table)
            rows += table.num_rows
    return rows


def read_units(path: Path) -> pd.DataFrame:
    """The table that `write_units` wrote, as `units` gives it."""
    return _unit_frame(pq.read_table(path))


def _unit_groups(records: Iterable[Mapping[str, Any]], read: Units) -> Iterator[pa.Table]:
    """Tables of some cells each: what is held at a time does not grow with the sweep."""
    tables: list[pa.Table] = []
    for record in sorted(records, key=_cell_order):
        frame = read(record["cell_id"])
        if frame is None or frame.empty:
            continue
        columns = {
            name: pa.repeat(pa.scalar(record[name], UNIT_SCHEMA.field(name).type), len(frame)) for name in _OF_CELL
        }
        columns |= {
            name: pa.array(
                frame[name].astype(object) if frame[name].dtype == "category" else frame[name],
                UNIT_SCHEMA.field(name).type,
            )
            for name in UNIT_SCHEMA.names[8:]
        }
        tables.append(pa.table(columns, UNIT_SCHEMA))
        if len(tables) == _CELLS_A_GROUP:
            yield pa.concat_tables(tables)
            tables = []
    if tables:
        yield pa.concat_tables(tables)


def _cell_order(record: Mapping[str, Any]) -> tuple[Any, ...]:
    strength = (-1.0 if record[key] is None else record[key] for key in ("margin", "adversarial_weight"))
    return record["view"], record["trainer"], *strength, record["seed"], record["fold"]


def _unit_frame(table: pa.Table) -> pd.DataFrame:
    texts = [field.name for field in UNIT_SCHEMA if field.type == pa.string()]
    frame: pd.DataFrame = table.combine_chunks().to_pandas(categories=texts)
    return frame


def to_parquet_bytes(frame: pd.DataFrame) -> bytes:
    """The table as Parquet, for an atomic write."""
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()
