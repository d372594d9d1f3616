"""Label metrics by batch and by perturbation: hand-made tables, and what their means must add up to."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from sweeper.metrics.evaluation import Measurement, Unit
from sweeper.metrics.panel import score_table
from sweeper.metrics.panel_options import PanelOptions
from sweeper.metrics.registry import REGISTRY, measure
from sweeper.metrics.unit_axes import COLUMNS, check_axes
from sweeper.metrics.units import query_units, unit_table
from trainers.errors import InputError

BY_PERTURBATION = (
    "activity_map",
    "within_batch_activity",
    "retrieval_map",
    "nn_accuracy",
    "perturbation_accuracy",
    "in_distribution_accuracy",
    "accuracy_gap",
)
WELLS = pd.DataFrame(
    {"batch": ["b1", "b1", "b1", "b2", "b2", "b2"], "perturbation": ["<b>", "<b>", "q", "q", "q", "dmso"]}
)


def as_table(units: tuple[Unit, ...]) -> dict[tuple[str, str], tuple[float, int]]:
    return {(unit.axis, unit.unit): (pytest.approx(unit.value), unit.wells) for unit in units}


def test_hand_computed() -> None:
    found = query_units(WELLS, np.arange(5), np.array([1.0, 0.0, 0.2, 0.4, 0.8]))
    assert as_table(found) == {
        ("batch", "b1"): ((0.5 + 0.2) / 2, 3),  # a mean over the perturbations in it, not over its wells
        ("batch", "b2"): (0.6, 2),
        ("perturbation", "<b>"): (0.5, 2),
        ("perturbation", "q"): ((0.2 + 0.4 + 0.8) / 3, 3),
    }


def test_chance_and_other_groups() -> None:
    found = query_units(WELLS, np.array([0, 3]), np.array([1.0, 0.25]), chance=0.25, groups=np.array([7, 0]))
    assert as_table(found) == {
        ("batch", "b1"): (1.0, 1),
        ("batch", "b2"): (0.0, 1),
        ("perturbation", "<b>"): (1.0, 1),
        ("perturbation", "q"): (0.0, 1),
    }


@pytest.fixture(scope="module")
def balanced(make_wells, embed, evaluation):
    """As many wells of every perturbation in every batch; validation on plates of its own."""
    wells = make_wells(batches=4, plates=3, perturbations=8, controls=6)
    rows = embed(wells, biology=0.7, batch=0.5)
    plate = wells["plate"].str[-1]
    test, train, validation = ((plate == number).to_numpy() for number in "012")
    both = test | validation  # within_batch_activity needs two plates
    return evaluation(
        rows[both],
        wells[both].reset_index(drop=True),
        rows[train],
        wells[train].reset_index(drop=True),
        rows[validation],
        wells[validation].reset_index(drop=True),
        options=PanelOptions(different_wells=False),
    )


def test_plain_mean_over_perturbations_is_the_value(balanced) -> None:
    for metric, found in measure(balanced, BY_PERTURBATION):
        units = [unit for unit in found.units if unit.axis == "perturbation"]
        assert len(units) == 8, metric.name
        assert np.mean([unit.value for unit in units]) == pytest.approx(found.value, abs=1e-12), metric.name


def test_mean_over_batches_weighted_by_wells_is_the_value_of_a_balanced_design(balanced) -> None:
    for metric, found in measure(balanced, (*BY_PERTURBATION, "nsc_accuracy", "nscb_accuracy", "pasw")):
        units = [unit for unit in found.units if unit.axis == "batch"]
        assert len(units) == 4, metric.name
        assert len({round(unit.value, 9) for unit in units}) > 1, metric.name
        weights = [unit.wells for unit in units]
        assert np.average([unit.value for unit in units], weights=weights) == pytest.approx(found.value, abs=1e-9)


def test_one_bad_batch_is_named(make_wells, embed, evaluation) -> None:
    wells = make_wells(batches=4, plates=1, perturbations=8)
    rows = embed(wells, biology=3)
    spoilt = (wells["batch"] == "b2").to_numpy()
    rows[spoilt] = np.random.default_rng(5).normal(size=(spoilt.sum(), rows.shape[1]))
    found = REGISTRY["retrieval_map"].function(evaluation(rows, wells))
    by_batch = {unit.unit: unit.value for unit in found.units if unit.axis == "batch"}
    assert min(by_batch, key=by_batch.__getitem__) == "b2"
    assert by_batch["b2"] < 0.3 < min(value for batch, value in by_batch.items() if batch != "b2")


def test_consistency_has_a_value_a_perturbation_and_none_a_batch(make_wells, embed, evaluation) -> None:
    wells = make_wells(perturbations=6)
    found = REGISTRY["target_consistency"].function(evaluation(embed(wells, biology=1), wells))
    assert {unit.axis for unit in found.units} == {"perturbation"}
    assert [unit.unit for unit in found.units] == [f"p{number}" for number in range(6)]
    assert {unit.wells for unit in found.units} == {16}
    assert np.mean([unit.value for unit in found.units]) == pytest.approx(found.value)  # targets of two each


def test_a_panel_keeps_the_axes_it_is_asked_for(make_wells, embed) -> None:
    wells = make_wells()
    rows = embed(wells, biology=1)
    metrics = ("label_nmi", "retrieval_map", "target_consistency")
    both = score_table(rows, wells, metrics=metrics)
    assert list(both.units.columns) == list(COLUMNS)
    assert set(both.units["metric"]) == {"retrieval_map", "target_consistency"}
    one = score_table(rows, wells, metrics=metrics, options=PanelOptions(units=("batch",)))
    assert set(one.units["axis"]) == {"batch"}
    assert one.rows == both.rows
    none = score_table(rows, wells, metrics=metrics, options=PanelOptions(units=()))
    assert none.units.empty
    assert list(none.units.columns) == list(COLUMNS)


def test_table_is_compact() -> None:
    units = tuple(Unit("perturbation", f"p{number}", 0.5, 4) for number in range(1000))
    frame = unit_table([(REGISTRY["activity_map"], Measurement(0.5, units=units))], ("perturbation",))
    assert frame.dtypes.astype(str).to_dict() == {
        "metric": "category",
        "axis": "category",
        "unit": "category",
        "wells": "int32",
        "value": "float32",
    }


def test_cell_types_and_further_columns_are_axes_where_the_wells_have_them() -> None:
    wells = WELLS.assign(
        cell_type=pd.array(["u", "u", "v", "v", None, "v"], dtype="string"),
        Metadata_Source=["s1", "s1", "s1", "s2", "s2", "s2"],
    )
    scores = np.array([1.0, 0.0, 0.2, 0.4, 0.8])
    axes = ("Metadata_Source", "cell_type", "absent")
    found = query_units(wells, np.arange(5), scores, groups=np.zeros(5, dtype=np.int64), axes=axes)
    assert [(unit.axis, unit.unit, unit.wells) for unit in found] == [
        ("Metadata_Source", "s1", 3),
        ("Metadata_Source", "s2", 2),
        ("cell_type", "u", 2),
        ("cell_type", "v", 2),
    ]
    assert [unit.value for unit in found] == pytest.approx([0.4, 0.6, 0.5, 0.3])


def test_an_axis_that_the_screen_lacks_is_refused_with_the_nearest() -> None:
    wells = WELLS.assign(Metadata_Source="s")
    check_axes(("batch", "cell_type", "perturbation", "Metadata_Source"), wells)
    with pytest.raises(InputError, match=r"no column 'Metadata_Sourc'; nearest: 'Metadata_Source'"):
        check_axes(("Metadata_Sourc",), wells)
    with pytest.raises(ValueError, match="named twice"):
        PanelOptions(units=("batch", "batch"))
