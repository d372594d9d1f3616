"""The ready image configurations: published recipe, backbones that exist, a plan on simulated images of their kind."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from sweeper.arms.ladder import resolved_rungs
from sweeper.cli import main
from sweeper.config.sweep_config import SweepConfig, load_config
from sweeper.metrics.registry import resolve
from trainers.images.image_settings import ImageAbraSettings
from trainers.images.training import cell_steps
from trainers.screens.images.image_simulation import draw_simulation
from trainers.screens.images.image_simulation_spec import ImageSimulationSpec
from trainers.screens.images.simulated_images import write_images

CONFIGS = Path(__file__).parents[3] / "configs"
READY = ("rxrx1_wilds_resnet50", "rxrx1_wilds_ladder", "rxrx1_6ch_densenet161")
SIMULATED = {"size": 32, "radius": 3, "cells": 2, "batches": 6, "cell_types": 2, "perturbations": 5}


def ready(name: str, folder: Path) -> SweepConfig:
    """The configuration from a folder where its data are not."""
    (folder / "configs").mkdir(exist_ok=True)
    return load_config(Path(shutil.copy(CONFIGS / f"{name}.yaml", folder / "configs")))


@pytest.mark.parametrize("name", READY)
def test_it_begins_with_its_command_and_names_a_backbone_with_published_weights(name: str, tmp_path: Path) -> None:
    import timm

    first = (CONFIGS / f"{name}.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert first == f"# sweeper run configs/{name}.yaml"
    found = ready(name, tmp_path)
    architecture, _, tag = found.abra_images.backbone.partition(".")
    assert architecture in timm.list_models()
    published = timm.get_pretrained_cfg(found.abra_images.backbone)
    assert published is not None
    assert published.hf_hub_id or published.url
    assert not tag or published.tag == tag
    assert found.name == name
    assert len(found.seeds) >= 3
    assert found.executor.gpus_per_pack == 1


@pytest.mark.parametrize("name", ["rxrx1_wilds_resnet50", "rxrx1_wilds_ladder"])
def test_the_wilds_recipe(name: str, tmp_path: Path) -> None:
    settings = ready(name, tmp_path).abra_images
    assert settings.backbone == "resnet50.tv_in1k"
    assert settings.weights == "pretrained"
    assert (settings.optimiser, settings.learning_rate, settings.weight_decay) == ("adam", 1e-3, 1e-5)
    assert settings.groups * settings.items * settings.accumulation == 72
    assert settings.epochs == 90
    assert settings.augment.flips
    assert settings.augment.rotations
    assert settings.augment.crop is None
    steps = cell_steps(settings, np.repeat(np.arange(33), 1231)[:40_612])  # 33 experiments, 40,612 images
    assert steps == 90 * 564
    assert round(settings.learning_rate_warmup * steps) == 5_415


def test_the_ladder_is_that_of_the_design(tmp_path: Path) -> None:
    found = ready("rxrx1_wilds_ladder", tmp_path)
    assert found.ladder is not None
    assert found.ladder.select_on == ("val",)
    rungs = resolved_rungs(found)
    told = []
    for rung in rungs:
        settings = rung.settings
        assert isinstance(settings, ImageAbraSettings)
        ((weight, margin),) = rung.strengths
        told.append(
            (rung.name, settings.head, margin, settings.augment.cutmix, weight, settings.statistics, settings.critic,
             settings.alignment)
        )  # fmt: skip
    assert told == [
        ("erm", "linear", 0.0, 0.0, 0.0, "none", "none", "none"),
        ("+arcface", "arcface", 0.5, 0.0, 0.0, "none", "none", "none"),
        ("+cutmix", "arcface", 0.5, 0.5, 0.0, "none", "none", "none"),
        ("+dsu", "arcface", 0.5, 0.5, 1.0, "random", "none", "none"),
        ("+worst_case", "arcface", 0.5, 0.5, 1.0, "worst_case", "none", "none"),
        ("+batch_adversary", "arcface", 0.5, 0.5, 1.0, "worst_case", "ridge", "none"),
        ("+alignment", "arcface", 0.5, 0.5, 1.0, "worst_case", "ridge", "symmetric_kl"),
        ("instance_norm", "arcface", 0.5, 0.5, 0.0, "none", "none", "none"),
    ]
    assert rungs[0].settings.embedding_dim is None
    by_name = {rung.name: rung.settings.model_dump() for rung in rungs}
    instance = by_name["instance_norm"]
    assert instance.pop("instance_norm") == ("stem", "stage1")
    assert instance == by_name["+cutmix"], "it is compared with the rung that has no adversary either"
    # from the top rung of the method on nothing is switched off that the sweep's own settings have
    top = rungs[-2].settings.model_dump(exclude={"augment"})
    assert top == found.abra_images.model_dump(exclude={"augment"})
    assert {metric.role for metric in resolve(found.metrics or ())} == {"technical", "biological"}


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Simulated images in both layouts."""
    folder = tmp_path_factory.mktemp("simulated")
    for layout, channels in (("wilds", 3), ("rxrx1", 6)):
        spec = ImageSimulationSpec.model_validate({**SIMULATED, "channels": channels})
        write_images(draw_simulation(spec), folder / layout, layout)  # type: ignore[arg-type]
    return {layout: folder / layout for layout in ("wilds", "rxrx1")}


def settings(items: list[str]) -> list[str]:
    return [word for item in items for word in ("--set", item)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "layout", "further", "trained"),
    [
        ("rxrx1_wilds_resnet50", "wilds", [], 8 * 3),
        ("rxrx1_wilds_ladder", "wilds", [], 3 + 8 * 3),
        ("rxrx1_6ch_densenet161", "rxrx1", ["abra_images.augment.crop=32"], 8 * 3 * 3),
    ],
)
def test_it_packs_and_plans_on_simulated_images_in_its_layout(
    name: str,
    layout: str,
    further: list[str],
    trained: int,
    simulated: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    config = str(CONFIGS / f"{name}.yaml")
    packed = tmp_path / "packed"
    place = [f"path={simulated[layout]}", f"packed={packed}"]
    assert main(["pack", config, "--workers", "1", *settings(place)]) == 0
    changes = [*(f"images.{item}" for item in place), "abra_images.weights=null", *further]
    capsys.readouterr()
    assert main(["plan", config, "--no-estimate", *settings(changes)]) == 0
    told = capsys.readouterr().out
    assert f"({trained} to train)" in told
    assert "1 split a seed" in told or "3 splits a seed" in told
    if name == "rxrx1_wilds_ladder":
        rungs = "erm, +arcface, +cutmix, +dsu, +worst_case, +batch_adversary, +alignment, instance_norm"
        assert f"ladder:    24 of them: {rungs}" in told
        assert "selected on val" in told
    assert not (tmp_path / "runs").exists(), "a dry run writes nothing"
