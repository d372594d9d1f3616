"""A 130-cell profile sweep in packs, against one Ray trial a cell with reused and with fresh actors, in one run.

    make benchmark-packs        (about 20 minutes on 2 cores; writes benchmarks/packs.json)

The three ways run the same cells through the same executor and worker; only the cut into trials differs. "overhead" is
the share of worker time (wall time × workers) that is neither training nor scoring.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from pathlib import Path

from sweeper.config.sweep_config import SweepConfig, build_config
from sweeper.installed import versions
from sweeper.planning.cells import make_cells, make_packs
from sweeper.planning.prepared import prepare
from sweeper.running.executor import Executor
from sweeper.running.worker import pack_content
from sweeper.store.store import Store

# The shape of the real table in configs/jump_source3.yaml: 1,800 rows × 65 features, 9 batches.
CONFIG = {
    "name": "packs",
    "simulate": {
        "batches": 9,
        "plates_per_batch": 2,
        "wells_per_plate": 96,
        "features": 65,
        "perturbations": 8,
        "targets": 4,
        "controls_per_plate": 8,
        "phenotype": 1.0,
        "seed": 1,
    },
    "views": [{"view": "held_out_plates", "fraction": 0.5}],
    "strengths": {"adversarial_weight": {"low": 0.3, "high": 300, "count": 12}, "margin": [0.0, 0.3]},
    "seeds": 5,
    "tracking": {"enabled": False},
}
WAYS = {
    "packs": {"pack_size": None, "reuse_actors": True},
    "one cell a trial, reused actors": {"pack_size": 1, "reuse_actors": True},
    "one cell a trial, fresh actors": {"pack_size": 1, "reuse_actors": False},
}


def measure(config: SweepConfig, *, pack_size: int | None, reuse_actors: bool) -> dict[str, float]:
    """Run every trained cell of the sweep into a fresh store; Ray is up already, as it is for a sweep's second pack."""
    with tempfile.TemporaryDirectory() as folder:
        prepared = prepare(config.model_copy(update={"folder": Path(folder) / "sweep"}))
        store: Store = prepared.store
        store.create(sweep_id=prepared.sweep_id, description={"config": {}}, screen=prepared.screen)
        cells = make_cells(prepared.sweep_id, "abra", config.strengths.grid(), config.seeds, prepared.folds)
        with Executor(config.executor, store.folder) as executor:
            workers = executor.workers
            packs = make_packs(cells, workers=workers, pack_size=pack_size)
            files = [
                (p, store.write_pack(p.pack_id, pack_content(p, prepared.config, replace=frozenset()))) for p in packs
            ]
            began = time.perf_counter()
            failures = executor.run(
                files, on_progress=lambda _: None, on_pack=lambda _: None, reuse_actors=reuse_actors
            )
            wall = time.perf_counter() - began
        records = list(store.records(store.finished()))
    if failures or len(records) != len(cells):
        raise SystemExit(f"{len(failures)} trials failed, {len(records)} of {len(cells)} cells finished")
    work = sum(record["seconds"]["train"] + record["seconds"]["score"] for record in records)
    return {
        "cells": len(cells),
        "trials": len(packs),
        "workers": workers,
        "wall_seconds": round(wall, 2),
        "cells_per_minute": round(60 * len(cells) / wall, 1),
        "training_and_scoring_seconds": round(work, 2),
        "overhead_share": round(1 - work / (wall * workers), 3),
    }


def main() -> None:
    """Measure every way in one run and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, default=Path(__file__).with_suffix(".json"))
    parser.add_argument("--cells", type=int, default=None, help="fewer seeds, for a quick look (a multiple of 26)")
    options = parser.parse_args()
    config = build_config(CONFIG if options.cells is None else {**CONFIG, "seeds": options.cells // 26}, __file__)
    measured = {}
    for name, way in WAYS.items():
        measured[name] = measure(config, **way)
        print(name, measured[name], flush=True)
    packs = measured["packs"]["wall_seconds"]
    ratios = {name: round(found["wall_seconds"] / packs, 1) for name, found in measured.items()}
    machine = {"cpus": os.cpu_count(), "machine": platform.machine(), "versions": versions()}
    result = {"command": "python benchmarks/packs.py", "machine": machine, "measured": measured, "times_packs": ratios}
    options.json.write_text(json.dumps(result, indent=1) + "\n")
    print(ratios)


if __name__ == "__main__":
    main()
