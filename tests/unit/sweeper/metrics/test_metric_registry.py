"""The panel as a whole: names, anchors, determinism, errors, controls."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pydantic import ValidationError

from sweeper.metrics.biological.retention import uncorrected
from sweeper.metrics.catalogue import PLAIN_ACCURACIES
from sweeper.metrics.evaluation import Source
from sweeper.metrics.panel_options import PanelOptions
from sweeper.metrics.registry import REGISTRY, measure, resolve
from trainers.errors import InputError

DEFAULT = {
    "batch_reader": ("technical", "primary"),
    "batch_probe_linear": ("technical", "secondary"),
    "cilisi": ("technical", "secondary"),
    "batch_probe_knn": ("technical", "secondary"),
    "batch_mixing_bras": ("technical", "secondary"),
    "batch_variance": ("technical", "secondary"),
    "plate_variance": ("technical", "secondary"),
    "activity_map": ("biological", "primary"),
    "retrieval_map": ("biological", "primary"),
    "perturbation_accuracy": ("biological", "primary"),
    "in_distribution_accuracy": ("biological", "secondary"),
    "accuracy_gap": ("biological", "guard"),
    "label_nmi": ("biological", "parity"),
    "label_ami": ("biological", "secondary"),
    "nn_accuracy": ("biological", "secondary"),
    "target_consistency": ("biological", "secondary"),
    "within_batch_retention": ("biological", "guard"),
    "planted_signal_retention": ("biological", "guard"),
}
FURTHER = {
    "batch_probe_spread": ("technical", "secondary"),
    "batch_probe_controls": ("technical", "secondary"),
    "plate_mixing_bras": ("technical", "secondary"),
    "plate_cilisi": ("technical", "secondary"),
    "plate_reader": ("technical", "secondary"),
    "plate_probe_linear": ("technical", "secondary"),
    "plate_probe_knn": ("technical", "secondary"),
    "row_column_ridge": ("technical", "secondary"),
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
    "target_retrieval_map": ("biological", "secondary"),
    "nsc_gap": ("biological", "guard"),
    "target_recall": ("biological", "secondary"),
    "pasw": ("biological", "parity"),
    "label_ari": ("biological", "parity"),
    "plain_accuracy": ("biological", "parity"),
    "in_distribution_plain_accuracy": ("biological", "parity"),
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
    wells.loc[wells["perturbation"] == "p0", "control_type"] = "positive"
    rows = {seed: embed(wells, biology=0.6, batch=0.4, seed=seed) for seed in range(3)}
    known = {
        "reference": uncorrected(rows[0], wells, view="held_out_plates", seed=0),
        "source": Source(features=rows[0], encode=lambda features: 2.0 * features),
        "predict": lambda _: np.roll(wells["perturbation"].to_numpy(dtype=str), 1),  # of the well before: often right
    }
    return evaluation(rows[0], wells, rows[1], wells, rows[2], wells, **known, **rest)


def test_every_metric_lies_between_its_anchors(make_wells, embed, evaluation):
    for metric, found in measure(full(make_wells, embed, evaluation), tuple(REGISTRY)):
        # Those name their classes, and the strongest reader itself.
        told = metric.name in (*PLAIN_ACCURACIES, "batch_reader", "plate_reader")
        assert (found.reason is not None) == told, metric.name
        assert found.floor < found.ceiling
        assert found.floor - 0.1 < found.value < found.ceiling + 0.05, metric.name
        assert math.isfinite(found.raw)
        assert math.isfinite(found.chance)


@pytest.mark.slow
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
    with pytest.raises(InputError, match="test embeddings: value at row 0, column 0 is not finite"):
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
