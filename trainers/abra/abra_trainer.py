"""ABRA on profiles, as a sweep knows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from trainers.abra.abra_dials import MARGIN, WEIGHT, check_adversarial_rung
from trainers.abra.abra_settings import AbraSettings
from trainers.base import Inputs, TrainingCell
from trainers.trainer import Trainer

if TYPE_CHECKING:
    from trainers.abra.profile_pack import AbraPack


class AbraTrainer(Trainer):
    """The ABRA reconstruction: an encoder of profiles with an angular margin and an adversary."""

    name = "abra"
    summary = "the ABRA reconstruction, an encoder of profiles"
    settings = AbraSettings
    dials = (WEIGHT, MARGIN)
    classifies = True
    embeds_features = True

    def pack(
        self,
        inputs: Inputs,
        cells: Sequence[TrainingCell],
        settings: AbraSettings,
        *,
        device: str = "cpu",
        threads: int = 1,
    ) -> AbraPack:
        """K cells as stacked parameters."""
        from trainers.abra.profile_pack import AbraPack

        assert inputs.features is not None  # noqa: S101 - what it reads
        return AbraPack(inputs.features, inputs.labels, inputs.batches, cells, settings, device=device, threads=threads)

    def check_rung(self, changes: Mapping[str, Any], strengths: Sequence[tuple[float, float]]) -> None:
        """Refuse an adversary without a weight."""
        check_adversarial_rung(changes, strengths)

    def not_kept(self, settings: AbraSettings) -> None:
        """It can be: an encoder is a few matrices."""

    def stops_early(self, settings: AbraSettings) -> bool:
        """With a patience."""
        return settings.early_stopping > 0

    def width(self, settings: AbraSettings) -> int:
        """Of the embedding."""
        return settings.embedding_dim
