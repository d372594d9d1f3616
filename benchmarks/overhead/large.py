"""Stores of thousands of synthetic cells: what a plan, a resume, a decision and a report take. No training.

A cell is a copy of a real one with its own identity; its values are drawn around a curve over the strength, so that the
decision has something to decide.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.overhead.sweeps import CONFIG
from sweeper.config.sweep_config import SweepConfig, build_config
from sweeper.planning.cells import PackPlan
from sweeper.planning.description import sweep_description
from sweeper.planning.prepared import prepare
from sweeper.running.worker import PackRun, pack_content
from sweeper.store.store import Store, dump_json

STRENGTHS = 50


def config_of(cells: int, folder: Path) -> SweepConfig:
    """A sweep of `cells` trained cells: 50 strengths, and as many seeds as it takes; its controls come on top."""
    strengths = {"adversarial_weight": {"low": 0.1, "high": 1000, "count": STRENGTHS - 1}, "margin": [0.0]}
    abra = {"steps": 20, "embedding_dim": 64}
    given = {**CONFIG, "strengths": strengths, "seeds": cells // STRENGTHS, "abra": abra, "folder": str(folder)}
    return build_config(given, __file__)


def fill(cells: int, folder: Path) -> Path:
    """Make the store; returns the file of its configuration."""
    config = config_of(cells, folder)
    prepared = prepare(config)
    store = prepared.store
    store.create(sweep_id=prepared.sweep_id, description=sweep_description(prepared, []), screen=prepared.screen)
    known = prepared.known_cells()
    by_trainer = {cell.trainer: cell for cell in reversed(known)}
    pack = PackPlan(pack_id="patterns", cells=tuple(by_trainer.values()))
    run = PackRun(store.write_pack("patterns", pack_content(pack, config, replace=frozenset())))
    while run.advance():
        pass
    for _ in run.finish():
        pass
    patterns = {trainer: store.cells_folder / cell.cell_id for trainer, cell in by_trainer.items()}
    records = {trainer: json.loads((path / "record.json").read_text()) for trainer, path in patterns.items()}
    random = np.random.default_rng(1)
    done = store.finished()
    for cell in known:
        if cell.cell_id in done:
            continue
        record = records[cell.trainer]
        place = np.log10(1.0 + (cell.adversarial_weight or 0.0)) / 3.0
        metrics = [dict(row) for row in record["metrics"]]
        for row in metrics:
            if row["value"] is not None and not cell.is_control:
                level = 0.2 + 0.6 * place if row["role"] == "technical" else 0.8 - 0.5 * max(0.0, place - 0.4)
                row["value"] = float(np.clip(level + random.normal(scale=0.02), 0.0, 1.0))
        final = store.cells_folder / cell.cell_id
        shutil.copytree(patterns[cell.trainer], final)
        own = {**record, **cell.to_json(), "split": cell.split, "metrics": metrics}
        (final / "record.json").write_text(dump_json(own))
    file = folder.parent / f"{cells}.yaml"
    file.write_text(json.dumps(config.model_dump(mode="json")))
    return file


def phase(name: str, file: Path) -> dict[str, float]:
    """One phase, in this process."""
    import sweeper
    from sweeper.findings.stored import tabulate_and_decide
    from sweeper.library.outputs import write_outputs

    config = sweeper.load_config(file)
    store = Store(config.output)
    began, before = time.perf_counter(), time.process_time()
    if name == "plan":
        assert not sweeper.plan(config).missing  # noqa: S101 - else it is of something else
    elif name == "resume scan":
        store.finished()
    elif name == "decision":
        tabulate_and_decide(store)
    else:
        write_outputs(store)
    return {
        "seconds": round(time.perf_counter() - began, 2),
        "cpu_seconds": round(time.process_time() - before, 2),
        "peak_megabytes": peak_megabytes(),
    }


def peak_megabytes() -> int:
    """Of this process since it was started; `getrusage` would count the one that it was forked from."""
    (kilobytes,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return round(int(kilobytes) / 1000)


PHASES = ("plan", "resume scan", "decision", "decision and report")


def large(cells: int, folder: Path) -> dict[str, Any]:
    """Every phase of a store of `cells` cells, each in a process of its own."""
    file = fill(cells, folder / f"sweep-{cells}")
    found: dict[str, Any] = {"cells": len(Store(folder / f"sweep-{cells}").finished())}
    for name in PHASES:
        command = [sys.executable, "-m", "benchmarks.overhead.large", name, str(file)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=True)
        found[name] = json.loads(done.stdout.splitlines()[-1])
        print(cells, name, found[name], file=sys.stderr, flush=True)
    return found


if __name__ == "__main__":
    print(json.dumps(phase(sys.argv[1], Path(sys.argv[2]))))
