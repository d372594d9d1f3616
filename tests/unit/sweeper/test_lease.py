"""One owner of a folder, between real processes: who is refused, who follows, and what a death leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from sweeper.errors import SweepFailedError
from sweeper.store import lease
from sweeper.store.lease import OwnedError, owned

HOLD = """
import sys, time
from pathlib import Path
from sweeper.store.lease import owned
with owned(Path(sys.argv[1])):
    print("owned", flush=True)
    time.sleep(float(sys.argv[2]))
"""


@contextmanager
def holder(folder: Path, seconds: float = 60.0) -> Iterator[subprocess.Popen[str]]:
    """Another process that owns the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder), str(seconds)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "owned\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


def elsewhere(folder: Path, *, touched: float) -> Path:
    """The lease as a process of another machine would have left it."""
    (path,) = (folder / ".lease").glob("*.json")
    told = json.loads(path.read_text())
    path.write_text(json.dumps({**told, "host": "node7", "place": "another boot", "released": False}))
    os.utime(path, (touched, touched))
    return path


def test_the_refused_one_names_the_owner_and_changes_nothing(tmp_path: Path) -> None:
    with holder(tmp_path) as other:
        before = contents(tmp_path)
        with (
            pytest.raises(OwnedError, match=rf"another process runs this sweep: {other.pid} on \S+, since 20\d\d-"),
            owned(tmp_path),
        ):
            pass
        assert contents(tmp_path) == before


def test_one_process_after_another(tmp_path: Path) -> None:
    for _ in range(3):
        with owned(tmp_path), pytest.raises(OwnedError, match=f"{os.getpid()} on"), owned(tmp_path):
            pass
    assert [path.name for path in (tmp_path / ".lease").iterdir()] == ["000003.json"]


def test_whoever_comes_after_a_killed_owner_goes_on_at_once(tmp_path: Path) -> None:
    with holder(tmp_path) as other:
        os.kill(other.pid, signal.SIGKILL)  # not waited for: a zombie holds nothing either
        began = time.monotonic()
        while other.returncode is None and time.monotonic() < began + 10:
            try:
                with owned(tmp_path):
                    break
            except OwnedError:
                time.sleep(0.02)
        assert time.monotonic() - began < 5


def test_a_process_number_given_again_holds_nothing(tmp_path: Path) -> None:
    with owned(tmp_path):
        pass
    (path,) = (tmp_path / ".lease").glob("*.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "released": False, "started": 1.0}))
    with owned(tmp_path):
        pass


def test_an_owner_on_another_machine_is_believed_while_it_shows_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with owned(tmp_path):
        pass
    path = elsewhere(tmp_path, touched=time.time())
    with pytest.raises(OwnedError, match=r"on node7, since .* \(one that died is followed 85 s after"), owned(tmp_path):
        pass
    # an old sign of life may be another clock: it is watched, and seen to move
    elsewhere(tmp_path, touched=time.time() - 3600)
    monkeypatch.setattr(lease.time, "sleep", lambda _: os.utime(path, (1.0, 1.0)))
    with pytest.raises(OwnedError), owned(tmp_path):
        pass
    # and one that stands still is dead
    watched: list[float] = []
    monkeypatch.setattr(lease.time, "sleep", watched.append)
    with owned(tmp_path):
        assert watched == [lease.WATCH]


def test_an_owner_that_was_taken_for_dead_learns_it_and_leaves_the_other_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "HEARTBEAT", 0.05)
    with owned(tmp_path) as first:
        first.check()
        elsewhere(tmp_path, touched=time.time() - 3600)
        monkeypatch.setattr(lease, "_is_held", lambda *_: False)
        with owned(tmp_path) as second:
            deadline = time.monotonic() + 5
            while not first.lost and time.monotonic() < deadline:
                time.sleep(0.01)
            with pytest.raises(SweepFailedError, match=f"process {os.getpid()} on .* has taken this sweep over"):
                first.check()
            second.check()
            first.release()
            assert [path.name for path in (tmp_path / ".lease").iterdir()] == ["000002.json"]


def test_a_lease_that_says_nothing_yet_is_respected_until_it_is_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".lease").mkdir()
    path = tmp_path / ".lease/000001.json"
    path.touch()
    with pytest.raises(OwnedError, match="it has just begun"), owned(tmp_path):
        pass
    os.utime(path, (1.0, 1.0))
    monkeypatch.setattr(lease.time, "sleep", lambda _: None)
    with owned(tmp_path):
        pass


def test_of_many_at_once_one_owns(tmp_path: Path) -> None:
    """Processes that try again and again own one folder in turns that never overlap."""
    race = """
import sys, time
from pathlib import Path
from sweeper.store.lease import OwnedError, owned
folder, until = Path(sys.argv[1]), time.monotonic() + 4.0
while time.monotonic() < until:
    try:
        with owned(folder):
            began = time.monotonic()
            time.sleep(0.001)
            print(began, time.monotonic(), flush=True)
    except OwnedError:
        pass
"""
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", race, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    told = [racer.communicate(timeout=60) for racer in racers]
    assert not any(error for _, error in told), told
    turns = sorted(
        (*map(float, line.split()), number) for number, (out, _) in enumerate(told) for line in out.splitlines()
    )
    assert len({number for *_, number in turns}) > 1, "they never met"
    assert all(end <= begin for (_, end, _), (begin, _, _) in pairwise(turns))
