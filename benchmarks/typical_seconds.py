"""Seconds of a default cell and of the default panel over sizes, for the estimate of `sweeper plan`.

    make benchmark-typical      (three minutes of one core)

Written into the package, sweeper/planning/typical_seconds.json, with the seconds of a small fixed piece of work on the
same core: elsewhere the figures are scaled by what that takes there.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sweeper.config.sweep_config import SweepConfig, build_config
from sweeper.planning.cells import Cell, make_packs
from sweeper.planning.estimate import timed_score, timed_training
from sweeper.planning.prepared import Prepared, prepare
from sweeper.planning.typical import FIGURES, seconds_of_work
from trainers.abra.abra_settings import AbraSettings
from trainers.screens.table import Screen

FEATURES, CELLS = (32, 128, 512, 2048), (1, 4, 16, 64)
ROWS, WIDTHS = (400, 1600, 6400), (16, 64, 256)


def screen(rows: int, features: int) -> Prepared:
    """A simulated screen, half of whose plates are scored, with everything else as it is by default."""
    wells = 96 if rows < 4 * 384 else 384
    plates = max(2, round(2 * rows / wells / 4))
    data = {
        "name": "typical",
        "folder": "build/typical",
        "simulate": {
            "batches": 4, "plates_per_batch": plates, "wells_per_plate": wells, "features": features,
            "perturbations": 40, "targets": 10, "seed": 1,
        },
        "views": [{"view": "held_out_plates", "fraction": 0.5}],
        "strengths": {"adversarial_weight": {"low": 0.1, "high": 100, "count": 63}, "margin": [0.2]},
    }  # fmt: skip
    return prepare(build_config(data, "typical"))


def cells_of(prepared: Prepared, count: int) -> tuple[Cell, ...]:
    """A pack of trained cells, with the largest λ among them."""
    trained = [cell for cell in prepared.known_cells() if not cell.is_control]
    trained = sorted(trained, key=lambda cell: -(cell.adversarial_weight or 0.0))[:count]
    return make_packs(trained, workers=1, pack_size=count)[0].cells


def seconds_of_score(prepared: Prepared, width: int) -> float:
    """Of embeddings of `width` dimensions: the screen's features, then noise."""
    rows = np.random.default_rng(0).standard_normal((len(prepared.screen.wells), width), dtype=np.float32)
    rows[:, :16] += prepared.screen.features[:, :16]
    embedded = Screen(rows, tuple(f"f{number}" for number in range(width)), prepared.screen.wells)
    wide = prepared.config.model_copy(update={"abra": AbraSettings(embedding_dim=width)})
    return timed_score(replace(prepared, screen=embedded, config=wide), cells_of(prepared, 1)[0], time.process_time)


def rounded(table: Sequence[Sequence[float]]) -> list[list[float]]:
    """To three digits."""
    return [[float(f"{value:.3g}") for value in row] for row in table]


def main() -> None:
    """Measure and write."""
    import torch

    torch.set_num_threads(1)
    speeds = [seconds_of_work(time.process_time)]
    training = []
    for features in FEATURES:
        prepared = screen(1600, features)
        training.append([timed_training(prepared, cells_of(prepared, count), time.process_time) for count in CELLS])
        print("training", features, [round(found, 3) for found in training[-1]], flush=True)
        speeds.append(seconds_of_work(time.process_time))
    scores, rows_found = [], []
    for rows in ROWS:
        prepared = screen(rows, 64)
        rows_found.append(len(prepared.splits.of(cells_of(prepared, 1)[0]).test))
        scores.append([seconds_of_score(prepared, width) for width in WIDTHS])
        print("score", rows_found[-1], [round(found, 3) for found in scores[-1]], flush=True)
        speeds.append(seconds_of_work(time.process_time))
    config: SweepConfig = prepared.config
    document = {
        "schema": "typical_seconds/1",
        "seconds_of_work": round(statistics.median(speeds), 5),
        "training": {
            "trainer": config.trainer,
            "steps": config.trainer_settings.steps,  # type: ignore[attr-defined]
            "sizes": ["features", "cells"],
            "features": FEATURES,
            "cells": CELLS,
            "seconds": rounded(training),
        },
        "score": {
            "sizes": ["rows", "width"],
            "rows": rows_found,
            "width": WIDTHS,
            "seconds": rounded(scores),
        },
    }
    FIGURES.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
