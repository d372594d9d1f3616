"""Estimates from figures that were measured once, and the light doors that they make."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from sweeper.config.sweep_config import SweepConfig, build_config
from sweeper.planning import typical
from sweeper.planning.typical import seconds_of_work, typical_score, typical_training

DATA: dict[str, Any] = {
    "name": "small",
    "simulate": {
        "batches": 3,
        "plates_per_batch": 2,
        "wells_per_plate": 96,
        "features": 24,
        "perturbations": 20,
        "latent": 6,
    },
    "views": [{"view": "held_out_plates", "fraction": 0.5}],
    "strengths": {"adversarial_weight": [1, 10]},
    "seeds": 2,
}
KNOWN = json.loads(typical.FIGURES.read_text(encoding="utf-8"))


@pytest.fixture
def as_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(typical, "_slowness", lambda: 1.0)


def config(**changes: Any) -> SweepConfig:
    return build_config({**DATA, **changes}, "test")


@pytest.mark.usefixtures("as_measured")
def test_what_was_measured_is_given_back_and_what_lies_between_is_between() -> None:
    known = KNOWN["training"]
    seconds = np.array(known["seconds"])
    for row, features in enumerate(known["features"]):
        for column, cells in enumerate(known["cells"]):
            found = typical_training(config(), features=features, cells=cells)
            assert found == pytest.approx(seconds[row, column])
    between = typical_training(config(), features=known["features"][0] + 1, cells=known["cells"][-1])
    assert seconds[:2, -1].min() < between < seconds[:2, -1].max()
    wide = typical_training(config(), features=4 * known["features"][-1], cells=known["cells"][0])
    assert wide == pytest.approx(4 * seconds[-1, 0])


@pytest.mark.usefixtures("as_measured")
def test_steps_scale_and_other_settings_are_timed_instead() -> None:
    whole, half = (
        typical_training(config(abra={"steps": steps}), features=100, cells=8)
        for steps in (KNOWN["training"]["steps"], KNOWN["training"]["steps"] // 2)
    )
    assert half == pytest.approx(whole / 2)
    assert typical_training(config(abra={"hidden_widths": [8]}), features=100, cells=8) is None
    assert typical_training(config(trainer="center", strengths={}), features=100, cells=8) is None
    assert typical_score(config(), rows=1000, width=64) > typical_score(config(), rows=500, width=64)
    assert typical_score(config(metrics=["retrieval_map"]), rows=1000, width=64) is None


def test_a_machine_is_as_fast_as_its_work_is_short() -> None:
    ticks = iter(range(100))
    assert seconds_of_work(lambda: float(next(ticks))) == 1.0
    assert seconds_of_work() > 0


@pytest.mark.parametrize("verb", ["validate", "plan"])
def test_what_is_looked_at_before_training_imports_nothing_that_trains(verb: str, tmp_path: Path) -> None:
    """Importing them takes longer than all else that is done then: 3 s of 5."""
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump({**DATA, "folder": str(tmp_path / "out")}))
    code = (
        "import sys; from sweeper.cli import main; code = main(sys.argv[1:])\n"
        "heavy = {'torch', 'sklearn', 'scipy', 'ray', 'mlflow', 'optuna', 'plotly', 'anndata'} & set(sys.modules)\n"
        "sys.exit(f'{code} {sorted(heavy)}')"
    )
    command = [sys.executable, "-c", code, verb, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr.strip().splitlines()[-1] == "0 []", done.stderr
