"""Batch probe and batch mixing against brute force, closed forms and designs that identify nothing."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.covariance import ledoit_wolf
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sweeper.metrics.classifier import balanced_accuracy, fit, shrunken_covariance
from sweeper.metrics.panel_options import PanelOptions
from sweeper.metrics.registry import REGISTRY
from sweeper.metrics.technical.batch_probe import batch_probe_linear
from sweeper.metrics.technical.mixing import batch_mixing_bras


def probe_by_logistic_regression(rows, wells):
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000))
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    found = cross_val_predict(model, rows, wells["batch"], groups=wells["perturbation"], cv=folds)
    return balanced_accuracy_score(wells["batch"], found)


@pytest.mark.parametrize("strength", [0.15, 0.3, 0.6])
def test_probe_finds_what_a_logistic_regression_finds(make_wells, embed, evaluation, strength):
    wells = make_wells(replicates=4)
    rows = embed(wells, biology=0.5, batch=strength)
    found = batch_probe_linear(evaluation(rows, wells))
    assert found.raw == pytest.approx(probe_by_logistic_regression(rows, wells), abs=0.05)
    assert found.value == pytest.approx(1 - (found.raw - 0.25) / 0.75)


def test_probe_is_at_chance_on_noise_and_at_zero_on_separate_batches(make_wells, embed, evaluation):
    wells = make_wells(replicates=4)
    raw = [batch_probe_linear(evaluation(embed(wells, seed=seed), wells)).raw for seed in range(20)]
    assert np.mean(raw) == pytest.approx(0.25, abs=0.02)
    apart = batch_probe_linear(evaluation(embed(wells, batch=20), wells))
    assert (apart.value, apart.raw, apart.chance) == (0, 1, 0.25)


def test_probe_counts_below_chance_as_chance(make_wells, embed, evaluation):
    """Centring each batch on the very wells that are scored pushes the probe below chance."""
    wells = make_wells(replicates=1)
    rows = embed(wells, batch=1)
    for batch in wells["batch"].unique():
        rows[wells["batch"] == batch] -= rows[wells["batch"] == batch].mean(axis=0)
    found = batch_probe_linear(evaluation(rows, wells))
    assert found.raw < 0.2
    assert found.value == 1


def test_probe_is_blind_to_a_perturbation_that_only_one_batch_has(make_wells, embed, evaluation):
    """Without a batch effect, perturbations of one batch must not pass for it: groups are held out as a whole."""
    wells = make_wells(batches=4, perturbations=40, replicates=2, controls=4)
    number = wells["perturbation"].str.extract(r"(\d+)")[0].astype(float)
    own = (wells["perturbation"] == "dmso") | (number % 4 == wells["batch"].str[1:].astype(int))
    wells = wells[own].reset_index(drop=True)
    found = batch_probe_linear(evaluation(embed(wells, biology=3, e=64), wells))
    assert found.raw < 0.35


def test_probe_names_what_is_not_identifiable(make_wells, embed, evaluation):
    wells = make_wells()
    one = wells[wells["batch"] == "b0"].reset_index(drop=True)
    assert "one batch" in batch_probe_linear(evaluation(embed(one), one)).reason
    nested = wells.assign(perturbation=wells["batch"] + wells["perturbation"])
    found = batch_probe_linear(evaluation(embed(wells), nested))
    assert found.value is None
    assert found.reason == ("not identifiable: every perturbation is in one batch only, and no control is shared")
    by_plate = PanelOptions(probe_groups="plate")
    single = make_wells(plates=1)
    found = batch_probe_linear(evaluation(embed(single), single, options=by_plate))
    assert found.reason == "not identifiable: holding out a plate leaves a batch without training wells"
    assert batch_probe_linear(evaluation(embed(wells), wells, options=by_plate)).value is not None


def test_probe_uses_fewer_folds_where_there_are_fewer_groups(make_wells, embed, evaluation):
    wells = make_wells(perturbations=2, replicates=8, controls=8)
    assert batch_probe_linear(evaluation(embed(wells, batch=5), wells)).raw > 0.95


def test_classifier_is_the_discriminant_with_equal_priors():
    """Smallest Mahalanobis distance to a class mean, one covariance for all; in other words LDA."""
    rng = np.random.default_rng(0)
    labels = rng.choice([2, 3, 5, 7], 400, p=[0.6, 0.2, 0.1, 0.1])
    rows = 0.5 * rng.normal(size=(8, 12))[labels] + rng.normal(size=(400, 12))
    own = fit(rows, labels).predict(rows)
    means = np.stack([rows[labels == label].mean(axis=0) for label in (2, 3, 5, 7)])
    within = rows - means[np.searchsorted([2, 3, 5, 7], labels)]
    scale = rows.std(axis=0)
    covariance = ledoit_wolf(within / scale, assume_centered=True)[0]
    distance = cdist(rows / scale, means / scale, "mahalanobis", VI=np.linalg.inv(covariance))
    np.testing.assert_array_equal(own, np.array([2, 3, 5, 7])[distance.argmin(axis=1)])
    other = LinearDiscriminantAnalysis(priors=np.full(4, 0.25)).fit(rows, labels).predict(rows)
    assert np.mean(own == other) > 0.9


@pytest.mark.parametrize(("n", "e"), [(50, 5), (30, 80), (400, 12)])
def test_covariance_equals_ledoit_wolf_of_scikit_learn(n, e):
    rows = np.random.default_rng(n).normal(size=(n, e)) @ np.random.default_rng(e).normal(size=(e, e))
    np.testing.assert_allclose(shrunken_covariance(rows), ledoit_wolf(rows, assume_centered=True)[0], rtol=1e-6)


def test_classifier_survives_rows_without_variance():
    labels = np.array([3, 3, 7])
    assert fit(np.ones((3, 4)), labels).predict(np.ones((2, 4))).tolist() == [3, 3]


def test_balanced_accuracy_equals_scikit_learn():
    rng = np.random.default_rng(1)
    truth, found = rng.choice([2, 5, 9], 50, p=[0.7, 0.2, 0.1]), rng.choice([2, 5, 9], 50)
    assert balanced_accuracy(truth, found) == pytest.approx(balanced_accuracy_score(truth, found))


def brute_force_bras(rows, labels, batches):
    """Pairwise distances, well by well."""
    scores = []
    for label in np.unique(labels):
        inside = np.flatnonzero(labels == label)
        own_batches = batches[inside]
        if len(set(own_batches)) in (1, len(inside)):
            continue
        distance = cdist(rows[inside], rows[inside], "cosine")
        wells = []
        for i in range(len(inside)):
            same = np.flatnonzero((own_batches == own_batches[i]) & (np.arange(len(inside)) != i))
            if not len(same):
                wells.append(1.0)
                continue
            a = distance[i, same].mean()
            b = distance[i, own_batches != own_batches[i]].mean()
            wells.append(1 - abs((b - a) / max(a, b)))
        scores.append(np.mean(wells))
    return np.mean(scores)


@pytest.mark.parametrize("seed", range(6))
def test_bras_equals_brute_force_on_irregular_designs(make_wells, embed, evaluation, seed):
    rng = np.random.default_rng(seed)
    wells = make_wells(batches=5, plates=1)
    keep = np.sort(rng.choice(len(wells), 60, replace=False))
    wells = wells.iloc[keep].reset_index(drop=True)
    rows = embed(wells, biology=0.5, batch=0.5, seed=seed)
    found = batch_mixing_bras(evaluation(rows, wells))
    labels, batches = wells["perturbation"].to_numpy(), wells["batch"].to_numpy()
    assert found.value == pytest.approx(brute_force_bras(rows.astype(float), labels, batches), abs=1e-9)


def test_bras_ceiling_is_the_mean_over_batches_permuted_inside_a_perturbation(make_wells, embed, evaluation):
    wells = make_wells(batches=3, plates=1)
    rows = embed(wells, biology=0.5, batch=1)
    found = batch_mixing_bras(evaluation(rows, wells, options=PanelOptions(permutations=100)))
    rng = np.random.default_rng(0)
    labels = wells["perturbation"].to_numpy()
    null = []
    for _ in range(100):
        shuffled = wells.groupby("perturbation")["batch"].transform(lambda names: rng.permutation(names.to_numpy()))
        null.append(brute_force_bras(rows.astype(float), labels, shuffled.to_numpy()))
    assert found.ceiling == pytest.approx(np.mean(null), abs=4 * np.std(null) / 10)
    assert found.chance == found.ceiling
    assert found.value < found.ceiling - 4 * np.std(null)


def test_bras_is_at_its_ceiling_without_batch_and_low_with_it(make_wells, embed, evaluation):
    wells = make_wells(replicates=6)
    clean = [batch_mixing_bras(evaluation(embed(wells, biology=1, seed=seed), wells)) for seed in range(10)]
    assert np.mean([found.value - found.ceiling for found in clean]) == pytest.approx(0, abs=0.005)
    apart = batch_mixing_bras(evaluation(embed(wells, batch=10), wells))
    assert apart.value < 0.05


def test_bras_sees_a_partial_merge(make_wells, embed, evaluation):
    """Two pairs of batches merged, the pairs apart: the nearest-batch silhouette would call it whole."""
    wells = make_wells(replicates=6)
    pairs = wells.assign(batch=wells["batch"].map({"b0": "x", "b1": "x", "b2": "y", "b3": "y"}))
    partial = batch_mixing_bras(evaluation(embed(pairs, biology=1, batch=1.5), wells))
    whole = batch_mixing_bras(evaluation(embed(wells, biology=1), wells))
    assert partial.value < whole.value - 0.15


def test_bras_floor_is_the_share_of_wells_without_companion(make_wells, embed, evaluation):
    wells = make_wells(batches=3, plates=1, perturbations=1, replicates=2, controls=0)
    wells = wells.drop(index=5).reset_index(drop=True)  # batches of 2, 2 and 1 wells
    found = batch_mixing_bras(evaluation(embed(wells, batch=100), wells))
    assert found.floor == pytest.approx(1 / 5)
    assert found.value == pytest.approx(found.floor, abs=0.02)


def test_bras_names_what_is_not_identifiable(make_wells, embed, evaluation):
    wells = make_wells(plates=1, replicates=1, controls=1)
    found = batch_mixing_bras(evaluation(embed(wells), wells))
    assert found.value is None
    assert found.reason.startswith("not identifiable: no perturbation has two wells in one batch")
    one = make_wells(batches=1)
    assert batch_mixing_bras(evaluation(embed(one), one)).value is None


@pytest.mark.parametrize("name", ["mixing_bras", "cilisi", "probe_linear", "probe_knn", "variance"])
def test_by_plate_sees_plates_that_batches_do_not_show(name, make_wells, embed, evaluation):
    """Plate effects of mean 0 inside every batch: the factor plate falls, the factor batch hardly."""
    wells = make_wells(batches=4, perturbations=12)
    sign = np.where(wells["plate"].str.endswith("/0"), 1.0, -1.0)
    shift = np.random.default_rng(9).normal(size=16)
    clean = embed(wells, biology=0.4)
    plates = clean + (1.2 * sign[:, None] * shift).astype(np.float32)
    of_batch = "cilisi" if name == "cilisi" else f"batch_{name}"

    def anchored(metric, rows):
        found = REGISTRY[metric].function(evaluation(rows, wells))
        return (found.value - found.floor) / (found.ceiling - found.floor)

    lost = {metric: anchored(metric, clean) - anchored(metric, plates) for metric in (f"plate_{name}", of_batch)}
    assert lost[f"plate_{name}"] > 0.05
    assert lost[f"plate_{name}"] > 1.5 * lost[of_batch]


def test_plates_that_are_the_batches_are_the_same_factor(make_wells, embed, evaluation):
    wells = make_wells(batches=4, plates=1, perturbations=12, replicates=3)
    whole = evaluation(embed(wells, biology=0.4, batch=0.3), wells)
    for name in ("mixing_bras", "probe_linear", "probe_knn", "variance"):
        assert REGISTRY[f"plate_{name}"].function(whole).value == REGISTRY[f"batch_{name}"].function(whole).value
    assert REGISTRY["plate_cilisi"].function(whole).value == REGISTRY["cilisi"].function(whole).value


def test_by_plate_is_absent_where_batches_cannot_be_told_from_phenotype(make_wells, embed, evaluation):
    wells = make_wells(controls=0)
    wells = wells.assign(perturbation=wells["perturbation"] + wells["batch"])
    whole = evaluation(embed(wells), wells)
    for name in ("plate_mixing_bras", "plate_cilisi", "plate_probe_linear", "plate_probe_knn"):
        assert REGISTRY[name].function(whole).reason.startswith("not identifiable: every perturbation is in one batch")
