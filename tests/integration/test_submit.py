"""`sweeper submit` to a real head with its dashboard, under token authentication."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from sweeper.config.sweep_config import load_config
from sweeper.running.jobs import job_environment, resolved_yaml
from tests.integration.test_cluster import free_port, running_head
from tests.integration.test_library import until
from tests.integration.test_sweep import stamps
from tests.public_examples import CONFIG

pytestmark = pytest.mark.integration

PATIENCE = 400
"""Seconds for what takes half a minute on two cores that are free."""
QUICK = ("--set", "tracking.enabled=false")


@pytest.fixture(scope="module")
def cluster() -> Iterator[tuple[str, dict[str, str]]]:
    """Its dashboard's address, and the environment of its clients."""
    port = free_port()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # where the job finds `sweeper`
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PATH", path)
        own = [f"--dashboard-port={port}", f"--dashboard-agent-listen-port={free_port()}"]  # another Ray may be up
        with running_head("--include-dashboard=true", *own) as (_, environment, _):
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                with suppress(OSError):
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/api/gcs_healthz", timeout=2).close()
                    break
                time.sleep(0.3)
            yield f"http://127.0.0.1:{port}", environment


def submit(sweeper: Any, cluster: tuple[str, dict[str, str]], *arguments: str) -> subprocess.Popen[str]:
    address, environment = cluster
    (sweeper.folder / "tiny.yaml").write_text(CONFIG)
    return subprocess.Popen(
        sweeper.command("submit", "tiny.yaml", "--address", address, *QUICK, *arguments),
        cwd=sweeper.folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def test_a_sweep_as_a_job_is_followed_and_interrupting_leaves_it_running(
    cluster: tuple[str, dict[str, str]], sweeper: Any
) -> None:
    folder = sweeper.folder / "runs/tiny"
    first = submit(sweeper, cluster)
    until(lambda: stamps(folder), first, seconds=PATIENCE)
    first.send_signal(signal.SIGINT)
    out, told = first.communicate(timeout=60)
    assert first.returncode == 130, told
    assert "Traceback" not in told
    (job,) = re.findall(r"^job: +(sweeper-tiny-[0-9a-f]{8})$", out, re.M)
    assert told.splitlines()[-1] == f"sweeper: no longer followed; job {job} goes on"
    assert f"stop:     ray job stop --address {cluster[0]} {job}" in out
    assert "cells: " in out, "the log was not followed"
    deadline = time.monotonic() + PATIENCE
    while not (folder / "report.html").exists():
        assert time.monotonic() < deadline, "the job did not go on"
        time.sleep(0.5)

    plan = subprocess.run(
        sweeper.command("plan", "tiny.yaml", *QUICK, "--no-estimate"),
        cwd=sweeper.folder,
        env=sweeper.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "33 done, 0 missing" in plan.stdout, plan.stdout + plan.stderr

    again = submit(sweeper, cluster)  # nothing is missing: it decides and reports once more
    out, told = again.communicate(timeout=PATIENCE)
    assert again.returncode == 0, out + told
    assert f"results:  {folder}" in out
    assert "report:" in out


def test_the_exit_code_is_the_jobs(cluster: tuple[str, dict[str, str]], sweeper: Any) -> None:
    (sweeper.folder / "runs/tiny").mkdir(parents=True)
    (sweeper.folder / "runs/tiny/mine.txt").touch()
    refused = submit(sweeper, cluster)
    out, told = refused.communicate(timeout=PATIENCE)
    assert refused.returncode == 2, out + told
    assert "is not empty and not a sweep's folder" in out
    left = submit(sweeper, cluster, "--no-wait")
    out, told = left.communicate(timeout=PATIENCE)
    assert left.returncode == 0, told
    assert len(out.splitlines()) == 4


def test_what_cannot_be_submitted_is_said_in_one_line(cluster: tuple[str, dict[str, str]], sweeper: Any) -> None:
    address, environment = cluster
    (sweeper.folder / "tiny.yaml").write_text(CONFIG)
    for where, surroundings, words in (
        (f"http://127.0.0.1:{free_port()}", environment, "Failed to connect to Ray"),
        ("10.0.0.5:8265", environment, "expected http://host:8265"),
        (address, {**environment, "RAY_AUTH_TOKEN": "ab" * 32}, "RAY_AUTH_TOKEN_PATH (or RAY_AUTH_TOKEN)"),
    ):
        done = subprocess.run(
            sweeper.command("submit", "tiny.yaml", "--address", where),
            cwd=sweeper.folder,
            env=surroundings,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 2, done.stderr
        assert words in done.stderr
        assert len(done.stderr.splitlines()) == 1, done.stderr


def test_what_travels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The resolved configuration is the same sweep; no password goes along."""
    (tmp_path / "tiny.yaml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    config = load_config("tiny.yaml", ["abra.learning_rate=1e-5"])
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/sweep.yaml").write_text(resolved_yaml(config))
    monkeypatch.chdir(tmp_path / "elsewhere")
    travelled = load_config("sweep.yaml")
    assert travelled.output == tmp_path / "runs/tiny"
    assert travelled.model_copy(update={"folder": None}) == config
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    assert job_environment() == {"MLFLOW_TRACKING_URI": "http://mlflow:5000"}
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:word@mlflow:5000")
    assert job_environment() == {}
