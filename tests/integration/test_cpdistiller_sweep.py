"""cpDistiller from a configuration to a report on new batches, with real Ray; what stops it in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

pytestmark = pytest.mark.integration

CONFIG = """\
name: distilled
simulate:
  {batches: 4, plates_per_batch: 3, wells_per_plate: 96, features: 24, perturbations: 10, targets: 5,
   controls_per_plate: 6, latent: 4, seed: 5, row_gradient: 0.8, column_gradient: 0.8}
views: [{view: held_out_batches, folds: 2}]
trainer: cpdistiller
cpdistiller:
  {hidden_width: 16, embedding_dim: 6, categories: 4, discriminator_width: 16, epochs: 4, mini_batch: 64}
strengths: {adversarial_weight: [0.3, 1, 3, 10, 30, 100]}
seeds: 3
sham: {enabled: false}
metrics: [batch_probe_linear, row_column_ridge, retrieval_map, perturbation_accuracy]
decision: {draws: 1000}
"""


def test_a_sweep_of_cpdistiller_ends_in_a_report(sweeper: Any, tmp_path: Path) -> None:
    path, folder = tmp_path / "distilled.yaml", tmp_path / "runs/distilled"
    path.write_text(CONFIG)
    ran = sweeper("run", path)
    assert ran.returncode == 0, ran.stderr
    results = pd.read_parquet(folder / "results.parquet")
    own = results[results["trainer"] == "cpdistiller"]
    assert set(own["status"]) == {"ok"}
    assert sorted(own["adversarial_weight"].unique()) == [0.0, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0]
    assert set(own["margin"]) == {1.0}, "the published triplet weight"
    assert set(own["metric"]) == {"batch_probe_linear", "row_column_ridge", "retrieval_map", "perturbation_accuracy"}
    decision = json.loads((folder / "decision.json").read_text())
    assert decision["provenance"]["trainer"] == "cpdistiller"
    report = (folder / "report.html").read_text().replace("\\u03bb", "λ")
    assert "adversary weight λ (log scale)" in report

    again = sweeper("run", path)
    assert again.returncode == 0, again.stderr
    assert ", 0 to do" in again.stderr


def test_a_screen_without_positions_stops_in_one_line(sweeper: Any, tmp_path: Path) -> None:
    table, path = tmp_path / "slides.csv", tmp_path / "slides.yaml"
    rows = [
        {
            "Metadata_Batch": f"B{batch}",
            "Metadata_Plate": f"B{batch}P{plate}",
            "Metadata_Well": f"slide-{well}",
            "Metadata_Perturbation": f"t{well % 4}",
            **{f"F{number}": (batch + 1) * (well + number) % 7 for number in range(6)},
        }
        for batch in range(3)
        for plate in range(2)
        for well in range(12)
    ]
    pd.DataFrame(rows).to_csv(table, index=False)
    columns = "{batch: Metadata_Batch, plate: Metadata_Plate, well: Metadata_Well, perturbation: Metadata_Perturbation}"
    path.write_text(
        f"name: slides\nscreen: {{path: slides.csv, columns: {columns}}}\n"
        "views: [{view: held_out_plates}]\ntrainer: cpdistiller\n"
    )
    refused = sweeper("run", path)
    assert refused.returncode == 2
    assert "no well has a plate row" in refused.stderr
    assert "cpdistiller.effects: [batch]" in refused.stderr
    assert not (tmp_path / "runs/slides").exists()
    planned = sweeper("plan", path, "--set", "cpdistiller.effects=[batch]", "--no-estimate")
    assert planned.returncode == 0, planned.stderr
