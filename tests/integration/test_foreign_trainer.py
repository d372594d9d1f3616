"""A trainer from another package: registered by an entry point, swept to a report, in the words of its own dial."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytestmark = pytest.mark.integration

MODULE = '''
"""Shrinks every batch's mean by a share."""
import numpy as np
from pydantic import BaseModel, ConfigDict
from trainers.corrector import Corrector, batches_of
from trainers.trainer import Dial

class Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

class Shrink(Corrector):
    name, summary, settings = "shrink", "every batch's mean, shrunk", Settings
    dials = (Dial(name="shrinkage", symbol="α", high=1.0, scale="linear", grid=(0.1, 0.2, 0.35, 0.5, 0.7, 0.85, 1)),)

    def correct(self, inputs, cell, settings):
        found, batches = inputs.features.copy(), batches_of(inputs, cell)
        own = np.concatenate([cell.train, cell.validation, cell.test])
        for batch in np.unique(batches[own]):
            rows = own[batches[own] == batch]
            found[rows] -= cell.dials[0] * found[rows].mean(axis=0)
        return found
'''
CONFIG = """\
name: shrunk
simulate:
  {batches: 4, plates_per_batch: 3, wells_per_plate: 96, features: 24, perturbations: 10, targets: 5,
   controls_per_plate: 6, latent: 4, seed: 5}
views: [{view: held_out_plates}]
trainer: shrink
seeds: 3
sham: {strengths: 1}
metrics: [batch_probe_linear, batch_mixing_bras, retrieval_map, perturbation_accuracy]
decision: {draws: 1000}
"""


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder that holds an installed package with a trainer."""
    folder = tmp_path / "site"
    information = folder / "shrink-0.1.dist-info"
    information.mkdir(parents=True)
    (folder / "shrink.py").write_text(MODULE)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: shrink\nVersion: 0.1\n")
    (information / "entry_points.txt").write_text("[sweeper.trainers]\nshrink = shrink:Shrink\n")
    (tmp_path / "shrunk.yaml").write_text(CONFIG)
    return folder


def call(outside: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key not in {"RAY_ADDRESS", "MLFLOW_TRACKING_URI"}}
    given = [environment["PYTHONPATH"]] if environment.get("PYTHONPATH") else []
    return subprocess.run(
        [sys.executable, "-m", "sweeper", *arguments],
        cwd=outside.parent,
        env={**environment, "PYTHONPATH": os.pathsep.join([str(outside), *given])},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def test_a_trainer_of_another_package_is_swept_to_a_report(outside: Path) -> None:
    planned = call(outside, "plan", "shrunk.yaml")
    assert planned.returncode == 0, planned.stderr
    assert "α = 0, 0.1, 0.2, 0.35, 0.5, 0.7, 0.85, 1" in planned.stdout
    ran = call(outside, "run", "shrunk.yaml")
    assert ran.returncode == 0, ran.stderr
    folder = outside.parent / "runs/shrunk"
    results = pd.read_parquet(folder / "results.parquet")
    own = results[results["trainer"] == "shrink"]
    assert set(own["status"]) == {"ok"}
    assert sorted(own["adversarial_weight"].unique()) == [0.0, 0.1, 0.2, 0.35, 0.5, 0.7, 0.85, 1.0]
    assert set(own["margin"]) == {0.0}
    probe = own[own["metric"] == "batch_probe_linear"].groupby("adversarial_weight")["raw"].mean()
    assert probe[0.0] > probe[1.0], "a batch without its mean is harder to read"
    untouched = results[(results["trainer"] == "control:raw") & (results["metric"] == "batch_probe_linear")]
    np.testing.assert_allclose(probe[0.0], untouched["raw"].mean(), atol=1e-3)

    decision = json.loads((folder / "decision.json").read_text())
    assert decision["provenance"]["trainer"] == "shrink"
    assert decision["provenance"]["versions"]["shrink"] == "0.1"
    report = (folder / "report.html").read_text()
    report = report.replace("\\u03b1", "α").replace("\\u03bb", "λ")  # as figures have them
    assert "shrinkage α" in report
    assert "log scale" not in report
    for words in (ran.stdout, ran.stderr, report):
        assert "λ" not in words
        assert "adversarial weight" not in words

    again = call(outside, "run", "shrunk.yaml")
    assert again.returncode == 0, again.stderr
    assert ", 0 to do" in again.stderr


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("strengths.adversarial_weight=[0.5,1.5]", "strengths.adversarial_weight: expected shrinkage α of"),
        ("strengths.margin=[0.3]", "strengths.margin: shrink has one dial, shrinkage α; give margin: [0]"),
        ("views=[{view: held_out_batches}]", "views: shrink corrects the screen that it is fitted on"),
        ("shrink.alpha=1", "unknown key 'shrink.alpha'"),
        ("trainer=shrinc", "did you mean 'shrink'?"),
    ],
)
def test_what_it_cannot_do_is_one_line(outside: Path, change: str, words: str) -> None:
    refused = call(outside, "validate", "shrunk.yaml", "--set", change)
    assert refused.returncode == 2
    assert words in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1


def test_a_trainer_cannot_take_the_name_of_a_key(outside: Path) -> None:
    (outside / "shrink.py").write_text(MODULE.replace('"shrink", "every', '"seeds", "every'))
    (outside / "shrink-0.1.dist-info/entry_points.txt").write_text("[sweeper.trainers]\nseeds = shrink:Shrink\n")
    refused = call(outside, "validate", "shrunk.yaml", "--set", "trainer=seeds")
    assert refused.returncode == 2
    assert "seeds is a word of the configuration itself" in refused.stderr


def test_a_trainer_that_fails_to_load_is_told_of_when_it_is_asked_for(outside: Path) -> None:
    (outside / "shrink.py").write_text("import a_package_that_is_not_there\n")
    refused = call(outside, "validate", "shrunk.yaml")
    assert refused.returncode == 2
    assert "shrink is registered as shrink:Shrink, which fails to load" in refused.stderr
    other = call(outside, "validate", "shrunk.yaml", "--set", "trainer=abra")
    assert other.returncode == 0, other.stderr
