"""Faults of a user's machine, with real Ray: a sweep ends in one line or goes on, and nothing finished is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.integration.test_library import start, until
from tests.integration.test_sweep import stamps
from tests.public_examples import CONFIG

pytestmark = pytest.mark.integration

CELLS = 33
LONG = ("--set", "abra.steps=2000", "--set", "executor.pack_size=2", "--set", "tracking.enabled=false")


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(CONFIG)
    return path


@pytest.fixture
def temp(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temp folder of this test alone, with a path that is short enough for Ray."""
    with tempfile.TemporaryDirectory(prefix="t-", dir="/tmp") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        yield Path(folder)


def left(temp: Path) -> list[str]:
    return sorted(path.name for path in [*temp.glob("sweep-*"), *temp.glob("ray/session_*")])


def family(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def test_the_raylet_is_killed(tiny: Path, sweeper: Any, temp: Path) -> None:
    folder = sweeper.folder / "runs/tiny"
    driver = start(sweeper, "run", tiny, *LONG)
    until(lambda: stamps(folder), driver)
    survived = stamps(folder)
    (raylet,) = [process for process in family(driver) if process.name() == "raylet"]
    assert {worker.nice() for worker in raylet.children()} == {raylet.nice()}, (
        "workers starve beside whatever else runs"
    )
    raylet.kill()
    _, told = driver.communicate(timeout=240)
    assert driver.returncode == 0, told
    (line,) = [line for line in told.splitlines() if "lost" in line]
    assert line == "warning: Ray was lost: its raylet has died; started again (1 of 3), finished cells are kept"
    assert survived.items() <= stamps(folder).items(), "a finished cell was trained again"
    assert len(stamps(folder)) == CELLS
    assert left(temp) == []


def test_interrupted_twice(tiny: Path, sweeper: Any, temp: Path) -> None:
    driver = start(sweeper, "run", tiny, *LONG)
    until(lambda: stamps(sweeper.folder / "runs/tiny"), driver)
    started = family(driver)
    driver.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    driver.send_signal(signal.SIGINT)
    began = time.monotonic()
    _, told = driver.communicate(timeout=60)
    assert driver.returncode == 130
    assert time.monotonic() - began < 5
    assert told.splitlines()[-1] == "sweeper: interrupted; finished cells are kept, the same command continues"
    assert "Traceback" not in told
    gone(started)
    assert left(temp) == []


def gone(processes: list[psutil.Process]) -> None:
    """Wait until they have ended; one that nobody waits for may stay as a zombie."""
    deadline = time.monotonic() + 15
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            while process.status() != psutil.STATUS_ZOMBIE:
                assert time.monotonic() < deadline, process
                time.sleep(0.05)


def test_killed_outright_it_takes_ray_along(tiny: Path, sweeper: Any, temp: Path) -> None:
    driver = start(sweeper, "run", tiny, *LONG)
    until(lambda: stamps(sweeper.folder / "runs/tiny"), driver)
    (scratch,) = temp.glob("sweep-*")
    assert scratch.stat().st_mode & 0o077 == 0, "others can read Ray's sessions"
    started = family(driver)
    driver.kill()
    driver.communicate()
    gone(started)
    assert left(temp) == []


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A disk that a sweep of the tiny screen fills."""
    folder = Path(tempfile.mkdtemp(prefix="disk-"))
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        folder.rmdir()
        pytest.skip("a small disk cannot be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)
        folder.rmdir()


def test_the_disk_is_full(tiny: Path, sweeper: Any, small_disk: Path) -> None:
    folder = small_disk / "tiny"
    arguments = ("run", tiny, "--set", f"folder={folder}", "--set", "tracking.enabled=false")
    filled = sweeper(*arguments)
    assert filled.returncode == 1
    assert filled.stderr.splitlines()[-1] == (
        f"sweeper: {folder}: No space left on device; finished cells are kept: make room, then the same command "
        "continues"
    )
    assert "Traceback" not in filled.stderr
    survived = stamps(folder)
    assert 0 < len(survived) < CELLS
    subprocess.run(["mount", "-o", "remount,size=50m", str(small_disk)], check=True)
    again = sweeper(*arguments)
    assert again.returncode == 0, again.stderr
    assert survived.items() <= stamps(folder).items()
    assert len(stamps(folder)) == CELLS


def test_addresses_that_lead_nowhere(tiny: Path, sweeper: Any) -> None:
    dead = sweeper.folder / "tmp/ray/ray_current_cluster"
    dead.parent.mkdir(parents=True)
    dead.write_text("127.0.0.1:1")
    for surroundings, words in (
        ({"RAY_ADDRESS": "garbage"}, "expected host:port of a Ray head"),
        ({"RAY_ADDRESS": "auto", "TMPDIR": str(sweeper.folder / "tmp")}, "nothing answers at 127.0.0.1:1"),
    ):
        done = subprocess.run(
            sweeper.command("run", tiny),
            cwd=sweeper.folder,
            env={**os.environ, **surroundings},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 2, done.stderr
        assert words in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert not (sweeper.folder / "runs").exists()
