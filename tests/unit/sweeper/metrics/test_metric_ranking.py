"""Average precision: fair with ties, the same in chunks."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from copairs.map.normalization import expected_ap

from sweeper.metrics import ranking
from sweeper.metrics.arrays import NumpyArrays
from sweeper.metrics.biological.retrieval import activity_ranking, replicate_ranking
from sweeper.metrics.evaluation import unit_rows


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
    for found in (activity_ranking(evaluation(constant, wells))[0], replicate_ranking(evaluation(constant, wells))):
        np.testing.assert_allclose(found.normalised, 0, atol=1e-12)


def test_zero_rows_gain_nothing(make_wells, embed, evaluation):
    """With 70 % zero rows, where ties in favour of positives would give a mAP near 0.8, precision stays at chance."""
    wells = make_wells()
    rows = embed(wells)
    rows[np.random.default_rng(0).random(len(rows)) < 0.7] = 0
    found = replicate_ranking(evaluation(rows, wells))
    assert abs(found.normalised.mean()) < 0.03


def test_expected_average_precision_equals_copairs():
    m, candidates = np.array([1, 1, 2, 5, 30, 4]), np.array([2, 10, 3, 6, 1000, 17])
    expected = [expected_ap(int(a), int(b - a)) for a, b in zip(m, candidates, strict=True)]
    np.testing.assert_allclose(ranking.expected_average_precision(m, candidates), expected, rtol=1e-12)


def test_chunks_do_not_change_the_result(make_wells, embed, evaluation, monkeypatch):
    wells = make_wells()
    rows = embed(wells, biology=0.5)
    whole = replicate_ranking(evaluation(rows, wells))
    monkeypatch.setattr(NumpyArrays, "block", 3 * len(wells))
    parts = replicate_ranking(evaluation(rows, wells))
    np.testing.assert_array_equal(whole.queries, parts.queries)
    np.testing.assert_allclose(whole.precision, parts.precision, rtol=1e-12)


def test_no_query_gives_an_empty_ranking():
    found = ranking.rank(np.eye(3), np.array([], dtype=np.int64), lambda rows: (rows, rows))
    assert len(found.queries) == len(found.precision) == len(found.normalised) == 0


def test_groups_weigh_the_same_whatever_their_size():
    assert ranking.mean_by_group(np.array([1.0, 1.0, 1.0, 0.0]), np.array([5, 5, 5, 2])) == 0.5


def test_unit_rows_keep_zero_rows():
    np.testing.assert_allclose(unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]])), [[0.6, 0.8], [0, 0]])
