import pytest

from sweeper.config.sweep_config import SweepConfig, build_config
from sweeper.metrics.registry import REGISTRY
from sweeper.planning.cells import (
    PackPlan,
    as_begun,
    control_cells,
    make_cells,
    make_packs,
    panel_names,
    sweep_identity,
)


def config(**changes: object) -> SweepConfig:
    data = {"name": "a", "simulate": {}, "views": [{"view": "held_out_plates"}, {"view": "held_out_batches"}]}
    return build_config({**data, **changes}, "test")


FOLDS = {"held_out_plates": 1, "held_out_batches": 3}


def test_cells_are_every_strength_seed_and_split_once() -> None:
    cells = make_cells("s", "abra", [(0.0, 0.0), (1.0, 0.3)], [0, 1, 2], FOLDS)
    assert len(cells) == 2 * 3 * 4
    assert len({cell.cell_id for cell in cells}) == len(cells)


def test_identity_ignores_strengths_and_seeds_so_that_a_sweep_can_grow() -> None:
    small = sweep_identity(config(seeds=3), "sha256:1")
    assert (
        sweep_identity(config(seeds=5, strengths={"margin": [0.1]}, name="b", optuna={"rounds": 2}), "sha256:1")
        == small
    )
    assert sweep_identity(config(abra={"steps": 3}), "sha256:1") != small
    assert sweep_identity(config(normalise="batch"), "sha256:1") != small
    assert sweep_identity(config(seeds=3), "sha256:2") != small


def test_cell_ids_do_not_depend_on_what_else_is_planned() -> None:
    alone = make_cells("s", "abra", [(1.0, 0.3)], [2], {"held_out_batches": 3})
    among = make_cells("s", "abra", [(0.0, 0.0), (1.0, 0.3)], [0, 1, 2], FOLDS)
    assert set(alone) <= set(among)


def test_packs_hold_every_cell_once_and_never_mix_splits_or_controls() -> None:
    cells = (
        *control_cells("s", [0, 1], FOLDS),
        *make_cells("s", "abra", [(float(w), 0.0) for w in range(30)], range(5), FOLDS),
    )
    for workers in (1, 2, 7):
        packs = make_packs(cells, workers=workers)
        packed = [cell for pack in packs for cell in pack.cells]
        assert sorted(c.cell_id for c in packed) == sorted(c.cell_id for c in cells)
        for pack in packs:
            assert len({(c.is_control, c.view, c.fold) for c in pack.cells}) == 1
            assert len(pack.cells) <= 96


def test_a_single_family_is_spread_over_the_workers() -> None:
    cells = make_cells("s", "abra", [(float(w), 0.0) for w in range(10)], [0], {"held_out_plates": 1})
    assert [len(pack.cells) for pack in make_packs(cells, workers=2)] == [5, 5]
    assert [len(pack.cells) for pack in make_packs(cells, workers=2, pack_size=4)] == [4, 4, 2]


def test_pack_survives_json() -> None:
    pack = make_packs(control_cells("s", [0], FOLDS), workers=2)[0]
    assert PackPlan.from_json(pack.to_json()) == pack


def test_cells_with_another_number_of_training_batches_train_apart() -> None:
    cells = make_cells("s", "abra", [(0.0, 0.0), (1.0, 0.0)], [0, 1], {"held_out_batches": 1})
    batches = {("held_out_batches", 0, 0): 6, ("held_out_batches", 0, 1): 7}
    packs = make_packs(cells, workers=1, training_batches=batches)
    assert [{cell.seed for cell in pack.cells} for pack in packs] == [{0}, {1}]


def test_a_sweep_measures_its_default_panel_or_what_it_names() -> None:
    default = panel_names(config())
    assert default == tuple(name for name, metric in REGISTRY.items() if metric.in_sweep)
    assert "activity_map" in default
    assert "ilisi" not in default
    assert panel_names(config(metrics=["ilisi", "activity_map"])) == ("activity_map", "ilisi")


def test_a_sweep_goes_on_with_the_panel_it_was_begun_with() -> None:
    """What is measured by default may have changed since; the sweep, its id and its cells stay what they are."""
    older = tuple(name for name in panel_names(config()) if name != "batch_reader")
    stored = {**sweep_identity(config(), "sha256:1"), "metrics": list(older)}
    assert panel_names(as_begun(config(), stored)) == older
    assert sweep_identity(as_begun(config(), stored), "sha256:1") == stored
    assert as_begun(config(), sweep_identity(config(), "sha256:1")) == config()
    named = config(metrics=["activity_map", "batch_probe_linear"])
    assert as_begun(named, stored) == named


@pytest.mark.parametrize("metrics", [None, ["batch_reader"]])
def test_a_sweep_between_targets_goes_on_with_what_decided_when_it_was_begun(metrics: list[str] | None) -> None:
    now = config(biology="target", metrics=metrics)
    assert "target_retrieval_map" in panel_names(now)
    older = [name for name in panel_names(now) if name != "target_retrieval_map"]
    stored = {**sweep_identity(now, "sha256:1"), "metrics": older}
    begun = as_begun(now, stored)
    assert begun.decision.primary_biological == ("nscb_accuracy",)
    assert sweep_identity(begun, "sha256:1") == stored
    assert as_begun(now, sweep_identity(now, "sha256:1")) == now


def test_a_sweep_begun_before_splits_were_drawn_again_keeps_its_own() -> None:
    stored = sweep_identity(config(split_draws="first"), "sha256:1")
    assert "split_draws" not in stored
    assert as_begun(config(), stored).split_draws == "first"
    assert sweep_identity(as_begun(config(), stored), "sha256:1") == stored
    assert sweep_identity(config(), "sha256:1") != stored
