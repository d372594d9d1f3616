"""Images in a sweep: what is refused, what identifies it, and which pixels a trial reads."""

from __future__ import annotations

import shutil
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from sweeper.arms.arm import Arm
from sweeper.cli import main
from sweeper.config.sweep_config import build_config, load_config
from sweeper.errors import ConfigError, InputError, StoreMismatchError
from sweeper.planning.cells import PackPlan, make_cells
from sweeper.planning.description import sweep_description
from sweeper.planning.images import open_images
from sweeper.planning.prepared import prepare
from sweeper.running.worker import PackRun, pack_content
from trainers.base import TrainingCell
from trainers.images.simple import channel_statistics, statistic_names
from trainers.screens.images.image_simulation import draw_simulation
from trainers.screens.images.image_simulation_spec import ImageSimulationSpec
from trainers.screens.images.packing import pack
from trainers.screens.images.simulated_images import write_images
from trainers.screens.images.source import WildsSource, list_source

TINY = {"size": 32, "radius": 3, "cells": 3, "batches": 3, "cell_types": 1, "sites": 1, "plates_per_batch": 2}
NETWORK = {
    "backbone": "test_resnet",
    "statistics": "none",
    "points": ["stem"],
    "steps": 2,
    "embedding_dim": 8,
    "groups": 3,
    "items": 4,
    "precision": "fp32",
}
VIEWS = [{"view": "held_out_plates", "fraction": 0.5}]


def packed_screen(folder: Path, **changes: Any) -> Path:
    """A packed simulated screen; the files that it came from are gone."""
    files = folder.with_name(f"{folder.name}-files")
    write_images(draw_simulation(ImageSimulationSpec(**{**TINY, **changes})), files, "wilds")
    pack(list_source(WildsSource(path=files)), folder)
    shutil.rmtree(files)
    return folder


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed_screen(tmp_path_factory.mktemp("images") / "packed")


