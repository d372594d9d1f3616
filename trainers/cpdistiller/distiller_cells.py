"""What a cell may be, and the neighbours that its triplets are drawn from."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping

import numpy as np

from trainers.base import Inputs, IntArray, TrainingCell
from trainers.cpdistiller.cpdistiller_settings import CpDistillerSettings
from trainers.cpdistiller.levels import check_levels
from trainers.cpdistiller.neighbour_pairs import neighbour_pairs, principal_components
from trainers.cpdistiller.triplets import Triplets
from trainers.errors import InputError
from trainers.screens.normalise import location_and_scale

_KEPT = "cpdistiller triplets "
_MOST_KEPT = 16  # a set of neighbours takes megabytes, and seeds, folds and arms each have their own


def check_distiller_cell(cell: TrainingCell, codes: Mapping[str, IntArray], settings: CpDistillerSettings) -> None:
    """Raise InputError, naming the cell, for rows it cannot train on.

    Args:
        codes: effect → (n,) level codes of the screen.
    """
    where, rows = f"cell {cell.key}", len(next(iter(codes.values())))
    for name, setting in zip(("adversary weight", "triplet weight"), cell.dials, strict=True):
        if not (math.isfinite(setting) and setting >= 0.0):
            raise InputError(f"{where}: {name} {setting} must be finite and at least 0")
    if cell.seed < 0:
        raise InputError(f"{where}: seed {cell.seed} must be 0 or more")
    if not len(cell.train) or not 0 <= cell.train.min() <= cell.train.max() < rows:
        raise InputError(f"{where}: {len(cell.train)} training rows; there must be some, in 0 … {rows - 1}")
    check_levels(codes, cell.train, where)
    most = max(settings.between_neighbours, settings.within_neighbours)
    if len(cell.train) <= most + 1:
        raise InputError(
            f"cpdistiller: {where}: {len(cell.train)} training rows are too few for {most} neighbours; train on more "
            "wells, or lower cpdistiller.between_neighbours and within_neighbours"
        )


def triplets_of(
    inputs: Inputs, cell: TrainingCell, codes: Mapping[str, IntArray], settings: CpDistillerSettings
) -> Triplets:
    """The triplets of a cell's training rows; those of equal rows and levels are kept from one pack to the next."""
    digest = hashlib.sha256(settings.model_dump_json().encode())
    for rows in (cell.train, *(own[cell.train] for own in codes.values())):
        digest.update(np.ascontiguousarray(rows, np.int64).tobytes() + b"|")
    key = _KEPT + digest.hexdigest()
    if key not in inputs.kept:
        assert inputs.features is not None  # noqa: S101 - what it reads
        mean, std = location_and_scale(inputs.features[cell.train])
        scaled = ((inputs.features[cell.train] - mean) / std).astype(np.float32)
        pairs = neighbour_pairs(
            principal_components(scaled, settings.components),
            [own[cell.train] for own in codes.values()],
            between=settings.between_neighbours,
            within=settings.within_neighbours,
        )
        for old in [name for name in inputs.kept if name.startswith(_KEPT)][: 1 - _MOST_KEPT]:
            del inputs.kept[old]
        controls = (inputs.wells["control_type"].to_numpy() == "negative")[cell.train]
        inputs.kept[key] = Triplets(pairs, controls, mutual_share=settings.mutual_share)
    found: Triplets = inputs.kept[key]
    return found


__all__ = ["check_distiller_cell", "triplets_of"]
