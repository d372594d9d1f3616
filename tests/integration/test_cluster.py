"""A running Ray cluster in RAY_ADDRESS is used as it is; what is wrong with an address is said in one line."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.integration.test_library import until
from tests.integration.test_sweep import stamps

pytestmark = pytest.mark.integration


def free_port() -> int:
    """A port outside the range that Ray gives to its workers (10002 to 19999)."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if not 10002 <= port <= 19999:
            return port


@contextmanager
def running_head(*dashboard: str) -> Iterator[tuple[str, dict[str, str], Path]]:
    """A Ray head with token authentication: its address, the environment of its clients, its temp dir."""
    folder = Path("/tmp") / f"r{os.getpid()}"  # noqa: S108 - Ray's sockets need a short path
    port = free_port()
    environment = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    environment.pop("RAY_ADDRESS", None)
    environment["RAY_worker_niceness"] = "0"  # by 15 they would starve beside other tests
    start = [
        "--head",
        "--block",
        f"--port={port}",
        "--num-cpus=2",
        *(dashboard or ["--include-dashboard=false"]),
        "--disable-usage-stats",
    ]
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", *start, f"--temp-dir={folder}"]
    memory = "--object-store-memory=100000000"
    process = subprocess.Popen(
        [*command, memory],
        env=environment,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while True:
            assert process.poll() is None, "the head ended at once"
            assert time.monotonic() < deadline, "the head did not come up"
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.2)
        time.sleep(2)  # the port answers before the node is registered
        yield f"127.0.0.1:{port}", environment, folder
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def head() -> Iterator[tuple[str, dict[str, str], Path]]:
    """A head without a dashboard."""
    with running_head() as found:
        yield found


def test_a_running_cluster_is_used_as_it_is(
    head: tuple[str, dict[str, str], Path], config_file: Path, sweeper: Any, tmp_path: Path
) -> None:
    address, environment, folder = head
    small = ("--set", "seeds=3", "--set", "views=[{view: held_out_plates}]", "--set", "tracking.enabled=false")
    done = subprocess.run(
        sweeper.command("run", config_file, *small),
        cwd=tmp_path,
        env={**environment, "RAY_ADDRESS": address},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs/small/report.html").exists()
    assert list(folder.glob("session_*/logs/worker-*")), "no worker of the running cluster did anything"


def test_the_cluster_goes_away(
    head: tuple[str, dict[str, str], Path], config_file: Path, sweeper: Any, tmp_path: Path
) -> None:
    address, environment, folder = head
    arguments = ("run", config_file, "--set", "abra.steps=1000", "--set", "executor.pack_size=2")
    driver = subprocess.Popen(
        sweeper.command(*arguments, "--set", "tracking.enabled=false"),
        cwd=tmp_path,
        env={**environment, "RAY_ADDRESS": address},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        until(lambda: stamps(tmp_path / "runs/small"), driver)
        (head_process,) = (
            process
            for process in psutil.process_iter(["name", "cmdline"])
            if process.info["name"] == "gcs_server" and str(folder) in " ".join(process.info["cmdline"])
        )
        began = time.monotonic()
        head_process.kill()
        _, told = driver.communicate(timeout=90)
    finally:
        driver.kill()
    assert driver.returncode == 1, told
    assert time.monotonic() - began < 60
    last = told.splitlines()[-1]
    assert last.startswith(f"sweeper: Ray was lost and is not to be had again: RAY_ADDRESS={address}: nothing answers")
    assert last.endswith("finished cells are kept, the same command continues")
    assert "Traceback" not in told


def test_an_address_where_nothing_answers(config_file: Path, sweeper: Any, tmp_path: Path) -> None:
    for address, words in ((f"127.0.0.1:{free_port()}", "nothing answers"), ("ray://127.0.0.1:10001", "Ray Client")):
        done = subprocess.run(
            sweeper.command("run", config_file, "--set", "tracking.enabled=false"),
            cwd=tmp_path,
            env={**sweeper.environment, "RAY_ADDRESS": address},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 2
        assert words in done.stderr.strip().splitlines()[-1]
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr
        assert not (tmp_path / "runs").exists()
