"""A sweep stored by an earlier version: resumed, decided, reported and shown by this one."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from sweeper.cli import main
from sweeper.config.sweep_config import build_config
from sweeper.decision import Decision
from sweeper.findings.stored import stored_decision
from sweeper.planning.prepared import prepare
from sweeper.running.sweep import Event, next_round, run_sweep
from sweeper.store.store import Store
from trainers.screens.profile_simulation import Simulation, SimulationSpec

STORED = Path(__file__).parents[2] / "data" / "store_before.tar.xz"
"""A small sweep with sham, pseudo-batch and Optuna cells, its configuration, and the decision of a larger sweep."""

WORDS = {"sentence", "notes", "reasons", "unless", "unit"}
"""Keys of a decision that hold words: of a curve or rule, the disagreement of views, what voids a rule, a unit."""


@pytest.fixture
def before(tmp_path: Path) -> Path:
    with tarfile.open(STORED) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


def test_a_resume_finds_every_cell_and_nothing_to_do(before: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def elsewhere(spec: SimulationSpec) -> Simulation:
        raise AssertionError(f"{spec}: another processor draws another screen; the stored one counts")

    monkeypatch.setattr("trainers.screens.simulated_screen.simulate", elsewhere)
    given = yaml.safe_load((before / "sweep.yaml").read_text(encoding="utf-8"))
    sweep = prepare(build_config({**given, "folder": str(before / "store")}, "sweep.yaml"))
    assert len(sweep.known_cells()) == len(sweep.store.finished()) > 50
    assert next_round(sweep, sweep.store) is None
    told: list[Event] = []
    run_sweep(sweep, tell=told.append)
    assert [(event.kind, event.cells - event.cells_done) for event in told] == [("start", 0)]


def shared(value: Any, stored: Any, *, words: bool = False) -> Any:
    """`value` with the keys that `stored` has: later versions add some, and word sentences anew (kept with `words`)."""
    if isinstance(value, dict) and isinstance(stored, dict):
        kept = {key for key in stored if words or key not in WORDS}
        return {key: shared(item, stored[key], words=words) for key, item in value.items() if key in kept}
    if isinstance(value, list) and isinstance(stored, list) and len(value) == len(stored):
        return [shared(item, other, words=words) for item, other in zip(value, stored, strict=True)]
    return value


def test_the_decision_and_the_report_are_made_again_and_the_decision_is_the_same(
    before: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(before / "store")
    stored = json.loads(store.decision_path.read_text(encoding="utf-8"))
    assert main(["report", str(store.folder)]) == 0
    again = store.decision_path.read_text(encoding="utf-8")
    assert shared(json.loads(again), stored) == shared(stored, stored)
    assert store.report_path.stat().st_size > 1_000_000
    assert main(["decide", str(store.folder), "--json", str(before / "again.json")]) == 0
    assert (before / "again.json").read_text(encoding="utf-8") == again
    assert main(["status", str(store.folder)]) == 0
    decided = stored_decision(store)
    assert decided is not None
    assert decided.sentence in " ".join(capsys.readouterr().out.split())


def test_a_stored_decision_is_read_and_written_unchanged(before: Path) -> None:
    text = (before / "decision.json").read_text(encoding="utf-8")
    decision = Decision.from_json(json.loads(text))
    assert shared(decision.to_json(), json.loads(text), words=True) == json.loads(text)
    assert decision.curve is not None
    assert decision.curve.rule == decision.rule
    assert decision.rule.state == "BRACKET_ONLY"
    assert decision.curve.mechanism is not None
    assert len(decision.curve.mechanism.points) == 3


@pytest.mark.parametrize("text", ["{", '{"schema": "overcorrection-rule/0"}'])
def test_a_decision_that_cannot_be_read_says_how_to_make_it_again(
    before: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Store(before / "store").decision_path
    path.write_text(text, encoding="utf-8")
    assert main(["status", str(before / "store")]) == 0
    told = capsys.readouterr()
    assert told.err.startswith("warning: decision.json: ")
    assert told.err.endswith("`sweeper report` makes it anew\n")
    assert told.err.count("\n") == 1
    assert "decision: cannot be read" in told.out
