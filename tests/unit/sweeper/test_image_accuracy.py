"""The ERM path on a screen in WILDS' layout: inputs as WILDS' reference transform makes them, accuracy as WILDS has it.

The reference side never touches this project's packing, standardisation or scoring: `wilds`' own dataset object gives
images, labels and splits, torchvision the transform of WILDS' example code, `wilds`' own class the accuracy.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import sweeper
from dashboards.report import write_report
from sweeper.arms.arm import Arm
from sweeper.config.sweep_config import build_config
from sweeper.errors import InputError
from sweeper.findings.stored import report_provenance, stored_ladder, tabulate_and_decide
from sweeper.planning.cells import Cell, PackPlan, control_cells, make_cells, make_packs
from sweeper.planning.description import sweep_description
from sweeper.planning.prepared import prepare
from sweeper.running.worker import PackRun, pack_content
from trainers.images.inputs import evaluated
from trainers.images.network import ImageNetwork
from trainers.screens.images.image_simulation import draw_simulation
from trainers.screens.images.image_simulation_spec import ImageSimulationSpec
from trainers.screens.images.manifest import open_packed
from trainers.screens.images.packing import pack
from trainers.screens.images.simulated_images import write_images
from trainers.screens.images.source import WildsSource, list_source

if TYPE_CHECKING:  # at run time in the tests that use it: seconds, which every collection would pay
    from wilds.datasets.rxrx1_dataset import RxRx1Dataset

SIMULATED = {"size": 32, "radius": 3, "cells": 4, "batches": 6, "cell_types": 2, "perturbations": 6, "seed": 4}
NETWORK = {
    "backbone": "test_resnet",
    "head": "linear",
    "embedding_dim": None,
    "statistics": "none",
    "critic": "none",
    "steps": 60,
    "groups": 2,
    "items": 12,
    "precision": "fp32",
    "learning_rate": 3e-3,
}
PLAIN = ("plain_accuracy", "in_distribution_plain_accuracy")


def wilds_transform(picture: Image.Image) -> torch.Tensor:
    """WILDS' evaluation transform of RxRx1: to [0, 1], each channel by its own mean and std, std 0 → 1."""
    from torchvision.transforms import functional

    x = functional.to_tensor(picture)
    std = x.std(dim=(1, 2))
    std[std == 0.0] = 1.0
    return functional.normalize(x, x.mean(dim=(1, 2)), std)


@dataclass(frozen=True)
class Trained:
    """A finished sweep of one ERM cell, its files and its network."""

    files: Path
    packed: Path
    sweep: Any
    cells: tuple[Cell, ...]
    state: dict[str, Any]

    def row(self, cell: Cell, metric: str) -> dict[str, Any]:
        rows = self.sweep.store.record(cell.cell_id)["metrics"]
        return next(row for row in rows if row["metric"] == metric)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("wilds")
    files = folder / "files"
    write_images(draw_simulation(ImageSimulationSpec.model_validate(SIMULATED)), files, "wilds")
    pack(list_source(WildsSource(path=files)), folder / "packed")
    data = {
        "name": "erm",
        "folder": str(folder / "run"),
        "images": {"packed": str(folder / "packed")},
        "views": [{"view": "official", "held_out": ["val", "test"]}],
        "seeds": 1,
        "strengths": {"adversarial_weight": [0.0], "margin": [0.0]},
        "trainer": "abra_images",
        "abra_images": NETWORK,
    }
    sweep = prepare(build_config(data, "test"))
    sweep.store.create(sweep_id=sweep.sweep_id, description=sweep_description(sweep, []), screen=sweep.screen)
    erm = make_cells(sweep.sweep_id, "abra_images", [(0.0, 0.0)], [0], sweep.folds)
    raw = control_cells(sweep.sweep_id, [0], sweep.folds)[:1]
    states = []
    for name, cells in (("erm", erm), ("controls", raw)):
        plan = PackPlan(pack_id=name, cells=cells)
        run = PackRun(sweep.store.write_pack(name, pack_content(plan, sweep.config, replace=frozenset())))
        while run.advance():
            pass
        states.append(None if run._training is None else run._training.state_dict())
        list(run.finish())
    assert states[0] is not None
    return Trained(files, folder / "packed", sweep, (*erm, *raw), states[0])


