"""The image demo's trade-off moves as its simulation says: on the demo's own files, at a few of its strengths."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from sweeper.config.given import parse_yaml
from sweeper.config.sweep_config import build_config, build_image_simulation
from sweeper.metrics.panel import REGISTRY
from sweeper.planning.cells import make_cells
from sweeper.running.scoring import score
from sweeper.running.worker import training_cell
from trainers.abra.profile_pack import AbraPack
from trainers.screens.images.image_simulation import draw_simulation
from trainers.screens.images.simulated_images import simulated_screen
from trainers.screens.splits import make_split
from trainers.screens.table import codes

pytestmark = pytest.mark.integration

PROBE = "batch_probe_linear"
BIOLOGY = ("activity_map", "retrieval_map", "perturbation_accuracy")
STRENGTHS, SEEDS = (0.0, 3.0, 300.0), (0, 1, 2)


def curves(imbalance: float, folder: Path) -> dict[str, np.ndarray]:
    """(seeds, strengths) raw batch probe and mean of the biological metrics, by name, in the demo's deciding view."""
    data = parse_yaml(files("sweeper").joinpath("demo_images.yaml").read_text(), "demo_images.yaml")
    given = {**data.pop("simulate_images"), "imbalance": imbalance}
    simulation = draw_simulation(build_image_simulation([f"{key}={value}" for key, value in given.items()]))
    config = build_config({**data, "images": {"packed": str(folder)}}, "demo_images.yaml")
    screen = simulated_screen(simulation)
    wells = screen.wells
    assert config.frozen is not None
    features = np.asarray(config.frozen.features(screen.images, fingerprint=screen.fingerprint, folder=folder))
    view = config.views[0]
    cells = make_cells("test", "abra", [(weight, 0.0) for weight in STRENGTHS], SEEDS, {view.view: 1})
    splits = {
        seed: make_split(wells, view, fold=0, seed=seed, held_out_perturbations=config.held_out_perturbations)
        for seed in SEEDS
    }
    pack = AbraPack(
        features,
        codes(wells["perturbation"]),
        codes(wells["batch"]),
        [training_cell(cell, splits[cell.seed], wells) for cell in cells],
        config.abra,
        threads=1,
    )
    pack.advance(pack.total_steps)
    names = tuple(name for name in REGISTRY if name in {PROBE, *BIOLOGY})
    probe, biology = np.zeros((2, len(SEEDS), len(STRENGTHS)))
    for index, cell in enumerate(cells):
        scored = score(
            lambda rows, index=index: pack.embed(index, rows),
            splits[cell.seed],
            wells,
            cell=cell,
            names=names,
            options=config.panel,
        )
        rows = {row["metric"]: row for row in scored.rows}
        at = SEEDS.index(cell.seed), STRENGTHS.index(cell.adversarial_weight or 0.0)
        probe[at] = rows[PROBE]["raw"]
        biology[at] = np.mean([rows[name]["value"] for name in BIOLOGY])
    return {"probe": probe, "biology": biology}


def test_the_batch_goes_biology_follows_and_a_balanced_design_loses_less(tmp_path: Path) -> None:
    confounded, balanced = curves(0.95, tmp_path), curves(0.0, tmp_path)
    for found in (confounded, balanced):
        probe, biology = found["probe"], found["biology"]
        assert (probe[:, 1] < probe[:, 0] - 0.04).all(), probe
        assert (biology[:, 2] < biology[:, 0] - 0.05).all(), biology
    assert confounded["probe"][:, 1].mean() < 1 / 6 + 0.05, "the batch is not gone at λ = 3"
    loss = {
        name: 1.0 - found["biology"][:, 1].mean() / found["biology"][:, 0].mean()
        for name, found in (("confounded", confounded), ("balanced", balanced))
    }
    assert loss["confounded"] > loss["balanced"] + 0.05, loss
