"""A tiny simulated image screen: a blob pattern per class, stain and brightness per bio-batch, noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from trainers.base import Images, IntArray, TrainingCell
from trainers.images.image_pack import ImagePack
from trainers.images.image_settings import ImageAbraSettings

CLASSES, BATCHES, SIDE, CHANNELS = 4, 4, 32, 3


@dataclass(frozen=True, eq=False)
class SimulatedImages:
    images: Images
    labels: IntArray
    batches: IntArray

    def cell(
        self, strength: float = 0.0, margin: float = 0.0, seed: int = 0, train: IntArray | None = None
    ) -> TrainingCell:
        return TrainingCell(
            key=f"{strength}-{margin}-{seed}",
            adversarial_weight=strength,
            margin=margin,
            seed=seed,
            train=np.arange(96) if train is None else train,
            validation=np.empty(0, np.int64),
        )

    def pack(self, cells: list[TrainingCell], settings: ImageAbraSettings) -> ImagePack:
        return ImagePack(self.images, self.labels, self.batches, cells, settings, threads=1)


@pytest.fixture(scope="session")
def screen() -> SimulatedImages:
    rng = np.random.default_rng(3)
    count = 144
    labels = rng.permutation(np.arange(count) % CLASSES)
    batches = rng.permutation(np.arange(count) % BATCHES)
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    frequency = 2 * np.pi * np.array([1, 2, 4, 8])
    # a class is a texture's frequency and channel: the same under flips and rotations
    texture = np.stack([np.sin(f * x) * np.sin(f * y) for f in frequency])
    colour = rng.random((CLASSES, CHANNELS)) + 0.5
    stain = rng.uniform(0.6, 1.4, (BATCHES, CHANNELS))
    z = texture[labels][:, None] * colour[labels][..., None, None] + 0.4 * rng.standard_normal((count, 3, SIDE, SIDE))
    raw = 110 + 35 * z * stain[batches][..., None, None] + 12 * batches[:, None, None, None]
    return SimulatedImages(np.clip(raw, 0, 255).astype(np.uint8), labels.astype(np.int64), batches.astype(np.int64))


@pytest.fixture(scope="session")
def tiny() -> ImageAbraSettings:
    """A training of 8 steps of timm's smallest ResNet."""
    return ImageAbraSettings(
        backbone="test_resnet",
        embedding_dim=16,
        steps=8,
        groups=3,
        items=4,
        precision="fp32",
        curve_every=4,
        learning_rate_warmup=0.1,
        embedding_rows=64,
    )
