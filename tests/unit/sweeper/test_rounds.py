"""Which round follows, from a store that holds results made by hand: no training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sweeper.arms.arm import Arm
from sweeper.arms.arm_rounds import next_round, upcoming_rounds
from sweeper.arms.proposal import Proposal
from sweeper.config.sweep_config import build_config
from sweeper.findings.stored import tabulate_and_decide
from sweeper.library.rounds import kept_rounds
from sweeper.metrics.unit_axes import COLUMNS
from sweeper.planning.cells import Cell
from sweeper.planning.description import sweep_description
from sweeper.planning.estimate import estimate
from sweeper.planning.prepared import Prepared, prepare
from sweeper.running.scoring import cell_record

DATA: dict[str, Any] = {
    "name": "small",
    "simulate": {
        "batches": 3,
        "plates_per_batch": 2,
        "wells_per_plate": 96,
        "features": 24,
        "perturbations": 8,
        "targets": 4,
        "controls_per_plate": 8,
        "latent": 4,
        "seed": 2,
    },
    "views": [{"view": "held_out_plates", "fraction": 0.5}],
    "seeds": 3,
    "strengths": {"adversarial_weight": [1, 3, 10, 30, 100, 300], "margin": [0.2]},
    "metrics": ["batch_probe_linear", "perturbation_accuracy"],
    "decision": {"deciding_view": "held_out_plates", "draws": 1000, "method": "bracket"},
}


def prepared(folder: Path, **changes: object) -> Prepared:
    found = prepare(build_config({**DATA, "folder": str(folder), **changes}, "test"))
    found.store.create(sweep_id=found.sweep_id, description=sweep_description(found, []), screen=found.screen)
    return found


def write(
    sweep: Prepared,
    cells: tuple[Cell, ...],
    *,
    loss_from: float = 60.0,
    noise: float = 0.004,
    perturbations: int = 0,
    removal: float = 0.8,
) -> None:
    """Records as a worker would write them: technical rises with λ, biology falls by half at `loss_from`."""
    done = sweep.store.finished()
    for cell in cells:
        if cell.cell_id in done:
            continue
        weight = cell.adversarial_weight or 0.0
        rng = np.random.default_rng([cell.seed, int(1000 * weight), (cell.arm is Arm.SHAM)])
        lost = 0.5 * (weight >= loss_from) * (cell.arm is not Arm.SHAM)
        values = {
            "batch_probe_linear": ("technical", 0.1 + removal * weight / (weight + 2)),
            "perturbation_accuracy": ("biological", 0.05 if cell.is_control else 0.8 * (1 - lost)),
        }
        metrics = [
            {
                "metric": name,
                "role": role,
                "value": value + noise * rng.standard_normal() + 0.01 * (cell.seed % 10),
                "raw": value,
                "floor": 0.0,
                "ceiling": 1.0,
                "chance": 0.0,
                "primary": True,
                "reason": None,
            }
            for name, (role, value) in values.items()
        ]
        value = values["perturbation_accuracy"][1]
        units = pd.DataFrame(
            [("perturbation_accuracy", "perturbation", f"p{unit:02d}", 4, value) for unit in range(perturbations)],
            columns=list(COLUMNS),
        )
        sweep.store.write_cell(
            cell_record(cell, status="ok", reason=None, metrics=metrics, seconds={}, pack_cells=1),
            curve=[],
            units=units if perturbations else None,
        )


def follow(sweep: Prepared, **how: Any) -> list[Proposal]:
    """Rounds as a run would make them, until there is none."""
    write(sweep, sweep.known_cells(), **how)
    for _ in range(20):
        proposal = next_round(sweep, sweep.store)
        if proposal is None:
            return sweep.store.proposals()
        sweep.store.write_proposal(len(sweep.store.proposals()) + 1, proposal)
        write(sweep, sweep.known_cells(), **how)
    raise AssertionError("the rounds do not end")


def told(sweep: Prepared) -> str:
    return "\n".join(item.line for item in upcoming_rounds(sweep))


def test_a_grid_is_followed_by_its_sham_arm_and_then_by_nothing(tmp_path: Path) -> None:
    sweep = prepared(tmp_path / "s")
    (arm,) = follow(sweep)
    assert (arm.kind, arm.trainer, arm.views) == ("sham", "sham:abra", ("held_out_plates",))
    # λ = 30 is the safe bound and the advised; the fourth fills the widest gap.
    assert arm.strengths == ((0.0, 0.2), (1.0, 0.2), (30.0, 0.2), (100.0, 0.2), (300.0, 0.2))
    assert next_round(sweep, sweep.store) is None
    cells = [cell for cell in sweep.known_cells() if (cell.arm is Arm.SHAM)]
    assert len(cells) == 5 * 3
    assert not {cell.cell_id for cell in cells} & {
        cell.cell_id for cell in sweep.known_cells() if cell.arm is not Arm.SHAM
    }


def test_rounds_follow_the_declared_target_and_read_the_values_by_perturbation(tmp_path: Path) -> None:
    about_new = {"decision": {**DATA["decision"], "target": "new_perturbations"}}
    assert follow(prepared(tmp_path / "without", **about_new)) == [], "nothing is known of new perturbations"
    sweep = prepared(tmp_path / "with", **about_new)
    (arm,) = follow(sweep, perturbations=12)
    assert arm.kind == "sham"
    rule = tabulate_and_decide(sweep.store)[1].rule
    assert rule.design.target == "new_perturbations"
    assert rule.estimate.safe_up_to == 30.0


def test_the_sham_arm_grows_with_the_seeds_and_takes_new_strengths_only_when_the_answer_moved(tmp_path: Path) -> None:
    follow(prepared(tmp_path / "s"))
    more = prepared(tmp_path / "s", seeds=4)
    assert [proposal.kind for proposal in follow(more)] == ["sham"]
    assert {cell.seed for cell in more.known_cells() if (cell.arm is Arm.SHAM)} == {0, 1, 2, 3}
    wider = prepared(
        tmp_path / "s", seeds=4, strengths={"adversarial_weight": [1, 3, 10, 30, 45, 100, 300, 1000], "margin": [0.2]}
    )
    _, second = follow(wider)
    assert second.kind == "sham"
    assert second.strengths == ((45.0, 0.2), (1000.0, 0.2))
    assert wider.sweep_id == more.sweep_id


def test_there_is_no_arm_where_it_is_off_or_nothing_can_be_permuted(tmp_path: Path) -> None:
    assert follow(prepared(tmp_path / "off", sham={"enabled": False})) == []
    sweep = prepared(tmp_path / "s")
    nested = {view: replace(index, movable=0.0) for view, index in sweep.designs.items()}
    sweep = replace(sweep, designs=nested)
    assert follow(sweep) == []
    assert "sham arm:  none" in told(sweep)


def test_locate_narrows_the_bracket_until_it_is_settled(tmp_path: Path) -> None:
    sweep = prepared(tmp_path / "s", search="locate", sham={"enabled": False})
    rounds = follow(sweep)
    assert {proposal.kind for proposal in rounds} == {"locate"}
    for proposal in rounds:
        assert proposal.views == ("held_out_plates",)
        for weight, margin in proposal.strengths:
            assert margin == 0.2
            assert 30 < weight < 100 or not proposal.blocks[0].strengths
    assert len(rounds) < 4, "the gap of half a decade needs one round of strengths"


def test_locate_stops_at_its_budget_and_at_its_rounds(tmp_path: Path) -> None:
    poor = prepared(tmp_path / "a", search="locate", locate={"max_cells": 5}, sham={"enabled": False})
    assert follow(poor) == []
    off = prepared(tmp_path / "b", search="locate", locate={"rounds": 0}, sham={"enabled": False})
    assert follow(off) == []
    noisy = prepared(tmp_path / "c", search="locate", locate={"rounds": 2}, sham={"enabled": False})
    assert len(follow(noisy, noise=0.3)) <= 2


def test_locate_extends_the_range_where_batch_removal_still_improves(tmp_path: Path) -> None:
    low = {"adversarial_weight": [0.001, 0.003, 0.01, 0.03, 0.1, 0.3], "margin": [0.2]}
    sweep = prepared(tmp_path / "s", search="locate", locate={"rounds": 1}, strengths=low, sham={"enabled": False})
    (proposal,) = follow(sweep)
    assert "above" in proposal.why
    assert all(weight > 0.3 for weight, _ in proposal.strengths)


@pytest.mark.slow
def test_the_bounds_are_confirmed_last_on_seeds_that_nothing_else_uses(tmp_path: Path) -> None:
    sweep = prepared(tmp_path / "s", confirm={"seeds": 2})
    arm, confirmation = follow(sweep)
    assert (arm.kind, confirmation.kind) == ("sham", "confirm")
    (block,) = confirmation.blocks
    assert block.seeds == (1_000_000, 1_000_001)
    weights = [weight for weight, _ in block.strengths]
    assert weights[0] == 0.0
    assert {30.0, 100.0, 300.0} <= set(weights)
    decision = tabulate_and_decide(sweep.store)[1]
    (curve,) = decision.views["held_out_plates"].margins
    assert curve.confirmation.agrees is True
    assert curve.seeds == (0, 1, 2)
    assert decision.provenance["adaptive"] is False
    more = prepared(tmp_path / "s", seeds=4, confirm={"seeds": 2})
    assert [made.blocks[0].seeds for made in follow(more) if made.kind == "confirm"] == [
        (1_000_000, 1_000_001),
        (1_000_002, 1_000_003),
    ]


def test_the_sham_arm_runs_whenever_strength_moves_anything_whatever_batch_removal_does(tmp_path: Path) -> None:
    """Biology falls while no strength removes the batch: that wants an explanation; there is no bound to confirm."""
    made = follow(prepared(tmp_path / "s", confirm={"seeds": 2}), removal=0.0)
    assert [proposal.kind for proposal in made] == ["sham"]
    still = follow(prepared(tmp_path / "still", confirm={"seeds": 2}), removal=0.0, loss_from=np.inf)
    assert still == []


@pytest.mark.slow
def test_rounds_are_told_with_their_cells(tmp_path: Path) -> None:
    sweep = prepared(tmp_path / "s", search="locate")
    assert told(sweep) == (
        "locate:    until settled: 4 rounds at most, about 12 cells each\n"
        "sham arm:  15 cells with batch labels permuted within perturbation"
    )
    assert told(prepared(tmp_path / "z", strengths={"adversarial_weight": [0]})) == "", "nothing to set beside λ = 0"
    optuna = prepared(tmp_path / "o", optuna={"rounds": 2, "strengths_per_round": 3}, sham={"seeds": 2})
    assert told(optuna) == (
        "optuna:    2 rounds, up to 9 further cells each\n"
        "sham arm:  10 cells with batch labels permuted within perturbation"
    )
    assert [item.cells for item in upcoming_rounds(sweep)] == [4 * 12, 15]
    assert [item.cells for item in upcoming_rounds(optuna)] == [2 * 9, 10]
    rounds = follow(prepared(tmp_path / "s"))
    assert [item.cells for item in upcoming_rounds(prepared(tmp_path / "s"))] == [0]
    assert kept_rounds(rounds, [(3, 15)]) == [
        "round 1:  sham arm: λ = 0, 1, 30, 100, 300; 3 of 15 cells done (batch labels permuted within perturbation)"
    ]


def test_the_estimate_counts_controls_rounds_and_the_mirror(tmp_path: Path) -> None:
    sweep = prepared(tmp_path / "s", tracking={"enabled": True})
    cells = sweep.known_cells()
    for cell in cells[-3:]:
        record = cell_record(
            cell, status="ok", reason=None, metrics=[], seconds={"train": 2.0, "score": 0.5}, pack_cells=1
        )
        sweep.store.write_cell(record, curve=[])
    missing = [cell for cell in cells if cell.cell_id not in sweep.store.finished()]
    trained = sum(not cell.is_control for cell in missing)
    found = estimate(sweep, missing, further=10, workers=2)
    assert found.training == pytest.approx(2.5 * trained / 2)
    assert found.controls == pytest.approx(0.5 * (len(missing) - trained) / 2)
    assert found.rounds == pytest.approx(2.5 * 10 / 2)
    assert found.mirror > 0
    assert found.total == pytest.approx(found.training + found.controls + found.rounds + found.mirror + found.rest)
    quiet = estimate(prepared(tmp_path / "s", tracking={"enabled": False}), missing, further=0, workers=2)
    assert quiet.mirror == quiet.rounds == 0
