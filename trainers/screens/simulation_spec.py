"""What a simulated screen is made of: a section of a configuration. Imports no NumPy."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class SimulationSpec(BaseModel):
    """A simulated screen. Strengths are root mean squares per feature; `noise` is the natural yardstick."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    batches: int = Field(default=10, ge=2, description="Bio-batches.")
    plates_per_batch: int = Field(default=4, ge=1, description="Plates of each batch.")
    wells_per_plate: Literal[96, 384, 1536] = Field(default=384, description="Plate format; every well is used.")
    features: int = Field(default=500, ge=8, description="d, at least 4 · latent.")
    perturbations: int = Field(default=80, ge=2, description="Treatments, without controls.")
    targets: int = Field(default=20, ge=1, description="MoA groups that the perturbations are dealt into.")
    controls_per_plate: int = Field(default=16, ge=0, description="Wells of the negative control on every plate.")
    positive_controls: int = Field(default=0, ge=0, description="Perturbations that are positive controls.")
    wells_per_positive: int = Field(default=4, ge=1, description="Wells of each positive control on every plate.")
    latent: int = Field(default=8, ge=2, description="k: directions of the biology, and as many of the batches.")
    overlap: float = Field(
        default=0.5,
        ge=0.0,
        le=1.0,
        description="Share of the biology's variance that lies in the batch directions: at 0 the batch can be removed "
        "at no cost, at 1 removing it removes all biology. Fully realised when batches > latent.",
    )
    imbalance: float = Field(
        default=0.0,
        ge=0.0,
        le=1.0,
        description="0: every perturbation in every batch alike; 1: each in one batch only.",
    )
    layout: Literal["random", "fixed"] = Field(
        default="random",
        description="random: wells drawn anew on every plate; fixed: the same on every plate (of a batch, where "
        "imbalance makes batches differ).",
    )
    phenotype: float = Field(default=0.7, ge=0.0, description="Root mean square strength of the active perturbations.")
    moa_share: float = Field(
        default=0.5, ge=0.0, le=1.0, description="Share of a phenotype's variance its MoA explains."
    )
    effect_spread: float = Field(default=0.4, ge=0.0, le=2.0, description="Log-normal spread of the strengths.")
    inactive: float = Field(default=0.2, ge=0.0, lt=1.0, description="Share of perturbations without any phenotype.")
    batch_shift: float = Field(default=0.6, ge=0.0, description="Root mean square shift of a batch.")
    plate_shift: float = Field(default=0.3, ge=0.0, description="Root mean square shift of a plate inside its batch.")
    batch_scale: float = Field(default=0.1, ge=0.0, description="Log-normal spread of each batch's gain per feature.")
    nonlinearity: float = Field(
        default=0.1, ge=0.0, description="Saturation, and quadratic mixing of batch and biology."
    )
    row_gradient: float = Field(default=0.2, ge=0.0, description="Strength of the gradient along plate rows.")
    column_gradient: float = Field(default=0.2, ge=0.0, description="Strength of the gradient along plate columns.")
    noise: float = Field(default=1.0, ge=0.0, description="Well-to-well variation within a perturbation and plate.")
    seed: int = Field(default=0, ge=0, description="Seed of every draw.")

    @property
    def treatment_slots(self) -> int:
        """Wells of a plate that hold treatments."""
        return self.wells_per_plate - self.controls_per_plate - self.positive_controls * self.wells_per_positive

    @model_validator(mode="after")
    def _check_sizes(self) -> SimulationSpec:
        """Refuse sizes that do not fit on a plate or into the features."""
        slots = self.treatment_slots
        if slots < 1:
            raise ValueError(f"controls take all {self.wells_per_plate} wells of a plate; lower controls_per_plate")
        room = slots * (self.plates_per_batch if self.layout == "random" else 1)
        if self.perturbations > room:
            where = "batch" if self.layout == "random" else "plate (layout: fixed)"
            raise ValueError(
                f"{self.perturbations} perturbations do not fit into the {room} treatment wells of a {where}"
            )
        if self.targets > self.perturbations:
            raise ValueError(f"{self.targets} targets for {self.perturbations} perturbations; lower targets")
        if self.imbalance > 0 and self.perturbations < self.batches:
            raise ValueError(
                f"imbalance needs a perturbation per batch, got {self.perturbations} for {self.batches} batches"
            )
        if self.features < 4 * self.latent:
            raise ValueError(f"{self.features} features hold at most latent = {self.features // 4}, got {self.latent}")
        return self


__all__ = ["SimulationSpec"]
