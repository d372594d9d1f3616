"""What metrics share is what each would compute alone; chunks, groups and shortcuts change no number."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import KMeans

from sweeper.metrics import neighbours, ranking, silhouette
from sweeper.metrics.arrays import NumpyArrays
from sweeper.metrics.biological.clustering import pasw, seeds
from sweeper.metrics.biological.retrieval import activity_ranking
from sweeper.metrics.biological.target import _matches
from sweeper.metrics.silhouette import grouped_silhouettes, label_silhouettes, silhouettes
from sweeper.metrics.technical import lisi as lisi_module
from sweeper.metrics.technical.connectivity import graph_connectivity
from sweeper.metrics.technical.design import by_size
from sweeper.metrics.technical.lisi import grouped_lisi, ilisi, lisi
from sweeper.metrics.technical.silhouette import tasw_batch, tasw_row


def test_equal_groups_at_once_are_the_groups_one_by_one(monkeypatch):
    rng = np.random.default_rng(0)
    rows, labels = rng.normal(size=(5, 24, 6)), rng.integers(0, 3, (4, 5, 24))
    together = grouped_silhouettes(rows, labels), grouped_lisi(rows, labels)
    monkeypatch.setattr(silhouette, "CHUNK", 24)
    monkeypatch.setattr(lisi_module, "_NEIGHBOURS", 23)  # both now walk the groups
    alone = (
        grouped_silhouettes(rows, labels),
        np.stack([lisi(own, list(labels[:, at])) for at, own in enumerate(rows)], 1),
    )
    np.testing.assert_allclose(together[0], alone[0], atol=1e-5)  # one in float64, one in float32
    monkeypatch.setattr(lisi_module, "_NEIGHBOURS", 24)
    whole = np.stack([lisi(own, list(labels[:, at])) for at, own in enumerate(rows)], axis=1)
    np.testing.assert_allclose(together[1], whole, atol=1e-6)


def test_groups_of_one_size_are_whole_groups():
    groups = np.array([2, 0, 2, 1, 0, 4, 2, 4])
    found = {rows.shape: rows for rows in by_size(groups)}
    assert set(found) == {(1, 1), (2, 2), (1, 3)}
    assert found[(2, 2)].tolist() == [[1, 4], [5, 7]]
    assert found[(1, 3)].tolist() == [[0, 2, 6]]


def test_rows_left_out_of_a_labelling_do_not_count():
    rng = np.random.default_rng(1)
    rows, labels = rng.normal(size=(40, 4)), rng.integers(0, 3, 40)
    some = np.where(np.arange(40) % 4 == 0, -1, labels)
    found = silhouettes(rows, [labels, some])
    np.testing.assert_allclose(found[0], silhouettes(rows, [labels])[0], atol=1e-12)
    np.testing.assert_allclose(found[1, some >= 0], silhouettes(rows[some >= 0], [labels[some >= 0]])[0], atol=1e-5)
    assert (found[1, some < 0] == 0).all()


@pytest.mark.parametrize("chunk", [300, 1 << 22])
def test_one_round_of_distances_serves_every_metric(make_wells, embed, evaluation, monkeypatch, chunk):
    wells = make_wells()
    whole = evaluation(embed(wells, biology=0.5, batch=0.5), wells)
    calls = []
    for module, name in ((neighbours, "neighbours"), (silhouette, "silhouettes")):
        own = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *given, own=own, name=name: calls.append(name) or own(*given))
    monkeypatch.setattr(NumpyArrays, "block", chunk)
    for metric in (ilisi, graph_connectivity, tasw_batch, tasw_row, pasw):
        assert metric(whole).value is not None
    assert sorted(calls) == ["neighbours", "silhouettes", "silhouettes"]  # of the labels, and at chance
    scored = whole.scored
    alone = silhouettes(whole.test[scored], [whole.code("perturbation")[scored]])
    np.testing.assert_allclose(whole.once(label_silhouettes)["perturbation"].wells, alone[0], atol=1e-5)


def test_few_candidates_are_ranked_as_among_many(make_wells, embed, evaluation, monkeypatch):
    wells = make_wells(batches=6)
    whole = evaluation(embed(wells, biology=0.5), wells)
    sparse, _ = activity_ranking(whole)
    monkeypatch.setattr(ranking, "_SPARSE", len(wells))
    dense, _ = activity_ranking(whole)
    np.testing.assert_array_equal(sparse.queries, dense.queries)
    np.testing.assert_allclose(sparse.precision, dense.precision, rtol=1e-12)
    np.testing.assert_array_equal(sparse.nearest, dense.nearest)


@pytest.mark.parametrize("ties", [False, True])
def test_the_nearest_without_sorting_is_the_first_of_the_sorted(make_wells, embed, evaluation, ties):
    wells = make_wells()
    rows = embed(wells, biology=0.5)
    whole = evaluation(np.sign(rows[:, :5]) if ties else rows, wells)
    queries, _, matches = whole.once(_matches)
    target = np.full(len(wells), -1)
    target[queries] = whole.code("target")[queries]
    perturbation, batch = whole.code("perturbation"), whole.code("batch")
    for across, found in enumerate(matches):

        def select(some, across=across):
            candidate = (perturbation[some, None] != perturbation) & (target >= 0)
            if across:
                candidate &= batch[some, None] != batch
            same = target[some, None] == target
            return candidate & same, candidate & ~same

        sorted_ = ranking.rank(whole.unit, queries, select)
        np.testing.assert_array_equal(found.queries, sorted_.queries)
        np.testing.assert_allclose(found.share, sorted_.nearest)
        np.testing.assert_allclose(found.chance, sorted_.positives / sorted_.candidates)


def test_seeds_find_separate_clusters_and_start_as_well_as_scikit_learn():
    rng = np.random.default_rng(2)
    centres = 20 * rng.normal(size=(30, 8))
    rows = (np.repeat(centres, 10, axis=0) + rng.normal(size=(300, 8))).astype(np.float32)
    for start in seeds(rows, 30, starts=3, rng=np.random.default_rng(0)):
        assert len(np.unique(start // 10)) == 30
    noise = rng.normal(size=(600, 16)).astype(np.float32)
    starts = seeds(noise, 50, starts=8, rng=np.random.default_rng(0))
    own = [KMeans(50, init=noise[start], n_init=1, max_iter=1).fit(noise).inertia_ for start in starts]
    theirs = [KMeans(50, n_init=1, max_iter=1, random_state=seed).fit(noise).inertia_ for seed in range(8)]
    assert np.mean(own) < 1.02 * np.mean(theirs)


def test_seeds_of_rows_at_one_point():
    assert seeds(np.ones((6, 3), dtype=np.float32), 4, starts=2, rng=np.random.default_rng(0)).shape == (2, 4)
