"""A sweep that is real in every room and small enough for a test."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

CONFIG = """\
name: small
simulate:
  {batches: 4, plates_per_batch: 3, wells_per_plate: 96, features: 40, perturbations: 12, targets: 4,
   controls_per_plate: 8, latent: 4, seed: 5}
views:
  - {view: held_out_plates}
  - {view: held_out_batches, folds: 2}
held_out_perturbations: 0.25
strengths:
  adversarial_weight: [1, 3, 10, 30, 100, 300]
  margin: [0.2]
seeds: 3
sham: {enabled: false}
abra: {steps: 40, hidden_widths: [32], embedding_dim: 16, groups: 4}
metrics: [batch_probe_linear, batch_mixing_bras, activity_map, retrieval_map, perturbation_accuracy, label_nmi]
decision: {deciding_view: held_out_plates, draws: 2000}
"""


CHROMIUM = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A real one, without a window."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium on this machine (apt-get install chromium)")
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=path, args=CHROMIUM)
        yield started
        started.close()


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    """The small sweep's configuration; runs go to tmp_path/runs."""
    path = tmp_path / "small.yaml"
    path.write_text(CONFIG)
    return path


@dataclass(frozen=True)
class CommandLine:
    """This installation's command line, as a user would call it in a folder."""

    folder: Path

    def command(self, *arguments: str | Path) -> list[str]:
        """The words of the command."""
        return [sys.executable, "-m", "sweeper", *(str(argument) for argument in arguments)]

    @property
    def environment(self) -> dict[str, str]:
        """The environment without what would redirect a sweep."""
        return {key: value for key, value in os.environ.items() if key not in {"RAY_ADDRESS", "MLFLOW_TRACKING_URI"}}

    def __call__(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run to the end."""
        return subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )


@pytest.fixture
def sweeper(tmp_path: Path) -> CommandLine:
    """The command line, run in tmp_path."""
    return CommandLine(tmp_path)
