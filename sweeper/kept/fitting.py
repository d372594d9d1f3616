"""Cells fitted once more, to be kept: the same trainer and settings, on rows of our choosing, in this process."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sweeper.config.sweep_config import SweepConfig
from sweeper.errors import InputError, SweepFailedError
from trainers.base import FloatArray, Inputs, IntArray, Pack, TrainingCell
from trainers.errors import OutOfMemoryError
from trainers.screens.splits import make_split

CHUNKS = 8
NOTHING = np.empty(0, np.int64)


@dataclass(frozen=True, eq=False)
class UsedRows:
    """Rows that a refit learns from, those it only looks at, and in words why these."""

    train: IntArray
    validation: IntArray
    why: str


def rows_of_use(config: SweepConfig, wells: pd.DataFrame, seed: int) -> UsedRows:
    """The wells that the declared use lets a model learn from: all of them, but the test part of a published split.

    Wells that early stopping looks at stay out of training.
    """
    spec = next(view for view in config.views if view.view == config.decision.deciding_view)
    stops = config.how.stops_early(config.trainer_settings)
    everything = np.arange(len(wells))
    if spec.view == "official":
        split = make_split(wells, spec, fold=0, seed=seed)
        why = f"all wells that the published split {spec.column!r} lets one learn from"
        if stops:
            return UsedRows(split.train, split.validation, why)
        return UsedRows(np.sort(np.concatenate([split.train, split.validation])), NOTHING, why)
    why = "all wells of the screen"
    if not stops:
        return UsedRows(everything, NOTHING, why)
    validation = make_split(wells, spec, fold=0, seed=seed).validation
    return UsedRows(np.setdiff1d(everything, validation), validation, f"{why} but those early stopping looks at")


def cell_on(rows: UsedRows, *, wells: int, key: str, strength: tuple[float, float], seed: int) -> TrainingCell:
    """A cell that learns from these rows; all others of the screen's `wells` are only embedded."""
    used = np.concatenate([rows.train, rows.validation])
    return TrainingCell(
        key=key,
        adversarial_weight=strength[0],
        margin=strength[1],
        seed=seed,
        train=rows.train,
        validation=rows.validation,
        test=np.setdiff1d(np.arange(wells), used),
    )


def fit(
    config: SweepConfig,
    inputs: Inputs,
    cells: Sequence[TrainingCell],
    *,
    tick: Callable[[], None] = lambda: None,
) -> Pack:
    """The cells, trained together on this machine.

    Args:
        tick: called between chunks of training; may raise, to end it.

    Raises:
        SweepFailedError: a cell diverged, or does not fit into memory.
        InputError: cells that the trainer refuses.
    """
    settings = config.trainer_settings
    try:
        pack = config.how.pack(inputs, cells, settings, device=_device(config), threads=len(os.sched_getaffinity(0)))
        while pack.step < pack.total_steps:
            tick()
            pack.advance(max(1, -(-pack.total_steps // CHUNKS)))
    except OutOfMemoryError as error:
        raise SweepFailedError(str(error)) from None
    for index, cell in enumerate(cells):
        if (reason := pack.diverged(index)) is not None:
            raise SweepFailedError(
                f"{config.trainer} at {cell.adversarial_weight:g} / {cell.margin:g} seed {cell.seed}: {reason}"
            )
    return pack


def _device(config: SweepConfig) -> str:
    """A GPU where the sweep's packs had one and this process sees one."""
    if not config.executor.gpus_per_pack:
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def refuse_unkept(config: SweepConfig) -> None:
    """Raise InputError where fitted cells of the sweep's trainer cannot be kept."""
    if (why := config.how.not_kept(config.trainer_settings)) is not None:
        raise InputError(f"{config.trainer} cannot be kept: {why}")
    if config.normalise == "screen":
        raise InputError("normalise: screen standardises by the screen itself; a model is kept with plate or batch")


def embedded(pack: Pack, index: int, rows: int) -> FloatArray:
    """(rows, e) embeddings of the whole screen by a fitted cell."""
    return pack.embed(index, np.arange(rows))


__all__ = ["UsedRows", "cell_on", "embedded", "fit", "refuse_unkept", "rows_of_use"]
