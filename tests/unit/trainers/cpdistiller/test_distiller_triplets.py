"""Neighbours against brute force, and the rules that positives and negatives are drawn by."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import sparse

from trainers.cpdistiller import neighbour_pairs as pairs_module
from trainers.cpdistiller.epochs import EpochSampler
from trainers.cpdistiller.neighbour_pairs import NeighbourPairs, neighbour_pairs, principal_components
from trainers.cpdistiller.triplets import Triplets
from trainers.errors import InputError

SIZE = 90


def brute(points: Any, effects: Any, between: int, within: int) -> tuple[Any, Any]:
    """Well by well, from the definition; dense."""
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    similarity = unit @ unit.T
    size = len(points)
    mutual, inside = np.ones((size, size), bool), np.ones((size, size), bool)
    for codes in effects:
        across, own = np.zeros((size, size), bool), np.zeros((size, size), bool)
        for well in range(size):
            for level in np.unique(codes):
                others = np.array([o for o in np.flatnonzero(codes == level) if o != well])
                best = others[np.argsort(-similarity[well, others])]
                if level == codes[well]:
                    own[well, best[:within]] = True
                else:
                    across[well, best[:between]] = True
        mutual &= across & across.T
        inside &= own
    return mutual, inside | inside.T


@pytest.mark.parametrize("effects", [1, 2, 3])
def test_neighbours_are_those_of_brute_force(effects: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs_module, "_ROWS", 7)  # several blocks a level
    rng = np.random.default_rng(effects)
    points = rng.standard_normal((SIZE, 4)).astype(np.float32)
    codes = [rng.integers(0, levels, SIZE) for levels in (3, 2, 4)][:effects]
    codes[0][:2] = 77  # a level with fewer wells than neighbours
    found = neighbour_pairs(points, codes, between=12, within=10)
    mutual, inside = brute(points, codes, 12, 10)
    np.testing.assert_array_equal(found.mutual.toarray(), mutual)
    np.testing.assert_array_equal(found.within.toarray(), inside)
    assert mutual.any()
    assert inside.any()


def test_components_keep_the_distances_of_the_centred_rows() -> None:
    x = np.random.default_rng(0).standard_normal((30, 8)).astype(np.float32) + 5
    for wide in (x, x.T.copy()):
        scores = principal_components(wide, 50)
        centred = wide - wide.mean(0)
        np.testing.assert_allclose(scores @ scores.T, centred @ centred.T, atol=1e-4)
        assert scores.shape[1] == min(len(wide) - 1, wide.shape[1])
    assert principal_components(x, 3).shape == (30, 3)


def matrix(pairs: list[tuple[int, int]], size: int) -> sparse.csr_array:
    dense = np.zeros((size, size), bool)
    for one, other in pairs:
        dense[one, other] = dense[other, one] = True
    return sparse.csr_array(dense)


def draws(triplets: Triplets, count: int = 3000) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    found = [triplets.draw(rng) for _ in range(count)]
    return np.stack([positive for positive, _ in found]), np.stack([negative for _, negative in found])


def test_positives_and_negatives_follow_the_rules() -> None:
    """Wells 0–2 are controls. 3 has both kinds of neighbour, 4 one within, 5 mutual alone, 6 none, 7 all controls."""
    pairs = NeighbourPairs(
        mutual=matrix([(3, 5), (3, 0), (7, 0), (7, 1)], 9), within=matrix([(3, 4), (7, 2), (1, 8)], 9)
    )
    controls = np.arange(9) < 3
    positive, negative = draws(Triplets(pairs, controls, mutual_share=0.5))

    def seen(values: Any, well: int) -> dict[int, float]:
        each, count = np.unique(values[:, well], return_counts=True)
        return dict(zip(each.tolist(), count / len(values), strict=True))

    for control in range(3):
        assert seen(positive, control) == pytest.approx({0: 1 / 3, 1: 1 / 3, 2: 1 / 3}, abs=0.05)
    assert seen(positive, 3) == pytest.approx({0: 0.25, 5: 0.25, 4: 0.5}, abs=0.05), "half mutual, half within"
    assert seen(positive, 4) == {3: 1.0}, "no mutual neighbour: always within"
    assert seen(positive, 5) == pytest.approx({3: 0.5, 5: 0.5}, abs=0.05), "no neighbour within: itself"
    assert seen(positive, 6) == {6: 1.0}
    assert seen(negative, 0) == pytest.approx({4: 0.25, 5: 0.25, 6: 0.25, 8: 0.25}, abs=0.05), "not 3 and 7"
    assert set(seen(negative, 1)) == {3, 4, 5, 6}, "neither a control nor its neighbours"
    assert seen(negative, 6) == pytest.approx({0: 1 / 3, 1: 1 / 3, 2: 1 / 3}, abs=0.05)
    assert set(seen(negative, 3)) == {1, 2}, "a control that is no neighbour"
    assert set(seen(negative, 7)) == {3, 4, 5, 6, 8}, "every control is a neighbour: any other well"


def test_a_screen_without_controls_has_triplets_too() -> None:
    pairs = NeighbourPairs(mutual=matrix([(0, 1)], 4), within=matrix([], 4))
    positive, negative = draws(Triplets(pairs, np.zeros(4, bool), mutual_share=1.0), 200)
    assert set(positive[:, 0]) == {1}
    assert set(negative[:, 0]) == {2, 3}
    assert set(negative[:, 2]) == {0, 1, 3}


def test_a_well_without_a_negative_is_refused() -> None:
    everyone = matrix([(0, 1), (0, 2), (1, 2)], 3)
    with pytest.raises(InputError, match="all 2 other training wells are neighbours"):
        Triplets(NeighbourPairs(everyone, matrix([], 3)), np.zeros(3, bool), mutual_share=0.5)


def test_every_row_is_an_anchor_once_an_epoch() -> None:
    train = np.arange(100, 110)
    triplets = Triplets(NeighbourPairs(matrix([], 10), matrix([], 10)), np.arange(10) < 4, mutual_share=0.5)
    sampler = EpochSampler(train, triplets, size=4, seed=3)
    assert sampler.steps == 3
    for epoch in (0, 1):
        batches = [sampler.at(3 * epoch + step) for step in range(3)]
        anchors = np.concatenate([rows[0][weights > 0] for rows, weights in batches])
        np.testing.assert_array_equal(np.sort(anchors), train)
        assert [weights.sum() for _, weights in batches] == pytest.approx([1.0, 1.0, 1.0])
        assert np.count_nonzero(batches[2][1]) == 2
        for rows, weights in batches:
            anchor, _, negative = rows[:, weights > 0]
            assert ((anchor < 104) != (negative < 104)).all(), "controls against the others"
    again = EpochSampler(train, triplets, size=4, seed=3)
    np.testing.assert_array_equal(again.at(4)[0], sampler.at(4)[0])
    assert not np.array_equal(sampler.at(1)[0], sampler.at(4)[0])
    assert not np.array_equal(EpochSampler(train, triplets, size=4, seed=4).at(4)[0], sampler.at(4)[0])
