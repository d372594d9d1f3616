"""How long missing cells will take: from finished cells of the sweep, else typical figures, else a few real steps."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sweeper.arms.ladder import cell_config
from sweeper.config.sections import ExecutorOptions
from sweeper.planning.cells import Cell, make_packs
from sweeper.planning.images import open_images
from sweeper.planning.inputs import trainer_inputs
from sweeper.planning.prepared import Prepared
from sweeper.planning.typical import typical_score, typical_training
from sweeper.store.store import Store
from trainers.screens.table import Screen

START_SECONDS = 15.0
"""Ray and the workers' imports, once a sweep, on two cores."""
OUTPUT_SECONDS = 5.0
"""Decisions and the report."""
MIRROR_START_SECONDS, MIRROR_SECONDS = 10.0, 0.06
"""MLflow's imports and database, once, and a cell's run with 24 metrics, a curve and a file: CPU seconds on SQLite."""
STAND_IN_WIDTH = 512
"""Dimension of an embedding that has none of its own, for timing its scores."""


def local_workers(options: ExecutorOptions) -> int:
    """Packs that run at once on this machine alone."""
    return max(1, int((os.cpu_count() or 1) / options.cpus_per_pack))


def finished_seconds(store: Store) -> tuple[float, float] | None:
    """Worker seconds of a trained cell, and of scoring alone, on average; None where no trained cell is finished."""
    finished: list[dict[str, float]] = [store.record(cell_id)["seconds"] for cell_id in store.finished()]
    trained = [seconds for seconds in finished if seconds.get("train") and "score" in seconds]
    if not trained:
        return None
    score = sum(seconds["score"] for seconds in trained) / len(trained)
    return sum(seconds["train"] for seconds in trained) / len(trained) + score, score


def _seconds_a_cell(prepared: Prepared, cells: Sequence[Cell]) -> tuple[float, float]:
    """Worker seconds of a trained cell, and of scoring alone."""
    known = finished_seconds(prepared.store)
    if known is not None:
        return known
    config = prepared.config
    width = config.how.width(config.trainer_settings) or prepared.screen.features.shape[1]
    score = typical_score(config, rows=len(prepared.splits.of(cells[0]).test), width=width)
    if score is None:
        score = timed_score(prepared, cells[0])
    train = typical_training(config, features=prepared.screen.features.shape[1], cells=len(cells))
    return (timed_training(prepared, cells) if train is None else train) + score, score


def timed_training(prepared: Prepared, cells: Sequence[Cell], clock: Callable[[], float] = time.perf_counter) -> float:
    """Worker seconds of a cell of the pack, by a few real steps and a clock."""
    from sweeper.running.worker import training_cell  # heavy

    wells = prepared.screen.wells
    how = prepared.config.how
    if how.one_at_a_time:  # a single cell tells, and one that corrects is the slow kind
        cells = [max(cells, key=lambda cell: cell.adversarial_weight or 0.0)]
    sample = [training_cell(cell, prepared.splits.of(cell), wells) for cell in cells]
    settings = cell_config(prepared.config, cells[0]).trainer_settings
    pack = how.pack(trainer_inputs(prepared.config, prepared.screen, prepared.images), sample, settings)
    warm, steps = how.trial_steps
    pack.advance(warm)  # the first steps pay for warming up
    began = clock()
    pack.advance(steps)
    return (clock() - began) / steps * pack.total_steps / len(sample)


def timed_score(prepared: Prepared, cell: Cell, clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds of a cell's scores, those of as many features in the place of its embeddings."""
    from sweeper.planning.cells import panel_names
    from sweeper.running.scoring import score

    split = prepared.splits.of(cell)
    features = prepared.screen.features[:, : prepared.config.how.width(prepared.config.trainer_settings)]
    seconds = 0.0
    for _ in range(2):  # the first call pays for imports
        began = clock()
        score(
            lambda rows: features[rows],
            split,
            prepared.screen.wells,
            cell=cell,
            names=panel_names(prepared.config),
            options=prepared.config.panel,
        )
        seconds = clock() - began
    return seconds


def _embedding_seconds(prepared: Prepared) -> float:
    """Of a frozen backbone over images whose features are not on disk; 0 where nothing is to be embedded."""
    frozen = prepared.config.frozen
    if frozen is None or prepared.store.folder.joinpath("screen").exists():
        return 0.0
    return frozen.seconds(open_images(prepared.config).images)


def _with_features(prepared: Prepared) -> Prepared:
    """With random numbers in the place of features that a dry run does not make: they take as long."""
    if prepared.screen.features.shape[1]:
        return prepared
    frozen, config = prepared.config.frozen, prepared.config
    if frozen is not None:
        width = frozen.width(open_images(config).images)
    else:
        width = config.how.width(config.trainer_settings) or STAND_IN_WIDTH
    wells = prepared.screen.wells
    features = np.random.default_rng(0).standard_normal((len(wells), width), dtype=np.float32)
    return replace(prepared, screen=Screen(features, tuple(f"f{number}" for number in range(width)), wells))


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Wall seconds by what they are spent on; what runs beside the workers takes their cores."""

    embedding: float
    """Features of the images, by a frozen backbone, where they are not made yet."""
    training: float
    """Training and scoring of the missing cells that are known already."""
    controls: float
    rounds: float
    """The same for rounds that are yet to be proposed, at their most."""
    mirror: float
    rest: float
    """Ray's start, decisions and the report."""

    @property
    def total(self) -> float:
        """All of it."""
        return self.embedding + self.training + self.controls + self.rounds + self.mirror + self.rest


def estimate(prepared: Prepared, missing: Sequence[Cell], *, further: int, workers: int) -> Estimate:
    """How long `missing` and up to `further` trained cells of later rounds will take on `workers` workers."""
    trained = [cell for cell in missing if not cell.is_control]
    controls = [cell for cell in missing if cell.is_control]
    embedding = _embedding_seconds(prepared)
    prepared = _with_features(prepared)
    sample = trained or [cell for cell in prepared.known_cells() if not cell.is_control]
    packs = make_packs(
        sample,
        workers=workers,
        pack_size=prepared.config.pack_size,
        training_batches=prepared.batches_of(sample),
    )
    # the pack with the largest λ: λ = 0, and a ladder's rungs without an adversary, train faster
    slow = max(packs, key=lambda pack: max(cell.adversarial_weight or 0.0 for cell in pack.cells))
    a_cell, a_score = _seconds_a_cell(prepared, slow.cells)
    count = len(missing) + further
    mirror = MIRROR_START_SECONDS + MIRROR_SECONDS * count if prepared.config.tracking.enabled and count else 0.0
    return Estimate(
        embedding=embedding,
        training=a_cell * len(trained) / workers,
        controls=a_score * len(controls) / workers,
        rounds=a_cell * further / workers,
        mirror=mirror / workers,
        rest=(START_SECONDS if count else 0.0) + OUTPUT_SECONDS,
    )
