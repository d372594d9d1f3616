"""The ladder: what a rung is trained with, what identifies it, what is refused, and its table by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sweeper.arms.arm import Arm
from sweeper.arms.ladder import cell_config, ladder_cells, ladder_parts, resolved_rungs
from sweeper.arms.standing import Standing
from sweeper.config.sweep_config import SweepConfig, build_config
from sweeper.errors import ConfigError, InputError
from sweeper.findings.ladder_table import GAP, INSIDE, TEST, VALIDATION, ladder_table
from sweeper.planning.cells import Cell, PackPlan, make_cells, make_packs
from sweeper.planning.prepared import Prepared, prepare
from sweeper.running.worker import PackRun, pack_content

RUNGS: list[dict[str, Any]] = [
    {"name": "erm", "settings": {"critic": "none", "alignment": "none"}},
    {"name": "arcface", "margin": 0.2},
    {"name": "dsu", "settings": {"statistics": "random"}, "adversarial_weight": [1, 0.3]},
    {"name": "worst_case", "settings": {"statistics": "worst_case"}, "adversarial_weight": 1},
    {"name": "batch", "settings": {"critic": "ridge"}},
    {"name": "alignment", "settings": {"alignment": "symmetric_kl"}},
]
DATA: dict[str, Any] = {
    "name": "ladder",
    "simulate": {
        "batches": 5,
        "plates_per_batch": 2,
        "wells_per_plate": 96,
        "features": 24,
        "perturbations": 8,
        "targets": 4,
        "controls_per_plate": 8,
        "latent": 4,
        "seed": 2,
    },
    "views": [{"view": "held_out_batches", "held_out": ["B04", "B05"], "validation_fraction": 0.4}],
    "seeds": 2,
    "abra": {"steps": 12, "hidden_widths": [16], "embedding_dim": 8, "groups": 3},
    "metrics": ["batch_probe_linear"],
    "ladder": {"select_on": ["B04"], "rungs": RUNGS},
}
IMAGES: dict[str, Any] = {
    "simulate": None,
    "images": {"packed": "p"},
    "views": [{"view": "official", "held_out": ["val", "test"]}],
    "trainer": "abra_images",
}


def config(folder: Path, **changes: Any) -> SweepConfig:
    given = {key: value for key, value in {**DATA, "folder": str(folder), **changes}.items() if value is not None}
    return build_config(given, "test")


def ladder(*rungs: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"ladder": {"select_on": ["B04"], "rungs": list(rungs or RUNGS), **changes}}


def test_a_rung_keeps_what_those_below_changed(tmp_path: Path) -> None:
    found = {rung.name: rung for rung in resolved_rungs(config(tmp_path))}
    told = {
        name: (rung.settings.statistics, rung.settings.critic, rung.settings.alignment, rung.strengths)
        for name, rung in found.items()
    }
    assert told == {
        "erm": ("none", "none", "none", ((0.0, 0.0),)),
        "arcface": ("none", "none", "none", ((0.0, 0.2),)),
        "dsu": ("random", "none", "none", ((0.3, 0.2), (1.0, 0.2))),
        "worst_case": ("worst_case", "none", "none", ((1.0, 0.2),)),
        "batch": ("worst_case", "ridge", "none", ((1.0, 0.2),)),
        "alignment": ("worst_case", "ridge", "symmetric_kl", ((1.0, 0.2),)),
    }
    assert {rung.settings.steps for rung in found.values()} == {12}, "what no rung changes is the trainer's"
    assert found["erm"].trainer.startswith("ladder:erm@")
    assert resolved_rungs(config(tmp_path, ladder=None)) == ()


def test_sections_inside_are_merged_not_replaced(tmp_path: Path) -> None:
    changes = {
        **IMAGES,
        "abra_images": {"augment": {"crop": 64}},
        **ladder(
            {"name": "erm", "settings": {"head": "linear"}},
            {"name": "mix", "settings": {"augment": {"cutmix": 0.5}}},
        ),
    }
    augment = resolved_rungs(config(tmp_path, **changes))[1].settings.augment
    assert (augment.crop, augment.cutmix, augment.flips) == (64, 0.5, True)


def test_a_changed_rung_is_another_cell_and_those_below_stay(tmp_path: Path) -> None:
    folds = {"held_out_batches": 1}
    first = ladder_cells(config(tmp_path), sweep_id="s", folds=folds)
    changed = [*RUNGS[:3], {**RUNGS[3], "settings": {"statistics": "worst_case", "radius": 0.5}}, *RUNGS[4:]]
    second = ladder_cells(config(tmp_path, **ladder(*changed)), sweep_id="s", folds=folds)
    assert len(first) == len(second) == 7 * 2
    kept = {cell.cell_id for cell in first} & {cell.cell_id for cell in second}
    names = {cell.trainer.split("@")[0] for cell in first if cell.cell_id in kept}
    assert names == {"ladder:erm", "ladder:arcface", "ladder:dsu"}
    assert {cell.view for cell in first} == {"held_out_batches"}
    assert len({cell.cell_id for cell in first}) == len(first)


def test_a_ladder_changes_neither_the_sweep_nor_what_its_rounds_rest_on(tmp_path: Path) -> None:
    bare, built = prepare(config(tmp_path, ladder=None)), prepare(config(tmp_path))
    assert bare.sweep_id == built.sweep_id
    assert set(bare.known_cells()) < set(built.known_cells())
    assert Standing(bare, bare.store).basis == Standing(built, built.store).basis


def test_no_pack_mixes_rungs(tmp_path: Path) -> None:
    cells = prepare(config(tmp_path)).known_cells()
    packs = make_packs(cells, workers=1)
    assert sum(len(pack.cells) for pack in packs) == len(cells)
    for pack in packs:
        rungs = {cell.trainer for cell in pack.cells if cell.arm is Arm.LADDER}
        assert len(rungs) <= 1
        assert not rungs or all(cell.arm is Arm.LADDER for cell in pack.cells)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (ladder({"name": "a", "settings": {"critc": "none"}}), "rung a: settings: unknown key 'critc'"),
        (ladder({"name": "a", "settings": {"steps": 0}}), "rung a: settings: steps: expected a number of 1"),
        (ladder({"name": "a", "settings": {"weights": "x"}}), "rung a: settings: unknown key 'weights'"),
        (IMAGES | ladder({"name": "a", "settings": {"weights": "x"}}), "weights is the whole sweep's"),
        (IMAGES | ladder({"name": "a", "settings": {"head": "linear"}, "margin": 0.1}), "linear has no margin"),
        (ladder({"name": "a", "margin": 2}), "rung a: margin: expected angular margin m of 0 or more"),
        (ladder({"name": "a"}, {"name": "b"}), "rung b: is rung a under another name"),
        (ladder({"name": "a"}, {"name": "a", "margin": 0.1}), "rung 'a' is there twice"),
        (ladder({"name": "a/b"}), "ladder.rungs.0.name"),
        (ladder({"name": "a", "settings": {"statistics": "random"}}), "statistics = random does nothing at"),
        (ladder(view="official"), "ladder.view: 'official' is not among the views (held_out_batches)"),
        (ladder(select_on=[]), "ladder.select_on"),
        (ladder({"name": "a", "margn": 0.1}), "unknown key 'ladder.rungs.0.margn'"),
        ({"panel": {"units": ["perturbation"]}}, "panel.units: the ladder is read by batch"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_line(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        config(tmp_path, **changes)
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (ladder(select_on=["B9"]), "'B9' is not held out by view held_out_batches, which scores B04, B05"),
        (ladder(select_on=["B04", "B05"]), "names all that view held_out_batches holds out"),
        ({"views": [{"view": "held_out_batches", "folds": 2}]}, "holds out no fixed batches"),
        ({"views": [{"view": "held_out_plates"}]}, "holds out no fixed batches"),
    ],
)
def test_batches_to_select_on_must_be_held_out_and_leave_some_to_test(
    changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as caught:
        prepare(config(tmp_path / "s", **changes))
    assert words in str(caught.value)
    assert not (tmp_path / "s").exists()


def test_a_part_that_cuts_through_a_batch_is_refused(tmp_path: Path) -> None:
    sweep = prepare(config(tmp_path))
    wells = sweep.screen.wells.assign(half=np.where(sweep.screen.wells["plate"].str[-1] == "1", "a", "b"))
    official = {"view": "official", "column": "part", "held_out": ["x", "y"]}
    part = np.where(wells["batch"] == "B01", np.where(wells["half"] == "a", "x", "y"), "train")
    with pytest.raises(InputError, match="batch 'B01' lies on both sides"):
        ladder_parts(config(tmp_path, views=[official], **ladder(select_on=["x"])), wells.assign(part=part))


def done(sweep: Prepared, cells: tuple[Cell, ...], pack_id: str = "pack") -> None:
    sweep.store.create(sweep_id=sweep.sweep_id, description={}, screen=sweep.screen)
    plan = PackPlan(pack_id=pack_id, cells=cells)
    run = PackRun(sweep.store.write_pack(pack_id, pack_content(plan, sweep.config, replace=frozenset())))
    while run.advance():
        pass
    list(run.finish())


def test_a_rung_trains_as_a_sweep_with_its_settings_does(tmp_path: Path) -> None:
    sweep = prepare(config(tmp_path / "ladder"))
    rung = next(rung for rung in resolved_rungs(sweep.config) if rung.name == "worst_case")
    cells = make_cells(sweep.sweep_id, rung.code, rung.strengths, [0], sweep.folds, arm=Arm.LADDER)
    done(sweep, cells)
    alone = prepare(config(tmp_path / "alone", ladder=None, abra=rung.settings.model_dump(mode="json")))
    same = make_cells(alone.sweep_id, "abra", rung.strengths, [0], alone.folds)
    done(alone, same)
    base = make_cells(sweep.sweep_id, "abra", rung.strengths, [0], sweep.folds)
    done(sweep, base, "base")
    found, expected, other = (
        store.embeddings(cell.cell_id)[1]
        for store, (cell,) in ((sweep.store, cells), (alone.store, same), (sweep.store, base))
    )
    np.testing.assert_array_equal(found, expected)
    assert not np.allclose(found, other), "the rung was trained with the sweep's own settings"
    assert [row["metric"] for row in sweep.store.record(cells[0].cell_id)["metrics"]] == [
        "batch_probe_linear", "plain_accuracy", "in_distribution_plain_accuracy",
    ]  # fmt: skip
    assert [row["metric"] for row in sweep.store.record(base[0].cell_id)["metrics"]] == ["batch_probe_linear"]


def test_a_cell_of_no_rung_of_this_configuration_is_refused(tmp_path: Path) -> None:
    (cell, *_) = ladder_cells(config(tmp_path), sweep_id="s", folds={"held_out_batches": 1})
    with pytest.raises(InputError, match="is no rung of this configuration"):
        cell_config(config(tmp_path, **ladder({"name": "other"})), cell)


PARTS = {"v1": VALIDATION, "t1": TEST, "t2": TEST}


def units_of(values: dict[tuple[str, float, int], dict[str, float]], wells: dict[str, int]) -> pd.DataFrame:
    """(trainer, λ, seed) → batch → accuracy; batches b… are those of training."""
    rows = [
        {
            "cell_id": f"{trainer}{weight}{seed}", "trainer": trainer, "adversarial_weight": weight, "margin": 0.2,
            "seed": seed, "view": "official", "fold": 0, "axis": "batch", "unit": batch, "wells": wells[batch],
            "metric": "in_distribution_plain_accuracy" if batch.startswith("b") else "plain_accuracy", "value": value,
        }
        for (trainer, weight, seed), of in values.items()
        for batch, value in of.items()
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_the_table_by_hand(tmp_path: Path) -> None:
    rungs = resolved_rungs(config(tmp_path))[1:3]
    low, high = rungs[0].trainer, rungs[1].trainer
    wells = {"v1": 10, "t1": 30, "t2": 10, "b1": 20, "b2": 20}
    units = units_of(
        {
            (low, 0.0, 0): {"v1": 0.20, "t1": 0.10, "t2": 0.50, "b1": 0.4, "b2": 0.6},
            (low, 0.0, 1): {"v1": 0.40, "t1": 0.20, "t2": 0.60, "b1": 0.5, "b2": 0.7},
            (high, 0.3, 0): {"v1": 0.35, "t1": 0.30, "t2": 0.30, "b1": 0.5, "b2": 0.5},
            (high, 1.0, 0): {"v1": 0.35, "t1": 0.90, "t2": 0.90, "b1": 0.9, "b2": 0.9},
            ("ladder:old@00000000", 1.0, 0): {"v1": 1.0, "t1": 1.0},
        },
        wells,
    )
    results = pd.DataFrame({"trainer": [low], "metric": ["plain_accuracy"], "chance": [1 / 8]})
    table = ladder_table(
        rungs, units, results, view="official", parts=PARTS, cell_types={"t1": "HUVEC", "t2": "RPE", "v1": "RPE"},
        seeds=2, unit="image",
    )  # fmt: skip
    first, weak, strong = table.rungs
    assert (first.rung, first.adversarial_weight, first.done, first.planned) == ("arcface", 0.0, 2, 2)
    # t1 and t2 pooled by rows: (3 + 5) / 40 and (6 + 6) / 40
    assert first.scores[TEST].mean == pytest.approx((0.2 + 0.3) / 2)
    assert first.scores[TEST].sd == pytest.approx(np.std([0.2, 0.3], ddof=1))
    assert first.scores[VALIDATION].mean == pytest.approx(0.3)
    assert first.scores[INSIDE].mean == pytest.approx((0.5 + 0.6) / 2)
    assert first.scores[GAP].mean == pytest.approx(0.3)
    assert first.scores[GAP].sd == pytest.approx(0.0, abs=1e-12)
    assert {name: score.mean for name, score in first.by_cell_type.items()} == pytest.approx(
        {"HUVEC": 0.15, "RPE": 0.55}
    )
    assert (weak.selected, strong.selected) == (True, False), "selected on the test, or the larger of two equals"
    assert (weak.done, weak.planned, weak.scores[TEST].sd) == (1, 2, None)
    assert table.best == "dsu"
    assert (table.classes, table.rows) == (8, 40)
    assert (table.selects, table.tests, table.cell_types) == (("v1",), ("t1", "t2"), ("HUVEC", "RPE"))


def test_a_ladder_without_a_finished_cell_is_an_empty_table(tmp_path: Path) -> None:
    rungs = resolved_rungs(config(tmp_path))
    nothing = units_of({}, {}).reindex(
        columns=["cell_id", "trainer", "adversarial_weight", "seed", "view", "axis", "unit", "wells", "metric", "value"]
    )
    results = pd.DataFrame({"trainer": [], "metric": [], "chance": []}).astype({"trainer": "str", "metric": "str"})
    table = ladder_table(
        rungs, nothing, results, view="official", parts=PARTS, cell_types={}, seeds=2, unit="row"
    )  # fmt: skip
    assert table.best == ""
    assert table.classes is None
    assert all(not rung.scores and rung.done == 0 for rung in table.rungs)
    assert not math.isnan(table.rows)
