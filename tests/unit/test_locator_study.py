"""The locator's study: draws shared by methods, blocks that outlive a stop, measures, and its well-level simulator."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.locator import confounding, wells
from benchmarks.locator.methods import METHODS
from benchmarks.locator.shapes import Setting, stated, truth
from benchmarks.locator.study import BLOCK, GATES, Cell, results, run_block
from benchmarks.locator.tables import measure


def test_the_truth_of_the_analytic_spectrum():
    assert truth(stated(0.05)["plateau-drop"], 0.05) == pytest.approx(0.38, abs=0.01)  # μ + τ·Φ⁻¹(δ/π)
    assert truth(stated(0.10)["drop δ"], 0.10) == np.inf
    assert Setting(12, 5, 0.03, 0.10).psi == pytest.approx(7.45, abs=0.01)


def test_blocks_are_kept_and_every_method_sees_the_same_draw(tmp_path):
    cell = Cell("umbrella", GATES)
    np.testing.assert_array_equal(cell.sweep(3).biology, cell.sweep(3).biology)
    assert not np.array_equal(cell.sweep(3).biology, cell.sweep(4).biology)
    assert run_block(tmp_path, cell, "score", 0)
    assert not run_block(tmp_path, cell, "score", 0)
    assert len(results(tmp_path, cell, "score")) == BLOCK
    assert results(tmp_path, cell, "gp") == []


@pytest.mark.parametrize("method", METHODS)
def test_a_clear_loss_is_found_by_every_method(method):
    cell = Cell("plateau-drop", Setting(12, 5, 0.002, 0.10))
    found = METHODS[method](cell.sweep(0), 0.10, 0)
    assert found.reported
    assert found.middle == pytest.approx(cell.truth, abs=0.6)


def test_measures_of_hand_made_repetitions():
    rows = [
        {"reported": True, "lower": 0.0, "middle": 1.0, "upper": 2.0, "lof_p": 0.5, "bound": -1.0},
        {"reported": True, "lower": 1.5, "middle": 2.0, "upper": 3.0, "lof_p": 0.5, "bound": 1.2},
        {"not_reached": True, "lof_p": 0.01, "bound": 2.0},
    ]
    found = measure(rows, 1.0)
    assert (found["reported"], found["coverage"], found["bias"]) == (pytest.approx(2 / 3), 0.5, 0.5)
    assert found["unsafe"] == found["unsafe_decided"] == pytest.approx(2 / 3)  # one above, one that excludes the loss
    assert found["poor_fit"] == pytest.approx(1 / 3)


def test_real_metrics_reproduce_over_correction():
    """The probe ends at chance, while retrieval first more than doubles and then loses more than half of its best."""
    table = wells.wells()
    measured = np.mean(
        [wells.measured(wells.data_set(seed, table), (0.0, 0.66, 100.0, 1000.0), table) for seed in (0, 1)], axis=0
    )
    retrieval, probe = measured.T
    assert probe[0] > 0.95
    assert abs(probe[-1] - 1 / wells.BATCHES) < 0.05
    assert retrieval[1] > 2 * retrieval[0]
    assert retrieval[2] < 0.5 * retrieval[1]


def test_a_confounded_design_costs_at_least_its_floor_and_a_balanced_one_nothing():
    rng = np.random.default_rng(0)
    balanced, _ = confounding.sweep(0.0, 2, rng)
    confounded, joint = confounding.sweep(0.6, 2, rng)
    assert balanced.biology[-1].mean() > 0.95 * balanced.biology[0].mean()
    assert confounded.biology[-1].mean() < 0.7 * confounded.biology[0].mean()
    assert joint >= confounding.floor(0.6) > 0.1
