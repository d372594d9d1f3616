"""The sections of a configuration, each a frozen value; every key is documented where it is declared."""

from __future__ import annotations

import math
import reprlib
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

if TYPE_CHECKING:
    from sweeper.decision.verdict.next_points import NextOptions

SIGNIFICANT_DIGITS = 4
"""Strengths are rounded to this many significant digits, so that a strength has one spelling and one content hash."""

AS_THE_DIAL: dict[str, JsonValue] = {"default": "as the trainer's dial"}
"""Marks a key that is filled by the trainer's dial where it is not given."""


def round_strength(value: float) -> float:
    """Round to `SIGNIFICANT_DIGITS`; 0 stays 0."""
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}")


MOST_SEEDS = 10_000


def counted_seeds(value: Any) -> Any:
    """A number n of seeds as 0..n-1; anything else as it is."""
    listed = value if isinstance(value, list | tuple) else [value]
    if any(isinstance(each, bool) for each in listed):
        raise ValueError("expected whole numbers, got true or false")
    if value is None or isinstance(value, list | tuple):
        return value
    if not isinstance(value, int):
        raise ValueError(f"expected a number of seeds, or a list of them, got {reprlib.repr(value)}")
    if not 1 <= value <= MOST_SEEDS:
        raise ValueError(f"expected 1 to {MOST_SEEDS:,} seeds, or a list of them")
    return tuple(range(value))


class Section(BaseModel):
    """Frozen, and no key that is not declared."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SpacedRange(Section):
    """A range of settings of a dial."""

    low: float = Field(gt=0, description="Smallest setting above 0.")
    high: float = Field(gt=0, description="Largest setting.")
    count: int = Field(ge=1, le=1000, description="How many settings, ends included. 0 is added to them.")
    spacing: Literal["log", "linear"] = Field(
        default="log", description="Even in decades, or even; unless given, as the trainer's dial is."
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.high < self.low or (self.count > 1 and self.high == self.low):
            raise ValueError(f"high must be above low, got low {self.low:g} and high {self.high:g}")
        return self

    def values(self) -> tuple[float, ...]:
        """The settings, rounded, ascending."""
        if self.count == 1:
            return (round_strength(self.low),)
        if self.spacing == "linear":
            step = (self.high - self.low) / (self.count - 1)
            return tuple(round_strength(self.low + step * i) for i in range(self.count))
        ratio = math.log(self.high / self.low) / (self.count - 1)
        return tuple(round_strength(self.low * math.exp(ratio * i)) for i in range(self.count))


class Strengths(Section):
    """The grid of correction strengths: every setting of the trainer's first dial with every one of its second."""

    adversarial_weight: SpacedRange | tuple[Annotated[float, Field(ge=0)], ...] = Field(
        json_schema_extra=AS_THE_DIAL,
        description="Settings of the trainer's first dial, which is its strength (λ of ABRA): a list, or {low, high, "
        "count}, spaced as the dial is; none: those that the trainer proposes. 0, no correction, is always added.",
    )
    margin: tuple[float, ...] = Field(
        min_length=1,
        json_schema_extra=AS_THE_DIAL,
        description="Settings of the trainer's second dial (ABRA's angular margin m in radians); none: those that the "
        "trainer proposes; [0] where it has one dial alone.",
    )

    def grid(self) -> tuple[tuple[float, float], ...]:
        """All (adversarial_weight, margin), sorted, without repeats, no correction included."""
        weights = self.adversarial_weight
        listed = weights.values() if isinstance(weights, SpacedRange) else tuple(round_strength(w) for w in weights)
        return tuple((w, m) for w in sorted({0.0, *listed}) for m in sorted({round_strength(m) for m in self.margin}))


class OptunaSearch(Section):
    """Further strengths proposed by Optuna after the grid, in rounds, on the technical and the biological composite."""

    rounds: int = Field(default=0, ge=0, description="Rounds of proposals after the grid; 0 switches Optuna off.")
    strengths_per_round: int = Field(default=4, ge=1, description="Strengths proposed in a round.")
    low: float = Field(
        gt=0,
        json_schema_extra=AS_THE_DIAL,
        description="Smallest strength above 0 that may be proposed; none: the smallest of the trainer's own.",
    )
    high: float = Field(
        gt=0,
        json_schema_extra=AS_THE_DIAL,
        description="Largest strength that may be proposed; none: the largest of the trainer's own.",
    )
    margin: tuple[float, ...] | None = Field(
        default=None, description="Settings of the second dial that may be proposed; none: those of the grid."
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
        from sweeper.decision.verdict.next_points import NextOptions

        return NextOptions(strengths=self.strengths_per_round, seeds=self.extra_seeds, width=self.width)


class ExecutorOptions(Section):
    """How packs of cells are run by Ray Tune."""

    pack_size: int | None = Field(
        default=None,
        ge=1,
        description="Cells trained together in one process; none: as the trainer says (4 where images are trained "
        "on), else spread over the workers, at most 96.",
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
