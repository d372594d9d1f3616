"""What scoring a cell costs with the batch reader, beside what it cost before there was one.

.venv/bin/python benchmarks/scoring_speed.py --before CHECKOUT   (minutes; writes benchmarks/scoring_speed.json)

CHECKOUT is one of an earlier commit. The default panel of a sweep on simulated test rows of three sizes, as a worker
scores them: the reference of a split is made once and shared by the cells scored one after another (8 here). Processor
seconds a cell, one thread, the two codes in turn, the smallest of 3 rounds; the ratio is what counts. Without CHECKOUT
the other side is the panel without the reader, on this code.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

SIZES = {"768 wells × 16": (4, 2, 96, 16), "1,536 wells × 24": (8, 2, 96, 24), "4,608 wells × 128": (6, 2, 384, 128)}
"""Batches, plates a batch, wells a plate, dimensions."""
CELLS, ROUNDS = 8, 3


def measure_once(size: str, *, without: bool) -> float:
    """Processor seconds a cell."""
    import numpy as np
    import pandas as pd

    import sweeper
    from sweeper.metrics.biological.retention import uncorrected
    from sweeper.metrics.evaluation import Evaluation, Source
    from sweeper.metrics.panel_options import PanelOptions
    from sweeper.metrics.registry import REGISTRY, measure

    if (loaded := Path(sweeper.__file__).parent.parent) != (wanted := Path(os.environ["PYTHONPATH"])):
        raise SystemExit(f"measures {loaded}, not {wanted}")
    batches, plates, wells_a_plate, e = SIZES[size]
    rng = np.random.default_rng(0)
    positions = [f"{chr(65 + row)}{column:02d}" for row in range(16) for column in range(1, 25)][: 4 * wells_a_plate]
    perturbations = wells_a_plate // 2 - 6
    names = [f"p{number:03d}" for number in range(perturbations) for _ in range(2)] + ["DMSO"] * 12
    table = pd.concat(
        [
            pd.DataFrame(
                {
                    "batch": f"b{batch}",
                    "plate": f"b{batch}p{plate}",
                    "well": rng.choice(positions, len(names), replace=False),
                    "perturbation": names,
                    "control_type": ["negative" if name == "DMSO" else "treatment" for name in names],
                    "target": [None if name == "DMSO" else f"t{int(name[1:]) // 4}" for name in names],
                }
            )
            for batch in range(batches)
            for plate in range(plates)
        ],
        ignore_index=True,
    )
    batch, label = (np.unique(table[name], return_inverse=True)[1] for name in ("batch", "perturbation"))
    profiles = rng.normal(size=(perturbations + 1, e))
    features = (0.7 * profiles[label] + 0.5 * rng.normal(size=(batches, e))[batch]).astype(np.float32)
    features += rng.normal(size=features.shape).astype(np.float32)
    metrics = [
        name for name, metric in REGISTRY.items() if metric.in_sweep and not (without and name == "batch_reader")
    ]
    options = PanelOptions()
    held_out = tuple(f"p{number:03d}" for number in range(perturbations // 4))
    reference = uncorrected(features, table, view="speed", seed=0, held_out_perturbations=held_out, options=options)
    spent = 0.0
    for cell in range(CELLS + 1):  # the first is a warm-up
        rows = features + 0.1 * rng.normal(size=features.shape).astype(np.float32)
        evaluation = Evaluation(
            test=rows,
            test_wells=table,
            train=rows,
            train_wells=table,
            validation=rows[:0],
            validation_wells=table.iloc[:0],
            held_out_perturbations=held_out,
            view="speed",
            seed=0,
            options=options,
            reference=reference,
            source=Source(features=features, encode=lambda given: 2.0 * given),
        )
        start = time.process_time()
        measure(evaluation, metrics)
        spent += (time.process_time() - start) if cell else 0.0
    return spent / CELLS


def main() -> None:
    """Time both in turn and write the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="checkout of an earlier commit")
    parser.add_argument("--one", choices=SIZES, help=argparse.SUPPRESS)
    parser.add_argument("--without", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", type=Path, default=Path(__file__).with_suffix(".json"))
    options = parser.parse_args()
    if options.one is not None:
        print(measure_once(options.one, without=options.without))
        return
    here = Path(__file__).resolve().parent.parent
    sides = {"before": options.before or here, "now": here}
    before = "the panel without the reader" if options.before is None else _revision(options.before)
    found: dict[str, Any] = {}
    for size in SIZES:
        seconds: dict[str, list[float]] = {side: [] for side in sides}
        for _ in range(options.rounds):
            for side, path in sides.items():
                command = [sys.executable, str(Path(__file__).resolve()), "--one", size]
                command += ["--without"] if side == "before" and options.before is None else []
                environment = {**os.environ, "PYTHONPATH": str(path.resolve()), "OMP_NUM_THREADS": "1"}
                done = subprocess.run(command, env=environment, cwd=path, check=True, capture_output=True, text=True)
                seconds[side].append(float(done.stdout))
        best = {side: min(values) for side, values in seconds.items()}
        found[size] = {
            **{side: round(value, 4) for side, value in best.items()},
            "ratio": round(best["now"] / best["before"], 3),
        }
        print(size, found[size], flush=True)
        result = {"before": before, "cells": CELLS, "rounds": options.rounds, "seconds a cell": found}
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def _revision(checkout: Path) -> str:
    command = ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    main()
