"""Every metric of the registry on designs that identify nothing: absent with its reason, never a number, never a fault.

Parametrised on the registry, so that a new metric is held to it.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from sweeper.metrics.biological.fraction import activity_fraction
from sweeper.metrics.biological.retention import uncorrected
from sweeper.metrics.evaluation import Source
from sweeper.metrics.registry import REGISTRY, measure
from trainers.errors import InputError

READS_NO_LABEL = {"plate_variance", "row_column_ridge", "tasw_row", "tasw_column"}
READS_NO_BATCH = READS_NO_LABEL | {"graph_connectivity", "graph_connectivity_directed"}
BY_PLATE = {"plate_mixing_bras", "plate_cilisi", "plate_reader", "plate_probe_linear", "plate_probe_knn"}
TECHNICAL = [name for name, metric in REGISTRY.items() if metric.role == "technical"]
NEED_CONTROLS = ("activity_map", "within_batch_activity", "batch_probe_controls", "kbet_controls")


@pytest.fixture(scope="module")
def found(evaluation):
    """What the whole registry says of a table of wells, by name; same wells for training, reference and source."""

    def measured(wells):
        wells = wells.reset_index(drop=True)
        rng = np.random.default_rng(0)
        directions = rng.normal(size=(8, 16))[np.unique(wells["perturbation"], return_inverse=True)[1] % 8]
        rows = (rng.normal(size=(len(wells), 16)) + directions).astype(np.float32)
        known = {
            "reference": uncorrected(rows, wells, view="held_out_plates", seed=0),
            "source": Source(features=rows, encode=lambda features: features),
        }
        return {
            metric.name: one
            for metric, one in measure(evaluation(rows, wells, rows, wells, rows, wells, **known), tuple(REGISTRY))
        }

    return measured


def assert_absent(measured, reason=""):
    assert measured.value is None
    assert measured.reason
    assert reason in measured.reason


def assert_number_or_reason(measured):
    if measured.value is None:
        assert measured.reason
    else:
        assert math.isfinite(measured.value)
        assert measured.value <= measured.ceiling + 0.2


@pytest.fixture(scope="module")
def all_different(found, make_wells):
    """80 wells of 80 perturbations and targets, no controls."""
    wells = make_wells(controls=0).iloc[:80]
    names = [f"p{number}" for number in range(len(wells))]
    return found(wells.assign(perturbation=names, target=[f"t{name}" for name in names]))


@pytest.mark.parametrize("name", REGISTRY)
def test_labels_all_different(name, all_different):
    if name in READS_NO_LABEL:
        assert_number_or_reason(all_different[name])
    elif name in {"perturbation_accuracy", "in_distribution_accuracy", "accuracy_gap"}:
        assert_number_or_reason(all_different[name])  # a classifier trained on these very wells knows each of them
    else:
        assert_absent(all_different[name])


@pytest.fixture(scope="module")
def nested(found, make_wells):
    """Every perturbation in one batch, no shared control."""
    wells = make_wells(controls=0)
    return found(wells.assign(perturbation=wells["perturbation"] + wells["batch"]))


@pytest.fixture(scope="module")
def one_perturbation_a_batch(found, make_wells):
    """Every batch holds one perturbation only: phenotype and batch are one."""
    wells = make_wells(controls=0)
    return found(wells.assign(perturbation=np.where(wells["batch"].isin(["b0", "b1"]), "p0", "p1")))


@pytest.mark.parametrize("name", TECHNICAL)
def test_perturbations_nested_in_batches(name, nested):
    if name in READS_NO_BATCH:
        assert_number_or_reason(nested[name])
    else:
        assert_absent(nested[name], "not identifiable")


@pytest.mark.parametrize("name", TECHNICAL)
def test_batches_nested_in_perturbations(name, one_perturbation_a_batch):
    """What compares batches inside a perturbation can still tell."""
    if name in READS_NO_BATCH | {"cilisi", "batch_mixing_bras", "asw_batch"}:
        assert_number_or_reason(one_perturbation_a_batch[name])
    else:
        assert_absent(one_perturbation_a_batch[name], "not identifiable")


@pytest.mark.parametrize("name", REGISTRY)
def test_one_batch(name, one_batch):
    if name in TECHNICAL and name not in READS_NO_BATCH | BY_PLATE:
        assert_absent(one_batch[name], "not identifiable")
    elif name in {"activity_map", "retrieval_map", "nn_accuracy"}:
        assert_absent(one_batch[name], "batch")
    elif name in {"nscb_accuracy", "nsc_gap", "target_retrieval_map"}:
        assert_absent(one_batch[name], "another batch")
    else:
        assert_number_or_reason(one_batch[name])


@pytest.fixture(scope="module")
def one_batch(found, make_wells):
    return found(make_wells(batches=1, plates=4))


@pytest.mark.parametrize("name", REGISTRY)
def test_one_plate(name, one_plate):
    if name == "plate_variance":
        assert_absent(one_plate[name], "not identifiable: one plate")
    elif name in {"within_batch_activity", "within_batch_retention"}:
        assert_absent(one_plate[name], "plate")
    elif name in TECHNICAL and name not in READS_NO_BATCH:
        assert_absent(one_plate[name], "not identifiable")
    else:
        assert_number_or_reason(one_plate[name])


@pytest.fixture(scope="module")
def one_plate(found, make_wells):
    return found(make_wells(batches=1, plates=1, controls=12, replicates=6))


@pytest.fixture(scope="module")
def no_controls(found, make_wells):
    return found(make_wells(controls=0))


@pytest.mark.parametrize("name", REGISTRY)
def test_no_controls(name, no_controls):
    if name in (*NEED_CONTROLS, "planted_signal_retention"):
        assert_absent(no_controls[name], "negative controls")
    else:
        assert_number_or_reason(no_controls[name])


@pytest.fixture(scope="module")
def controls_only(found, make_wells):
    wells = make_wells(controls=12)
    return found(wells[wells["control_type"] == "negative"])


@pytest.mark.parametrize("name", [name for name, metric in REGISTRY.items() if metric.role == "biological"])
def test_controls_only(name, controls_only):
    """Nothing to be recognised: no biological number."""
    assert_absent(controls_only[name])


def test_activity_is_not_tested_on_two_replicates(make_wells, embed, evaluation):
    """With 2 the false discovery rate is not controlled."""
    wells = make_wells(batches=2, plates=1, replicates=1, controls=12)
    assert activity_fraction(evaluation(embed(wells, biology=3), wells), null_size=200).empty


@pytest.mark.parametrize("part", ["test", "train", "validation"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_not_finite_is_refused_by_place(part, value, make_wells, embed, evaluation):
    wells = make_wells()
    parts = {name: embed(wells) for name in ("test", "train", "validation")}
    parts[part][11, 2] = value
    whole = evaluation(parts["test"], wells, parts["train"], wells, parts["validation"], wells)
    with pytest.raises(InputError, match=rf"{part} embeddings: value at row 11, column 2 is not finite"):
        measure(whole, ("label_ami",))
