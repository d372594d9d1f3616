import numpy as np
import pandas as pd

from sweeper.results import COLUMNS, tidy, to_parquet_bytes

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


def test_controls_have_no_strength() -> None:
    table = tidy([record(None, 0)], PANEL)
    assert table["adversarial_weight"].dtype == np.float64
    assert table["adversarial_weight"].isna().all()
    assert isinstance(table, pd.DataFrame)
