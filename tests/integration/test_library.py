"""The library with real Ray and MLflow: its examples, and two that want one sweep."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_sweep import mirrored_cells, stamps
from tests.public_examples import CONFIG, OF_A_STORE, run_examples

pytestmark = pytest.mark.integration

CELLS = 33


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(CONFIG)
    return path


def parent_statuses(folder: Path) -> list[str]:
    """Status of every parent run in the sweep's own MLflow store."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = client.search_runs(experiments, filter_string="tags.`sweeper.kind` = 'sweep'")
    return [run.info.status for run in runs]


def start(sweeper: Any, *arguments: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        sweeper.command(*arguments),
        cwd=sweeper.folder,
        env=sweeper.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored where the tests are in background
    )


def until(condition: Callable[[], Any], process: subprocess.Popen[str], seconds: float = 240) -> None:
    """Wait for something that the process is to do; one that does not is ended."""
    deadline = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            pytest.fail(f"it has not come to that: {process.communicate()}")
        time.sleep(0.05)


def test_the_examples_of_a_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_ADDRESS", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    run_examples(OF_A_STORE, tmp_path, monkeypatch)


def test_two_drivers_of_one_sweep(tiny: Path, sweeper: Any) -> None:
    """On a fresh folder one runs and the other is told by whom; of a finished, unmirrored sweep no run is doubled."""
    folder = sweeper.folder / "runs/tiny"
    unmirrored = ("run", tiny, "--set", "tracking.enabled=false")
    ended = [(process, *process.communicate(timeout=240)) for process in [start(sweeper, *unmirrored) for _ in "ab"]]
    (won, _, _), (lost, _, told) = sorted(ended, key=lambda item: item[0].returncode)
    assert (won.returncode, lost.returncode) == (0, 2), ended
    (line,) = [line for line in told.splitlines() if not line.startswith("warning:")]
    assert f"another process runs this sweep: {won.pid} on " in line
    assert len(stamps(folder)) == CELLS
    assert not (folder / "mlflow.db").exists()

    both = [start(sweeper, "run", tiny) for _ in "ab"]
    codes = sorted((process.communicate(timeout=240), process.returncode)[1] for process in both)
    assert codes in ([0, 2], [0, 0])  # the second may have come after the first
    mirrored = mirrored_cells(folder)
    assert len(mirrored) == len(set(mirrored)) == CELLS
    assert parent_statuses(folder) == ["FINISHED"]


def test_a_refused_driver_touches_nothing_and_a_killed_owner_is_followed(tiny: Path, sweeper: Any) -> None:
    folder = sweeper.folder / "runs/tiny"
    arguments = ("run", tiny, "--set", "abra.steps=4000", "--set", "executor.pack_size=1")
    first = start(sweeper, *arguments)
    until(lambda: stamps(folder), first)
    description = (folder / "sweep.json").read_bytes(), (folder / "sweep.json").stat().st_mtime_ns
    refused = sweeper(*arguments)
    assert refused.returncode == 2
    assert f"another process runs this sweep: {first.pid} on " in refused.stderr
    *warned, _ = refused.stderr.splitlines()
    assert all(line.startswith("warning: view ") for line in warned)
    assert ((folder / "sweep.json").read_bytes(), (folder / "sweep.json").stat().st_mtime_ns) == description
    assert parent_statuses(folder) == ["RUNNING"]
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    survived = stamps(folder)
    followed = sweeper(*arguments, "--set", "executor.pack_size=96")
    assert followed.returncode == 0, followed.stderr
    assert survived.items() <= stamps(folder).items()
    assert len(stamps(folder)) == CELLS
    mirrored = mirrored_cells(folder)
    assert len(mirrored) == len(set(mirrored)) == CELLS
    assert parent_statuses(folder) == ["FINISHED"]
