"""What a user may set about the arms beside the sweep: sections of a configuration. Imports no NumPy."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from sweeper.arms.beside import BesideOptions


class ShamOptions(BesideOptions):
    """Trainings with batch labels permuted within perturbation: what the adversary costs by itself."""

    enabled: bool = Field(
        default=True, description="After the grid and the search, train the sham arm at the deciding curve's margin."
    )
    strengths: int = Field(
        default=4,
        ge=1,
        description="Strengths λ > 0: the advised, nearest the safe bound, nearest the loss, the largest, then in "
        "between; λ = 0 is added.",
    )
    key: ClassVar[int] = 4


class PseudoOptions(BesideOptions):
    """Trainings that are to correct one batch, split into two at random, for the split: any loss is over-correction."""

    enabled: bool = Field(
        default=False,
        description="After the grid and the search, train the deciding curve's key strengths on one real batch whose "
        "wells are dealt at random to two pseudo-batches.",
    )
    strengths: int = Field(
        default=3,
        ge=1,
        description="Strengths λ > 0: nearest the safe bound, nearest the loss, the largest, then in between; λ = 0 is "
        "added.",
    )


__all__ = ["PseudoOptions", "ShamOptions"]
