"""Average precision: equal to copairs without ties, fair with them."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from copairs.map import average_precision
from copairs.map.normalization import expected_ap
from copairs.matching import UnpairedException, assign_reference_index
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeper.metrics import ranking
from sweeper.metrics.biological.retrieval import _replicate_ranking, activity_ranking
from sweeper.metrics.evaluation import unit_rows


@st.composite
def designs(draw):
    """A small irregular screen: unequal batches, plates, positions and controls; every plate keeps two controls."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows = []
    for batch in range(draw(st.integers(1, 3))):
        for plate in range(draw(st.integers(1, 3))):
            size = draw(st.integers(2, 8))
            labels = ["dmso"] * draw(st.integers(2, 4)) + [f"p{i}" for i in rng.integers(0, 4, size)]
            rows += [(f"b{batch}", f"b{batch}/{plate}", f"A{rng.integers(1, 4)}", label) for label in labels]
    wells = pd.DataFrame(rows, columns=["batch", "plate", "well", "perturbation"])
    wells["control_type"] = np.where(wells["perturbation"] == "dmso", "negative", "treatment")
    return wells, rng.normal(size=(len(wells), 5)).astype(np.float32)


def assert_equal_to_copairs(found, meta, features, **pairs):
    """Same queries, M, L, AP and normalised AP as copairs, which clips at -1 and keeps queries without negatives."""
    try:
        table = average_precision(meta, features.astype(np.float64), progress_bar=False, **pairs)
    except UnpairedException:
        assert len(found.queries) == 0
        return
    known = (table["n_pos_pairs"] > 0) & (table["n_total_pairs"] > table["n_pos_pairs"]) & (meta["query"])
    table = table[known]
    np.testing.assert_array_equal(found.queries, table.index)
    np.testing.assert_array_equal(found.positives, table["n_pos_pairs"])
    np.testing.assert_array_equal(found.candidates, table["n_total_pairs"])
    np.testing.assert_allclose(found.precision, table["average_precision"], atol=1e-4)
    normalised = np.maximum(found.normalised, -1)
    np.testing.assert_allclose(normalised, table["normalized_average_precision"], atol=1e-4)


@settings(max_examples=15, deadline=None)
@given(designs())
def test_activity_equals_copairs(evaluation, drawn):
    wells, features = drawn
    meta = assign_reference_index(wells, "perturbation == 'dmso'", reference_col="reference", default_value=-1)
    found, borrowed = activity_ranking(evaluation(features, wells))
    assert borrowed == 0
    assert_equal_to_copairs(
        found,
        meta.assign(query=meta["perturbation"] != "dmso"),
        features,
        pos_sameby=["perturbation", "reference"],
        pos_diffby=["batch", "well"],
        neg_sameby=["plate"],
        neg_diffby=["perturbation", "reference"],
    )


@settings(max_examples=10, deadline=None)
@given(designs())
def test_activity_within_a_batch_equals_copairs(evaluation, drawn):
    """Replicates in the same batch, on another plate and at another well position."""
    wells, features = drawn
    meta = assign_reference_index(wells, "perturbation == 'dmso'", reference_col="reference", default_value=-1)
    found, _ = activity_ranking(evaluation(features, wells), within=True)
    assert_equal_to_copairs(
        found,
        meta.assign(query=meta["perturbation"] != "dmso"),
        features,
        pos_sameby=["perturbation", "reference", "batch"],
        pos_diffby=["plate", "well"],
        neg_sameby=["plate"],
        neg_diffby=["perturbation", "reference"],
    )


@settings(max_examples=15, deadline=None)
@given(designs())
def test_retrieval_equals_copairs(evaluation, drawn):
    wells, features = drawn
    treated = (wells["perturbation"] != "dmso").to_numpy()
    wells, features = wells[treated].reset_index(drop=True), features[treated]
    assert_equal_to_copairs(
        _replicate_ranking(evaluation(features, wells)),
        wells.assign(query=True),
        features,
        pos_sameby=["perturbation"],
        pos_diffby=["batch", "well"],
        neg_sameby=[],
        neg_diffby=["perturbation", "batch", "well"],
    )


