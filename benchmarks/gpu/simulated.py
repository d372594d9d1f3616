"""The screen and the packs that the sections train."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trainers.abra.abra_settings import AbraSettings
from trainers.abra.profile_pack import AbraPack
from trainers.base import TrainingCell

WELLS, FEATURES, BATCHES, PERTURBATIONS, SEED = 1728, 65, 9, 8, 0
STEPS = 500
"""Of a whole training, as the defaults have it."""


@dataclass(frozen=True)
class Screen:
    """Additive phenotype, batch and plate effects in the shape of the real table (`configs/jump_source3.yaml`)."""

    features: NDArray[np.float32]
    wells: pd.DataFrame
    labels: NDArray[np.int64]
    batches: NDArray[np.int64]
    train: NDArray[np.int64]
    test: NDArray[np.int64]


def screen() -> Screen:
    """Half of the plates of every batch are trained on."""
    rng = np.random.default_rng(SEED)
    plates = 2 * BATCHES
    plate = np.arange(WELLS) * plates // WELLS
    batch = plate // 2
    place = np.arange(WELLS) % (WELLS // plates)
    control = place < 8
    label = np.where(control, PERTURBATIONS, place % PERTURBATIONS)
    profile = rng.standard_normal((PERTURBATIONS + 1, FEATURES), np.float32)
    profile[-1] = 0.0
    features = rng.standard_normal((WELLS, FEATURES), np.float32) + profile[label]
    features += rng.standard_normal((BATCHES, FEATURES), np.float32)[batch]
    wells = pd.DataFrame(
        {
            "batch": [f"b{number}" for number in batch],
            "plate": [f"p{number:02d}" for number in plate],
            "well": [f"{chr(65 + number // 12)}{number % 12 + 1:02d}" for number in place],
            "perturbation": [f"c{number}" for number in label],
            "control_type": np.where(control, "negative", "treatment"),
        }
    )
    rows = np.arange(WELLS)
    return Screen(
        features, wells, label.astype(np.int64), batch.astype(np.int64), rows[plate % 2 == 0], rows[plate % 2 == 1]
    )


def cells(count: int, train: NDArray[np.int64]) -> list[TrainingCell]:
    """Strengths and seeds as a sweep has them: every fourth cell another seed, λ = 0 among them."""
    weights = [0.0, 1.0, 10.0, 100.0]
    return [
        TrainingCell(
            key=f"cell {number}",
            adversarial_weight=weights[number % 4],
            margin=0.3 * (number % 8 >= 4),
            seed=number // 4,
            train=train,
            validation=train[:0],
        )
        for number in range(count)
    ]


def pack(found: Screen, count: int, device: str, **settings: Any) -> AbraPack:
    """A pack of so many cells, ready to train."""
    how = AbraSettings.model_validate({"steps": STEPS, **settings})
    return AbraPack(found.features, found.labels, found.batches, cells(count, found.train), how, device=device)


__all__ = ["BATCHES", "FEATURES", "STEPS", "WELLS", "Screen", "cells", "pack", "screen"]
