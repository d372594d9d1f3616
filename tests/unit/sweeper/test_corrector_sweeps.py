"""Corrections that train nothing, as a sweep plans and scores them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sweeper.arms.arm import Arm
from sweeper.arms.arm_rounds import next_round, upcoming_rounds
from sweeper.config.sweep_config import build_config
from sweeper.errors import ConfigError, InputError
from sweeper.planning.cells import PackPlan, make_cells
from sweeper.planning.description import sweep_description
from sweeper.planning.inputs import trainer_features
from sweeper.planning.prepared import Prepared, prepare
from sweeper.running.worker import PackRun, pack_content

DATA: dict[str, Any] = {
    "name": "corrected",
    "simulate": {
        "batches": 3,
        "plates_per_batch": 2,
        "wells_per_plate": 96,
        "features": 16,
        "perturbations": 8,
        "targets": 4,
        "controls_per_plate": 8,
        "latent": 4,
        "seed": 2,
    },
    "views": [{"view": "held_out_plates", "fraction": 0.5}],
    "trainer": "center",
    "seeds": 2,
    "metrics": ["batch_probe_linear", "retrieval_map"],
    "decision": {"draws": 1000},
}


def sweep(folder: Path, **changes: Any) -> Prepared:
    found = prepare(build_config({**DATA, "folder": str(folder), **changes}, "test"))
    found.store.create(sweep_id=found.sweep_id, description=sweep_description(found, []), screen=found.screen)
    return found


def run(found: Prepared, plan: PackPlan) -> None:
    work = PackRun(found.store.write_pack(plan.pack_id, pack_content(plan, found.config, replace=frozenset())))
    while work.advance():
        pass
    assert len(list(work.finish())) <= len(plan.cells)


def plan_of(found: Prepared, weights: tuple[float, ...], arm: Arm = Arm.SWEEP) -> PackPlan:
    strengths = [(weight, 0.0) for weight in weights]
    cells = make_cells(found.sweep_id, found.config.trainer, strengths, [0], {"held_out_plates": 1}, arm=arm)
    return PackPlan(pack_id="p", cells=cells)


@pytest.mark.parametrize("trainer", ["center", "sphering"])
def test_cells_are_corrected_one_by_one_and_scored(tmp_path: Path, trainer: str) -> None:
    found = sweep(tmp_path / "s", trainer=trainer)
    plan = plan_of(found, (0.0, 1.0))
    run(found, plan)
    records = [found.store.record(cell.cell_id) for cell in plan.cells]
    assert [record["status"] for record in records] == ["ok", "ok"]
    assert {record["margin"] for record in records} == {0.0}
    rows, untouched = found.store.embeddings(plan.cells[0].cell_id)
    features = trainer_features(found.config, found.screen)
    if trainer == "sphering":
        wells, split = found.screen.wells, found.splits.of(plan.cells[0])
        controls = split.train[(wells["control_type"].to_numpy() == "negative")[split.train]]
        features = features - features[controls].mean(0)
    np.testing.assert_allclose(untouched, features[rows], rtol=2e-3, atol=2e-3)
    assert not np.allclose(found.store.embeddings(plan.cells[1].cell_id)[1], untouched)
    assert found.store.curve(plan.cells[0].cell_id) == []


@pytest.mark.parametrize("arm", [Arm.SHAM, Arm.PSEUDO])
def test_the_arms_correct_by_batch_labels_of_their_own(tmp_path: Path, arm: Arm) -> None:
    found = sweep(tmp_path / "s")
    mine, real = plan_of(found, (1.0,), arm), plan_of(found, (1.0,))
    for plan in (mine, real):
        run(found, plan)
    rows, corrected = found.store.embeddings(mine.cells[0].cell_id)
    others, by_batch = found.store.embeddings(real.cells[0].cell_id)
    assert set(rows) <= set(others)
    assert not np.allclose(corrected, by_batch[np.isin(others, rows)], atol=0.05)


def test_what_reads_no_batch_labels_has_no_arm_that_changes_them(tmp_path: Path) -> None:
    arms = {"pseudo": {"enabled": True}}
    found = sweep(tmp_path / "s", trainer="sphering", **arms)
    lines = [item.line for item in upcoming_rounds(found)]
    assert lines == [
        "sham arm:  none: sphering reads no batch labels",
        "pseudo:    none: sphering reads no batch labels",
    ]
    assert [item.cells for item in upcoming_rounds(found)] == [0, 0]
    run(found, PackPlan(pack_id="all", cells=found.known_cells()))
    assert next_round(found, found.store) is None


def test_views_are_those_that_a_correction_can_serve(tmp_path: Path) -> None:
    batches = {"views": [{"view": "held_out_batches", "folds": 3}]}
    with pytest.raises(ConfigError, match="views: center corrects the screen that it is fitted on"):
        sweep(tmp_path / "a", **batches)
    assert sweep(tmp_path / "b", **batches, center={"fit_on": "controls"}).folds == {"held_out_batches": 3}
    assert sweep(tmp_path / "c", **batches, trainer="sphering").folds == {"held_out_batches": 3}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"strengths": {"adversarial_weight": [1.5]}},
            "expected share taken out α of 0 or more and at most",
        ),
        ({"optuna": {"rounds": 1, "high": 3}}, "optuna.high: expected share taken out α of 0 or more"),
        ({"ladder": {"select_on": ["B01"], "rungs": [{"name": "a"}]}}, "center names no perturbation"),
        ({"trainer": "centre"}, "did you mean 'center'?"),
    ],
)
def test_what_it_cannot_do_is_one_line(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        sweep(tmp_path / "s", **changes)
    assert words in str(caught.value)


def test_a_screen_without_controls_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    bare = {"simulate": {**DATA["simulate"], "controls_per_plate": 0}}
    with pytest.raises(InputError, match="name the screen's negative controls"):
        sweep(tmp_path / "s", trainer="sphering", **bare)
    assert not (tmp_path / "s").exists()


def test_a_sham_arm_of_a_correction_permutes_the_labels_of_the_scored_rows_too(tmp_path: Path) -> None:
    """With true labels there it would take the batch out of them in earnest; permuted, T stays where it was."""
    found = sweep(tmp_path / "s", metrics=["batch_variance", "retrieval_map"])
    sham, real = plan_of(found, (0.0, 1.0), Arm.SHAM), plan_of(found, (1.0,))
    for plan in (sham, real):
        run(found, plan)

    def removed(cell_id: str) -> float:
        metrics = {row["metric"]: row["value"] for row in found.store.record(cell_id)["metrics"]}
        return float(metrics["batch_variance"])

    untouched, permuted, corrected = (removed(cell.cell_id) for cell in (*sham.cells, *real.cells))
    assert corrected > untouched + 0.1
    assert abs(permuted - untouched) < 0.3 * (corrected - untouched)
