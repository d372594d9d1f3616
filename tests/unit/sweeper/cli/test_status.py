"""`sweeper status`: for people, for programs, watched; and a time left that does not swing."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from sweeper.cli import main
from sweeper.library.sweep_standing import seconds_left
from sweeper.library.time_left import TimeLeft, coarse
from sweeper.planning.prepared import Prepared
from tests.unit.sweeper.test_rounds import prepared, write


@pytest.fixture
def half(tmp_path: Path) -> Prepared:
    """Half of the cells finished."""
    made = prepared(tmp_path / "s")
    cells = made.known_cells()
    write(made, cells[: len(cells) // 2])
    return made


def test_the_same_for_people_and_for_programs(half: Prepared, capsys: pytest.CaptureFixture[str]) -> None:
    done, planned = len(half.known_cells()) // 2, len(half.known_cells())
    assert main(["status", str(half.store.folder)]) == 0
    assert f"cells:    {done} of {planned} done" in capsys.readouterr().out
    assert main(["status", str(half.store.folder), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["schema"], told["done"], told["planned"]) == ("status/1", done, planned)
    assert told["statuses"] == {"ok": done}
    assert (told["running"], told["seconds_left"], told["state"]) == (None, None, None)


def test_it_is_watched_until_nobody_runs_it(half: Prepared, capsys: pytest.CaptureFixture[str]) -> None:
    folder, cells = half.store.folder, half.known_cells()
    ready, go = threading.Event(), threading.Event()

    def runs() -> None:
        with half.store.owned(half.sweep_id):
            ready.set()
            assert go.wait(20)
            write(half, cells[len(cells) // 2 :])
            time.sleep(0.6)

    thread = threading.Thread(target=runs)
    thread.start()
    assert ready.wait(20)
    threading.Timer(0.5, go.set).start()
    assert main(["status", str(folder), "--watch", "0.1", "--json"]) == 0
    thread.join()
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert told[0]["running"]
    assert told[0]["done"] == len(cells) // 2
    assert (told[-1]["running"], told[-1]["done"]) == (None, len(cells))
    assert len(told) >= 3, "told again where something has changed, and only there"
    assert len(told) < 12


def test_time_left_of_bursts_falls_and_does_not_swing() -> None:
    """Four packs of 24 cells on two workers: training is told all along, cells come when a pack is scored."""
    rng = np.random.default_rng(0)
    left, told, plain = TimeLeft(0.0), [], []
    total, whole = 96, 400.0
    for second in np.arange(5.0, whole, 5.0):
        packs = second / whole * 4
        finished = int(packs) * 24
        training = 24 * min(1.0, (packs - int(packs)) / 0.6)  # then scored, without a word
        share = (finished + 0.7 * training) / total * (1 + 0.02 * rng.standard_normal())
        plain.append(second / share - second)
        told.append((second, left(float(second), share)))
    known = [(second, value) for second, value in told if value is not None]
    errors = np.array([value + second - whole for second, value in known]) / whole
    assert abs(errors[len(errors) // 4 :]).max() < 0.3
    steps = np.diff([value for _, value in known])
    naive = np.diff(plain[-len(known) :])
    assert steps.max() < 0.5 * naive.max(), "rises are less than half of those of elapsed / share"
    assert known[-1][1] < 40


def test_time_left_is_not_told_too_early_and_never_below_zero() -> None:
    left = TimeLeft(100.0)
    assert left(110.0, 0.01) is None
    assert left(120.0, 0.1) == pytest.approx(180.0)
    assert (left(100_000.0, 0.1) or -1) >= 0
    assert left(100_010.0, 1.0) == 0.0


def test_the_pace_of_the_last_cells_says_how_long_it_takes() -> None:
    assert seconds_left([10.0, 20.0, 30.0, 40.0], 6) == pytest.approx(60.0)
    assert seconds_left([1.0, 2.0], 6) is None
    assert seconds_left([5.0] * 9, 6) is None
    assert seconds_left([1.0], 0) == 0.0


@pytest.mark.parametrize(("given", "expected"), [(3, 5), (42, 40), (100, 90), (200, 210), (1234, 1260), (9000, 9000)])
def test_times_are_said_as_people_say_them(given: float, expected: float) -> None:
    assert coarse(given) == expected
