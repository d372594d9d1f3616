"""The sweep's side of Ray, with stand-ins for the process that drives it: what is said, what is not, and what ends."""

from __future__ import annotations

import errno
import os
import re
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from sweeper.config.sections import ExecutorOptions
from sweeper.errors import InputError, SweepFailedError
from sweeper.planning.cells import PackPlan
from sweeper.running import executor
from sweeper.running.executor import Executor, Progress
from sweeper.running.surroundings import check_environment, storage_trouble

HEAD = """
import json, os, subprocess, sys, time
from pathlib import Path
def say(kind, **what): print(json.dumps({"kind": kind, **what}), flush=True)
given = json.loads(sys.stdin.readline())
facts = {"versions": dict.fromkeys(("python", "sweeper", "ray", "torch"), "1"), "data": {}}
place = {"storage": None, "temp": "/tmp", "temp_free": 1e12, "temp_used": 0.5, "shm": 1e12}
node = {"host": "a", "id": "1", "resources": {"CPU": 3}, **facts, **place}
given["found"] = {"folder": given["folder"], "here": facts, "nodes": [node]}
starts = Path(given["folder"]) / "starts"
starts.write_text(starts.read_text() + given["scratch"] + "\\n" if starts.exists() else given["scratch"] + "\\n")
first = len(starts.read_text().splitlines()) == 1
"""
READY = 'say("survey", found=given["found"])\nsay("ready", workers=3)\ntask = json.loads(sys.stdin.readline())\n'
FINISH = """
for pack in task["packs"]:
    say("progress", pack=pack, fraction=0.5)
    say("pack", pack=pack)
say("done", failures=[])
sys.stdin.read()
"""


class Run:
    """Two packs through a stand-in."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
        self.folder = folder
        self.warnings: list[str] = []
        self.ended: list[str] = []
        self.progress: list[Progress] = []
        monkeypatch.setattr(executor, "DRIVER", ("-c", HEAD + script))
        monkeypatch.setattr(executor, "LEAVE_SECONDS", 0.3)

    def __call__(self) -> None:
        packs = [(PackPlan(pack_id=name, cells=()), str(self.folder / name)) for name in "ab"]
        with Executor(ExecutorOptions(), self.folder, warn=self.warnings.append) as ray:
            assert ray.workers == 3
            ray.run(packs, on_progress=self.progress.append, on_pack=lambda pack: self.ended.append(pack.pack_id))

    @property
    def starts(self) -> list[Path]:
        return [Path(line) for line in (self.folder / "starts").read_text().splitlines()]


def test_packs_end_one_by_one_and_nothing_stays_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = 'child = subprocess.Popen(["sleep", "600"])\nPath(given["folder"], "child").write_text(str(child.pid))\n'
    run = Run(tmp_path, monkeypatch, script + READY + FINISH)
    run()
    assert run.ended == ["a", "b"]
    assert {"a": 0.5} in [progress.training for progress in run.progress]
    assert run.progress[-1].training == {}
    assert run.warnings == []
    assert not any(path.exists() for path in run.starts)
    with suppress(psutil.NoSuchProcess):  # or nobody has waited for it yet
        assert psutil.Process(int((tmp_path / "child").read_text())).status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ('say("lost", reason="its raylet has died")', "its raylet has died"),
        ("sys.exit('no more')", r"its driver ended with 1 \(no more\)"),
        ("print('well', file=sys.stderr); os.kill(os.getpid(), 9)", "its driver was killed by signal 9"),
        ("time.sleep(600)", "it gave no sign of life for 1 s"),
    ],
)
def test_ray_that_is_lost_is_started_again_for_what_is_not_finished(
    fault: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor, "SILENCE_SECONDS", 1.0)
    monkeypatch.setattr(executor, "TICK_SECONDS", 0.1)
    once = f"if first:\n    say('pack', pack=task['packs'][0])\n    {fault}\n    time.sleep(600)\n"
    run = Run(tmp_path, monkeypatch, READY + once + "assert len(task['packs']) == 1\n" + FINISH)
    run()
    assert run.ended == ["a", "b"]
    (warning,) = run.warnings
    assert re.fullmatch(rf"Ray was lost: {why}; started again \(1 of 3\), finished cells are kept", warning)
    assert not any(path.exists() for path in run.starts)


@pytest.mark.parametrize("ready", ["", READY])
def test_ray_that_is_lost_again_and_again_ends_the_sweep(
    ready: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path, monkeypatch, f'{ready}say("lost", reason="it did not start: too slow")\ntime.sleep(600)')
    with pytest.raises(SweepFailedError, match="lost 4 times, at last because it did not start: too slow; finished"):
        run()
    assert len(run.warnings) == executor.RESTARTS
    assert len(run.starts) == executor.RESTARTS + 1


def test_what_the_user_can_mend_and_a_full_disk_are_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path, monkeypatch, 'say("input", reason="ask for less")')
    with pytest.raises(InputError, match="ask for less"):
        run()
    run = Run(tmp_path, monkeypatch, READY + 'say("storage", reason="No space left on device")\ntime.sleep(600)')
    with pytest.raises(SweepFailedError, match=r"No space left on device; finished cells are kept: make room"):
        run()
    assert len(run.starts) == 2
    assert run.warnings == []


def test_whoever_watches_may_end_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class EnoughError(Exception):
        pass

    def tick() -> None:
        if (tmp_path / "starts").exists():
            raise EnoughError

    Run(tmp_path, monkeypatch, "time.sleep(600)")
    monkeypatch.setattr(executor, "TICK_SECONDS", 0.1)
    before, began = psutil.Process(os.getpid()).children(), time.monotonic()
    with pytest.raises(EnoughError), Executor(ExecutorOptions(), tmp_path, tick=tick):
        pass
    assert time.monotonic() - began < 60
    assert set(psutil.Process(os.getpid()).children()) <= set(before)


def test_addresses_are_refused_before_anything_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    for address, words in (
        ("garbage", "RAY_ADDRESS=garbage: expected host:port"),
        ("127.0.0.1:notaport", "nothing answers"),
        ("127.0.0.1:99999", "nothing answers"),
    ):
        monkeypatch.setenv("RAY_ADDRESS", address)
        with pytest.raises(InputError, match=words):
            check_environment()
    for address in ("", "local"):
        monkeypatch.setenv("RAY_ADDRESS", address)
        check_environment()
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray/ray_current_cluster").write_text("127.0.0.1:1")
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    monkeypatch.setattr("sweeper.running.surroundings.MAX_TEMP_DIR", 500)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    with pytest.raises(InputError, match=r"RAY_ADDRESS=auto: nothing answers at 127\.0\.0\.1:1 "):
        check_environment()


def test_a_full_disk_is_told_from_other_faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        wrapped = RuntimeError("cannot write the archive")
        wrapped.__cause__ = OSError(number, "a quota, say")
        assert storage_trouble(wrapped, tmp_path) == os.strerror(number)
    assert storage_trouble(RuntimeError("diverged"), tmp_path) is None
    usage = type("Usage", (), {"free": 100})()
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    assert storage_trouble(RuntimeError("file write failed"), tmp_path) == "No space left on device"
