"""Plain accuracy of the encoder's own class head, on tables small enough to count by hand."""

from __future__ import annotations

import numpy as np
import pytest

from sweeper.metrics.registry import REGISTRY


@pytest.fixture
def scored(make_wells, embed, evaluation):
    """Half of the rows tested; the head knows p0 and p1 (always right) and calls everything else p0."""
    wells = make_wells(batches=2, plates=2, perturbations=4, controls=3)
    wells["cell_type"] = np.where(wells["batch"] == "b0", "HUVEC", "RPE")
    rows = embed(wells, biology=1)
    test = (wells["plate"].str[-1] == "0").to_numpy()
    test_wells, train_wells = wells[test].reset_index(drop=True), wells[~test].reset_index(drop=True)
    train_wells = train_wells[train_wells["perturbation"] != "p3"].reset_index(drop=True)
    validation = test_wells.iloc[:0]

    def predict(part):
        truth = (test_wells if part == "test" else validation)["perturbation"].to_numpy(dtype=str)
        return np.where(np.isin(truth, ["p0", "p1"]), truth, "p0")

    return evaluation(
        rows[test], test_wells, rows[: len(train_wells)], train_wells, rows[:0], validation, predict=predict
    )


def test_every_row_counts_once_controls_too_and_untrained_perturbations_not(scored) -> None:
    found = REGISTRY["plain_accuracy"].function(scored)
    labels = scored.test_wells["perturbation"]
    known = labels[labels != "p3"]
    assert found.value == found.raw == pytest.approx(known.isin(["p0", "p1"]).mean())
    assert found.floor == found.chance == pytest.approx(1 / 4)
    assert found.reason == f"4 classes, controls among them; {len(known)} rows, each counted once"
    by_type = {unit.unit: unit for unit in found.units if unit.axis == "cell_type"}
    assert set(by_type) == {"HUVEC", "RPE"}
    weighted = sum(unit.value * unit.wells for unit in by_type.values()) / len(known)
    assert weighted == pytest.approx(found.value)
    by_perturbation = {unit.unit: unit.value for unit in found.units if unit.axis == "perturbation"}
    assert by_perturbation == {"dmso": 0.0, "p0": 1.0, "p1": 1.0, "p2": 0.0}


def test_without_rows_or_a_head_it_says_why(scored, make_wells, embed, evaluation) -> None:
    assert "no validation row" in REGISTRY["in_distribution_plain_accuracy"].function(scored).reason
    wells = make_wells()
    found = REGISTRY["plain_accuracy"].function(evaluation(embed(wells), wells))
    assert found.value is None
    assert "no class head" in found.reason
