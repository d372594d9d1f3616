"""Images from files to report with real Ray and MLflow; kill -9 in the middle of a training."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sweeper.config.sweep_config import load_config
from sweeper.findings.stored import planned_cells
from sweeper.planning.cells import PackPlan
from sweeper.planning.description import sweep_description
from sweeper.planning.prepared import prepare
from sweeper.running.worker import PackRun, pack_content
from sweeper.store.store import Store
from tests.integration.test_sweep import mirrored_cells, stamps

pytestmark = pytest.mark.integration

SIMULATION = ("batches=3", "cell_types=1", "plates_per_batch=2", "sites=1", "size=32", "radius=3", "cells=3")
CONFIG = """\
name: images
images: {layout: rxrx1, path: files, packed: packed}
views: [{view: held_out_plates, fraction: 0.5}]
strengths: {adversarial_weight: [3], margin: [0.2]}
seeds: 2
sham: {enabled: false}
trainer: abra_images
abra_images: {backbone: test_resnet, embedding_dim: 8, groups: 3, items: 8, epochs: 6, precision: fp32, points: [stem]}
metrics: [batch_probe_linear, batch_mixing_bras, activity_map, retrieval_map, perturbation_accuracy, label_nmi]
"""
TRAINED, CONTROLS = 2 * 2, 8 * 2


def trained_cells(store: Store) -> list[str]:
    return [cell.cell_id for cell in planned_cells(store) if not cell.is_control and cell.cell_id in store.finished()]


def test_files_to_report_with_a_kill_in_mid_training(sweeper: Any, tmp_path: Path) -> None:
    words = [word for key in SIMULATION for word in ("--set", key)]
    for verb in (("simulate", "files", "--images", "rxrx1", *words), ("pack", "images.yaml")):
        (tmp_path / "images.yaml").write_text(CONFIG)
        made = sweeper(*verb)
        assert made.returncode == 0, made.stderr
    folder = tmp_path / "runs/images"
    store = Store(folder)
    driver = subprocess.Popen(
        sweeper.command("run", "images.yaml"),
        cwd=tmp_path,
        env=sweeper.environment,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 300
        while not ((folder / "screen").exists() and trained_cells(store)):
            assert driver.poll() is None, "the sweep ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
    time.sleep(2)  # workers of a dead driver may still be writing
    survived, trained = stamps(folder), trained_cells(store)
    assert 0 < len(trained) < TRAINED, "killed too late to tell anything"

    resumed = sweeper("run", "images.yaml")
    assert resumed.returncode == 0, resumed.stderr
    assert survived.items() <= stamps(folder).items(), "a finished cell was trained again"
    results = pd.read_parquet(folder / "results.parquet")
    assert results["cell_id"].nunique() == len(stamps(folder)) == TRAINED + CONTROLS
    assert set(results["status"]) == {"ok"}
    assert {store.record(cell)["status"] for cell in stamps(folder)} == {"ok"}
    mirrored = mirrored_cells(folder)
    assert len(mirrored) == len(set(mirrored)) == TRAINED + CONTROLS
    assert json.loads((folder / "decision.json").read_text())["rule"]["state"] == "INSUFFICIENT_DATA"
    assert "Plotly" in (folder / "report.html").read_text()
    assert not list(folder.glob("checkpoints/*.pt"))
    told = sweeper("status", folder)
    assert f"{TRAINED + CONTROLS} of {TRAINED + CONTROLS} done" in told.stdout
    assert f"{TRAINED + CONTROLS} ok" in told.stdout

    # what was interrupted is what an uninterrupted training gives
    whole = prepare(load_config(tmp_path / "images.yaml", [f"folder={tmp_path / 'whole'}"]))
    whole.store.create(sweep_id=whole.sweep_id, description=sweep_description(whole, []), screen=whole.screen)
    cells = tuple(cell for cell in whole.known_cells() if not cell.is_control and cell.cell_id not in trained)
    content = pack_content(PackPlan(pack_id="whole", cells=cells), whole.config, replace=frozenset())
    run = PackRun(whole.store.write_pack("whole", content))
    while run.advance():
        pass
    list(run.finish())
    for cell in cells:
        for found, expected in zip(store.embeddings(cell.cell_id), whole.store.embeddings(cell.cell_id), strict=True):
            np.testing.assert_array_equal(found, expected)
        assert store.curve(cell.cell_id) == whole.store.curve(cell.cell_id)
