"""What a user may set about the metrics: a section of a configuration. Imports no NumPy."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator


class PanelOptions(BaseModel):
    """Choices that change what the panel's numbers mean; the same at every strength of a sweep."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    probe_groups: Literal["perturbation", "plate"] = Field(
        default="perturbation",
        description="What the batch probe holds out as a whole: a probe that meets a perturbation (or a plate) both in"
        " training and in test reads that instead of the batch.",
    )
    probe_folds: int = Field(default=5, ge=2, description="Folds of the batch probe; fewer where groups are fewer.")
    replicates_across: Literal["batch", "plate"] = Field(
        default="batch",
        description="Where replicates are looked for: in another batch, or on another plate (with one test batch).",
    )
    different_wells: bool = Field(
        default=True,
        description="Replicates must also sit at another well position: a fixed layout must not pass for biology.",
    )
    permutations: int = Field(default=20, ge=1, description="Label permutations behind a measured floor or ceiling.")
    units: tuple[str, ...] = Field(
        default=("batch", "cell_type", "perturbation"),
        description="Columns by which label metrics are also kept, in this order: batch, cell_type (where the screen "
        "has it), perturbation, or a further column such as Metadata_Source; [] for none.",
    )
    device: str | None = Field(
        default=None,
        description="PyTorch device of the large matrix products, e.g. cuda; none: NumPy on the CPU, or in a sweep the"
        " device that trains. Changes no number beyond round-off.",
    )

    @field_validator("units")
    @classmethod
    def _each_axis_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) != len(value):
            raise ValueError("a column is named twice")
        return value


__all__ = ["PanelOptions"]