def rank_line(similarity, positive):
    """Ranking of row 0 among rows of the given cosine to it; all others are candidates."""
    angle = np.arccos(np.r_[1.0, similarity])
    unit = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    mask = np.r_[False, np.asarray(positive, dtype=bool)][None]
    other = np.arange(len(unit))[None] > 0
    return ranking.rank(unit, np.array([0]), lambda rows: (mask[: len(rows)], (other & ~mask)[: len(rows)]))


def plain_average_precision(positive):
    return np.mean([(np.sum(positive[: i + 1])) / (i + 1) for i in np.flatnonzero(positive)])


def test_hand_calculated():
    found = rank_line([0.9, 0.8, 0.7, 0.6], [1, 0, 1, 0])
    assert found.precision[0] == pytest.approx((1 / 1 + 2 / 3) / 2)
    assert (found.positives[0], found.candidates[0], found.nearest[0]) == (2, 4, 1.0)


@pytest.mark.parametrize(
    ("similarity", "positive"),
    [
        ([0.5] * 5, [1, 0, 1, 0, 0]),
        ([0.9, 0.5, 0.5, 0.5, 0.1], [0, 1, 0, 1, 1]),
        ([0.9, 0.9, 0.5, 0.5, 0.5, 0.2], [1, 0, 1, 1, 0, 1]),
        ([0.9, 0.9, 0.5, 0.5], [1, 1, 0, 0]),
    ],
)
def test_ties_are_the_mean_over_their_orders(similarity, positive):
    similarity, positive = np.array(similarity), np.array(positive)
    orders = [
        order
        for order in itertools.permutations(range(len(similarity)))
        if (np.diff(similarity[list(order)]) <= 0).all()
    ]
    found = rank_line(similarity, positive)
    assert found.precision[0] == pytest.approx(np.mean([plain_average_precision(positive[list(o)]) for o in orders]))
    assert found.nearest[0] == pytest.approx(np.mean([positive[o[0]] for o in orders]))


def test_a_constant_embedding_is_at_chance(make_wells, evaluation):
    wells = make_wells()
    constant = np.ones((len(wells), 8), dtype=np.float32)
    for found in (activity_ranking(evaluation(constant, wells))[0], _replicate_ranking(evaluation(constant, wells))):
        np.testing.assert_allclose(found.normalised, 0, atol=1e-12)


def test_zero_rows_gain_nothing(make_wells, embed, evaluation):
    """With 70 % zero rows, where ties in favour of positives would give a mAP near 0.8, precision stays at chance."""
    wells = make_wells()
    rows = embed(wells)
    rows[np.random.default_rng(0).random(len(rows)) < 0.7] = 0
    found = _replicate_ranking(evaluation(rows, wells))
    assert abs(found.normalised.mean()) < 0.03


def test_expected_average_precision_equals_copairs():
    m, candidates = np.array([1, 1, 2, 5, 30, 4]), np.array([2, 10, 3, 6, 1000, 17])
    expected = [expected_ap(int(a), int(b - a)) for a, b in zip(m, candidates, strict=True)]
    np.testing.assert_allclose(ranking.expected_average_precision(m, candidates), expected, rtol=1e-12)


def test_chunks_do_not_change_the_result(make_wells, embed, evaluation, monkeypatch):
    wells = make_wells()
    rows = embed(wells, biology=0.5)
    whole = _replicate_ranking(evaluation(rows, wells))
    monkeypatch.setattr(ranking, "_CHUNK", 3 * len(wells))
    parts = _replicate_ranking(evaluation(rows, wells))
    np.testing.assert_array_equal(whole.queries, parts.queries)
    np.testing.assert_allclose(whole.precision, parts.precision, rtol=1e-12)


def test_no_query_gives_an_empty_ranking():
    found = ranking.rank(np.eye(3), np.array([], dtype=np.int64), lambda rows: (rows, rows))
    assert len(found.queries) == len(found.precision) == len(found.normalised) == 0


def test_groups_weigh_the_same_whatever_their_size():
    assert ranking.mean_by_group(np.array([1.0, 1.0, 1.0, 0.0]), np.array([5, 5, 5, 2])) == 0.5


def test_unit_rows_keep_zero_rows():
    np.testing.assert_allclose(unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]])), [[0.6, 0.8], [0, 0]])
