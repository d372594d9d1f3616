from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sweeper.store.results import (
    COLUMNS,
    UNIT_SCHEMA,
    composite_table,
    read_units,
    tidy,
    to_parquet_bytes,
    units,
    write_units,
)

PANEL = [
    {"metric": "m1", "role": "technical", "primary": True},
    {"metric": "m2", "role": "biological", "primary": False},
]


def record(weight: float | None, seed: int, status: str = "ok") -> dict[str, object]:
    metrics = [
        {**metric, "value": 0.5, "floor": 0.0, "ceiling": 1.0, "raw": 0.1, "chance": 0.1, "reason": None}
        for metric in PANEL
    ]
    return {
        "cell_id": f"{weight}-{seed}",
        "trainer": "abra" if weight is not None else "control:raw",
        "adversarial_weight": weight,
        "margin": None if weight is None else 0.0,
        "seed": seed,
        "fold": 0,
        "split": "v/0",
        "view": "v",
        "status": status,
        "reason": None if status == "ok" else "non-finite loss",
        "metrics": metrics if status == "ok" else [],
    }


def test_failed_cells_have_a_row_for_every_metric_with_their_reason() -> None:
    table = tidy([record(1.0, 0), record(2.0, 0, "failed")], PANEL)
    assert tuple(table.columns) == COLUMNS
    failed = table[table["status"] == "failed"]
    assert set(failed["metric"]) == {"m1", "m2"}
    assert failed["value"].isna().all()
    assert set(failed["reason"]) == {"non-finite loss"}


def test_order_of_records_does_not_matter_to_the_byte() -> None:
    records = [record(w, s) for w in (None, 0.0, 0.3, 10.0) for s in range(3)]
    shuffled = [records[i] for i in np.random.default_rng(0).permutation(len(records))]
    assert to_parquet_bytes(tidy(records, PANEL)) == to_parquet_bytes(tidy(shuffled, PANEL))


def test_composites_of_every_cell_with_a_panel() -> None:
    def cell(seed: int, **values: float | None) -> dict[str, object]:
        roles = {"retrieval_map": "biological", "label_ami": "biological"}
        rows = [
            {"metric": name, "role": roles.get(name, "technical"), "primary": True, "value": value, "floor": 0.0}
            | {"ceiling": 1.0, "raw": value, "chance": 0.0, "reason": None if value is not None else "too few"}
            for name, value in values.items()
        ]
        return {**record(1.0, seed), "metrics": rows}

    records = [
        cell(0, batch_probe_linear=0.5, plate_variance=0.7, retrieval_map=0.4, label_ami=0.2),
        cell(1, batch_probe_linear=0.5, retrieval_map=None),
        record(2.0, 0, "failed"),
    ]
    table = composite_table(tidy(records, PANEL)).set_index("seed")
    assert list(table.index) == [0, 1]
    assert table.loc[0, "technical"] == pytest.approx(0.6)
    assert table.loc[0, "biological"] == pytest.approx(0.3)
    assert table.loc[0, "geometric"] == pytest.approx(0.18**0.5)
    assert "activity" in table.loc[0, "absent"]
    assert "clusters" not in table.loc[0, "absent"]
    assert table.loc[1, "technical"] == pytest.approx(0.5)
    assert np.isnan(table.loc[1, "biological"])
    assert np.isnan(table.loc[1, "geometric"])


def test_controls_have_no_strength() -> None:
    table = tidy([record(None, 0)], PANEL)
    assert table["adversarial_weight"].dtype == np.float64
    assert table["adversarial_weight"].isna().all()
    assert isinstance(table, pd.DataFrame)


def stored(cell_id: str) -> pd.DataFrame | None:
    """Units as a store reads them back; a cell of seed 1 was written before they were kept."""
    if cell_id.endswith("-1"):
        return None
    frame = pd.DataFrame(
        {
            "metric": "m1",
            "axis": ["batch", "batch", "perturbation"],
            "unit": ["b1", "<b>", f"p of {cell_id}"],
            "wells": np.array([4, 5, 9], dtype=np.int32),
            "value": np.array([0.25, -0.5, 0.125], dtype=np.float32),
        }
    )
    return frame.astype(dict.fromkeys(("metric", "axis", "unit"), "category"))


def test_units_are_tidy_and_cells_without_any_have_no_row() -> None:
    found = units([record(1.0, 0), record(None, 0), record(1.0, 1)], stored)
    assert list(found.columns) == UNIT_SCHEMA.names
    assert found["cell_id"].tolist() == ["1.0-0"] * 3 + ["None-0"] * 3
    first = found.iloc[1]
    assert (first["trainer"], first["adversarial_weight"], first["split"]) == ("abra", 1.0, "v/0")
    assert (first["axis"], first["unit"], first["wells"], first["value"]) == ("batch", "<b>", 5, -0.5)
    assert found.loc[found["trainer"] == "control:raw", ["adversarial_weight", "margin"]].isna().all(axis=None)


def test_units_are_written_in_groups_of_cells_with_the_same_bytes_for_any_order(tmp_path: Path) -> None:
    records = [record(weight, seed) for weight in np.arange(70.0) for seed in (0, 1)]
    shuffled = [records[i] for i in np.random.default_rng(0).permutation(len(records))]
    assert write_units(records, stored, tmp_path / "a") == write_units(shuffled, stored, tmp_path / "b") == 210
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    pd.testing.assert_frame_equal(read_units(tmp_path / "a"), units(records, stored))


def test_a_store_without_units_gives_an_empty_table(tmp_path: Path) -> None:
    found = units([record(1.0, 1)], stored)
    assert found.empty
    assert list(found.columns) == UNIT_SCHEMA.names
    assert write_units([record(1.0, 1)], stored, tmp_path / "none") == 0
