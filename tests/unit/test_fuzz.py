"""A short run of `make fuzz` without a fault, and a judge that sees each kind of fault."""

from __future__ import annotations

import json
import sys
import time
import warnings
from pathlib import Path

import pytest

from benchmarks.fuzz import __main__ as fuzzing
from benchmarks.fuzz import outcome
from benchmarks.fuzz.outcome import FAULTS, GOOD, Attempt, run

INPUTS = 120


@pytest.fixture(scope="module")
def document() -> dict[str, object]:
    return fuzzing.fuzz(INPUTS, seed=1)


@pytest.mark.slow
def test_no_fault_at_any_door(document: dict[str, object]) -> None:
    assert document["faults"] == []


@pytest.mark.slow
def test_every_door_is_tried_and_both_sides_of_it(document: dict[str, dict[str, dict[str, int]]]) -> None:
    outcomes = document["outcomes"]
    assert len(outcomes) >= 10
    assert all(sum(found.values()) > 0 for found in outcomes.values())
    for kind in ("done", "refused with the reason"):
        assert sum(found[kind] for found in outcomes.values()) >= INPUTS // 20


@pytest.mark.slow
def test_the_table_adds_up(document: dict[str, int]) -> None:
    lines = fuzzing.table(document).splitlines()
    assert lines[-1].split("|")[2].strip() == str(sum(count for _, count in fuzzing.shares(INPUTS)))
    assert len({line.count("|") for line in lines}) == 1


@pytest.mark.parametrize("seed", [0, 1])
def test_an_input_is_made_by_its_seed_and_number_alone(tmp_path: Path, seed: int) -> None:
    for name, make in list(fuzzing.doors(tmp_path / "made").items())[:4]:
        found = []
        for _ in range(2):
            folder = tmp_path / "input"
            first = fuzzing.tried(name, make, 3, seed, folder)
            found.append((first.kind, {path.name: path.read_bytes() for path in folder.glob("*.[cy]*")}))
        assert found[0] == found[1]


def judged(monkeypatch: pytest.MonkeyPatch, called: object, attempt: Attempt | None = None) -> str:
    monkeypatch.setattr(outcome, "main", called)
    return run(attempt or Attempt(["x"])).kind


def test_the_judge_sees_every_kind_of_fault(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def raising(_: object) -> int:
        raise KeyError("x")

    def talking(_: object) -> int:
        sys.stderr.write("sweeper: one\nand another\n")
        return 2

    def mute(_: object) -> int:
        return 2

    def warning(_: object) -> int:
        warnings.warn("of a library", stacklevel=1)
        return 0

    def leaving(_: object) -> int:
        raise SystemExit(2)

    def writing(_: object) -> int:
        (tmp_path / "half").write_text("{")
        sys.stderr.write("sweeper: no\n")
        return 2

    def changing(_: object) -> int:
        (tmp_path / "half").write_text("more")
        sys.stderr.write("sweeper: no\n")
        return 2

    def scoring(_: object) -> int:
        sys.stdout.write("t.csv: 72 rows × 13 dimensions, sha256:0\n")
        return 0

    def sleeping(_: object) -> int:
        time.sleep(20)
        return 0

    assert judged(monkeypatch, raising) == judged(monkeypatch, leaving) == "traceback"
    assert judged(monkeypatch, talking) == judged(monkeypatch, mute) == "more than one line"
    assert judged(monkeypatch, warning) == "a library's warning"
    assert judged(monkeypatch, writing, Attempt(["x"], written=tmp_path / "half")) == "half-written"
    assert judged(monkeypatch, changing, Attempt(["x"], kept=tmp_path)) == "half-written"
    silent = Attempt(["x"], touched=("ImageNumber",), dimensions=12)
    assert judged(monkeypatch, scoring, silent) == "features changed in silence"
    assert judged(monkeypatch, scoring, Attempt(["x"], touched=("a",), dimensions=13)) == "done"
    monkeypatch.setattr(outcome, "SECONDS", 1)
    assert judged(monkeypatch, sleeping) == "hang"


def test_the_committed_run_has_every_door_and_ten_thousand_inputs() -> None:
    committed = json.loads(fuzzing.RESULT.read_text(encoding="utf-8"))
    assert sum(sum(found.values()) for found in committed["outcomes"].values()) >= 10_000
    assert set(committed["outcomes"]) == set(fuzzing.SHARES)
    assert committed["faults"] == []
    assert all(set(found) == {*GOOD, *FAULTS} for found in committed["outcomes"].values())
