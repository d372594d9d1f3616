"""The pseudo-batch arm: one real batch in two halves, trained and scored as if they were batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dashboards.pseudo_cost import pseudo_rows
from dashboards.records import checked
from sweeper.arms.arm import Arm
from sweeper.arms.arm_rounds import cell_rows, next_round
from sweeper.arms.pseudo import pseudo_batches
from sweeper.config.sweep_config import build_config
from sweeper.planning.cells import PackPlan, make_cells, make_packs
from sweeper.planning.description import sweep_description
from sweeper.planning.drawn_splits import DrawnSplits
from sweeper.planning.prepared import Prepared, prepare
from sweeper.running.worker import PackRun, pack_content
from tests.unit.sweeper.test_rounds import DATA, write

FOLDS = {"held_out_plates": 1}


def prepared(folder: Path, **changes: object) -> Prepared:
    found = prepare(build_config({**DATA, "folder": str(folder), **changes}, "test"))
    found.store.create(sweep_id=found.sweep_id, description=sweep_description(found, []), screen=found.screen)
    return found


def cells_of(sweep: Prepared, weights: list[float], seeds: list[int]):
    strengths = [(weight, 0.2) for weight in weights]
    return make_cells(sweep.sweep_id, "abra", strengths, seeds, FOLDS, arm=Arm.PSEUDO)


def test_the_batch_with_most_wells_is_halved_inside_every_plate(tmp_path: Path) -> None:
    sweep = prepared(tmp_path / "s")
    wells = sweep.screen.wells
    fewer = wells.drop(index=wells[wells["batch"] == "B02"].index[:5]).reset_index(drop=True)
    split = DrawnSplits(sweep.config, fewer).of(cells_of(sweep, [0.0], [0])[0])
    found = pseudo_batches(fewer, split, seed=0)
    assert found is not None
    assert found.batch != "B02"
    inside = (fewer["batch"] == found.batch).to_numpy()
    assert set(found.wells.loc[inside, "batch"]) == {f"{found.batch}/a", f"{found.batch}/b"}
    assert found.wells.loc[~inside, "batch"].equals(fewer.loc[~inside, "batch"])
    for _, plate in found.wells[inside].groupby("plate"):
        sizes = plate["batch"].value_counts()
        assert abs(sizes.iloc[0] - sizes.iloc[1]) <= 1
    np.testing.assert_array_equal(found.codes[inside] == 1, found.wells.loc[inside, "batch"].str.endswith("b"))
    for part in ("train", "validation", "test"):
        rows, whole = getattr(found.split, part), getattr(split, part)
        np.testing.assert_array_equal(rows, whole[inside[whole]])
    again, other = pseudo_batches(fewer, split, seed=0), pseudo_batches(fewer, split, seed=1)
    assert again is not None
    assert other is not None
    np.testing.assert_array_equal(found.codes, again.codes)
    assert (found.codes != other.codes).any()


def test_no_batch_in_training_and_test_is_none(tmp_path: Path) -> None:
    sweep = prepared(tmp_path / "s", views=[{"view": "held_out_batches", "folds": 3}], decision={"draws": 1000})
    assert sweep.pseudo_batch is None
    split = sweep.splits.of(make_cells("s", "abra", [(0, 0)], [0], {"held_out_batches": 1})[0])
    assert pseudo_batches(sweep.screen.wells, split, seed=0) is None


def test_cells_are_trained_on_the_halves_and_scored_inside_the_batch(tmp_path: Path) -> None:
    sweep = prepared(tmp_path / "s", metrics=None, abra={"steps": 24, "hidden_widths": [16], "embedding_dim": 8})
    cells = cells_of(sweep, [0.0, 30.0], [0])
    own = make_cells(sweep.sweep_id, "abra", [(0.0, 0.2)], [0], FOLDS)
    packs = make_packs([*own, *cells], workers=1, training_batches=sweep.batches_of([*own, *cells]))
    assert [len(pack.cells) for pack in packs] == [1, 2], "halves of a batch train apart from batches"
    content = pack_content(PackPlan(pack_id="p", cells=cells), sweep.config, replace=frozenset())
    run = PackRun(sweep.store.write_pack("p", content))
    while run.advance():
        pass
    assert list(run.finish()) == list(cells)
    wells = sweep.screen.wells
    for cell in cells:
        record = sweep.store.record(cell.cell_id)
        assert (record["status"], record["trainer"]) == ("ok", "pseudo:abra")
        rows, _ = sweep.store.embeddings(cell.cell_id)
        assert set(wells.iloc[rows]["batch"]) == {sweep.pseudo_batch}
        found = {line["metric"]: line for line in record["metrics"]}
        assert found["batch_probe_linear"]["chance"] == 0.5, "the halves are what the probe looks for"
        assert found["retrieval_map"]["value"] is not None
        own = cell_rows(cell, DrawnSplits(sweep.config, wells).of(cell), wells)
        assert own.batches is not None
        assert set(own.batches[own.split.train]) == {0, 1}
        assert set(own.wells.iloc[own.split.test]["batch"]) == {f"{sweep.pseudo_batch}/{half}" for half in "ab"}


def test_the_arm_follows_the_sham_arm_at_the_same_strengths_and_is_off_by_default(tmp_path: Path) -> None:
    for name, arm in (("off", {}), ("on", {"pseudo": {"enabled": True, "seeds": 2}})):
        sweep = prepared(tmp_path / name, sham={"enabled": False}, **arm)
        write(sweep, sweep.known_cells())
        found = next_round(sweep, sweep.store)
        if name == "off":
            assert found is None
            continue
        assert found is not None
        assert (found.kind, found.trainer, found.views) == ("pseudo", "pseudo:abra", ("held_out_plates",))
        assert found.why == f"batch {sweep.pseudo_batch} split into two at random"
        assert found.strengths[0] == (0.0, 0.2)
        assert 300.0 in {weight for weight, _ in found.strengths}
        assert found.blocks[0].seeds == (0, 1)
        sweep.store.write_proposal(1, found)
        before = sweep.known_cells()
        write(sweep, before)
        assert next_round(sweep, sweep.store) is None
        assert sum(cell.arm is Arm.PSEUDO for cell in before) == 2 * len(found.strengths)


def test_losses_are_paired_with_the_arms_own_zero() -> None:
    values = {0.0: (0.8, 0.6), 10.0: (0.6, 0.48), 100.0: (0.2, None)}
    lines = [
        {
            "cell_id": f"{weight}-{seed}",
            "trainer": "pseudo:abra",
            "adversarial_weight": weight,
            "margin": 0.2,
            "seed": seed,
            "split": "held_out_plates/0",
            "view": "held_out_plates",
            "metric": metric,
            "role": role,
            "value": value,
            "status": "ok" if value is not None else "failed",
            "primary": metric != "label_nmi",
            "floor": 0.0,
            "ceiling": 1.0,
            "raw": None,
            "chance": None,
            "reason": None,
        }
        for weight, of in values.items()
        for seed, value in enumerate(of)
        for metric, role in (("retrieval_map", "biological"), ("label_nmi", "biological"), ("cilisi", "technical"))
    ]
    zero, ten, hundred = pseudo_rows(checked(pd.DataFrame(lines)), view="held_out_plates")
    assert (zero.loss, zero.biology, zero.seeds) == (None, pytest.approx(0.7), 2)
    assert ten.loss == pytest.approx((0.25 + 0.2) / 2)
    assert ten.interval is not None
    low, high = ten.interval
    assert (low + high) / 2 == pytest.approx(ten.loss)
    assert high - low == pytest.approx(2 * 12.7062 * np.std([0.25, 0.2], ddof=1) / np.sqrt(2), rel=1e-4)
    assert (hundred.loss, hundred.interval, hundred.seeds, hundred.lost) == (pytest.approx(0.75), None, 1, 1)
    assert pseudo_rows(checked(pd.DataFrame(lines)), view="other") == ()
