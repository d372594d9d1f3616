"""A small simulated screen with batches, plate rows and columns, and a short training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest

from trainers.base import FloatArray, Inputs, IntArray, TrainingCell
from trainers.cpdistiller.cpdistiller_pack import CpDistillerPack
from trainers.cpdistiller.cpdistiller_settings import CpDistillerSettings
from trainers.screens.positions import well_name


@dataclass(frozen=True, eq=False)
class Plates:
    inputs: Inputs

    @property
    def features(self) -> FloatArray:
        assert self.inputs.features is not None
        return self.inputs.features

    def cell(self, strength: float = 1.0, triplets: float = 1.0, seed: int = 0, **parts: Any) -> TrainingCell:
        train: IntArray = parts.pop("train", np.arange(0, 200))
        return TrainingCell(
            key=f"{strength}-{triplets}-{seed}",
            adversarial_weight=strength,
            margin=triplets,
            seed=seed,
            train=train,
            validation=np.arange(0),
            **parts,
        )

    def pack(self, cells: list[TrainingCell], settings: CpDistillerSettings) -> CpDistillerPack:
        return CpDistillerPack(self.inputs, cells, settings, threads=1)


@pytest.fixture(scope="session")
def plates() -> Plates:
    """3 batches of 2 plates of 6 × 8 wells; a sixth of the wells are negative controls."""
    rng = np.random.default_rng(11)
    batch, plate, row, column = (part.ravel() for part in np.indices((3, 2, 6, 8)))
    count, width = len(batch), 24
    treatment = rng.integers(0, 6, count)
    x = rng.standard_normal((count, width)) + 1.5 * rng.standard_normal((6, width))[treatment]
    x += 3.0 * rng.standard_normal((3, width))[batch] + 1.5 * np.outer(row - 2.5, rng.standard_normal(width))
    x += 0.2 * np.outer(column, rng.standard_normal(width))
    wells = pd.DataFrame(
        {
            "batch": [f"B{number}" for number in batch],
            "plate": [f"P{number}" for number in 2 * batch + plate],
            "well": [well_name(r + 1, c + 1) for r, c in zip(row, column, strict=True)],
            "row": pd.array(row + 1, dtype="Int64"),
            "column": pd.array(column + 1, dtype="Int64"),
            "perturbation": [f"t{number}" for number in treatment],
            "control_type": np.where(treatment == 0, "negative", "treatment"),
        }
    )
    order = rng.permutation(count)
    return Plates(Inputs(wells=wells.iloc[order].reset_index(drop=True), features=x[order].astype(np.float32)))


@pytest.fixture(scope="session")
def small() -> CpDistillerSettings:
    return CpDistillerSettings(
        hidden_width=16,
        embedding_dim=5,
        categories=4,
        discriminator_width=8,
        components=6,
        mini_batch=64,
        epochs=4,
        learning_rate=5e-3,
        curve_every=5,
    )