def config(packed: Path, folder: Path, **changes: Any) -> Any:
    data = {
        "name": "images",
        "folder": str(folder),
        "images": {"packed": str(packed)},
        "views": VIEWS,
        "seeds": 1,
        "trainer": "abra_images",
        "abra_images": NETWORK,
        "metrics": ["batch_probe_linear", "perturbation_accuracy"],
    }
    return build_config({key: value for key, value in {**data, **changes}.items() if value is not None}, "test")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"images": None}, "give one of"),
        ({"simulate": {}}, "only one"),
        ({"images": None, "simulate": {}}, "abra_images trains on images"),
        ({"trainer": "abra"}, "give `frozen"),
        ({"frozen": {}}, "abra_images trains its backbone"),
        ({"images": None, "simulate": {}, "trainer": "abra", "frozen": {}}, "give `images`"),
        ({"normalise": "plate"}, "normalise: plate is for profiles"),
        ({"abra_images": {"head": "linear"}}, "has no margin"),
        ({"abra_images": {"backbon": "resnet18"}}, "did you mean 'backbone'"),
        ({"images": {"layout": "zip", "path": "x"}}, "wilds, rxrx1 or plates"),
        ({"images": {"layout": "wilds", "pathh": "x"}}, "unknown key 'images.pathh'"),
        ({"images": {"layout": "wilds"}}, "images.path"),
    ],
)
def test_contradictions_are_one_line(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        config(tmp_path / "packed", tmp_path / "run", **changes)
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_paths_are_relative_to_the_file_and_the_stored_configuration_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(
        "name: a\nimages: {layout: wilds, path: data, packed: p}\ntrainer: abra\n"
        "frozen: {weights: w.safetensors}\nviews: [{view: held_out_plates}]\n"
    )
    read = load_config(path)
    assert read.images is not None
    assert read.images.packed == tmp_path / "p"
    assert read.frozen is not None
    assert read.frozen.weights == str(tmp_path / "w.safetensors")
    assert build_config(read.model_dump(mode="json"), "stored") == read


def test_images_that_are_absent_or_not_packed_yet(tmp_path: Path) -> None:
    source = {"layout": "wilds", "path": str(tmp_path / "data")}
    with pytest.raises(InputError, match=r"images\.path: .*data does not exist"):
        prepare(config(tmp_path, tmp_path / "run", images=source))
    (tmp_path / "data").mkdir()
    with pytest.raises(InputError, match="not packed yet; run `sweeper pack`"):
        prepare(config(tmp_path, tmp_path / "run", images=source))
    with pytest.raises(InputError, match="holds no packed screen"):
        prepare(config(tmp_path / "data", tmp_path / "run"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"backbone": "test_resnett"}, r"timm has no 'test_resnett'; did you mean test_resnet"),
        ({"weights": "/nowhere/w.safetensors"}, "no file /nowhere/w.safetensors"),
        ({"statistics": "worst_case", "points": ["stage9"]}, "stage9"),
        ({"augment": {"crop": 64}}, "augment.crop: 64 is more than the images' 32 pixels"),
    ],
)
def test_a_network_that_cannot_be_made_is_refused_before_anything_is_written(
    packed: Path, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        prepare(config(packed, tmp_path / "run", abra_images={**NETWORK, **changes}))
    assert not (tmp_path / "run").exists()


def test_identity_is_content_not_place(packed: Path, tmp_path: Path) -> None:
    first = prepare(config(packed, tmp_path / "run"))
    moved = tmp_path / "moved"
    shutil.copytree(packed, moved)
    assert prepare(config(moved, tmp_path / "run")).sweep_id == first.sweep_id
    assert first.identity["data"] == open_images(first.config).fingerprint
    for network in ({**NETWORK, "steps": 3}, {**NETWORK, "backbone": "test_convnext"}):
        assert prepare(config(packed, tmp_path / "run", abra_images=network)).sweep_id != first.sweep_id


def test_weight_files_count_by_content(packed: Path, tmp_path: Path) -> None:
    import timm
    import torch
    from safetensors.torch import save_file

    found = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        torch.manual_seed(seed)
        path = tmp_path / f"{name}.safetensors"
        save_file(timm.create_model("test_resnet", num_classes=0).state_dict(), str(path))
        found.append(prepare(config(packed, tmp_path / "run", abra_images={**NETWORK, "weights": str(path)})))
    same, copy, other = (sweep.sweep_id for sweep in found)
    assert same == copy
    assert same != other
    assert str(tmp_path) not in str(found[0].identity)


@pytest.mark.parametrize("road", ["trained", "frozen"])
def test_validate_and_plan_embed_nothing_and_write_nothing(
    packed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], road: str
) -> None:
    mine = tmp_path / "packed"
    shutil.copytree(packed, mine, ignore=shutil.ignore_patterns("features"))
    trained = {"trainer": "abra_images", "abra_images": NETWORK}
    frozen = {"trainer": "abra", "frozen": {"backbone": "test_resnet", "weights": None}, "abra": {"steps": 4}}
    data = {"name": "a", "folder": str(tmp_path / "run"), "images": {"packed": str(mine)}, "views": VIEWS, "seeds": 1}
    path = tmp_path / "a.yaml"
    path.write_text(yaml.safe_dump({**data, **(trained if road == "trained" else frozen)}))
    before = {file: file.stat().st_mtime_ns for file in mine.rglob("*")}
    assert main(["validate", str(path)]) == 0
    told = capsys.readouterr().out
    assert "576 of 3 channels (nuclei, ER, actin), 32×32, sha256:" in told
    assert main(["plan", str(path)]) == 0
    told = capsys.readouterr().out
    assert "0 done" in told
    assert ("embedding" in told) == (road == "frozen")
    assert {file: file.stat().st_mtime_ns for file in mine.rglob("*")} == before
    assert not (tmp_path / "run").exists()
    assert (
        main(["validate", str(path), "--set", f"{'abra_images' if road == 'trained' else road}.backbone=resnet5O"]) == 2
    )
    assert "did you mean resnet50" in capsys.readouterr().err


def test_frozen_features_are_an_ordinary_screen_and_made_once(packed: Path, tmp_path: Path) -> None:
    frozen = {"backbone": "test_resnet", "weights": None}
    sweep = prepare(config(packed, tmp_path / "run", trainer="abra", abra_images=None, frozen=frozen))
    assert sweep.images is None
    features = np.asarray(sweep.screen.features)
    assert features.shape[0] == len(open_images(sweep.config))
    assert features.std(axis=0).max() > 0
    kept = {path: path.stat().st_mtime_ns for path in (packed / "features").iterdir()}
    again = prepare(config(packed, tmp_path / "run", trainer="abra", abra_images=None, frozen=frozen))
    assert again.sweep_id == sweep.sweep_id
    assert kept == {path: path.stat().st_mtime_ns for path in (packed / "features").iterdir()}
    other = prepare(config(packed, tmp_path / "run", trainer="abra", abra_images=None, frozen={**frozen, "seed": 1}))
    assert other.sweep_id != sweep.sweep_id
    assert not np.allclose(np.asarray(other.screen.features), features)


