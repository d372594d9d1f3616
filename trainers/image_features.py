"""Images as a table of profiles: the features of a backbone as it is, or what the pixels alone say.

Heavy imports come with the first image.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from trainers.base import FloatArray, Images
from trainers.images.image_settings import ImageAbraSettings, located_weights


class FrozenBackbone(BaseModel):
    """Every image is embedded once by a backbone as it is; the encoder that is swept reads those features."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    backbone: str = Field(default="resnet50", description="Any timm model name, with or without a tag.")
    weights: str | None = Field(
        default="pretrained",
        description="'pretrained' = timm's weights where they are on disk; the path of a weight file; null = random by "
        "`seed`: a control, not a model.",
    )
    seed: int = Field(default=0, ge=0, description="Seed of a random backbone; of no meaning with weights.")
    precision: Literal["bf16", "fp32"] = Field(default="fp32", description="Autocast of the backbone.")
    device: str = Field(default="cpu", description="Where images are embedded, e.g. cuda.")

    def located(self, folder: Path) -> FrozenBackbone:
        """With a relative weight file taken from `folder`."""
        return self.model_copy(update={"weights": located_weights(self.weights, folder)})

    def identity(self) -> dict[str, Any]:
        """What the features depend on, the weight file by its content.

        Raises:
            InputError: an unknown backbone (the nearest names are offered), or weights that are not on disk.
        """
        from trainers.images.weights import weights_hash

        known = self.model_dump(mode="json", exclude={"device", "seed"})
        return {**known, "weights": weights_hash(self.backbone, self.weights) or f"random, seed {self.seed}"}

    def features(self, images: Images, *, fingerprint: str, folder: Path) -> FloatArray:
        """(n, features) of the whole screen, from a file in `folder` that is made once.

        Raises:
            InputError: images, backbone or weights that do not fit, or too little memory.
        """
        from trainers.images.frozen import frozen_features

        return frozen_features(
            images, self._network, fingerprint=fingerprint, folder=folder, seed=self.seed, device=self.device
        )

    def width(self, images: Images) -> int:
        """How many features `features` would give an image; nothing is embedded. Raises InputError as it does."""
        from trainers.images.frozen import feature_width

        return feature_width(images, self._network)

    def seconds(self, images: Images) -> float:
        """About how long `features` would take for all images; writes nothing."""
        from trainers.images.frozen import embedding_seconds

        return embedding_seconds(images, self._network, device=self.device)

    @property
    def _network(self) -> ImageAbraSettings:
        return ImageAbraSettings(
            backbone=self.backbone, weights=self.weights, precision=self.precision, statistics="none"
        )


def pixel_statistic_names(channels: Sequence[str]) -> tuple[str, ...]:
    """Names of the columns of `pixel_statistics`, channel by channel."""
    from trainers.images.simple import statistic_names

    return statistic_names(channels)


def pixel_statistics(images: Images) -> FloatArray:
    """(n, k) each channel's mean, spread and quantiles."""
    from trainers.images.simple import channel_statistics

    return channel_statistics(images)


__all__ = ["FrozenBackbone", "pixel_statistic_names", "pixel_statistics"]
