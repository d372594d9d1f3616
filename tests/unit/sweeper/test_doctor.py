"""What the facts of nodes mean, and what the doctor says of one machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sweeper.cli import main
from sweeper.config.sections import ExecutorOptions
from sweeper.config.sweep_config import load_config
from sweeper.doctor import examine as examining
from sweeper.doctor.machine import _unmet, installed_checks
from sweeper.doctor.places import needed_bytes, room_check, storage_checks
from sweeper.planning.prepared import prepare
from sweeper.running.executor import RayLostError
from sweeper.running.node_checks import node_checks, packs_at_once
from tests.public_examples import CONFIG

VERSIONS = {"python": "3.11.7", "sweeper": "0.1.0", "ray": "2.60.0", "torch": "2.15.0", "numpy": "2.1"}
HERE = {"versions": VERSIONS, "data": {"/d/a": "1"}}


def node(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "host": name,
        "id": f"{name}00000000",
        "resources": {"CPU": 2.0, "memory": 8e9},
        "versions": VERSIONS,
        "storage": None,
        "data": {"/d/a": "1"},
        "temp": "/scratch",
        "temp_free": 50e9,
        "temp_used": 0.5,
        "shm": 8e9,
        "cuda": None,
        "ahead": 0.0,
        **changes,
    }


def judged(*nodes: dict[str, Any], **options: Any) -> list[tuple[str, str, str]]:
    found = {"folder": "/d", "here": HERE, "nodes": list(nodes)}
    return [(check.name, check.state, check.text) for check in node_checks(found, ExecutorOptions(**options))]


def test_nodes_that_are_alike_are_ok() -> None:
    assert {state for _, state, _ in judged(node("a"), node("b"))} == {"ok"}


@pytest.mark.parametrize(
    ("changes", "name", "state", "words"),
    [
        (
            {"versions": {**VERSIONS, "torch": "2.14.0"}},
            "versions",
            "wrong",
            "node b: torch 2.14.0 (here 2.15.0); install",
        ),
        ({"versions": {**VERSIONS, "sweeper": None}}, "versions", "wrong", "node b: sweeper missing (here 0.1.0)"),
        ({"versions": {**VERSIONS, "numpy": "2.2"}}, "versions", "note", "node b: numpy 2.2 (here 2.1)"),
        ({"storage": "does not see it"}, "storage", "wrong", "node b: /d: does not see it; choose a folder on storage"),
        ({"data": {"/d/a": "2"}}, "data", "wrong", "node b: /d/a has another content than here; put the same file"),
        ({"data": {"/d/a": None}}, "data", "wrong", "node b: /d/a is not there, or cannot be read"),
        ({"ahead": 61.0}, "clock", "wrong", "node b: 61 s ahead of this machine; switch NTP on there"),
        ({"ahead": -12.4}, "clock", "wrong", "node b: 12 s behind this machine"),
        (
            {"temp_used": 0.97},
            "temp",
            "wrong",
            "node b: /scratch has 50.0 GB left and is 97% full (Ray takes nothing above 95%)",
        ),
        ({"temp_free": 2e8}, "temp", "note", "node b: /scratch has 200 MB left"),
        ({"shm": 64e6}, "temp", "note", "node b: /dev/shm has 64 MB, Ray is slow there; in Docker: --shm-size=2gb"),
        (
            {"cuda": "torch sees no CUDA device"},
            "executor",
            "wrong",
            "node b: torch sees no CUDA device; install a torch",
        ),
    ],
)
def test_what_differs_is_named(changes: dict[str, Any], name: str, state: str, words: str) -> None:
    told = [each for each in judged(node("a"), node("b", **changes)) if each[1] != "ok"]
    ((found, how, text),) = told
    assert (found, how) == (name, state)
    assert text.startswith(words)
    assert (
        name not in {each[0] for each in judged(node("a"), node("b", **changes)) if each[1] == "ok"}
        or name == "executor"
    )


def test_a_node_that_does_not_answer_is_named_and_the_others_are_judged() -> None:
    silent = {"host": "b", "id": "b1", "resources": {"CPU": 2.0}, "error": "did not answer within 60 s"}
    told = judged(node("a"), silent)
    assert ("nodes", "wrong", "node b: did not answer within 60 s; mend it, or take it out of the Ray") in told
    assert [each[0] for each in told if each[1] != "ok"] == ["nodes"]


def test_a_pack_must_fit_on_one_node() -> None:
    """Four CPUs on two nodes are no place for a pack of four: it would wait for ever."""
    nodes = [node("a"), node("b", resources={"CPU": 2.0, "GPU": 1.0, "memory": 8e9})]
    assert packs_at_once(nodes, ExecutorOptions(cpus_per_pack=1)) == 4
    assert packs_at_once(nodes, ExecutorOptions(cpus_per_pack=4)) == 0
    assert packs_at_once(nodes, ExecutorOptions(gpus_per_pack=0.25)) == 2
    assert packs_at_once(nodes, ExecutorOptions(memory_gb_per_pack=8)) == 2
    assert packs_at_once(nodes, ExecutorOptions(cpus_per_pack=0.1, gpus_per_pack=0.1)) == 10
    (text,) = [text for _, state, text in judged(*nodes, cpus_per_pack=4) if state == "wrong"]
    assert text.startswith("executor: a pack asks for 4 CPU, and no node has that (2 CPU, 0 GPU, 8.0 GB; 2 CPU, 1 GPU")


def test_what_is_installed_fulfils_what_is_asked_for() -> None:
    assert {check.state for check in installed_checks()} == {"ok"}
    unmet = list(_unmet(["numpy>=99", "no-such-package-of-anybody>=1", "pandas; extra == 'dev'", "numpy>=1"]))
    assert [text.partition(" ")[0] for text in unmet] == ["numpy", "no-such-package-of-anybody"]


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(CONFIG)
    return path


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    assert [check.state for check in storage_checks(tmp_path / "runs/tiny")] == ["ok"]
    assert list(tmp_path.iterdir()) == []
    (check,) = storage_checks(Path("/proc/runs"))
    assert (check.name, check.state) == ("storage", "wrong")
    assert check.text.startswith("/proc: cannot write there")


def test_a_disk_without_room_for_the_plan(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = prepare(load_config(tiny), embed=False)
    cells = prepared.known_cells()
    assert needed_bytes(prepared, cells) > needed_bytes(prepared, cells[:10]) > needed_bytes(prepared, ())
    assert room_check(prepared).state == "ok"
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1_000_000, "total": 1, "used": 0}))
    check = room_check(prepared)
    assert check.state == "wrong"
    assert f"{len(cells)} cells to come" in check.text
    assert check.text.endswith("1 MB are free: make room, or choose another folder")


def test_every_trouble_is_told_and_the_exit_code_says_so(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_ray(*_: Any, **__: Any) -> dict[str, Any]:
        raise RayLostError("it did not start: too slow")

    monkeypatch.setattr("sweeper.running.executor.survey_ray", no_ray)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert main(["doctor", str(tiny), "--set", "screen.path=nowhere.parquet", "--set", "simulate=null", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] is False
    wrong = {check["name"]: check["text"] for check in found["checks"] if check["state"] == "wrong"}
    assert set(wrong) == {"mlflow", "screen", "ray"}
    assert wrong["mlflow"].endswith("start it, or set tracking.uri, or tracking.enabled: false")
    assert "nowhere.parquet" in wrong["screen"]
    assert wrong["ray"] == "Ray: it did not start: too slow"

    facts = {"folder": "/d", "here": HERE, "nodes": [node("a")]}
    monkeypatch.setattr("sweeper.running.executor.survey_ray", lambda *_, **__: facts)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith("ok ") for line in lines)
    assert "ok    token:     Ray's token authentication is on" in lines
    assert not any(line.startswith("ok    storage:") for line in lines)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setattr(examining, "cluster_address", lambda: "10.0.0.5:6379")
    assert examining._token("10.0.0.5:6379").state == "note"
    assert main(["doctor", "--set", "seeds=3"]) == 2
