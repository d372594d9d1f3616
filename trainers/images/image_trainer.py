"""ABRA on images, as a sweep knows it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainers.abra.abra_dials import MARGIN, WEIGHT, check_adversarial_rung
from trainers.base import Inputs, TrainingCell
from trainers.images.image_settings import ImageAbraSettings, located_weights
from trainers.trainer import Trainer

if TYPE_CHECKING:
    from trainers.images.image_pack import ImagePack


class ImageTrainer(Trainer):
    """The ABRA reconstruction on a timm backbone; its cells train one after another."""

    name = "abra_images"
    summary = "the ABRA reconstruction on images, a timm backbone"
    settings = ImageAbraSettings
    dials = (WEIGHT, MARGIN)
    reads = "images"
    classifies = True
    one_at_a_time = True
    pack_size = 4  # a pack saves the cells' start-up alone, and a lost worker loses what its cell had trained
    trial_steps = (1, 2)
    sweep_wide = ("backbone", "weights")
    files = ("weights",)

    def pack(
        self,
        inputs: Inputs,
        cells: Sequence[TrainingCell],
        settings: ImageAbraSettings,
        *,
        device: str = "cpu",
        threads: int = 1,
    ) -> ImagePack:
        """Cells with a network each; the images on the device are kept from one pack to the next."""
        from trainers.images.image_pack import ImagePack

        assert inputs.images is not None  # noqa: S101 - what it reads
        made = ImagePack(
            inputs.images,
            inputs.labels,
            inputs.batches,
            cells,
            settings,
            reader=inputs.kept.get(device),
            device=device,
            threads=threads,
        )
        inputs.kept[device] = made.reader
        return made

    def identity(self, settings: ImageAbraSettings) -> dict[str, Any]:
        """The settings, with the weight file by its content."""
        from trainers.images.weights import weights_hash

        return {**settings.model_dump(mode="json"), "weights": weights_hash(settings.backbone, settings.weights)}

    def located(self, settings: ImageAbraSettings, folder: Path) -> ImageAbraSettings:
        """A weight file beside the configuration."""
        return settings.model_copy(update={"weights": located_weights(settings.weights, folder)})

    def check(self, settings: ImageAbraSettings, strengths: Iterable[tuple[float, float]]) -> None:
        """A linear head has no margin."""
        margin = max((margin for _, margin in strengths), default=0.0)
        if settings.head == "linear" and margin:
            raise ValueError(f"head: linear has no margin, got {margin:g}; give margin 0")

    def check_rung(self, changes: Mapping[str, Any], strengths: Sequence[tuple[float, float]]) -> None:
        """Refuse an adversary without a weight."""
        check_adversarial_rung(changes, strengths)

    def try_out(self, inputs: Inputs, settings: ImageAbraSettings) -> None:
        """Make one cell's network: a wrong point, size or weight file shows."""
        rows = np.arange(len(inputs.wells))
        cell = TrainingCell(key="trial", adversarial_weight=1.0, margin=0.0, seed=0, train=rows, validation=rows[:0])
        self.pack(inputs, [cell], settings)

    def not_kept(self, settings: ImageAbraSettings) -> str:  # noqa: ARG002
        """Its network is a timm backbone, whose layers are none that a kept model has."""
        return (
            "its backbone has layers that a kept model does not know; `frozen: {backbone: NAME}` with `trainer: abra` "
            "sweeps one that can"
        )

    def width(self, settings: ImageAbraSettings) -> int | None:
        """Of the neck; the backbone's own where there is none."""
        return settings.embedding_dim
