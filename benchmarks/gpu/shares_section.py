"""A whole sweep's packs through Ray on one card: one pack at a time, and four with a quarter of the card each."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from packs import CONFIG

from sweeper.config.sweep_config import build_config
from sweeper.planning.cells import make_cells, make_packs
from sweeper.planning.prepared import prepare
from sweeper.running.executor import Executor
from sweeper.running.worker import pack_content

SHARES = (1.0, 0.25)


def measure(device: str, small: bool, hand_in: Callable[[dict[str, Any]], None]) -> None:
    """The same cells with every share; with the CPU as device, one worker and none of a card."""
    found: dict[str, Any] = {}
    for share in SHARES if device != "cpu" else (0.0,):
        found[f"{share:g} of a card a pack"] = _sweep(share, small)
        hand_in(found)


def _sweep(share: float, small: bool) -> dict[str, Any]:
    """Cells a minute, training and scoring, of packs that are granted a share of the card."""
    changed = {"seeds": 1, "abra": {"steps": 20}} if small else {"seeds": 5}
    cpus = 1.0 if share in (0.0, 1.0) else 4.0
    with tempfile.TemporaryDirectory() as folder:
        content = {**CONFIG, **changed, "executor": {"gpus_per_pack": share, "cpus_per_pack": cpus}}
        config = build_config({**content, "folder": str(Path(folder) / "sweep")}, __file__)
        prepared = prepare(config)
        store = prepared.store
        store.create(sweep_id=prepared.sweep_id, description={"config": {}}, screen=prepared.screen)
        cells = make_cells(prepared.sweep_id, "abra", config.strengths.grid(), config.seeds, prepared.folds)
        with Executor(config.executor, store.folder) as executor:
            packs = make_packs(cells, workers=1 if share in (0.0, 1.0) else 4, pack_size=None)
            files = [
                (one, store.write_pack(one.pack_id, pack_content(one, prepared.config, replace=frozenset())))
                for one in packs
            ]
            began = time.perf_counter()
            failures = executor.run(files, on_progress=lambda _: None, on_pack=lambda _: None)
            wall = time.perf_counter() - began
        records = list(store.records(store.finished()))
    return {
        "packs": len(packs),
        "cells": len(records),
        "of": len(cells),
        "failures": [failure.reason for failure in failures],
        "cells_a_minute": round(60 * len(records) / wall, 1),
        "training_seconds": round(sum(record["seconds"]["train"] for record in records), 1),
        "scoring_seconds": round(sum(record["seconds"]["score"] for record in records), 1),
        "wall_seconds": round(wall, 1),
    }
