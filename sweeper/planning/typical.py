"""About how long a cell takes: figures measured once, scaled by this machine's speed. Nothing heavy is imported.

`benchmarks/typical_seconds.py` writes the figures: cells of the first trainer at its default settings, and the default
panel, over sizes. Between sizes they are interpolated on logarithmic axes; what they do not cover is timed instead.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from sweeper.config.sweep_config import SweepConfig
from sweeper.metrics.catalogue import IN_SWEEP
from sweeper.planning.cells import panel_names

FIGURES = Path(__file__).with_name("typical_seconds.json")


def seconds_of_work(clock: Callable[[], float] = time.perf_counter) -> float:
    """Of a small fixed piece of NumPy work, half of it products and half overhead: the best of five."""
    square, short = np.ones((256, 256), dtype=np.float32), np.ones(64, dtype=np.float32)
    best = np.inf
    for _ in range(5):
        began = clock()
        for _ in range(8):
            square @ square
        for _ in range(4000):
            short + short
        best = min(best, clock() - began)
    return float(best)


def typical_training(config: SweepConfig, *, features: int, cells: int) -> float | None:
    """Worker seconds of one of the `cells` of a pack; None where the settings or the trainer are others."""
    known = _figures()["training"]
    if config.trainer != known["trainer"] or config.ladder is not None:
        return None
    given, usual = (settings.model_dump() for settings in (config.trainer_settings, type(config.trainer_settings)()))
    if {**given, "steps": usual["steps"]} != usual:
        return None
    return _at(known, features, cells) * float(given["steps"]) / float(known["steps"]) * _slowness()


def typical_score(config: SweepConfig, *, rows: int, width: int) -> float | None:
    """Seconds in which `rows` embeddings are scored; None where the panel is another."""
    if set(panel_names(config)) != set(IN_SWEEP):
        return None
    return _at(_figures()["score"], rows, width) * _slowness()


@cache
def _figures() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(FIGURES.read_text(encoding="utf-8"))
    return found


@cache
def _slowness() -> float:
    """How many times as long as where the figures were measured the fixed work takes here."""
    return seconds_of_work() / float(_figures()["seconds_of_work"])


def _at(known: dict[str, Any], first: int, second: int) -> float:
    """Seconds at two sizes; beyond the largest `first` that was measured in proportion to it."""
    rows, columns = (np.asarray(known[name], dtype=np.float64) for name in known["sizes"])
    line = [np.interp(np.log(second), np.log(columns), np.log(row)) for row in known["seconds"]]
    return float(np.exp(np.interp(np.log(first), np.log(rows), line)) * max(1.0, first / rows[-1]))


__all__ = ["FIGURES", "seconds_of_work", "typical_score", "typical_training"]
