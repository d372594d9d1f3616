"""Checks of what every trainer is given."""

from __future__ import annotations

import math

import numpy as np

from trainers.base import IntArray, TrainingCell
from trainers.errors import InputError


def check_indices(labels: IntArray, batches: IntArray, rows: int) -> None:
    """Raise InputError unless class and bio-batch indices are (rows,) and 0 or more."""
    for name, values in (("labels", labels), ("batches", batches)):
        if values.shape != (rows,):
            raise InputError(f"{name}: shape {values.shape} does not fit the screen's {rows} rows")
        if values.min() < 0:
            raise InputError(f"{name}: {values.min()} at row {int(values.argmin())}; indices must be 0 or more")


def check_cell(cell: TrainingCell, labels: IntArray, batches: IntArray, *, adversary: bool) -> None:
    """Raise InputError, naming the cell, for dials out of range or rows it cannot train on."""
    where = f"cell {cell.key}"
    if not (math.isfinite(cell.adversarial_weight) and cell.adversarial_weight >= 0.0):
        raise InputError(f"{where}: adversarial weight {cell.adversarial_weight} must be finite and at least 0")
    if not 0.0 <= cell.margin < math.pi / 2:
        raise InputError(f"{where}: margin {cell.margin} must be in [0, π/2) radians")
    if cell.seed < 0:
        raise InputError(f"{where}: seed {cell.seed} must be 0 or more")
    for name, rows in (("train", cell.train), ("validation", cell.validation)):
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(labels):
            raise InputError(f"{where}: {name} rows must be in 0 … {len(labels) - 1}")
    if np.intersect1d(cell.train, cell.validation).size:
        raise InputError(f"{where}: rows {np.intersect1d(cell.train, cell.validation)[:3]} are in train and validation")
    if len(np.unique(labels[cell.train])) < 2:
        raise InputError(f"{where}: its {len(cell.train)} training rows hold fewer than 2 classes")
    own = batches if cell.batches is None else cell.batches
    if adversary and cell.adversarial_weight > 0.0 and len(np.unique(own[cell.train])) < 2:
        raise InputError(f"{where}: one training bio-batch leaves nothing to remove; only λ = 0 can train on it")


__all__ = ["check_cell", "check_indices"]
