"""How long missing cells will take: from finished cells of the same sweep, else from a few real training steps."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from sweeper.config import ExecutorOptions
from sweeper.plan import Cell, cell_split, make_packs
from sweeper.sweep import Prepared
from sweeper.worker import build_pack, training_cell

START_SECONDS = 15.0
"""Ray and the workers' imports, once a sweep, on two cores."""
TRIAL_STEPS = 6


def local_workers(options: ExecutorOptions) -> int:
    """Packs that run at once on this machine alone."""
    return max(1, int((os.cpu_count() or 1) / options.cpus_per_pack))


def _seconds_a_cell(prepared: Prepared, cells: Sequence[Cell]) -> float:
    store = prepared.store
    finished: list[dict[str, float]] = [store.record(cell_id)["seconds"] for cell_id in store.finished()]
    trained = [seconds for seconds in finished if seconds.get("train")]
    if trained:
        return sum(seconds["train"] + seconds["score"] for seconds in trained) / len(trained)
    wells = prepared.screen.wells
    sample = [training_cell(cell, cell_split(prepared.config, wells, cell), wells) for cell in cells]
    pack = build_pack(prepared.config, prepared.screen, sample, device="cpu", threads=1)
    pack.advance(2)  # the first steps pay for warming up
    began = time.perf_counter()
    pack.advance(TRIAL_STEPS)
    step = (time.perf_counter() - began) / TRIAL_STEPS
    return step * pack.total_steps / len(sample) + _seconds_a_score(prepared, cells[0])


def _seconds_a_score(prepared: Prepared, cell: Cell) -> float:
    from sweeper.plan import panel_names
    from sweeper.scoring import score

    split = cell_split(prepared.config, prepared.screen.wells, cell)
    features = prepared.screen.features[:, : prepared.config.abra.embedding_dim]
    seconds = 0.0
    for _ in range(2):  # the first call pays for imports
        began = time.perf_counter()
        score(
            lambda rows: features[rows],
            split,
            prepared.screen.wells,
            cell=cell,
            names=panel_names(prepared.config),
            options=prepared.config.panel,
        )
        seconds = time.perf_counter() - began
    return seconds


def estimate_seconds(prepared: Prepared, missing: Sequence[Cell], *, workers: int) -> float:
    """Wall seconds for the missing cells on `workers` workers; controls are counted as free."""
    trained = [cell for cell in missing if not cell.is_control]
    if not trained:
        return START_SECONDS
    packs = make_packs(
        trained,
        workers=workers,
        pack_size=prepared.config.executor.pack_size,
        training_batches=prepared.batches_of(trained),
    )
    return START_SECONDS + _seconds_a_cell(prepared, packs[0].cells) * len(trained) / workers
