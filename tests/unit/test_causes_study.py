"""What the committed study of screens with a known cause found: the verdicts that it is quoted for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

STUDY = json.loads((Path(__file__).parents[2] / "benchmarks/causes.json").read_text(encoding="utf-8"))
ROWS: dict[str, list[dict[str, Any]]] = {}
for one in STUDY["rows"]:
    ROWS.setdefault(one["case"], []).append(one["readings"]["strongest reader"])


def test_a_gain_that_permuted_labels_give_as_well_is_said_and_nothing_is_advised_as_correction() -> None:
    for found in ROWS["training"]:
        assert "SAME_WITH_PERMUTED_LABELS" in found["remarks"]
        assert found["attributed"] == "training"
        assert found["advised"] in (None, 0.0)
        assert "nothing is advised as batch correction" in found["sentence"]
        assert not found["has_effect"]


def test_a_gain_of_the_real_labels_alone_is_correction_and_a_strength_is_advised() -> None:
    for found in ROWS["correction"]:
        assert found["attributed"] == "correction"
        assert found["advised"] > 0
        assert "SAME_WITH_PERMUTED_LABELS" not in found["remarks"]


def test_what_a_linear_critic_leaves_is_said_to_be_readable() -> None:
    for found in ROWS["nonlinear"]:
        assert "BATCH_STILL_READABLE" in found["remarks"]
        assert "The batch is still readable at every strength" in found["sentence"]


def test_without_a_batch_effect_no_removal_counts_by_either_reading() -> None:
    for row in STUDY["summary"]:
        if row["case"] in {"none", "training"}:
            assert row["removal_counts"] == 0, row["reading"]


def test_the_reader_counts_the_removal_of_a_weak_shift_that_four_detectors_miss() -> None:
    counts = {
        row["reading"]: (row["removal_counts"], row["screens"]) for row in STUDY["summary"] if row["case"] == "weak"
    }
    assert counts["strongest reader"][0] == counts["strongest reader"][1] >= 4
    assert counts["four detectors"][0] < counts["strongest reader"][0]
