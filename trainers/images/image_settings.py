"""Every choice of an image training that is fixed over a sweep; the swept dials (λ, m) belong to the cells.

The defaults are the WILDS baselines' recipe on RxRx1 (Koh et al. 2021, arXiv:2012.07421, appendix E.4): ResNet-50, Adam
1e-3, weight decay 1e-5, batch 72, 90 epochs, 5,415 warm-up steps before a cosine, 90° rotations and flips. The critic
beside the worst-case statistics has been compared on profiles alone so far, never on images.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from trainers.abra.abra_settings import AdversarialSettings

MOST_POINTS = 6
PRETRAINED = "pretrained"


def located_weights(weights: str | None, folder: Path) -> str | None:
    """`weights` with the path of a file taken from `folder` where it is relative."""
    if weights in (None, PRETRAINED):
        return weights
    return str((folder / Path(str(weights)).expanduser()).absolute())


class AugmentSettings(BaseModel):
    """What is done to a training image; test images are only standardised."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    flips: bool = Field(default=True, description="Left-right flips, a coin an image.")
    rotations: bool = Field(default=True, description="Rotations by 0, 90, 180 or 270°; images must be square.")
    crop: int | None = Field(default=None, ge=8, description="Side in pixels of a random square crop; null = none.")
    cutmix: float = Field(
        default=0.0,
        ge=0.0,
        le=1.0,
        description="Probability that a mini-batch is mixed by CutMix (arXiv:1905.04899), partners within a bio-batch.",
    )


class ImageAbraSettings(AdversarialSettings):
    """Settings of one image training, the same for every cell of a pack; the objective is AdversarialSettings'."""

    backbone: str = Field(default="resnet50", description="Any timm model name, with or without a tag.")
    weights: str | None = Field(
        default=None,
        description="null = random initialisation by the cell's seed; 'pretrained' = timm's weights where they are on "
        "disk (never downloaded here); else the path of a .safetensors or torch file, read without unpickling code. "
        "The first convolution is adapted to the screen's channels by mean-preserving repetition, as timm does.",
    )
    instance_norm: tuple[str, ...] = Field(
        default=(),
        description="Points (as `points`) up to which batch normalisation becomes instance normalisation: an image's "
        "own statistics, which takes stain and illumination out without an adversary. [stem, stage1] is a start.",
    )
    embedding_dim: int | None = Field(
        default=512,
        ge=2,
        description="Dimension e of the neck's output; null = no neck: the backbone's pooled features.",
    )
    neck_norm: bool = Field(default=True, description="Batch normalisation after the neck's linear layer.")
    head: Literal["arcface", "linear"] = Field(
        default="arcface",
        description="arcface: angular margin on normalised embeddings; linear: plain softmax on the embedding, as ERM "
        "has it (the margin of every cell must then be 0).",
    )

    statistics: Literal["none", "worst_case", "random"] = Field(
        default="worst_case", description=AdversarialSettings.model_fields["statistics"].description
    )
    points: tuple[str, ...] = Field(
        default=("stem", "stage1", "stage2", "stage3"),
        description="Where statistics are perturbed, at most six of stem, pool, stage1 … stage4, as the backbone has.",
    )
    ascent_steps: int = Field(
        default=1,
        ge=0,
        description="Steps of the worst-case direction per mini-batch, each one more forward and backward. 0 = the "
        "direction moves along the gradient the weights' own backward pass gives (free adversarial training, "
        "arXiv:1904.12843): cheaper, but the alignment term then moves the direction too.",
    )
    running_statistics: Literal["clean", "both"] = Field(
        default="clean", description="Forwards that update BatchNorm's running statistics: clean ones alone, or both."
    )

    augment: AugmentSettings = Field(default_factory=AugmentSettings, description="Augmentation of training images.")

    epochs: int = Field(default=90, ge=1, description="Passes over the training rows; `steps` overrides it.")
    steps: int | None = Field(
        default=None, ge=1, description="T, optimiser steps of a whole training; null = by epochs."
    )
    accumulation: int = Field(default=1, ge=1, description="Mini-batches whose gradients one optimiser step averages.")
    optimiser: Literal["adam", "adamw", "sgd"] = Field(
        default="adam", description="adam: weight decay in the gradient, as WILDS; adamw: decoupled; sgd: momentum 0.9."
    )
    learning_rate: float = Field(default=1e-3, gt=0.0, description="Peak step size.")
    learning_rate_warmup: float = Field(
        default=5415 / 50760,
        ge=0.0,
        lt=1.0,
        description="Share of the steps of linear warm-up before the cosine decay to 0; WILDS: 5,415 of 90 × 564.",
    )
    weight_decay: float = Field(default=1e-5, ge=0.0, description="Weight decay of every parameter.")

    precision: Literal["bf16", "fp32"] = Field(
        default="bf16", description="Autocast of the backbone; statistics, margin and critic are always fp32."
    )
    channels_last: bool = Field(default=True, description="Channels-last memory format of images and convolutions.")
    compile: bool = Field(default=False, description="torch.compile the backbone; the first steps take minutes then.")
    embedding_rows: int = Field(default=256, ge=1, description="Images embedded at a time.")
    curve_every: int = Field(default=100, ge=1, description="Steps between two records of the training curve.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.statistics != "none" and not 1 <= len(self.points) <= MOST_POINTS:
            raise ValueError(f"points must name 1 to {MOST_POINTS} points, but got {len(self.points)}")
        for name, points in (("points", self.points), ("instance_norm", self.instance_norm)):
            if len(set(points)) != len(points):
                raise ValueError(f"{name} must not repeat, but got {points}")
        return self

    @model_serializer(mode="wrap")
    def _without_what_came_later(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What is off is left out: ids of cells are made from this, and those of earlier sweeps stay."""
        found: dict[str, Any] = handler(self)
        if not self.instance_norm:
            found.pop("instance_norm", None)
        return found


__all__ = ["MOST_POINTS", "PRETRAINED", "AugmentSettings", "ImageAbraSettings", "located_weights"]
