"""`sweeper doctor` against two real Ray nodes, one of which is not as it should be."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sweeper.config.sweep_config import load_config
from sweeper.planning.description import sweep_description
from sweeper.planning.prepared import prepare
from tests.integration.test_cluster import head  # noqa: F401 - a fixture
from tests.public_examples import CONFIG

pytestmark = pytest.mark.integration

Head = tuple[str, dict[str, str], Path]


@contextmanager
def second_node(head: Head, *, before: str = "", **environment: str) -> Iterator[None]:  # noqa: F811
    """A further node of the head, in a temp folder and a mount namespace of its own; `before` is run there first."""
    address, clients, _ = head
    if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:
        pytest.skip("a mount namespace of its own is not to be had here")
    folder = Path(tempfile.mkdtemp(prefix="n", dir="/tmp"))
    start = ["start", "--block", f"--address={address}", "--num-cpus=1", "--object-store-memory=100000000"]
    command = [sys.executable, "-m", "ray.scripts.scripts", *start, "--disable-usage-stats"]
    shell = f"{before}\nexec " + " ".join(command)
    told = folder / "log"
    log = told.open("w")
    process = subprocess.Popen(
        ["unshare", "-m", "sh", "-ec", shell],
        env={**clients, "TMPDIR": str(folder), **environment},
        start_new_session=True,
        stdout=log,
        stderr=log,
    )
    try:
        deadline = time.monotonic() + 60
        while "Ray runtime started" not in told.read_text():
            assert process.poll() is None, told.read_text()
            assert time.monotonic() < deadline, "the node did not come up"
            time.sleep(0.2)
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        log.close()
        shutil.rmtree(folder, ignore_errors=True)


def doctor(sweeper: Any, head: Head, *arguments: str) -> tuple[int, dict[str, Any]]:  # noqa: F811
    address, environment, _ = head
    (sweeper.folder / "tiny.yaml").write_text(CONFIG)
    done = subprocess.run(
        sweeper.command("doctor", "tiny.yaml", "--json", *arguments),
        cwd=sweeper.folder,
        env={**environment, "RAY_ADDRESS": address},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert not done.stderr, done.stderr
    return done.returncode, json.loads(done.stdout)


def of(found: dict[str, Any], name: str) -> list[tuple[str, str]]:
    return [(check["state"], check["text"]) for check in found["checks"] if check["name"] == name]


def wrong(found: dict[str, Any], name: str) -> list[str]:
    return [text for state, text in of(found, name) if state == "wrong"]


def test_two_nodes_alike(head: Head, sweeper: Any, tmp_path: Path) -> None:  # noqa: F811
    with second_node(head):
        code, found = doctor(sweeper, head)
        assert (code, found["ok"]) == (0, True), found
        assert {check["state"] for check in found["checks"]} == {"ok"}
        ((_, versions),) = of(found, "versions")
        assert versions.startswith("2 nodes of python ")
        assert of(found, "storage")[-1][1] == f"{tmp_path} is written here and read there, and back, on 2 nodes"
        assert of(found, "executor") == [("ok", "a pack asks for 1 CPU: 3 at once")]
        assert of(found, "clock") == [("ok", "clocks agree within 10 s")]
        code, found = doctor(sweeper, head, "--set", "executor={cpus_per_pack: 2, gpus_per_pack: 1}")
        assert code == 1
        ((state, text),) = of(found, "executor")
        assert state == "wrong"
        assert text.startswith("executor: a pack asks for 2 CPU, 1 GPU, and no node has that (")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny.yaml"]


def test_nodes_with_other_versions_data_and_storage(head: Head, sweeper: Any, tmp_path: Path) -> None:  # noqa: F811
    """Nothing is faked in the code: one node finds other metadata and another file, one another disk at the folder."""
    config = tmp_path / "tiny.yaml"
    config.write_text(CONFIG)
    folder = tmp_path / "runs/tiny"
    prepared = prepare(load_config(config, [f"folder={folder}"]))
    prepared.store.create(
        sweep_id=prepared.sweep_id, description=sweep_description(prepared, []), screen=prepared.screen
    )
    information = tmp_path / "other/torch-0.0.1.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 0.0.1\n")
    features = folder / "screen/features.npy"
    damaged = (
        f"cp {features} {tmp_path}/copy.npy; echo >> {tmp_path}/copy.npy; mount --bind {tmp_path}/copy.npy {features}"
    )
    with (
        second_node(head, before=damaged, PYTHONPATH=str(information.parent)),
        second_node(head, before=f"mount -t tmpfs tmpfs {tmp_path}/runs"),
    ):
        code, found = doctor(sweeper, head)
        assert code == 1
        (versions,) = wrong(found, "versions")
        assert "torch 0.0.1 (here " in versions
        (storage,) = wrong(found, "storage")
        assert f": {folder}: does not see it; choose a folder on storage that all nodes share" in storage
        data = wrong(found, "data")
        assert sum(f"{features} has another content than here" in text for text in data) == 1
        assert sum(f"{features} is not there, or cannot be read" in text for text in data) == 1
        refused = subprocess.run(
            sweeper.command("run", "tiny.yaml", "--set", "tracking.enabled=false"),
            cwd=tmp_path,
            env={**head[1], "RAY_ADDRESS": head[0]},
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
        assert refused.returncode == 2
        assert refused.stderr.splitlines()[-1] == f"sweeper: {versions}"
    assert not list(folder.glob(".sweeper-*"))
