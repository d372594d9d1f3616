"""What `sweeper status` and `sweeper plan` say of the next points: strengths, cells and their cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from sweeper.decision import DecisionSettings, decide_sweep
from sweeper.library.rounds import proposed_next
from sweeper.planning.cells import control_cells, make_cells
from sweeper.running.scoring import cell_record
from sweeper.store.store import Store, dump_json

POINTS: dict[str, Any] = {
    "why": "between",
    "strengths": [12.3, 20.0],
    "seeds": 0,
    "cells": 10,
    "seconds": None,
    "interval": [9.0, 30.0],
}


def store_with(folder: Path, **points: Any) -> Store:
    """Two trained cells of 1.5 s and 2.5 s, a control that trains nothing, and a decision."""
    store = Store(folder)
    trained = make_cells("x", "abra", [(1.0, 0.0)], (0, 1), {"held_out_plates": 1})
    control = control_cells("x", (0,), {"held_out_plates": 1})[0]
    for cell, train in zip((*trained, control), (1.0, 2.0, 0.0), strict=True):
        seconds = {"train": train, "score": 0.5}
        record = cell_record(cell, status="ok", reason=None, metrics=[], seconds=seconds, pack_cells=2)
        store.write_cell(record, curve=[])
    document = decide_sweep(pd.DataFrame(), settings=DecisionSettings(deciding_view="v"), provenance={}).to_json()
    store.decision_path.write_text(dump_json({**document, "next_points": {**POINTS, **points}}))
    return store


def test_the_cost_is_that_of_the_trained_cells_unless_the_decision_says(tmp_path: Path) -> None:
    told = "Train λ = 12.3 and 20 with the same seeds: 10 cells, about"
    assert proposed_next(store_with(tmp_path / "a")) == f"{told} 20 s of one worker."
    assert proposed_next(store_with(tmp_path / "b", seconds=300.0)) == f"{told} 5 min of one worker."


def test_nothing_is_told_where_nothing_is_proposed(tmp_path: Path) -> None:
    assert proposed_next(store_with(tmp_path / "a", why="settled", strengths=[], cells=0)) == ""
    store = store_with(tmp_path / "b")
    store.decision_path.unlink()
    assert proposed_next(store) == ""