@pytest.fixture(scope="module")
def dataset(trained: Trained) -> RxRx1Dataset:
    from wilds.datasets.rxrx1_dataset import RxRx1Dataset

    return RxRx1Dataset(root_dir=str(trained.files), download=False, split_scheme="official")


def test_inputs_are_those_of_the_wilds_transform_on_the_files(trained: Trained, dataset: RxRx1Dataset) -> None:
    screen = open_packed(trained.packed)
    assert len(screen) == len(dataset)
    rows = np.random.default_rng(0).choice(len(dataset), size=40, replace=False).astype(np.int64)
    settings = trained.sweep.config.abra_images
    found = torch.cat(list(evaluated(screen.images, rows, settings, torch.device("cpu"))))
    for x, row in zip(found, rows, strict=True):
        torch.testing.assert_close(x, wilds_transform(dataset.get_input(int(row))), rtol=1e-4, atol=2e-5)


def test_a_constant_channel_is_divided_by_one() -> None:
    images = np.full((2, 3, 16, 16), 9, np.uint8)
    images[:, 1:] = np.random.default_rng(1).integers(0, 255, (2, 2, 16, 16))
    settings = build_config(
        {"name": "a", "images": {"packed": "p"}, "views": [{"view": "official"}], "trainer": "abra_images"}, "test"
    ).abra_images
    found = torch.cat(list(evaluated(images, np.arange(2), settings, torch.device("cpu"))))
    assert torch.equal(found[:, 0], torch.zeros(2, 16, 16))
    expected = [wilds_transform(Image.fromarray(np.moveaxis(image, 0, -1))) for image in images]
    torch.testing.assert_close(found.contiguous(), torch.stack(expected), rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize(
    ("metric", "parts"), [("plain_accuracy", ("val", "test")), ("in_distribution_plain_accuracy", ("id_test",))]
)
def test_the_metric_is_the_plain_per_image_accuracy(
    trained: Trained, dataset: RxRx1Dataset, metric: str, parts: tuple[str, ...]
) -> None:
    from wilds.common.metrics.all_metrics import Accuracy

    cell = trained.cells[0]
    settings = trained.sweep.config.abra_images
    classes = int(dataset.y_array.max()) + 1
    network = ImageNetwork(settings, channels=3, image_size=32, classes=classes, seed=0)
    network.load_state_dict(trained.state["finished"][0]["network"])
    network.eval()
    wanted = [number for name, number in dataset.split_dict.items() if name in parts]
    rows = np.flatnonzero(np.isin(dataset.split_array, wanted))
    # this project numbers the classes in the sorted order of their names; wilds by the number that the name is
    names = np.array(sorted(str(number) for number in range(classes)), dtype=object).astype(int)
    with torch.no_grad():
        x = torch.stack([wilds_transform(dataset.get_input(int(row))) for row in rows])
        logits = torch.nn.functional.linear(network(x), network.class_vectors, network.class_bias)
    predicted = torch.from_numpy(names[logits.argmax(1).numpy()])
    truth = dataset.y_array[rows]
    by_hand = float((predicted == truth).double().mean())
    found = trained.row(cell, metric)
    assert found["value"] == pytest.approx(by_hand, abs=1e-12)
    assert found["value"] == pytest.approx(Accuracy().compute(predicted, truth)["acc_avg"], abs=1e-6)
    assert by_hand > 1.3 / classes, "at chance: the comparison would say nothing"
    assert found["raw"] == found["value"]
    assert found["chance"] == found["floor"] == pytest.approx(1 / classes)
    assert found["reason"] == f"{classes} classes, controls among them; {len(rows)} rows, each counted once"

    units = trained.sweep.store.units(cell.cell_id)
    units = units[units["metric"] == metric]
    for axis, name in (("batch", "experiment"), ("cell_type", "cell_type")):
        own = units[units["axis"] == axis].set_index("unit")
        groups = dataset.metadata_array[rows, dataset.metadata_fields.index(name)].numpy()
        expected = pd.Series((predicted == truth).numpy()).groupby(np.array(dataset.metadata_map[name])[groups]).mean()
        assert set(own.index) == set(expected.index)
        np.testing.assert_allclose(own["value"].loc[expected.index], expected, atol=1e-6)
        assert own["wells"].sum() == len(rows)


def test_controls_have_no_class_head_and_say_so(trained: Trained) -> None:
    for metric in PLAIN:
        row = trained.row(trained.cells[1], metric)
        assert row["value"] is None
        assert "no class head" in row["reason"]


def test_images_are_scored_per_image_unless_the_metrics_are_named(trained: Trained) -> None:
    assert trained.sweep.identity["metrics"][-2:] == list(PLAIN)


@pytest.mark.slow
def test_a_ladder_of_images_from_the_store_alone(trained: Trained, tmp_path: Path) -> None:
    """Rungs with other heads and necks, in the published split: selected on val, tested on test, by cell type."""
    data = {
        "name": "ladder",
        "folder": str(tmp_path / "run"),
        "images": {"packed": str(trained.packed)},
        "views": [{"view": "official", "held_out": ["val", "test"]}],
        "seeds": 2,
        "strengths": {"adversarial_weight": [0.0], "margin": [0.2]},
        "trainer": "abra_images",
        "abra_images": {**NETWORK, "head": "arcface", "steps": 3, "points": ["stem"]},
        "metrics": ["batch_probe_linear", "perturbation_accuracy"],
        "ladder": {
            "select_on": ["val"],
            "rungs": [
                {"name": "erm", "settings": {"head": "linear"}},
                {"name": "+arcface", "settings": {"head": "arcface", "embedding_dim": 8}, "margin": 0.2},
                {"name": "+dsu", "settings": {"statistics": "random"}, "adversarial_weight": 1},
            ],
        },
    }
    sweep = prepare(build_config(data, "test"))
    sweep.store.create(sweep_id=sweep.sweep_id, description=sweep_description(sweep, []), screen=sweep.screen)
    rungs = [cell for cell in sweep.known_cells() if cell.arm is Arm.LADDER]
    grid = [cell for cell in sweep.known_cells() if cell.arm is not Arm.LADDER and not cell.is_control]
    for plan in make_packs([*rungs, *grid], workers=1, pack_size=2):
        run = PackRun(sweep.store.write_pack(plan.pack_id, pack_content(plan, sweep.config, replace=frozenset())))
        while run.advance():
            pass
        list(run.finish())
    widths = {cell.trainer.split("@")[0]: sweep.store.embeddings(cell.cell_id)[1].shape[1] for cell in rungs}
    assert widths["ladder:+arcface"] == widths["ladder:+dsu"] == 8
    assert widths["ladder:erm"] > 8, "the backbone's own features"

    results, decision = tabulate_and_decide(sweep.store)
    table = stored_ladder(sweep.store, results)
    assert table is not None
    wells = sweep.screen.wells
    assert (table.unit, table.classes) == ("image", wells["perturbation"].nunique())
    assert set(table.selects) == set(wells.loc[wells["split"] == "val", "batch"])
    assert set(table.tests) == set(wells.loc[wells["split"] == "test", "batch"])
    assert table.rows == int((wells["split"] == "test").sum())
    assert set(table.cell_types) == set(wells["cell_type"])
    assert [(rung.rung, rung.done) for rung in table.rungs] == [("erm", 2), ("+arcface", 2), ("+dsu", 2)]
    for rung in table.rungs:
        pooled = []
        for cell in rungs:
            if cell.trainer.startswith(f"ladder:{rung.rung}@"):
                rows = {row["metric"]: row["raw"] for row in sweep.store.record(cell.cell_id)["metrics"]}
                pooled.append((rows["plain_accuracy"], rows["in_distribution_plain_accuracy"]))
        both = np.mean(pooled, axis=0)
        # val and test are as large here, so the metric over both is the mean of the two parts
        assert table.rows == int((wells["split"] == "val").sum())
        assert (rung.scores["validation"].mean + rung.scores["test"].mean) / 2 == pytest.approx(both[0], abs=1e-6)
        assert rung.scores["in_distribution"].mean == pytest.approx(both[1], abs=1e-6)
        assert rung.scores["gap"].mean == pytest.approx(both[1] - rung.scores["test"].mean, abs=1e-6)
    write_report(results, decision, report_provenance(sweep.store), tmp_path / "a.html", ladder=table)
    html = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "The in-distribution reference is optimistic" in html
    assert "Out-of-distribution boundary tested: experiment (4 of 4 test units new to training)" in html
    assert "Not crossed: cell type (0 of 2 test units new to training)" in html


def test_frozen_features_are_scored_per_image_too(trained: Trained, tmp_path: Path) -> None:
    """By the encoder on top of the frozen backbone; here its nearest class vector, found without the pack's help."""
    data = {
        "name": "frozen",
        "folder": str(tmp_path / "run"),
        "images": {"packed": str(trained.packed)},
        "views": [{"view": "official"}],
        "seeds": 1,
        "strengths": {"adversarial_weight": [0.0], "margin": [0.1]},
        "frozen": {"backbone": "test_resnet", "weights": None},
        "abra": {"steps": 40, "hidden_widths": [32], "embedding_dim": 16, "groups": 2},
    }
    sweep = prepare(build_config(data, "test"))
    assert sweep.identity["metrics"][-2:] == list(PLAIN)
    sweep.store.create(sweep_id=sweep.sweep_id, description=sweep_description(sweep, []), screen=sweep.screen)
    cells = make_cells(sweep.sweep_id, "abra", [(0.0, 0.1)], [0], sweep.folds)
    plan = PackPlan(pack_id="frozen", cells=cells)
    run = PackRun(sweep.store.write_pack("frozen", pack_content(plan, sweep.config, replace=frozenset())))
    while run.advance():
        pass
    assert run._training is not None
    state: Any = run._training.state_dict()["parameters"]
    list(run.finish())
    rows, embeddings = sweep.store.embeddings(cells[0].cell_id)
    names = sorted(sweep.screen.wells["perturbation"].unique())
    vectors = state["values"][0, -16 * len(names) :].numpy().reshape(len(names), 16)  # the class vectors come last
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    predicted = np.array(names)[(embeddings @ vectors.T).argmax(axis=1)]
    by_hand = np.mean(predicted == sweep.screen.wells["perturbation"].to_numpy()[rows])
    record = {row["metric"]: row for row in sweep.store.record(cells[0].cell_id)["metrics"]}
    # stored embeddings have half precision: an image between two classes may fall to the other
    assert record["plain_accuracy"]["value"] == pytest.approx(by_hand, abs=2.5 / len(rows))
    assert by_hand > 1.3 / len(names)

    kept = sweeper.keep(sweep.store.folder, cell=cells[0].cell_id)
    assert kept.difference is not None
    assert kept.difference < 2**-11
    found = sweeper.embed(sweep.store.folder, model=kept.folder)
    np.testing.assert_allclose(found.embedding[rows], embeddings, atol=2**-11)
    assert len(found.frame) == len(sweep.screen)


def test_a_backbone_that_was_trained_is_not_kept_and_the_line_says_what_is(trained: Trained) -> None:
    words = r"abra_images cannot be kept: .*`frozen: {backbone: NAME}` with `trainer: abra` sweeps one that can"
    for ask in (sweeper.keep, sweeper.embed):
        with pytest.raises(InputError, match=words) as caught:
            ask(trained.sweep.store.folder, strength=(0.0, 0.0))
        assert "\n" not in str(caught.value)
