"""A small simulated screen: classes as offsets, bio-batches as shifts and scalings, noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from trainers.abra.abra_settings import AbraSettings
from trainers.abra.profile_pack import AbraPack
from trainers.base import FloatArray, IntArray, TrainingCell


@dataclass(frozen=True, eq=False)
class Simulated:
    features: FloatArray
    labels: IntArray
    batches: IntArray

    def cell(
        self,
        strength: float = 0.0,
        margin: float = 0.0,
        seed: int = 0,
        train: IntArray | None = None,
        validation: IntArray | None = None,
    ) -> TrainingCell:
        return TrainingCell(
            key=f"{strength}-{margin}-{seed}",
            adversarial_weight=strength,
            margin=margin,
            seed=seed,
            train=np.arange(0, 240) if train is None else train,
            validation=np.arange(240, 300) if validation is None else validation,
        )

    def pack(self, cells: list[TrainingCell], settings: AbraSettings) -> AbraPack:
        return AbraPack(self.features, self.labels, self.batches, cells, settings, threads=1)


@pytest.fixture(scope="session")
def simulated() -> Simulated:
    rng = np.random.default_rng(7)
    rows, width, classes, batches = 360, 21, 5, 6
    labels = rng.permutation(np.arange(rows) % classes)
    origin = rng.permutation(np.arange(rows) % batches)
    x = rng.standard_normal((rows, width)) + 1.2 * rng.standard_normal((classes, width))[labels]
    x = x * np.exp(0.2 * rng.standard_normal((batches, width)))[origin] + rng.standard_normal((batches, width))[origin]
    return Simulated(x.astype(np.float32), labels.astype(np.int64), origin.astype(np.int64))


@pytest.fixture(scope="session")
def short() -> AbraSettings:
    """A training of 60 steps that reaches every schedule's plateau."""
    return AbraSettings(steps=60, hidden_widths=(24,), embedding_dim=12, groups=4, items=6, curve_every=20)
