"""The sections of a configuration, each a frozen value; every key is documented where it is declared."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sweeper.decision.verdict.next_points import NextOptions
from trainers.images.image_settings import ImageAbraSettings

SIGNIFICANT_DIGITS = 4
"""Strengths are rounded to this many significant digits, so that a strength has one spelling and one content hash."""


def round_strength(value: float) -> float:
    """Round to `SIGNIFICANT_DIGITS`; 0 stays 0."""
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}")


def counted_seeds(value: Any) -> Any:
    """A number n of seeds as 0..n-1; anything else as it is."""
    return tuple(range(value)) if isinstance(value, int) and not isinstance(value, bool) else value


class Section(BaseModel):
    """Frozen, and no key that is not declared."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class LogRange(Section):
    """A log-spaced range of adversarial weights."""

    low: float = Field(gt=0, description="Smallest adversarial weight above 0.")
    high: float = Field(gt=0, description="Largest adversarial weight.")
    count: int = Field(ge=1, description="How many weights, ends included, log-spaced. 0 is added to them.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.high < self.low or (self.count > 1 and self.high == self.low):
            raise ValueError(f"high must be above low, got low {self.low:g} and high {self.high:g}")
        return self

    def values(self) -> tuple[float, ...]:
        """The weights, rounded, ascending."""
        if self.count == 1:
            return (round_strength(self.low),)
        ratio = math.log(self.high / self.low) / (self.count - 1)
        return tuple(round_strength(self.low * math.exp(ratio * i)) for i in range(self.count))


class Strengths(Section):
    """The grid of correction strengths: every adversarial weight with every margin."""

    adversarial_weight: LogRange | tuple[Annotated[float, Field(ge=0)], ...] = Field(
        default=LogRange(low=0.1, high=1000.0, count=13),
        description="Adversarial weights λ: a list, or {low, high, count} log-spaced. λ = 0 is always added.",
    )
    margin: tuple[Annotated[float, Field(ge=0, lt=math.pi / 2)], ...] = Field(
        default=(0.0, 0.3), min_length=1, description="Angular margins m in radians, 0 ≤ m < π/2."
    )

    def grid(self) -> tuple[tuple[float, float], ...]:
        """All (adversarial_weight, margin), sorted, without repeats, λ = 0 included."""
        weights = self.adversarial_weight
        listed = weights.values() if isinstance(weights, LogRange) else tuple(round_strength(w) for w in weights)
        return tuple((w, m) for w in sorted({0.0, *listed}) for m in sorted({round_strength(m) for m in self.margin}))


class OptunaSearch(Section):
    """Further strengths proposed by Optuna after the grid, in rounds, on the technical and the biological composite."""

    rounds: int = Field(default=0, ge=0, description="Rounds of proposals after the grid; 0 switches Optuna off.")
    strengths_per_round: int = Field(default=4, ge=1, description="Strengths proposed in a round.")
    low: float = Field(default=0.1, gt=0, description="Smallest adversarial weight that may be proposed.")
    high: float = Field(default=1000.0, gt=0, description="Largest adversarial weight that may be proposed.")
    margin: tuple[Annotated[float, Field(ge=0, lt=math.pi / 2)], ...] | None = Field(
        default=None, description="Margins that may be proposed; none: those of the grid."
    )
    seed: int = Field(default=0, ge=0, le=4000, description="Seed of the sampler.")
    startup_trials: int = Field(default=10, ge=0, description="Trials before TPE replaces random draws.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.high <= self.low:
            raise ValueError(f"high must be above low, got low {self.low:g} and high {self.high:g}")
        return self


class LocateSearch(Section):
    """Strengths and seeds placed where the over-correction point is believed to lie, in rounds, until it is settled."""

    rounds: int = Field(default=4, ge=0, description="Rounds at most; 0 switches it off.")
    strengths_per_round: int = Field(default=4, ge=1, description="New strengths proposed in a round, at most.")
    extra_seeds: int = Field(default=2, ge=1, description="Seeds added in a round in which strengths would not help.")
    max_cells: int | None = Field(
        default=None, ge=1, description="Budget: a round that would take the rounds' cells above this is not run."
    )
    width: float = Field(
        default=0.5, gt=0, description="Decades of the point's interval, or of the bracket, that are narrow enough."
    )

    @property
    def next_options(self) -> NextOptions:
        """These options as the decision's next points take them."""
        return NextOptions(strengths=self.strengths_per_round, seeds=self.extra_seeds, width=self.width)


class FrozenBackbone(Section):
    """Every image is embedded once by a backbone as it is; the encoder that is swept reads those features."""

    backbone: str = Field(default="resnet50", description="Any timm model name, with or without a tag.")
    weights: str | None = Field(
        default="pretrained",
        description="'pretrained' = timm's weights where they are on disk; the path of a weight file; null = random by "
        "`seed`: a control, not a model.",
    )
    seed: int = Field(default=0, ge=0, description="Seed of a random backbone; of no meaning with weights.")
    precision: Literal["bf16", "fp32"] = Field(default="fp32", description="Autocast of the backbone.")
    device: str = Field(default="cpu", description="Where images are embedded, e.g. cuda.")

    @property
    def image_settings(self) -> ImageAbraSettings:
        """The same for `trainers.images`."""
        return ImageAbraSettings(
            backbone=self.backbone, weights=self.weights, precision=self.precision, statistics="none"
        )


class ExecutorOptions(Section):
    """How packs of cells are run by Ray Tune."""

    pack_size: int | None = Field(
        default=None,
        ge=1,
        description="Cells trained together in one process; none: spread over the workers, at most 96; 4 where "
        "images are trained on.",
    )
    cpus_per_pack: float = Field(default=1.0, gt=0, description="CPUs (and torch threads) a pack is granted.")
    gpus_per_pack: float = Field(default=0.0, ge=0, description="GPU share a pack is granted, e.g. 0.25.")
    memory_gb_per_pack: float | None = Field(default=None, gt=0, description="Memory Ray reserves for a pack, in GB.")
    max_failures: int = Field(default=2, ge=0, description="How often a pack whose worker died is started again.")
    checkpoint_every: int = Field(
        default=0,
        ge=0,
        description="Optimiser steps between checkpoints of a pack in training; 0: none (short trainings).",
    )


class TrackingOptions(Section):
    """The MLflow mirror."""

    enabled: bool = Field(default=True, description="Mirror the sweep to MLflow.")
    uri: str | None = Field(
        default=None, description="Tracking URI; none: MLFLOW_TRACKING_URI, else sqlite in the sweep's folder."
    )