def pack_run(
    sweep: Any, arm: Arm = Arm.SWEEP, weights: tuple[float, ...] = (3.0,), name: str = "pack"
) -> tuple[PackPlan, PackRun]:
    sweep.store.create(sweep_id=sweep.sweep_id, description=sweep_description(sweep, []), screen=sweep.screen)
    strengths = [(weight, 0.1) for weight in weights]
    cells = make_cells(sweep.sweep_id, "abra_images", strengths, [0], sweep.folds, arm=arm)
    plan = PackPlan(pack_id=name, cells=cells)
    path = sweep.store.write_pack(name, pack_content(plan, sweep.config, replace=frozenset()))
    return plan, PackRun(path)


def test_a_trial_trains_on_the_packed_images_and_the_store_copies_none(packed: Path, tmp_path: Path) -> None:
    sweep = prepare(config(packed, tmp_path / "run"))
    assert sweep.config.pack_size == 4
    plan, run = pack_run(sweep)
    while run.advance():
        pass
    assert list(run.finish()) == list(plan.cells)
    cell = plan.cells[0].cell_id
    assert sweep.store.record(cell)["status"] == "ok"
    rows, embeddings = sweep.store.embeddings(cell)
    assert embeddings.shape == (len(rows), 8)
    assert sweep.store.screen().feature_names[:2] == ("nuclei_mean", "nuclei_std")
    assert not list((tmp_path / "run").rglob("images.npy"))


def finished(run: PackRun) -> None:
    while run.advance():
        pass
    list(run.finish())


@pytest.mark.slow
def test_a_killed_pack_keeps_its_finished_cells_and_goes_on_from_the_last_epoch(packed: Path, tmp_path: Path) -> None:
    network = {**NETWORK, "steps": None, "epochs": 3}
    whole, broken = (prepare(config(packed, tmp_path / name, abra_images=network)) for name in ("whole", "broken"))
    plan, run = pack_run(whole, weights=(0.0, 3.0))
    finished(run)

    _, first = pack_run(broken, weights=(0.0, 3.0))
    checkpoints = broken.store.folder / "checkpoints"
    for _ in range(3):  # the three epochs of the first cell
        assert first.advance()
    assert broken.store.finished() == {plan.cells[0].cell_id}, "written when it ended, not with its companions"
    assert not list(checkpoints.iterdir()), "a checkpoint of a finished cell"
    assert first.advance()
    assert first.advance()
    assert first.fraction == pytest.approx((1 + 2 / 3) / 2)
    written = (broken.store.cells_folder / plan.cells[0].cell_id / "record.json").stat().st_mtime_ns
    assert len(list(checkpoints.iterdir())) == 1

    _, second = pack_run(broken, weights=(0.0, 3.0), name="other")  # as a sweep that goes on: packs are cut anew
    assert second.cells == plan.cells[1:]
    assert not second.advance()
    assert second.fraction == 1.0, "the checkpoint of the second epoch was not used"
    list(second.finish())
    assert not list(checkpoints.iterdir())
    assert (broken.store.cells_folder / plan.cells[0].cell_id / "record.json").stat().st_mtime_ns == written
    for cell in plan.cells:
        for found, expected in zip(
            broken.store.embeddings(cell.cell_id), whole.store.embeddings(cell.cell_id), strict=True
        ):
            np.testing.assert_array_equal(found, expected)
        assert broken.store.curve(cell.cell_id) == whole.store.curve(cell.cell_id)
        assert broken.store.record(cell.cell_id)["metrics"] == whole.store.record(cell.cell_id)["metrics"]


OUT_OF_MEMORY = {
    "in a step": "trainers.images.training.CellTraining.train_step",
    "in making the network": "trainers.images.training.CellTraining.__init__",
    "in embedding": "trainers.images.image_pack.ImagePack._network",
}


