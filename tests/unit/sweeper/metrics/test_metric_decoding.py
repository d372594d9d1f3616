"""Probes, explained variance and position against scikit-learn, and what each of them sees."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression, RidgeCV
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sweeper.metrics.classifier import balanced_accuracy
from sweeper.metrics.panel_options import PanelOptions
from sweeper.metrics.technical.batch_probe import (
    batch_probe_controls,
    batch_probe_knn,
    batch_probe_linear,
    batch_probe_spread,
)
from sweeper.metrics.technical.position import row_column_ridge
from sweeper.metrics.technical.variance import batch_variance, pcr, plate_variance


@pytest.mark.parametrize("strength", [0.0, 0.5])
def test_neighbour_probe_equals_scikit_learn(make_wells, embed, evaluation, strength):
    """Same folds, balanced batches: only ties of votes may differ."""
    wells = make_wells(replicates=6)
    rows = embed(wells, biology=0.5, batch=strength)
    batch = np.unique(wells["batch"], return_inverse=True)[1]
    model = make_pipeline(StandardScaler(), KNeighborsClassifier(15))
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    expected = balanced_accuracy(batch, cross_val_predict(model, rows, batch, groups=wells["perturbation"], cv=folds))
    found = batch_probe_knn(evaluation(rows, wells))
    assert found.raw == pytest.approx(expected, abs=0.03)
    assert found.value == pytest.approx(1 - max(found.raw - 0.25, 0) / 0.75)


def test_neighbours_see_clouds_that_a_linear_probe_does_not(make_wells, embed, evaluation):
    """Each batch is two clouds on its own axis, around the mean of all."""
    wells = make_wells(batches=2, replicates=8)
    axis = np.array([[1, 1], [1, -1]])[np.unique(wells["batch"], return_inverse=True)[1]]
    side = np.random.default_rng(0).choice([-4, 4], len(wells))
    rows = (embed(wells, e=2) + side[:, None] * axis).astype(np.float32)
    assert batch_probe_linear(evaluation(rows, wells)).raw < 0.6
    assert batch_probe_knn(evaluation(rows, wells)).raw > 0.9


def test_a_spread_that_neither_planes_nor_neighbours_see(make_wells, embed, evaluation):
    wells = make_wells(replicates=8)
    scale = wells["batch"].map({"b0": 0.3, "b1": 1.0, "b2": 2.0, "b3": 4.0}).to_numpy()
    whole = evaluation((embed(wells) * scale[:, None]).astype(np.float32), wells)
    assert batch_probe_linear(whole).raw < 0.35
    assert batch_probe_knn(whole).raw < 0.35
    assert batch_probe_spread(whole).raw > 0.7


@pytest.mark.parametrize("metric", [batch_probe_knn, batch_probe_spread])
def test_probes_are_at_chance_on_unbalanced_noise(metric, make_wells, embed, evaluation):
    wells = make_wells(replicates=6)
    small = (wells["batch"] == "b0") & (np.arange(len(wells)) % 3 > 0)
    wells = wells[~small].reset_index(drop=True)
    raw = [metric(evaluation(embed(wells, seed=seed), wells)).raw for seed in range(12)]
    assert np.mean(raw) == pytest.approx(0.25, abs=0.02)


def test_probe_on_controls_is_the_probe_of_a_table_of_controls(make_wells, embed, evaluation):
    wells = make_wells(controls=12)
    rows = embed(wells, batch=0.4, biology=1)
    control = (wells["control_type"] == "negative").to_numpy()
    alone = wells[control].reset_index(drop=True)
    expected = batch_probe_linear(evaluation(rows[control], alone, options=PanelOptions(probe_groups="plate")))
    found = batch_probe_controls(evaluation(rows, wells))
    assert found == expected
    assert 0.3 < found.raw < 1


def test_centring_on_controls_hides_batch_from_controls_only(make_wells, embed, evaluation):
    """The probe on controls is then at chance, which is no success: treated wells still show their batch."""
    wells = make_wells(controls=6, replicates=3)
    rows = embed(wells, biology=1, batch=1)
    control = (wells["control_type"] == "negative").to_numpy()
    for plate in wells["plate"].unique():
        inside = (wells["plate"] == plate).to_numpy()
        rows[inside] -= rows[inside & control].mean(axis=0)
    whole = evaluation(rows, wells)
    on_controls = batch_probe_controls(whole)
    assert on_controls.raw < 0.35
    assert batch_probe_linear(whole).raw > on_controls.raw + 0.1


def test_probe_on_controls_that_identify_nothing(make_wells, embed, evaluation):
    none = make_wells(controls=0)
    found = batch_probe_controls(evaluation(embed(none), none))
    assert found.reason == "not identifiable: fewer than 2 batches have negative controls"
    one_plate = make_wells(plates=1)
    found = batch_probe_controls(evaluation(embed(one_plate), one_plate))
    assert found.reason == "not identifiable: holding out a plate leaves a batch without training wells"


def r2_on_one_hot(rows, column):
    one_hot = pd.get_dummies(column).to_numpy(dtype=float)
    fitted = LinearRegression().fit(one_hot, rows).predict(one_hot)
    return 1 - np.sum((rows - fitted) ** 2) / np.sum((rows - rows.mean(axis=0)) ** 2)


def test_explained_variance_equals_a_regression_on_one_hot(make_wells, embed, evaluation):
    wells = make_wells(perturbations=5).iloc[3:].reset_index(drop=True)
    rows = embed(wells, biology=0.5, batch=0.5)
    whole, n = evaluation(rows, wells), len(wells)
    for metric, column, groups in ((batch_variance, "batch", 4), (plate_variance, "plate", 8)):
        found = metric(whole)
        assert found.raw == pytest.approx(r2_on_one_hot(rows, wells[column]), abs=1e-6)
        assert found.chance == pytest.approx((groups - 1) / (n - 1))
        assert found.value == pytest.approx((1 - found.raw) * (n - 1) / (n - groups))  # 1 - adjusted R²
    assert pcr(whole).raw == pytest.approx(batch_variance(whole).raw, abs=1e-6)


def test_pcr_weights_the_first_50_components_by_their_variance(make_wells, embed, evaluation):
    wells = make_wells()
    rows = embed(wells, biology=0.5, batch=0.5, e=70)
    components = PCA(50, svd_solver="full").fit(rows.astype(float))
    scores = components.transform(rows)
    shares = [r2_on_one_hot(scores[:, [i]], wells["batch"]) for i in range(50)]
    weights = components.explained_variance_
    found = pcr(evaluation(rows, wells))
    assert found.raw == pytest.approx(np.sum(shares * weights) / weights.sum(), abs=1e-6)
    assert found.value == 1 - found.raw


@pytest.mark.parametrize("metric", [batch_variance, plate_variance])
def test_variance_anchors(metric, make_wells, embed, evaluation):
    wells = make_wells()
    noise = [metric(evaluation(embed(wells, seed=seed), wells)) for seed in range(12)]
    assert np.mean([found.raw - found.chance for found in noise]) == pytest.approx(0, abs=0.003)
    assert min(found.value for found in noise) > 0.98
    assert metric(evaluation(embed(wells, batch=100), wells)).value < 0.001


def test_variance_that_is_not_identifiable(make_wells, embed, evaluation):
    one = make_wells(batches=1, plates=1)
    whole = evaluation(embed(one), one)
    assert batch_variance(whole).reason.startswith("not identifiable: one batch")
    assert plate_variance(whole).reason.startswith("not identifiable: one plate")
    assert pcr(whole).value is None


def gradient(wells, rows, size):
    """A quadratic gradient over rows in one direction and over columns in another."""
    rng = np.random.default_rng(5)
    row, column = (wells[name].to_numpy(dtype=float) for name in ("row", "column"))
    place = np.stack([(row - 4) ** 2 / 10 + row / 4, column / 4], axis=1)
    return (rows + size * (place - place.mean(axis=0)) @ rng.normal(size=(2, rows.shape[1]))).astype(np.float32)


@pytest.mark.parametrize("size", [0.0, 0.3])
def test_position_equals_a_ridge_regression_that_holds_out_wells(make_wells, embed, evaluation, size):
    wells = make_wells()
    rows = gradient(wells, embed(wells), size)
    shares = []
    for name in ("row", "column"):
        y = wells[name].to_numpy(dtype=float)
        model = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-2, 5, 8)))
        held_out = cross_val_predict(model, rows, y, groups=wells["well"], cv=GroupKFold(5))
        shares.append(np.clip(1 - np.sum((y - held_out) ** 2) / np.sum((y - y.mean()) ** 2), 0, 1))
    found = row_column_ridge(evaluation(rows, wells))
    assert found.raw == pytest.approx(np.mean(shares), abs=1e-4)
    assert found.value == 1 - found.raw
    assert (found.raw > 0.25) if size else (found.raw < 0.05)


def test_position_that_is_not_known(make_wells, embed, evaluation):
    wells = make_wells()
    rows = embed(wells)
    missing = wells.assign(row=wells["row"].where(np.arange(len(wells)) > 0))
    for table in (missing, wells.drop(columns="column")):
        assert row_column_ridge(evaluation(rows, table)).reason == "the wells' rows and columns are not known"
    assert "one row" in row_column_ridge(evaluation(rows, wells.assign(row=1))).reason
