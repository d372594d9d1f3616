from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from example_results import COLUMNS, simulated_results

from dashboards import records, tables
from trainers.errors import InputError


def rows(*values: tuple[str, float, int, str, float, str]) -> pd.DataFrame:
    """Rows of one metric: (trainer, λ, seed, split, value, status)."""
    shared = {"margin": 0.3, "metric": "activity_map", "role": "biological", "primary": True}
    return records.checked(
        pd.DataFrame(
            [
                {
                    **shared,
                    "cell_id": f"{trainer}-{weight}-{seed}-{split}",
                    "trainer": trainer,
                    "adversarial_weight": weight,
                    "seed": seed,
                    "split": split,
                    "view": split.split("/")[0],
                    "value": value,
                    "status": status,
                    "floor": 0.0,
                    "ceiling": 1.0,
                    "raw": np.nan,
                    "chance": np.nan,
                    "reason": None if status == "ok" else f"because {status}",
                }
                for trainer, weight, seed, split, value, status in values
            ],
            columns=COLUMNS,
        )
    )


def test_folds_are_averaged_within_a_seed_before_seeds_are_averaged():
    # seed 0 has three folds, seed 1 one: a mean over cells would be 0.35, the mean over seeds is 0.5
    frame = rows(
        ("abra", 1.0, 0, "held_out_batches/0", 0.1, "ok"),
        ("abra", 1.0, 0, "held_out_batches/1", 0.2, "ok"),
        ("abra", 1.0, 0, "held_out_batches/2", 0.3, "ok"),
        ("abra", 1.0, 1, "held_out_batches/0", 0.8, "ok"),
    )
    level = records.level_means(frame).iloc[0]
    assert level["mean"] == pytest.approx(0.5)
    assert level["sd"] == pytest.approx(0.6 / np.sqrt(2))
    assert level["n"] == 2


def test_lost_cells_are_counted_and_never_averaged():
    frame = rows(
        ("abra", 1.0, 0, "held_out_plates/0", 0.4, "ok"),
        ("abra", 1.0, 1, "held_out_plates/0", 0.6, "ok"),
        ("abra", 1.0, 2, "held_out_plates/0", 99.0, "collapsed"),
        ("abra", 3.0, 0, "held_out_plates/0", np.nan, "oom"),
    )
    first, second = tables.strength_rows(frame, view="held_out_plates", metrics=("activity_map",))
    assert first.metrics[0].mean == pytest.approx(0.5)
    assert first.metrics[0].n == 2
    assert first.statuses == (("ok", 2), ("collapsed", 1))
    assert second.metrics[0] == tables.Summary(mean=None, sd=None, n=0)
    assert second.statuses == (("oom", 1),)
    assert tables.status_counts(frame) == (("ok", 2), ("collapsed", 1), ("oom", 1))
    assert [cell.reason for cell in tables.cell_rows(frame)] == ["", "", "because collapsed", "because oom"]


def test_one_seed_has_no_standard_deviation():
    frame = rows(("abra", 1.0, 0, "held_out_plates/0", 0.4, "ok"))
    (row,) = tables.strength_rows(frame, view="held_out_plates", metrics=("activity_map",))
    assert row.metrics[0] == tables.Summary(mean=pytest.approx(0.4), sd=None, n=1)


def test_controls_stand_apart_from_strengths():
    frame = rows(
        ("abra", 1.0, 0, "held_out_plates/0", 0.4, "ok"), ("control:raw", np.nan, 0, "held_out_plates/0", 0.3, "ok")
    )
    assert len(tables.strength_rows(frame, view="held_out_plates", metrics=("activity_map",))) == 1
    (control,) = tables.control_rows(frame, view="held_out_plates", metrics=("activity_map", "absent"))
    assert control.control == "control:raw"
    assert [item.mean for item in control.metrics] == [pytest.approx(0.3), None]


def test_order_of_rows_does_not_matter():
    table = simulated_results(seeds=2, lambdas=(0.0, 1.0))
    shuffled = table.sample(frac=1.0, random_state=3)
    pd.testing.assert_frame_equal(records.checked(table), records.checked(shuffled))


def test_missing_column_is_named():
    with pytest.raises(InputError, match="column 'status' is missing"):
        records.checked(simulated_results(seeds=1, lambdas=(0.0,)).drop(columns="status"))


def test_a_note_that_all_values_share_is_told_and_no_other():
    frame = pd.DataFrame({"status": "ok", "value": [0.1, 0.2, None], "reason": ["8 classes", "8 classes", "lost"]})
    assert records.common_note(frame) == "8 classes"
    assert records.common_note(frame.assign(reason=["8 classes", "9 classes", None])) == ""
    assert records.common_note(frame.assign(reason=None)) == ""
    assert records.common_note(frame.iloc[:0]) == ""


def test_why_a_metric_is_missing_is_told_from_lost_cells():
    table = simulated_results(seeds=2, lambdas=(0.0, 1.0), unmeasured=("label_nmi",), lost={(1.0, 0): "failed"})
    frame = records.checked(table)
    assert records.missing_reason(frame, "label_nmi") == "needs at least two wells a label"
    assert records.missing_reason(frame, "activity_map") == ""
    lost = frame[(frame["status"] == "failed")]
    assert records.missing_reason(lost, "activity_map") == "no cell finished"


def test_primary_metrics_come_first():
    frame = records.checked(simulated_results(seeds=1, lambdas=(0.0,)))
    assert records.metric_names(frame, "technical") == ["batch_mixing", "batch_probe_linear", "batch_probe_nonlinear"]
    assert records.metric_names(frame, "biological")[-1] == "label_nmi"


def test_strengths_are_spelled_as_in_the_decision():
    table = simulated_results(seeds=1, lambdas=(0.0, 0.1 + 0.2, 10**-1.5), margins=(0.3,))
    assert set(records.trained(records.checked(table))["adversarial_weight"]) == {0.0, 0.3, 0.0316227766017}
