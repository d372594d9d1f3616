"""Silhouettes, LISI, kBET and graph connectivity against brute force and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.spatial.distance import cdist
from scipy.stats import chisquare
from sklearn.metrics import silhouette_samples

from sweeper.metrics.arrays import NumpyArrays
from sweeper.metrics.neighbours import nearest, neighbours
from sweeper.metrics.panel_options import PanelOptions
from sweeper.metrics.silhouette import silhouettes
from sweeper.metrics.technical.connectivity import graph_connectivity, graph_connectivity_directed
from sweeper.metrics.technical.design import permuted_within
from sweeper.metrics.technical.kbet import kbet_controls
from sweeper.metrics.technical.lisi import cilisi, ilisi, lisi
from sweeper.metrics.technical.silhouette import asw_batch, tasw_batch, tasw_column, tasw_row

MIXING = (asw_batch, ilisi, cilisi, kbet_controls, tasw_batch)


def irregular(make_wells, seed, keep=90):
    """Wells of an unbalanced design: labels of many sizes, some alone in their batch."""
    wells = make_wells(batches=4, perturbations=6, controls=6, seed=seed)
    rows = np.sort(np.random.default_rng(seed).choice(len(wells), keep, replace=False))
    return wells.iloc[rows].reset_index(drop=True)


def test_neighbours_are_exact(monkeypatch):
    rng = np.random.default_rng(0)
    rows, queries = rng.normal(size=(70, 5)) + 100, rng.normal(size=(30, 5)) + 100
    monkeypatch.setattr(NumpyArrays, "block", 200)  # several blocks
    for (index, distance), all_ in (
        (nearest(queries, rows, 6), cdist(queries, rows)),
        (neighbours(rows, 6), cdist(rows, rows) + np.diag(np.full(70, np.inf))),
    ):
        np.testing.assert_array_equal(index, np.argsort(all_, axis=1)[:, :6])
        np.testing.assert_allclose(distance, np.sort(all_, axis=1)[:, :6], rtol=1e-5)  # float32


@settings(max_examples=40, deadline=None)
@given(st.integers(4, 40), st.integers(2, 8), st.integers(0, 10_000), st.booleans())
def test_silhouettes_equal_scikit_learn(count, labels, seed, ties):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(count, 3))
    rows = np.round(rows) if ties else rows
    codes = [np.r_[[0, 1], rng.integers(0, labels, count - 2)] for _ in range(3)]
    codes = [code if len(np.unique(code)) < count else np.arange(count) // 2 for code in codes]
    for found, code in zip(silhouettes(rows, codes), codes, strict=True):
        np.testing.assert_allclose(found, silhouette_samples(rows, code), atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_batch_silhouette_equals_the_definition_of_scib(make_wells, embed, evaluation, seed):
    wells = irregular(make_wells, seed)
    rows = embed(wells, biology=0.5, batch=0.4, seed=seed)
    scores = []
    for _, inside in wells.groupby("perturbation"):
        if 1 < inside["batch"].nunique() < len(inside):
            scores.append(np.mean(1 - np.abs(silhouette_samples(rows[inside.index], inside["batch"]))))
    assert asw_batch(evaluation(rows, wells)).raw == pytest.approx(np.mean(scores), abs=1e-6)


def test_batch_silhouette_takes_a_partial_merge_for_a_whole_one(make_wells, embed, evaluation):
    """Why it decides nothing: pairs of batches merged, the pairs apart, and it is at its ceiling."""
    wells = make_wells(replicates=6)
    pairs = wells.assign(batch=wells["batch"].map({"b0": "x", "b1": "x", "b2": "y", "b3": "y"}))
    partial = asw_batch(evaluation(embed(pairs, biology=1, batch=1.5), wells))
    assert partial.value > asw_batch(evaluation(embed(wells, biology=1), wells)).value - 0.02


def test_technical_silhouettes(make_wells, embed, evaluation):
    wells = make_wells()
    rows = embed(wells, batch=1)
    whole = evaluation(rows, wells)
    for metric, column in ((tasw_batch, "batch"), (tasw_row, "row"), (tasw_column, "column")):
        s = silhouette_samples(rows, wells[column].to_numpy(dtype=str)).mean()
        found = metric(whole)
        assert found.raw == pytest.approx(s, abs=1e-6)
        assert found.value == pytest.approx((1 - s) / 2, abs=1e-6)
    assert tasw_batch(whole).value < tasw_batch(whole).ceiling - 0.05
    assert tasw_row(whole).value == pytest.approx(tasw_row(whole).ceiling, abs=0.03)
    unknown = tasw_row(evaluation(rows, wells.drop(columns="row")))
    assert (unknown.value, unknown.reason) == (None, "the wells' rows and columns are not known")


def brute_force_lisi(rows, labels, count):
    """By root finding, one well at a time."""
    distance = cdist(rows, rows)
    found = []
    for i in range(len(rows)):
        near = [j for j in np.argsort(distance[i], kind="stable") if j != i][: count - 1]
        d = distance[i, near] - distance[i, near].min()

        def entropy(beta, d=d):
            p = np.exp(-beta * d) / np.exp(-beta * d).sum()
            return -np.sum(p * np.log(np.maximum(p, 1e-300)))

        beta = brentq(lambda b: entropy(b) - np.log(count // 3), 0, 1e4)
        p = np.exp(-beta * d) / np.exp(-beta * d).sum()
        found.append(1 / sum(p[labels[near] == label].sum() ** 2 for label in np.unique(labels)))
    return np.array(found)


@pytest.mark.parametrize("count", [24, 130])
def test_lisi_equals_brute_force(make_wells, embed, count):
    wells = irregular(make_wells, 0, keep=count)
    rows = embed(wells, biology=0.5, batch=0.5).astype(float)
    batch = np.unique(wells["batch"], return_inverse=True)[1]
    np.testing.assert_allclose(lisi(rows, [batch])[0], brute_force_lisi(rows, batch, min(90, count)), atol=1e-6)


def test_ilisi_is_the_scaled_median_and_cilisi_the_scaled_mean(make_wells, embed, evaluation):
    wells = irregular(make_wells, 1, keep=100)
    rows = embed(wells, batch=0.5)
    batch = np.unique(wells["batch"], return_inverse=True)[1]
    found = ilisi(evaluation(rows, wells))
    assert found.raw == pytest.approx((np.median(brute_force_lisi(rows, batch, 90)) - 1) / 3, abs=1e-6)
    scaled = []
    for _, inside in wells.groupby("perturbation"):
        own = batch[inside.index]
        if len(inside) >= 10 and len(np.unique(own)) > 1:
            scaled.extend((brute_force_lisi(rows[inside.index], own, len(inside)) - 1) / (len(np.unique(own)) - 1))
    assert 10 <= len(scaled) <= len(wells)
    assert cilisi(evaluation(rows, wells)).raw == pytest.approx(np.mean(scaled), abs=1e-6)


def test_rows_at_one_point_share_their_weight_evenly():
    labels = np.tile(np.arange(4), 10)
    rows = np.repeat([[0.0, 0.0], [5.0, 0.0]], 20, axis=0)
    assert np.isfinite(lisi(rows, [labels])).all()
    np.testing.assert_allclose(lisi(rows[:20], [labels[:20]])[0], 1 / ((4 / 19) ** 2 + 3 * (5 / 19) ** 2), rtol=1e-6)


def test_kbet_equals_a_chi_square_test_of_every_neighbourhood(make_wells, embed, evaluation):
    wells = make_wells(controls=16, perturbations=2)
    rows = embed(wells, batch=0.3)
    control = (wells["control_type"] == "negative").to_numpy()
    inside, batch = rows[control].astype(float), wells["batch"][control].to_numpy()
    names, total = np.unique(batch, return_counts=True)
    distance = cdist(inside, inside) + np.diag(np.full(len(inside), np.inf))
    passed = []
    for i in range(len(inside)):
        near = batch[np.argsort(distance[i])[:10]]
        counts = [np.sum(near == name) for name in names]
        passed.append(chisquare(counts, total / total.sum() * 10).pvalue >= 0.05)
    found = kbet_controls(evaluation(rows, wells))
    assert found.value == found.raw == pytest.approx(np.mean(passed))
    assert 0 < found.value < found.ceiling


def reached(adjacent, rows):
    """For every row, which of the given rows a walk along the edges between them reaches."""
    reach = adjacent[np.ix_(rows, rows)] | np.eye(len(rows), dtype=bool)
    for _ in rows:
        reach = (reach.astype(int) @ reach.astype(int)) > 0
    return reach


@pytest.mark.parametrize("metric", [graph_connectivity, graph_connectivity_directed])
def test_graph_connectivity_equals_walking_the_graph(metric, make_wells, embed, evaluation):
    wells = make_wells(perturbations=6)
    rows = embed(wells, biology=0.4, batch=0.4)
    distance = cdist(rows, rows) + np.diag(np.full(len(rows), np.inf))
    adjacent = np.zeros(distance.shape, dtype=bool)
    np.put_along_axis(adjacent, np.argsort(distance, axis=1)[:, :14], values=True, axis=1)
    adjacent = adjacent | adjacent.T if metric is graph_connectivity else adjacent
    shares = []
    for name, inside in wells.groupby("perturbation"):
        if name != "dmso":
            reach = reached(adjacent, inside.index.to_numpy())
            shares.append((reach & reach.T).sum(axis=1).max() / len(inside))
    found = metric(evaluation(rows, wells))
    assert found.value == pytest.approx(np.mean(shares))
    assert found.floor < found.value < 1


def test_the_two_conventions_of_connectivity_differ_on_noise(make_wells, embed, evaluation):
    """One name for both would make published numbers incomparable."""
    wells = make_wells(perturbations=4, replicates=12, controls=2)
    whole = evaluation(embed(wells), wells)
    assert graph_connectivity(whole).raw > graph_connectivity_directed(whole).raw + 0.2
    for metric in (graph_connectivity, graph_connectivity_directed):
        assert metric(whole).value == pytest.approx(metric(whole).floor, abs=0.1)


@pytest.mark.parametrize("metric", MIXING)
def test_at_the_ceiling_without_batch_and_far_below_with_it(metric, make_wells, embed, evaluation):
    wells = make_wells(replicates=4, controls=12)
    clean = [metric(evaluation(embed(wells, biology=0.5, seed=seed), wells)) for seed in range(5)]
    assert np.mean([found.value - found.ceiling for found in clean]) == pytest.approx(0, abs=0.03)
    apart = metric(evaluation(embed(wells, biology=0.5, batch=10), wells))
    assert apart.value < 0.25 * apart.ceiling
    assert apart.floor == 0


@pytest.mark.parametrize("metric", MIXING)
def test_one_batch_is_not_identifiable(metric, make_wells, embed, evaluation):
    wells = make_wells(batches=1, replicates=6)
    found = metric(evaluation(embed(wells), wells))
    assert found.value is None
    assert found.reason.startswith("not identifiable")


def test_kbet_without_controls(make_wells, embed, evaluation):
    wells = make_wells(controls=0)
    assert kbet_controls(evaluation(embed(wells), wells)).value is None
    few = make_wells(controls=2)
    assert kbet_controls(evaluation(embed(few), few)).reason == "fewer than 20 negative controls among the test rows"


def test_batches_are_permuted_inside_perturbations():
    rng = np.random.default_rng(0)
    groups, codes = rng.integers(0, 5, 200), rng.integers(0, 4, 200)
    first, second = permuted_within(codes, groups, count=2, seed=(0, 0))
    assert not np.array_equal(first, second)
    for group in range(5):
        for permuted in (first, second):
            np.testing.assert_array_equal(np.sort(permuted[groups == group]), np.sort(codes[groups == group]))
    moved = np.mean([np.mean(p == codes) for p in permuted_within(codes, groups, count=200, seed=(1, 0))])
    shares = [np.mean(codes[groups == g][:, None] == codes[groups == g]) for g in groups]
    assert moved == pytest.approx(np.mean(shares), abs=0.01)


def test_permutations_are_an_option(make_wells, embed, evaluation):
    wells = make_wells(controls=12)
    one, many = (cilisi(evaluation(embed(wells), wells, options=PanelOptions(permutations=count))) for count in (1, 20))
    assert one.value == many.value
    assert one.ceiling != many.ceiling