@pytest.mark.slow
@pytest.mark.parametrize("where", OUT_OF_MEMORY)
def test_out_of_device_memory_costs_one_cell_alone(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """A mock: there is no device here whose memory could run out; torch's own error is raised in its place."""
    alone = prepare(config(packed, tmp_path / "alone"))
    plan, run = pack_run(alone, weights=(1.0, 3.0, 9.0))
    finished(run)

    sweep = prepare(config(packed, tmp_path / "run"))
    _, run = pack_run(sweep, weights=(1.0, 3.0, 9.0))
    real = resolve_name(OUT_OF_MEMORY[where])

    def full(self: Any, *given: Any, **named: Any) -> Any:
        cells = (*getattr(self, "_cells", ()), *given)
        cell = getattr(self, "cell", None) or next(cell for cell in cells if isinstance(cell, TrainingCell))
        if cell.adversarial_weight == 3.0:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return real(self, *given, **named)

    monkeypatch.setattr(OUT_OF_MEMORY[where], full)
    finished(run)
    records = [sweep.store.record(cell.cell_id) for cell in plan.cells]
    assert [record["status"] for record in records] == ["ok", "oom", "ok"]
    for advice in ("lower `items`", "raise `accumulation`", "a smaller backbone"):
        assert advice in records[1]["reason"]
    assert "\n" not in records[1]["reason"]
    assert records[1]["metrics"] == []
    for cell in (plan.cells[0], plan.cells[2]):
        np.testing.assert_array_equal(sweep.store.embeddings(cell.cell_id)[1], alone.store.embeddings(cell.cell_id)[1])
    monkeypatch.undo()
    assert sweep.store.finished(retry=True) == {plan.cells[0].cell_id, plan.cells[2].cell_id}


def test_out_of_memory_while_embedding_with_a_frozen_backbone_is_one_line(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mock, as above."""

    def full(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("trainers.images.frozen.evaluated", full)
    frozen = {"backbone": "test_resnet", "weights": None, "seed": 7}
    with pytest.raises(InputError, match="too little memory for test_resnet at 32 px; take precision bf16, a smaller"):
        prepare(config(packed, tmp_path / "run", trainer="abra", abra_images=None, frozen=frozen))
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_the_sham_arm_trains_on_its_own_batches(packed: Path, tmp_path: Path) -> None:
    found = []
    for arm in (Arm.SWEEP, Arm.SHAM):
        sweep = prepare(config(packed, tmp_path / arm.value))
        plan, run = pack_run(sweep, arm)
        while run.advance():
            pass
        list(run.finish())
        assert sweep.store.record(plan.cells[0].cell_id)["status"] == "ok"
        found.append(sweep.store.embeddings(plan.cells[0].cell_id)[1])
    assert not np.allclose(*found)


@pytest.mark.slow
def test_a_packed_folder_that_changed_is_refused(packed: Path, tmp_path: Path) -> None:
    mine = tmp_path / "packed"
    shutil.copytree(packed, mine)
    sweep = prepare(config(mine, tmp_path / "run"))
    _, run = pack_run(sweep)
    shutil.rmtree(mine)
    packed_screen(mine, seed=1)
    with pytest.raises(StoreMismatchError, match="holds another screen"):
        run.advance()
    with pytest.raises(StoreMismatchError, match="holds another sweep"):
        prepare(config(mine, tmp_path / "run"))


def test_channel_statistics_are_those_of_the_pixels() -> None:
    rng = np.random.default_rng(0)
    for kind, full in ((np.uint8, 255), (np.uint16, 65535)):
        images = rng.integers(0, full + 1, (3, 2, 17, 17)).astype(kind)
        found = pd.DataFrame(channel_statistics(images), columns=list(statistic_names(("a", "b"))))
        flat = images.reshape(3, 2, -1) / full
        np.testing.assert_allclose(found["b_mean"], flat[:, 1].mean(axis=1), rtol=1e-5)
        np.testing.assert_allclose(found["a_std"], flat[:, 0].std(axis=1), rtol=1e-5)
        expected = np.quantile(flat[:, 1], 0.25, axis=1, method="inverted_cdf")
        np.testing.assert_allclose(found["b_q25"], expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["rxrx1_wilds_resnet50", "rxrx1_6ch_densenet161"])
def test_ready_configurations_parse_and_name_the_absent_data(name: str, tmp_path: Path) -> None:
    given = Path(__file__).parents[3] / "configs" / f"{name}.yaml"
    (tmp_path / "configs").mkdir()
    found = load_config(Path(shutil.copy(given, tmp_path / "configs")))
    assert found.trainer == "abra_images"
    assert found.abra_images.weights == "pretrained"
    with pytest.raises(InputError, match=r"images\.path: .*data.* does not exist"):
        prepare(found)
