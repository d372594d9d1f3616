"""The examples in the docstrings of the public functions, run as they stand in a folder that holds a small sweep."""

from __future__ import annotations

import doctest
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import sweeper
from trainers.screens.readers import screen_frame
from trainers.screens.simulated_screen import simulate
from trainers.screens.simulation_spec import SimulationSpec

CONFIG = """\
name: tiny
simulate:
  {batches: 3, plates_per_batch: 2, wells_per_plate: 96, features: 16, perturbations: 8, targets: 4,
   controls_per_plate: 8, latent: 4, seed: 5}
views: [{view: held_out_plates, fraction: 0.5}]
strengths: {adversarial_weight: [1, 10], margin: [0.2]}
seeds: 3
optuna: {rounds: 0}
sham: {enabled: false}
pseudo: {enabled: false}
confirm: {seeds: 0}
abra: {steps: 20, hidden_widths: [], embedding_dim: 8, groups: 4}
metrics: [batch_probe_linear, perturbation_accuracy]
"""
FAST = ("load_config", "plan", "decide_table", "score_table")
OF_A_STORE = (
    *("run", "open_store", "decide", "write_report", "keep", "embed", "apply", "compare"),
    *("run_methods", "open_methods"),
)
"""In an order in which each finds what it needs: `run` makes the store, `run_methods` a comparison."""
SPEC = SimulationSpec(
    batches=2,
    plates_per_batch=2,
    wells_per_plate=96,
    features=16,
    perturbations=8,
    targets=4,
    controls_per_plate=8,
    latent=4,
    seed=1,
)


def run_examples(names: Iterable[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the examples of public functions; each must have one."""
    (folder / "sweep.yaml").write_text(CONFIG)
    for name in ("july", "profiles"):
        screen_frame(simulate(SPEC).screen).to_parquet(folder / f"{name}.parquet")
    monkeypatch.chdir(folder)
    given = {"sweeper": sweeper, "pd": pd, "np": np, "screen": simulate(SPEC).screen}
    for name in names:
        (example,) = doctest.DocTestFinder(recurse=False).find(getattr(sweeper, name), name, globs=dict(given))
        assert example.examples, f"{name} has no example"
        told: list[str] = []
        doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(example, out=told.append)
        assert not told, "".join(told)
