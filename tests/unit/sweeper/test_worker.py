"""What one trial does, without Ray: train, checkpoint, score, write, survive a cell that fails."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sweeper.config.sweep_config import build_config
from sweeper.findings.stored import stored_gains, tabulate_and_decide
from sweeper.mirror.mirrored import mirrored_cell
from sweeper.planning.cells import PackPlan, control_cells, make_cells
from sweeper.planning.description import sweep_description
from sweeper.planning.prepared import Prepared, prepare
from sweeper.running.worker import PackRun, pack_content
from sweeper.store.results import tidy

DATA = {
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
    "seeds": 1,
    "abra": {"steps": 24, "hidden_widths": [16], "embedding_dim": 8, "groups": 3},
    "metrics": ["batch_probe_linear", "perturbation_accuracy"],
}
FOLDS = {"held_out_plates": 1}


def prepared(folder: Path, **changes: object) -> Prepared:
    found = prepare(build_config({**DATA, "folder": str(folder), **changes}, "test"))
    found.store.create(sweep_id=found.sweep_id, description={}, screen=found.screen)
    return found


def pack_file(sweep: Prepared, weights: list[float], *, replace: frozenset[str] = frozenset()) -> tuple[PackPlan, Path]:
    cells = make_cells(sweep.sweep_id, "abra", [(weight, 0.1) for weight in weights], [0], FOLDS)
    pack = PackPlan(pack_id="pack", cells=cells)
    return pack, sweep.store.write_pack("pack", pack_content(pack, sweep.config, replace=replace))


def finish(run: PackRun) -> None:
    while run.advance():
        pass
    list(run.finish())


def test_every_cell_is_written_with_panel_embeddings_and_curve(tmp_path: Path) -> None:
    sweep = prepared(tmp_path / "s")
    pack, path = pack_file(sweep, [0.0, 3.0])
    finish(PackRun(path))
    for cell in pack.cells:
        record = sweep.store.record(cell.cell_id)
        assert record["status"] == "ok"
        assert [row["metric"] for row in record["metrics"]] == ["batch_probe_linear", "perturbation_accuracy"]
        rows, embeddings = sweep.store.embeddings(cell.cell_id)
        assert embeddings.shape == (len(rows), 8)
        assert set(sweep.screen.wells.iloc[rows]["plate"]).isdisjoint(
            set(sweep.screen.wells.drop(index=rows)["plate"])
        ), "evaluation wells share a plate with training"
        assert sweep.store.curve(cell.cell_id)[-1]["step"] == 24


def test_units_are_kept_beside_the_record_unless_switched_off(tmp_path: Path) -> None:
    kept, bare = prepared(tmp_path / "kept"), prepared(tmp_path / "bare", panel={"units": []})
    assert kept.sweep_id == bare.sweep_id, "what else is kept makes another sweep"
    pack, path = pack_file(kept, [0.0, 1e39])
    finish(PackRun(path))
    _, path = pack_file(bare, [0.0])
    finish(PackRun(path))
    good, bad = (cell.cell_id for cell in pack.cells)
    units = kept.store.units(good)
    assert units is not None
    assert set(units["metric"]) == {"perturbation_accuracy"}
    assert set(units.loc[units["axis"] == "batch", "unit"]) == set(kept.screen.wells["batch"])
    values = {row["metric"]: row["value"] for row in kept.store.record(good)["metrics"]}
    mean = units.loc[units["axis"] == "perturbation", "value"].mean()
    assert mean == pytest.approx(values["perturbation_accuracy"], abs=1e-6)
    assert kept.store.units(bad) is None
    assert bare.store.units(good) is None
    assert bare.store.record(good)["metrics"] == kept.store.record(good)["metrics"]


def test_gains_come_from_the_store_alone_and_an_old_store_has_none(tmp_path: Path) -> None:
    sweep = prepared(tmp_path / "s")
    description = sweep_description(sweep, [])
    sweep.store.create(sweep_id=sweep.sweep_id, description=description, screen=sweep.screen)
    _, path = pack_file(sweep, [0.0, 3.0])
    finish(PackRun(path))
    results, _ = tabulate_and_decide(sweep.store)
    found = stored_gains(sweep.store, results)
    assert found is not None
    assert set(found.by_unit["adversarial_weight"]) == {3.0}
    assert set(found.by_unit.loc[found.by_unit["axis"] == "batch", "unit"]) == set(sweep.screen.wells["batch"])
    value = results.query("metric == 'perturbation_accuracy'").set_index("adversarial_weight")["value"]
    perturbations = found.by_unit[found.by_unit["axis"] == "perturbation"]
    assert perturbations["gain"].mean() == pytest.approx(value[3.0] - value[0.0], abs=1e-6)
    kept = sweep.store.units_path.read_bytes()
    tabulate_and_decide(sweep.store)
    assert sweep.store.units_path.read_bytes() == kept

    for units in sweep.store.cells_folder.glob("*/units.parquet"):
        units.unlink()
    again, _ = tabulate_and_decide(sweep.store)
    pd.testing.assert_frame_equal(again, results)
    assert not sweep.store.units_path.exists()
    assert stored_gains(sweep.store, again) is None


def test_mlflow_is_shown_the_composites(tmp_path: Path) -> None:
    sweep = prepared(tmp_path / "s", metrics=["batch_probe_linear", "batch_variance", "retrieval_map"])
    pack, path = pack_file(sweep, [0.0])
    finish(PackRun(path))
    shown = mirrored_cell(sweep.store, pack.cells[0].cell_id, {}).metrics
    mean = (shown["technical/batch_probe_linear"] + shown["technical/batch_variance"]) / 2
    assert shown["composite/T"] == pytest.approx(mean)
    assert shown["composite/geometric"] == pytest.approx((shown["composite/T"] * shown["composite/B"]) ** 0.5)


def test_batch_removal_is_on_one_scale_in_every_sweep_of_a_screen(tmp_path: Path) -> None:
    """Ceilings hang on the rows and the embedding, and are stored with it: no other cell of the sweep moves them."""
    detectors = ["batch_reader", "cilisi", "batch_mixing_bras", "batch_variance"]
    seen = []
    for name, changes in (("one", {}), ("other", {"seeds": 3, "abra": {**DATA["abra"], "steps": 6}})):
        sweep = prepared(tmp_path / name, metrics=[*detectors, *(["retrieval_map"] if changes else [])], **changes)
        trained = make_cells(sweep.sweep_id, "abra", [(30.0, 0.1)] if changes else [], [0], FOLDS)
        controls = control_cells(sweep.sweep_id, (0,), FOLDS)
        cells = tuple(cell for cell in controls if cell.trainer in {"control:raw", "control:batch_standardised"})
        for part in filter(None, (trained, cells)):
            plan = PackPlan(pack_id=f"pack-{len(part)}", cells=tuple(part))
            path = sweep.store.write_pack(plan.pack_id, pack_content(plan, sweep.config, replace=frozenset()))
            finish(PackRun(path))
        rows = [(cell.trainer, row) for cell in cells for row in sweep.store.record(cell.cell_id)["metrics"]]
        assert {(row["floor"], row["ceiling"]) for _, row in rows if row["role"] == "technical"} == {(0.0, 1.0)}
        seen.append({(trainer, row["metric"]): row for trainer, row in rows if row["metric"] in detectors})
    one, other = seen
    assert one == other
    assert len(one) == 8
    assert max(row["value"] for row in one.values()) <= 1.0
    assert {row["chance"] for row in one.values()} - {None, 1.0}  # the ceiling that was measured stays with the cell


def test_what_a_sweep_was_begun_with_decides_in_the_cells_that_are_added(tmp_path: Path) -> None:
    """Four detectors decided before; cells of today mark the reader alone."""
    sweep = prepared(tmp_path / "s", metrics=["batch_reader", "batch_variance", "retrieval_map"])
    pack, path = pack_file(sweep, [0.0, 3.0])
    finish(PackRun(path))
    panel = [{"metric": name, "role": "technical", "primary": False} for name in ("batch_reader", "batch_variance")]

    def primary(records: list[dict]) -> set[str]:
        table = tidy(records, panel)
        assert len(table[["metric", "primary"]].drop_duplicates()) == table["metric"].nunique()
        return set(table.loc[table["primary"], "metric"])

    records = [sweep.store.record(cell.cell_id) for cell in pack.cells]
    assert primary(records) == {"batch_reader", "retrieval_map"}
    begun = {**records[0], "metrics": [{**row, "primary": True} for row in records[0]["metrics"]]}
    assert primary([begun, records[1]]) == {"batch_reader", "batch_variance", "retrieval_map"}


def test_a_checkpointed_pack_continues_where_it_was(tmp_path: Path) -> None:
    whole = prepared(tmp_path / "whole", executor={"checkpoint_every": 6})
    pack, path = pack_file(whole, [0.0, 3.0])
    finish(PackRun(path))

    broken = prepared(tmp_path / "broken", executor={"checkpoint_every": 6})
    _, path = pack_file(broken, [0.0, 3.0])
    first = PackRun(path)
    assert first.advance()
    assert first.advance()
    (checkpoint,) = (broken.store.folder / "checkpoints").iterdir()
    second = PackRun(path)
    second.advance()
    assert second.fraction == pytest.approx(18 / 24), "started again from the first step"
    finish(second)
    assert not checkpoint.exists()
    for cell in pack.cells:
        np.testing.assert_array_equal(whole.store.embeddings(cell.cell_id)[1], broken.store.embeddings(cell.cell_id)[1])


def test_a_cell_that_diverges_is_failed_with_its_reason_and_harms_no_companion(tmp_path: Path) -> None:
    alone, mixed = prepared(tmp_path / "alone"), prepared(tmp_path / "mixed")
    _, path = pack_file(alone, [3.0])
    finish(PackRun(path))
    pack, path = pack_file(mixed, [3.0, 1e39])
    finish(PackRun(path))
    good, bad = pack.cells
    record = mixed.store.record(bad.cell_id)
    assert record["status"] == "failed"
    assert "not finite" in record["reason"]
    assert record["metrics"] == []
    np.testing.assert_allclose(
        mixed.store.embeddings(good.cell_id)[1], alone.store.embeddings(good.cell_id)[1], atol=1e-3
    )


def test_finished_cells_are_left_alone_unless_they_are_to_be_replaced(tmp_path: Path) -> None:
    sweep = prepared(tmp_path / "s")
    pack, path = pack_file(sweep, [0.0, 1e39])
    finish(PackRun(path))
    _, path = pack_file(sweep, [0.0, 1e39])
    assert PackRun(path).cells == ()
    _, path = pack_file(sweep, [0.0, 1e39], replace=frozenset([pack.cells[1].cell_id, "another"]))
    assert PackRun(path).cells == (pack.cells[1],)


def test_controls_need_no_training(tmp_path: Path) -> None:
    sweep = prepared(tmp_path / "s")
    pack = PackPlan(pack_id="controls", cells=control_cells(sweep.sweep_id, [0], FOLDS))
    run = PackRun(sweep.store.write_pack("controls", pack_content(pack, sweep.config, replace=frozenset())))
    assert not run.advance()
    list(run.finish())
    accuracy = {}
    for cell in pack.cells:
        rows = {row["metric"]: row["value"] for row in sweep.store.record(cell.cell_id)["metrics"]}
        accuracy[cell.trainer] = rows["perturbation_accuracy"]
    assert accuracy["control:raw"] > 0.2
    assert abs(accuracy["control:random"]) < 0.1
    assert abs(accuracy["control:label_shuffled"]) < 0.1


def test_a_trained_cell_is_guarded_against_overcorrection(tmp_path: Path) -> None:
    """Retention has its reference and the planted signal its encoder; controls have no encoder to plant into."""
    guards = ["within_batch_retention", "planted_signal_retention"]
    sweep = prepared(
        tmp_path / "s", metrics=guards, simulate={**DATA["simulate"], "plates_per_batch": 4, "phenotype": 4.0}
    )
    pack, path = pack_file(sweep, [0.0])
    finish(PackRun(path))
    rows = {row["metric"]: row for row in sweep.store.record(pack.cells[0].cell_id)["metrics"]}
    for name in guards:
        assert rows[name]["value"] is not None, rows[name]["reason"]
        assert 0 <= rows[name]["value"] <= 1
        assert rows[name]["raw"] > 0
    low, high = rows["within_batch_retention"]["interval"]
    assert low <= rows["within_batch_retention"]["raw"] <= high
    raw = next(cell for cell in control_cells(sweep.sweep_id, [0], FOLDS) if cell.trainer == "control:raw")
    pack = PackPlan(pack_id="controls", cells=(raw,))
    finish(PackRun(sweep.store.write_pack("controls", pack_content(pack, sweep.config, replace=frozenset()))))
    planted = sweep.store.record(raw.cell_id)["metrics"][1]
    assert planted["metric"] == "planted_signal_retention"
    assert "cannot be made anew" in planted["reason"]


def test_a_control_that_the_screen_does_not_allow_is_recorded_with_its_reason(tmp_path: Path) -> None:
    sweep = prepared(tmp_path / "s", simulate={**DATA["simulate"], "controls_per_plate": 0})
    pack = PackPlan(pack_id="controls", cells=control_cells(sweep.sweep_id, [0], FOLDS))
    finish(PackRun(sweep.store.write_pack("controls", pack_content(pack, sweep.config, replace=frozenset()))))
    for cell in pack.cells:
        record = sweep.store.record(cell.cell_id)
        assert record["status"] == "ok"
        values = [row["value"] for row in record["metrics"]]
        if cell.trainer in {"control:plate_control_centred", "control:sphering"}:
            assert values == [None, None]
            assert all("no negative controls" in row["reason"] for row in record["metrics"])
        else:
            assert None not in values


def test_metrics_are_computed_where_the_pack_trains_unless_the_configuration_says(tmp_path: Path) -> None:
    plain, told = prepared(tmp_path / "plain"), prepared(tmp_path / "told", panel={"device": "cpu"})
    assert plain.sweep_id == told.sweep_id, "where it is computed makes another sweep"
    on = {
        (name, device): PackRun(pack_file(sweep, [0.0])[1], device=device).panel.device
        for name, sweep in (("plain", plain), ("told", told))
        for device in ("cpu", "cuda")
    }
    assert on == {("plain", "cpu"): None, ("plain", "cuda"): "cuda", ("told", "cpu"): "cpu", ("told", "cuda"): "cpu"}
    finish(PackRun(pack_file(told, [0.0])[1]))
    assert {told.store.record(cell)["status"] for cell in told.store.finished()} == {"ok"}
