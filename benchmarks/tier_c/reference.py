"""The dense reference sweep: every strength with every seed, trained and scored as a sweep trains and scores them.

One seed at a time, each a file: a stop loses the seed in hand alone. The trainer is `AbraPack`, the splits, the gate,
the metrics and the sham arm's permutation are the product's own; only Ray and the store are left out.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.tier_c.screens import METRICS, SHAM_PLACES, STRENGTHS, VIEW, Study
from sweeper.arms.arm import Arm, read_name
from sweeper.decision.input.results_table import LABEL_SHUFFLED
from sweeper.metrics.controls import control_embedding
from sweeper.metrics.registry import REGISTRY, decisive
from sweeper.planning.cells import Cell, control_cells, make_cells
from sweeper.planning.drawn_splits import DrawnSplits
from sweeper.planning.inputs import trainer_inputs
from sweeper.running.scoring import Scored, cell_record, score
from sweeper.running.worker import training_cell
from sweeper.store.results import tidy

Records = list[dict[str, Any]]


def cells(study: Study, seed: int) -> tuple[Cell, ...]:
    """What is trained with one seed: the dense sweep, and the sham arm."""
    margin, trainer, one = study.case.margin, study.config.trainer, {VIEW: 1}
    sham = [(STRENGTHS[0], margin), *((STRENGTHS[place + 1], margin) for place in SHAM_PLACES)]
    return (
        *make_cells(study.sweep_id, trainer, [(strength, margin) for strength in STRENGTHS], (seed,), one),
        *make_cells(study.sweep_id, trainer, sham, (seed,), one, arm=Arm.SHAM),
    )


def train_seed(study: Study, seed: int) -> Records:
    """The result records of one seed's cells, and of its label-shuffled control."""
    config, screen = study.config, study.screen
    planned = cells(study, seed)
    split = DrawnSplits(config, screen.wells).of(planned[0])
    began = time.perf_counter()
    own = [training_cell(cell, split, screen.wells) for cell in planned]
    pack = config.how.pack(trainer_inputs(config, screen), own, config.trainer_settings)
    pack.advance(pack.total_steps)
    training = (time.perf_counter() - began) / len(planned)
    records = []
    for index, cell in enumerate(planned):
        began = time.perf_counter()
        failed = pack.diverged(index)
        scored = (
            score(
                lambda rows, index=index: pack.embed(index, rows),
                split,
                screen.wells,
                cell=cell,
                names=METRICS,
                options=config.panel,
            )
            if failed is None
            else Scored(status="failed", reason=failed)
        )
        seconds = {"train": training, "score": time.perf_counter() - began}
        records.append(_record(cell, scored, seconds, len(planned)))
    control = next(cell for cell in control_cells(study.sweep_id, (seed,), {VIEW: 1}) if cell.trainer == LABEL_SHUFFLED)
    shuffled = control_embedding(
        read_name(control.trainer).trainer,
        np.asarray(screen.features),
        screen.wells,
        train_rows=split.train,
        seed=seed,
    )
    scored = score(lambda rows: shuffled[rows], split, screen.wells, cell=control, names=METRICS, options=config.panel)
    return [*records, _record(control, scored, {}, len(planned))]


def _record(cell: Cell, scored: Scored, seconds: dict[str, float], count: int) -> dict[str, Any]:
    return cell_record(
        cell, status=scored.status, reason=scored.reason, metrics=scored.rows, seconds=seconds, pack_cells=count
    )


def train(folder: Path, study: Study, seeds: int, until: float) -> bool:
    """Train what is missing; whether all of it is there."""
    for seed in range(seeds):
        path = _path(folder, study, seed)
        if path.exists():
            continue
        if time.monotonic() > until:
            return False
        records = train_seed(study, seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_text(json.dumps(records), encoding="utf-8")
        part.replace(path)
        print(f"{study.case.title}: seed {seed + 1} of {seeds}", flush=True)
    return True


def finished(folder: Path, study: Study, seeds: int) -> Iterator[Records]:
    """The records of each seed that is there."""
    for seed in range(seeds):
        path = _path(folder, study, seed)
        if path.exists():
            yield json.loads(path.read_text(encoding="utf-8"))


def table(folder: Path, study: Study, seeds: int) -> pd.DataFrame:
    """The tidy table of the reference sweep, as a sweep's results.parquet has it."""
    primary = decisive(METRICS)
    panel = [{"metric": name, "role": REGISTRY[name].role, "primary": name in primary} for name in METRICS]
    records = [record for of_seed in finished(folder, study, seeds) for record in of_seed]
    return tidy(records, panel)


def _path(folder: Path, study: Study, seed: int) -> Path:
    return folder / f"{study.name}-{study.sweep_id}" / f"seed-{seed:02d}.json"
