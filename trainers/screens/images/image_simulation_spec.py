"""What a simulated image screen is made of. Imports no NumPy."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from trainers.screens.simulation_spec import SimulationSpec

CELL_TYPES = ("HUVEC", "RPE", "HEPG2", "U2OS")

_DESIGN = {
    "batches",
    "plates_per_batch",
    "wells_per_plate",
    "perturbations",
    "targets",
    "controls_per_plate",
    "positive_controls",
    "wells_per_positive",
    "imbalance",
    "seed",
}


class ImageSimulationSpec(BaseModel):
    """A simulated image screen."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    batches: int = Field(default=6, ge=2, description="Bio-batches (experiments), dealt to the cell types in turn.")
    cell_types: int = Field(default=2, ge=1, le=len(CELL_TYPES), description="Cell types.")
    plates_per_batch: int = Field(default=1, ge=1, description="Plates of each batch.")
    wells_per_plate: Literal[96, 384, 1536] = Field(default=96, description="Plate format; every well is used.")
    sites: int = Field(default=2, ge=1, description="Images of each well.")
    perturbations: int = Field(default=10, ge=2, description="Treatments, without controls.")
    targets: int = Field(default=5, ge=1, description="MoA groups that the perturbations are dealt into.")
    controls_per_plate: int = Field(default=12, ge=1, description="Wells of the negative control on every plate.")
    positive_controls: int = Field(default=2, ge=0, description="Perturbations that are positive controls.")
    wells_per_positive: int = Field(default=2, ge=1, description="Wells of each positive control on every plate.")
    inactive: float = Field(default=0.2, ge=0.0, lt=1.0, description="Share of perturbations without any phenotype.")
    phenotype: float = Field(default=1.0, ge=0.0, description="Strength of the active perturbations.")
    moa_share: float = Field(default=0.3, ge=0.0, le=1.0, description="Share of a phenotype that its MoA explains.")
    batch_effect: float = Field(
        default=1.0,
        ge=0.0,
        description="Strength of stain, illumination, blur, background and density differences between batches; "
        "plates inside a batch differ by a third of it.",
    )
    position_effect: float = Field(default=0.15, ge=0.0, description="Log brightness lost towards rows and columns.")
    imbalance: float = Field(default=0.0, ge=0.0, le=1.0, description="As for simulated profiles.")
    size: int = Field(default=64, ge=16, description="Height and width in pixels.")
    channels: Literal[3, 6] = Field(default=3, description="3 as RxRx1-WILDS, 6 as RxRx1.")
    cells: float = Field(default=9.0, gt=0, description="Cells in an image, on average.")
    radius: float = Field(default=6.0, gt=1.0, description="Radius of a cell in pixels, on average.")
    noise: float = Field(default=1.0, ge=0.0, description="Camera noise; 1 is a standard deviation of about 3 in 255.")
    seed: int = Field(default=0, ge=0, description="Seed of every draw.")

    @model_validator(mode="after")
    def _check(self) -> ImageSimulationSpec:
        """Refuse what does not fit on the plates."""
        if self.batches < self.cell_types:
            raise ValueError(f"{self.cell_types} cell types need as many batches, got {self.batches}")
        self.design()
        return self

    def design(self) -> SimulationSpec:
        """The profile simulation with the same plates."""
        return SimulationSpec(**self.model_dump(include=_DESIGN))


__all__ = ["CELL_TYPES", "ImageSimulationSpec"]
