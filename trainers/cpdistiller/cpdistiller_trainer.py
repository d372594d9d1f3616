"""cpDistiller on profiles, as a sweep knows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from trainers.base import Inputs, TrainingCell
from trainers.cpdistiller.cpdistiller_settings import CpDistillerSettings
from trainers.trainer import Dial, Spaced, Trainer

if TYPE_CHECKING:
    from trainers.cpdistiller.cpdistiller_pack import CpDistillerPack

WEIGHT = Dial(name="adversary weight", symbol="λ", published=1.0, grid=Spaced(low=0.01, high=100.0, count=9))
TRIPLETS = Dial(name="triplet weight", symbol="w", none=None, published=1.0, grid=(1.0,))


class CpDistillerTrainer(Trainer):
    """cpDistiller: a mixture autoencoder whose latent hides batch, row and column from discriminators."""

    name = "cpdistiller"
    embeds_features = True
    summary = "cpDistiller, a mixture autoencoder of profiles against batch, row and column"
    settings = CpDistillerSettings
    dials = (WEIGHT, TRIPLETS)

    def pack(
        self,
        inputs: Inputs,
        cells: Sequence[TrainingCell],
        settings: CpDistillerSettings,
        *,
        device: str = "cpu",
        threads: int = 1,
    ) -> CpDistillerPack:
        """K cells as stacked parameters; neighbours are kept from one pack to the next."""
        from trainers.cpdistiller.cpdistiller_pack import CpDistillerPack

        return CpDistillerPack(inputs, cells, settings, device=device, threads=threads)

    def reads_batches(self, settings: CpDistillerSettings) -> bool:
        """Row and column stay where they are whatever the batch is called."""
        return "batch" in settings.effects

    def not_kept(self, settings: CpDistillerSettings) -> None:
        """It can be: the mean of the latent needs an encoder alone."""

    def try_out(self, inputs: Inputs, settings: CpDistillerSettings) -> None:
        """Refuse a screen without positions, or with one level of an effect."""
        import numpy as np

        from trainers.cpdistiller.levels import check_levels, effect_codes

        codes = effect_codes(inputs.wells, inputs.batches, settings.effects)
        check_levels(codes, np.arange(len(inputs.wells)), "screen")

    def width(self, settings: CpDistillerSettings) -> int:
        """Of the latent."""
        return settings.embedding_dim


__all__ = ["CpDistillerTrainer"]
