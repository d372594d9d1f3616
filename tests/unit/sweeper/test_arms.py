"""The arms: one place writes and reads their stored names."""

from __future__ import annotations

import pandas as pd
import pytest

from sweeper.arms.arm import Arm, arm_column, arm_of, in_arms, read_name, stored_name
from sweeper.arms.arm_rounds import TITLES
from sweeper.arms.proposal import Block, Proposal
from sweeper.planning.cells import PackPlan, control_cells, make_cells

STORED = {
    Arm.SWEEP: "abra",
    Arm.CONTROL: "control:abra",
    Arm.SHAM: "sham:abra",
    Arm.PSEUDO: "pseudo:abra",
    Arm.CONFIRM: "abra",
    Arm.LADDER: "ladder:abra",
}


@pytest.mark.parametrize("arm", Arm)
def test_stored_names_are_those_of_earlier_stores(arm: Arm) -> None:
    assert stored_name(arm, "abra") == STORED[arm]
    assert read_name(STORED[arm]) == (Arm.SWEEP if arm is Arm.CONFIRM else arm, "abra")


def test_a_name_that_names_no_arm_is_the_trainers_own() -> None:
    for name in ("shamanic", "my:trainer", "sweep:abra", "confirm:abra", ""):
        assert read_name(name) == (Arm.SWEEP, name)
    assert read_name("ladder:a:b@12") == (Arm.LADDER, "a:b@12")


def test_a_column_is_cut_by_arms() -> None:
    column = pd.Series(["abra", "sham:abra", "control:raw", "abra"], index=[3, 5, 7, 9], dtype="category")
    assert in_arms(column, Arm.SWEEP).tolist() == [True, False, False, True]
    assert in_arms(column, Arm.SHAM, Arm.CONTROL).tolist() == [False, True, True, False]
    assert in_arms(column, Arm.SHAM).index.tolist() == [3, 5, 7, 9]
    assert in_arms(column[:0], Arm.SWEEP).empty
    seeds = pd.Series([0, 1_000_000, 0, 1_000_000], index=column.index)
    found = arm_column(column, seeds, (1_000_000,))
    assert found.to_dict() == {3: "sweep", 5: "sham", 7: "control", 9: "confirm"}


def test_ids_are_those_of_the_stored_text_and_cells_survive_a_pack_file() -> None:
    def cell(arm: Arm):
        (made,) = make_cells("s", "abra", [(1.0, 0.3)], [0], {"held_out_plates": 1}, arm=arm)
        return made

    ids = {arm: cell(arm).cell_id for arm in Arm}
    assert len(set(ids.values())) == len(Arm) - 1
    assert ids[Arm.SWEEP] == ids[Arm.CONFIRM], "confirmations differ by their seeds alone"
    cells = (*(cell(arm) for arm in Arm), control_cells("s", [0], {"held_out_plates": 1})[0])
    plan = PackPlan(pack_id="p", cells=cells)
    assert PackPlan.from_json(plan.to_json()) == plan
    assert all(arm_of(each.trainer) in (each.arm, Arm.SWEEP) for each in cells)


def test_every_round_has_an_arm_and_a_title() -> None:
    arms = {}
    for kind in TITLES:
        made = Proposal(kind=kind, trainer="abra", blocks=(Block(strengths=((1.0, 0.0),)),))
        assert Proposal.from_json(made.to_json()) == made
        arms[kind] = made.arm
    beside = {arm.value: arm for arm in (Arm.SHAM, Arm.PSEUDO, Arm.CONFIRM)}
    assert arms == {"optuna": Arm.SWEEP, "locate": Arm.SWEEP, **beside}
    with pytest.raises(ValueError, match="other"):
        Proposal.from_json({**made.to_json(), "kind": "other"})
