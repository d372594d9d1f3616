"""Every choice of cpDistiller that is fixed over a sweep; the swept dials belong to the cells.

The defaults are those of the public code (github.com/BioX-NKU/cpDistiller at d7f5302), variant C: profiles alone.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Effect = Literal["batch", "row", "column"]


class CpDistillerSettings(BaseModel):
    """Settings of one training, the same for every cell of a pack.

    With the adversary's weight λ and the triplets' weight w of a cell, D features and training progress p,

        L = L_reconstruction + L_latent + L_category + D/35 · [w·L_triplets + Σ over effects of L_discriminator(R(z))]

    where R is the identity whose gradient comes back times −λ·(2/(1 + exp(−10 p)) − 1): λ scales what the encoder
    feels of the discriminators, never how they learn. λ = 1 and w = 1 are the published setting.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    effects: tuple[Effect, ...] = Field(
        default=("batch", "row", "column"),
        min_length=1,
        description="Technical effects that are removed. Published: [row, column] and [batch, row, column]. A screen "
        "without positions has [batch] alone.",
    )

    hidden_width: int = Field(default=512, ge=1, description="Width of the hidden layers of encoders and decoder.")
    embedding_dim: int = Field(default=50, ge=2, description="Dimension of the latent z, whose mean is the embedding.")
    categories: int = Field(default=10, ge=2, description="Components of the Gaussian mixture.")
    discriminator_width: int = Field(default=128, ge=1, description="Width of a discriminator's two hidden layers.")

    between_neighbours: int = Field(
        default=5, ge=1, description="Nearest wells in every other level of an effect; kept where mutual."
    )
    within_neighbours: int = Field(
        default=9,
        ge=1,
        description="Nearest other wells in a well's own level of an effect; the public code's 10 count the well.",
    )
    components: int = Field(default=50, ge=1, description="Principal components that neighbours are looked for in.")
    mutual_share: float = Field(
        default=0.5,
        ge=0.0,
        le=1.0,
        description="Probability that a positive is a mutual neighbour, where there are some.",
    )
    triplet_margin: float = Field(default=10.0, ge=0.0, description="Margin of the triplet loss, Euclidean.")

    loss_divisor: float = Field(
        default=35.0, gt=0.0, description="Triplets and adversary are weighted by D over this; D: number of features."
    )
    smoothing: float = Field(default=0.1, ge=0.0, le=1.0, description="Share of a discriminator's loss on soft labels.")
    true_level_share: float = Field(
        default=0.75,
        gt=0.0,
        lt=1.0,
        description="A soft label's share on the true level; the rest falls geometrically with the levels between.",
    )

    epochs: int = Field(default=50, ge=1, description="Passes over the training rows.")
    mini_batch: int = Field(default=256, ge=2, description="Rows of a mini-batch; an epoch's last one may have fewer.")
    learning_rate: float = Field(default=1e-3, gt=0.0, description="First AdamW step size; cosine over the epochs.")
    discriminator_learning_rate: float = Field(default=3e-3, gt=0.0, description="The same, of the discriminators.")
    weight_decay: float = Field(default=0.01, ge=0.0, description="Decoupled weight decay (AdamW).")
    temperature_decay: float = Field(
        default=0.0125, ge=0.0, description="The category's temperature falls from 1 as exp(−this · epoch)."
    )
    lowest_temperature: float = Field(default=0.5, gt=0.0, le=1.0, description="Where the temperature stops falling.")
    average_decay: float = Field(
        default=0.9,
        ge=0.0,
        lt=1.0,
        description="Weights are averaged once an epoch: this share of the average so far, the rest new. 0: the last.",
    )

    curve_every: int = Field(default=25, ge=1, description="Steps between two records of the training curve.")

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len(set(self.effects)) != len(self.effects):
            raise ValueError(f"effects must not repeat, but got {self.effects}")
        return self


__all__ = ["CpDistillerSettings", "Effect"]
