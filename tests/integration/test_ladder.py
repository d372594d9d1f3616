"""A ladder added to a finished sweep, with real Ray and MLflow: its rungs alone are trained, the decision stays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

pytestmark = pytest.mark.integration

SWEEP = """\
name: rungs
simulate:
  {batches: 5, plates_per_batch: 2, wells_per_plate: 96, features: 24, perturbations: 8, targets: 4,
   controls_per_plate: 8, latent: 4, seed: 2}
views:
  - {view: held_out_batches, held_out: [B04, B05], validation_fraction: 0.4}
strengths: {adversarial_weight: [1, 3, 10, 30, 100, 300], margin: [0.2]}
seeds: 3
sham: {enabled: false}
abra: {steps: 30, hidden_widths: [16], embedding_dim: 8, groups: 3}
metrics: [batch_probe_linear, perturbation_accuracy]
"""
LADDER = """\
ladder:
  select_on: [B04]
  rungs:
    - {name: erm, settings: {critic: none, alignment: none}}
    - {name: +arcface, margin: 0.2}
    - {name: +dsu, settings: {statistics: random}, adversarial_weight: [0.3, 1]}
    - {name: +worst_case, settings: {statistics: worst_case}, adversarial_weight: 1}
    - {name: +batch, settings: {critic: ridge}}
    - {name: +alignment, settings: {alignment: symmetric_kl}}
"""
RUNG_CELLS = 7 * 3


def test_a_ladder_beside_a_finished_sweep(sweeper: Any, tmp_path: Path) -> None:
    path, folder = tmp_path / "rungs.yaml", tmp_path / "runs/rungs"
    path.write_text(SWEEP)
    first = sweeper("run", path)
    assert first.returncode == 0, first.stderr
    decision = json.loads((folder / "decision.json").read_text())
    cells = {found.name: found.stat().st_mtime_ns for found in (folder / "cells").iterdir()}

    path.write_text(SWEEP + LADDER)
    planned = sweeper("plan", path, "--no-estimate")
    assert f"{len(cells)} done, {RUNG_CELLS} missing ({RUNG_CELLS} to train)" in planned.stdout, planned.stderr
    assert f"ladder:    {RUNG_CELLS} of them: erm, +arcface, +dsu" in planned.stdout
    second = sweeper("run", path)
    assert second.returncode == 0, second.stderr
    now = {found.name: found.stat().st_mtime_ns for found in (folder / "cells").iterdir()}
    assert cells.items() <= now.items(), "a finished cell was run again"
    assert len(now) == len(cells) + RUNG_CELLS
    assert json.loads((folder / "decision.json").read_text()) == decision
    assert "ladder, plain accuracy per row (mean ± s.d. over seeds)" in second.stdout
    assert 'id="ladder"' in (folder / "report.html").read_text(encoding="utf-8")

    results = pd.read_parquet(folder / "results.parquet")
    rungs = results[results["trainer"].str.startswith("ladder:")]
    assert set(rungs["status"]) == {"ok"}
    assert {trainer.split("@")[0] for trainer in rungs["trainer"]} == {
        "ladder:erm", "ladder:+arcface", "ladder:+dsu", "ladder:+worst_case", "ladder:+batch", "ladder:+alignment",
    }  # fmt: skip
    report = (folder / "report.html").read_bytes()
    rebuilt = sweeper("report", folder)
    assert rebuilt.returncode == 0, rebuilt.stderr
    assert (folder / "report.html").read_bytes() == report
    status = sweeper("status", folder)
    assert f"{len(now)} of {len(now)} done" in status.stdout
