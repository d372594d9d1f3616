"""The panel as a whole: names, anchors, determinism, errors, controls."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pydantic import ValidationError

from sweeper.metrics.controls import CONTROLS, control_embedding
from sweeper.metrics.evaluation import PanelOptions
from sweeper.metrics.registry import REGISTRY, measure, resolve
from trainers.errors import InputError

DEFAULT = {
    "batch_probe_linear": ("technical", "primary"),
    "batch_mixing_bras": ("technical", "primary"),
    "activity_map": ("biological", "primary"),
    "retrieval_map": ("biological", "primary"),
    "perturbation_accuracy": ("biological", "primary"),
    "in_distribution_accuracy": ("biological", "secondary"),
    "accuracy_gap": ("biological", "guard"),
    "label_nmi": ("biological", "parity"),
    "label_ami": ("biological", "secondary"),
    "nn_accuracy": ("biological", "secondary"),
    "target_consistency": ("biological", "secondary"),
}
FURTHER = {
    "batch_probe_knn": ("technical", "secondary"),
    "batch_probe_spread": ("technical", "secondary"),
    "batch_probe_controls": ("technical", "secondary"),
    "batch_variance": ("technical", "secondary"),
    "plate_variance": ("technical", "secondary"),
    "row_column_ridge": ("technical", "secondary"),
    "cilisi": ("technical", "secondary"),
    "ilisi": ("technical", "parity"),
    "asw_batch": ("technical", "parity"),
    "tasw_batch": ("technical", "parity"),
    "tasw_row": ("technical", "parity"),
    "tasw_column": ("technical", "parity"),
    "kbet_controls": ("technical", "parity"),
    "pcr": ("technical", "parity"),
    "graph_connectivity": ("technical", "parity"),
    "graph_connectivity_directed": ("technical", "parity"),
    "within_batch_activity": ("biological", "guard"),
    "nsc_accuracy": ("biological", "secondary"),
    "nscb_accuracy": ("biological", "secondary"),
    "target_recall": ("biological", "secondary"),
    "pasw": ("biological", "parity"),
    "label_ari": ("biological", "parity"),
}


def test_the_panel():
    """Names are keys of stored results: changing one orphans them."""
    for in_sweep, expected in ((True, DEFAULT), (False, FURTHER)):
        found = {name: metric for name, metric in REGISTRY.items() if metric.in_sweep == in_sweep}
        assert {name: (metric.role, metric.standing) for name, metric in found.items()} == expected
    assert all(metric.in_sweep for metric in REGISTRY.values() if metric.primary)
    assert all(name == metric.name and metric.title and metric.direction for name, metric in REGISTRY.items())


def full(make_wells, embed, evaluation, **rest):
    wells = make_wells(perturbations=12)
    rows = {seed: embed(wells, biology=0.6, batch=0.4, seed=seed) for seed in range(3)}
    return evaluation(rows[0], wells, rows[1], wells, rows[2], wells, **rest)


def test_every_metric_lies_between_its_anchors(make_wells, embed, evaluation):
    for metric, found in measure(full(make_wells, embed, evaluation), tuple(REGISTRY)):
        assert found.reason is None, metric.name
        assert found.floor < found.ceiling
        assert found.floor - 0.1 < found.value < found.ceiling + 0.05, metric.name
        assert math.isfinite(found.raw)
        assert math.isfinite(found.chance)


def test_same_evaluation_same_numbers(make_wells, embed, evaluation):
    first, again, other = (
        measure(full(make_wells, embed, evaluation, seed=seed), tuple(REGISTRY)) for seed in (5, 5, 6)
    )
    assert first == again
    assert first != other


def test_metrics_come_in_the_order_asked_for(make_wells, embed, evaluation):
    names = ("label_ami", "activity_map")
    found = measure(full(make_wells, embed, evaluation), names)
    assert tuple(metric.name for metric, _ in found) == names


def test_the_panel_goes_on_when_a_metric_cannot_be_measured(make_wells, embed, evaluation):
    wells = make_wells(controls=0)
    found = dict(measure(evaluation(embed(wells), wells), ("activity_map", "accuracy_gap", "retrieval_map")))
    values = {metric.name: (measured.value is None, measured.reason is None) for metric, measured in found.items()}
    assert values == {"activity_map": (True, False), "accuracy_gap": (True, False), "retrieval_map": (False, True)}


def test_unknown_name():
    with pytest.raises(InputError, match="unknown metric 'activty_map'; nearest: activity_map"):
        resolve(["label_nmi", "activty_map"])


def test_embeddings_that_are_not_finite(make_wells, embed, evaluation):
    wells = make_wells()
    rows = embed(wells)
    rows[0, 0] = np.nan
    with pytest.raises(InputError, match="test embeddings are not finite"):
        measure(evaluation(rows, wells), ("label_nmi",))


def test_an_evaluation_that_does_not_fit(make_wells, embed, evaluation):
    wells = make_wells()
    rows = embed(wells)
    with pytest.raises(InputError, match=r"test embeddings have shape \(159, 16\); expected \(160, 16\)"):
        evaluation(rows[1:], wells)
    with pytest.raises(InputError, match=r"train embeddings have shape \(160, 15\); expected \(160, 16\)"):
        evaluation(rows, wells, rows[:, 1:], wells)
    with pytest.raises(InputError, match="test_wells lacks column 'plate'"):
        evaluation(rows, wells.drop(columns="plate"))
    with pytest.raises(InputError, match=r"expected \(n ≥ 1, e ≥ 1\)"):
        evaluation(rows[:0], wells[:0])


def test_options_refuse_what_they_do_not_know():
    with pytest.raises(ValidationError, match="probe_group"):
        PanelOptions(probe_group="plate")
    with pytest.raises(ValidationError, match="probe_folds"):
        PanelOptions(probe_folds=1)


@pytest.fixture
def screen(make_wells, embed):
    """Features with a strong batch and phenotype, on scales from 1e-2 to 1e3, one of them constant."""
    wells = make_wells(replicates=4)
    features = embed(wells, biology=1, batch=2) * np.logspace(-2, 3, 16, dtype=np.float32) + 5
    features[:, 3] = 0.1
    return features, wells


def panel(name, screen, evaluation):
    features, wells = screen
    train = np.arange(0, len(wells), 2)
    test = np.arange(1, len(wells), 2)
    rows = control_embedding(name, features, wells, train_rows=train, seed=3)
    assert rows.dtype == np.float32
    parts = [wells.iloc[index].reset_index(drop=True) for index in (test, train)]
    names = ("batch_probe_linear", "retrieval_map", "perturbation_accuracy")
    found = measure(evaluation(rows[test], parts[0], rows[train], parts[1]), names)
    return [measured.value for _, measured in found]


def test_controls_bracket_the_panel(screen, evaluation):
    """Raw keeps both, random nothing, label_shuffled the batch only, batch_standardised the phenotype only."""
    probe, retrieval, accuracy = (dict(zip(CONTROLS, values, strict=True)) for values in zip(
        *(panel(name, screen, evaluation) for name in CONTROLS), strict=True
    ))  # fmt: skip
    assert probe["raw"] < 0.05
    assert probe["label_shuffled"] < 0.05
    assert probe["random"] > 0.85
    assert probe["batch_standardised"] > 0.85
    assert retrieval["batch_standardised"] > 0.4
    assert abs(retrieval["random"]) < 0.03
    assert abs(retrieval["label_shuffled"]) < 0.06
    assert min(accuracy["raw"], accuracy["batch_standardised"]) > 0.8
    assert max(abs(accuracy["random"]), abs(accuracy["label_shuffled"])) < 0.12


def test_raw_is_scored_by_training_rows(screen):
    features, wells = screen
    train = np.arange(0, len(wells), 3)
    rows = control_embedding("raw", features, wells, train_rows=train, seed=0)
    varied = np.delete(rows[train], 3, axis=1)
    np.testing.assert_allclose(varied.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(varied.std(axis=0), 1, atol=1e-4)
    assert np.abs(rows[:, 3]).max() < 1e-5


def test_label_shuffled_keeps_the_rows_of_each_batch(screen):
    features, wells = screen
    train = np.arange(len(wells))
    raw, shuffled, other = (
        control_embedding(name, features, wells, train_rows=train, seed=seed)
        for name, seed in (("raw", 0), ("label_shuffled", 0), ("label_shuffled", 1))
    )
    assert not np.array_equal(raw, shuffled)
    assert not np.array_equal(other, shuffled)
    for batch in wells["batch"].unique():
        inside = (wells["batch"] == batch).to_numpy()
        np.testing.assert_array_equal(np.unique(raw[inside], axis=0), np.unique(shuffled[inside], axis=0))


def test_unknown_control(screen):
    with pytest.raises(InputError, match="control: 'none' is none of raw, random"):
        control_embedding("none", *screen, train_rows=np.arange(4), seed=0)
