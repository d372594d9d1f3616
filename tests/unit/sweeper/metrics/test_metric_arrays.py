"""Blocks in float32, refined in float64: the numbers of plain float64, by NumPy and on a PyTorch device."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.spatial.distance import cdist
from sklearn.metrics import silhouette_samples

from sweeper.metrics import ranking
from sweeper.metrics.arrays import NUMPY, NumpyArrays, TorchArrays, arrays
from sweeper.metrics.biological.retrieval import activity_ranking, replicate_ranking
from sweeper.metrics.evaluation import unit_rows
from sweeper.metrics.neighbours import nearest, neighbours
from sweeper.metrics.panel import score_table
from sweeper.metrics.panel_options import PanelOptions
from sweeper.metrics.silhouette import silhouettes
from trainers.errors import InputError

BOTH = pytest.mark.parametrize("own", [NUMPY, TorchArrays("cpu")], ids=["numpy", "torch"])


def sorted_precision(unit, queries, select):
    """AP and share of the nearest, of one query after another, all in float64 and sorted; without ties."""
    found = []
    for query in queries:
        positive, negative = (mask[0] for mask in select(np.array([query])))
        if positive.any() and negative.any():
            order = np.argsort(-(unit @ unit[query]), kind="stable")
            hits = positive[order][(positive | negative)[order]]
            found.append((np.mean(np.cumsum(hits)[hits] / (np.flatnonzero(hits) + 1)), float(hits[0])))
    return np.array(found).T


@BOTH
@pytest.mark.parametrize("spread", [1.0, 3e-3])  # at the second, float32 can hardly order them
@pytest.mark.parametrize("limit", [0, 10**6])
def test_ranking_is_that_of_float64(own, spread, limit, monkeypatch):
    rng = np.random.default_rng(3)
    n = 300
    unit = unit_rows(np.r_[1.0, np.zeros(7)] + spread * rng.normal(size=(n, 8)))
    label, batch = rng.integers(0, 12, n), rng.integers(0, 3, n)
    monkeypatch.setattr("sweeper.metrics.arrays._MANY", limit)
    monkeypatch.setattr(NumpyArrays, "block", 64 * n)

    def select(rows):
        same, other = label[rows, None] == label, batch[rows, None] != batch
        return same & other, ~same & other

    found = ranking.rank(unit, np.arange(n), select, own)
    precision, first = sorted_precision(unit, np.arange(n), select)
    np.testing.assert_allclose(found.precision, precision, rtol=1e-12)
    np.testing.assert_array_equal(found.nearest, first)
    shares = ranking.nearest_shares(unit, np.arange(n), [select], own)[0]
    np.testing.assert_array_equal(shares.share, first)


@BOTH
def test_a_few_near_ties_among_many_rows_are_told_apart(own):
    """Copies that differ by a billionth: float32 takes them for ties, and only they are looked at again."""
    rng = np.random.default_rng(4)
    unit = unit_rows(rng.normal(size=(600, 32)))
    twin = np.arange(0, 600, 40)
    unit[twin + 1] = unit_rows(unit[twin] + 1e-9 * rng.normal(size=(len(twin), 32)))
    label = np.arange(600) // 20 % 10

    def select(rows):
        same = (label[rows, None] == label) & (np.arange(600) % 2 == 0) & (rows[:, None] != np.arange(600))
        return same, (np.arange(600) % 2 == 1) & (rows[:, None] != np.arange(600))

    found = ranking.rank(unit, np.arange(600), select, own)
    precision, first = sorted_precision(unit, np.arange(600), select)
    np.testing.assert_allclose(found.precision, precision, rtol=1e-12)
    np.testing.assert_array_equal(found.nearest, first)


@BOTH
def test_ties_are_ties_whatever_float32_makes_of_them(own, make_wells, embed, evaluation):
    wells = make_wells()
    whole = evaluation(np.sign(embed(wells, biology=0.5)[:, :6]) / 3, wells)
    whole.__dict__["arrays"] = own
    plain = evaluation(np.sign(embed(wells, biology=0.5)[:, :6]), wells)
    for work in (replicate_ranking, lambda some: activity_ranking(some)[0]):
        np.testing.assert_allclose(work(whole).precision, work(plain).precision, rtol=1e-12)


@BOTH
def test_distances_of_rows_that_nearly_coincide(own):
    """|q|² + |r|² - 2 q·r leaves nothing of a distance of a ten-thousandth; such rows are computed in float64."""
    rng = np.random.default_rng(5)
    centres = 10 * rng.normal(size=(9, 6))
    rows = np.repeat(centres, 20, axis=0) + 1e-4 * rng.normal(size=(180, 6))
    everything = cdist(rows, rows) + np.diag(np.full(180, np.inf))
    index, distance = neighbours(rows, 15, own)
    np.testing.assert_array_equal(index, np.argsort(everything, axis=1)[:, :15])
    np.testing.assert_allclose(distance, np.sort(everything, axis=1)[:, :15], rtol=1e-5)
    labels = np.arange(180) % 4
    np.testing.assert_allclose(silhouettes(rows, [labels], own)[0], silhouette_samples(rows, labels), atol=1e-5)
    some = np.array([3, 170, 44])
    np.testing.assert_allclose(
        silhouettes(rows, [labels], own, some)[0], silhouette_samples(rows, labels)[some], atol=1e-5
    )


def test_neighbours_among_many_rows_are_found_by_way_of_a_sample():
    rng = np.random.default_rng(6)
    rows, queries = rng.normal(size=(9000, 4)), rng.normal(size=(40, 4))
    everything = cdist(queries, rows)
    index, distance = nearest(queries, rows, 20)
    np.testing.assert_array_equal(np.sort(index), np.sort(np.argsort(everything, axis=1)[:, :20]))
    np.testing.assert_allclose(distance, np.sort(everything, axis=1)[:, :20], rtol=1e-4, atol=1e-5)
    # Every sampled row lies apart: the bound it gives holds all rows, and the search is a plain one.
    rows[::16] += 1000
    index, _ = nearest(queries, rows, 20)
    np.testing.assert_array_equal(np.sort(index), np.sort(np.argsort(cdist(queries, rows), axis=1)[:, :20]))


def test_every_operation_of_a_device_is_numpys():
    rng = np.random.default_rng(7)
    rows = rng.normal(size=(50, 6)).astype(np.float32)
    keep = rng.random((50, 50)) < 0.7
    members = csr_array((np.ones(50), (rng.integers(0, 5, 50), np.arange(50))), shape=(5, 50))
    low = rng.normal(size=20).astype(np.float32)
    results = []
    for own in (NUMPY, TorchArrays("cpu")):
        put = own.put(rows)
        block = own.products(put, put)
        squared = own.squared(put, put)
        own.fill(squared, np.arange(50), 0.0)
        own.put_rows(
            squared, np.array([3, 5]), own.squared(*(own.put(some.astype(float)) for some in (rows[[3, 5]], rows)))
        )
        results.append(
            [
                np.asarray(block),
                np.asarray(squared),
                np.asarray(own.penalised(block, keep)),
                own.least(block),
                own.most(block),
                own.take(block, np.arange(9), np.arange(9) + 4),
                own.above(block, np.tile(low[:3], (50, 1))),
                *own.window(block, np.arange(20), low, low + np.float32(1)),
                own.label_sums(squared, own.put_members(members)),
                *own.smallest(block, 7),
            ]
        )
    for numpys, torchs in zip(*results, strict=True):
        np.testing.assert_allclose(torchs, numpys, atol=1e-5)


def test_the_whole_panel_on_a_device_is_numpys(make_wells, embed):
    wells = make_wells()
    rows = embed(wells, biology=0.7, batch=0.4)
    panels = [score_table(rows, wells, options=PanelOptions(device=device)) for device in (None, "cpu")]
    for numpys, torchs in zip(*(panel.rows for panel in panels), strict=True):
        for key in ("value", "floor", "ceiling", "raw", "chance"):
            assert torchs[key] == pytest.approx(numpys[key], abs=1e-5), numpys["metric"]
    assert sum(row["value"] is not None for row in panels[0].rows) > 20


@pytest.mark.parametrize("device", ["cuda:99", "no such device"])
def test_a_device_that_is_absent_is_one_line(device):
    with pytest.raises(InputError, match="PyTorch cannot use it") as error:
        arrays(device)
    assert "\n" not in str(error.value)
