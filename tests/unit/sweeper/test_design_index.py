"""Perturbation × batch imbalance: known designs, hand-computed values, and the chance level taken off."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics.cluster import expected_mutual_information

from sweeper.config.sweep_config import build_config
from sweeper.findings.stored import decision_provenance
from sweeper.planning.description import sweep_description
from sweeper.planning.design_index import _divergence, _expected_divergence, design_index
from sweeper.planning.prepared import Prepared, prepare


def wells(counts: list[list[int]]) -> pd.DataFrame:
    """One row a well from a perturbation × batch table."""
    rows = [
        {"perturbation": f"p{i}", "batch": f"b{j}"}
        for i, row in enumerate(counts)
        for j, count in enumerate(row)
        for _ in range(count)
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize("batches", [2, 3, 5])
def test_a_balanced_design_has_index_zero(batches: int) -> None:
    found = design_index(wells([[2] * batches, [3] * batches, [4] * batches]))
    assert found.d_js == found.observed == found.joint_error == 0
    assert found.unbalanced == ()
    assert found.movable == 1
    assert found.expected > 0, "few wells alone would differ between batches"


def test_batches_of_unequal_size_are_balanced_when_their_shares_agree() -> None:
    assert design_index(wells([[2, 6], [4, 12]])).observed == 0


@pytest.mark.parametrize("size", [3, 20])
def test_a_nested_design_has_the_largest_index_and_error(size: int) -> None:
    found = design_index(wells([[size, 0, 0], [0, size, 0], [0, 0, size], [0, 0, size]]))
    assert found.d_js == found.observed == found.worst_pair_d_js == 1
    assert found.joint_error == 0.5
    assert found.movable == 0


def test_the_divergence_of_two_by_two_is_the_one_computed_by_hand() -> None:
    # P_a = (3/4, 1/4), P_b = (1/4, 3/4): D_JS = H(1/2, 1/2) − H(3/4, 1/4) = 1 − 0.811278 bits
    found = design_index(wells([[300, 100], [100, 300]]))
    assert found.observed**2 == pytest.approx(1 - 0.811278, abs=1e-5)
    # cells are hypergeometric with the same margins: E[D] ≈ (rows − 1)(columns − 1) / (2·n·ln 2) for many wells
    assert found.expected**2 == pytest.approx(1 / (2 * 800 * np.log(2)), rel=0.02)
    above = (found.observed**2 - found.expected**2) / (1 - found.expected**2)
    assert found.d_js**2 == pytest.approx(above, abs=1e-5)
    assert found.joint_error == pytest.approx(above / 2, abs=1e-5)
    assert found.worst_pair == ("b0", "b1")


def test_two_wells_a_perturbation_dealt_at_random_are_not_called_confounded() -> None:
    rng = np.random.default_rng(3)
    batch = rng.permutation(np.repeat(np.arange(6), 20))
    table = pd.DataFrame({"perturbation": np.repeat(np.arange(60), 2), "batch": batch})
    found = design_index(table)
    assert found.observed > 0.7, "the raw value is nearly all chance"
    assert found.d_js < 0.2
    spread = pd.DataFrame({"perturbation": np.repeat(np.arange(6), 20), "batch": np.repeat(np.arange(6), 20)})
    assert design_index(spread).d_js == 1


@pytest.mark.slow
def test_chance_is_the_exact_expectation_under_fixed_margins() -> None:
    counts = np.random.default_rng(1).integers(0, 5, (7, 4)).astype(np.int64) + 1
    share = counts.sum(axis=0) / counts.sum()
    entropy = -(share * np.log(share)).sum()
    reference = expected_mutual_information(counts, int(counts.sum())) / entropy
    assert _expected_divergence(counts) == pytest.approx(reference, rel=1e-9)
    labels, batches = np.repeat(np.arange(7), counts.sum(axis=1)), np.repeat(np.tile(np.arange(4), 7), counts.ravel())
    rng = np.random.default_rng(2)
    drawn = [_divergence(pd.crosstab(labels, rng.permutation(batches)).to_numpy(dtype=np.int64)) for _ in range(300)]
    assert np.mean(drawn) == pytest.approx(reference, abs=4 * np.std(drawn) / np.sqrt(300))


def test_more_imbalance_means_a_larger_index_and_the_odd_perturbation_is_named() -> None:
    grown = [design_index(wells([[20, 20, 20], [20 - k, 20, 20 + k]])).observed for k in (0, 5, 10, 20)]
    assert grown == sorted(grown)
    assert len(set(grown)) == 4
    found = design_index(wells([[10, 10, 10], [10, 10, 10], [0, 0, 9]]))
    name, distance, batches = found.unbalanced[0]
    assert (name, batches) == ("p2", 1)
    assert distance == pytest.approx(1 - 29 / 69, abs=1e-4)
    assert found.worst_pair is not None
    assert "b2" in found.worst_pair


def test_one_batch_has_nothing_to_confound() -> None:
    found = design_index(wells([[3], [4]]))
    assert found.d_js == 0
    assert found.worst_pair is None
    assert found.movable == 0


def test_a_well_a_perturbation_cannot_be_told_from_nesting() -> None:
    assert design_index(wells([[1, 0], [0, 1], [1, 0], [0, 1]])).d_js == 1


def test_a_confounded_design_is_warned_of_before_training_and_stored_for_the_rule() -> None:
    simulated = {
        "batches": 4,
        "plates_per_batch": 2,
        "wells_per_plate": 96,
        "features": 40,
        "latent": 4,
        "perturbations": 20,
    }
    views = [{"view": "held_out_plates", "fraction": 0.5}, {"view": "held_out_batches", "folds": 2}]

    def prepared(imbalance: float) -> Prepared:
        data = {"name": "a", "simulate": {**simulated, "imbalance": imbalance}, "views": views, "seeds": 2}
        return prepare(build_config(data, "test"))

    even, uneven = prepared(0.0), prepared(1.0)
    assert not any("confounded" in text for text in even.warnings)
    assert even.designs["held_out_plates"].d_js < 0.2 < uneven.designs["held_out_plates"].d_js
    assert set(uneven.designs) == {"held_out_plates", "held_out_batches"}
    warning = next(text for text in uneven.warnings if "confounded" in text)
    assert f"{uneven.designs['held_out_plates'].joint_error:.3f}" in warning
    description = {**sweep_description(uneven, []), "sweep_id": uneven.sweep_id}
    assert decision_provenance(description, [])["design_djs"] == uneven.designs["held_out_plates"].d_js
