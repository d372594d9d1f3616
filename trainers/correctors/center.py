"""Location and scale of every batch (or plate), partly taken out."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from trainers.base import FloatArray, Inputs, IntArray, TrainingCell
from trainers.corrector import FEWEST, SHARE, Corrector, batches_of, counted, own_rows
from trainers.errors import InputError
from trainers.kept import Fitted
from trainers.kept_layers import location_and_scale


class CenterSettings(BaseModel):
    """What is fixed over a sweep of `center`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    by: Literal["batch", "plate"] = Field(default="batch", description="What is centred: every batch, or every plate.")
    fit_on: Literal["all", "controls"] = Field(
        default="all",
        description="Rows that location and scale are those of: all, or the negative controls. With controls a new "
        "batch is centred by its own; with all it must be corrected together with the screen.",
    )
    scale: bool = Field(default=True, description="Take out the scale too; false: the location alone.")


class Center(Corrector):
    """x → (x − α·mean) / std^α in every batch; α = 1 is per-batch standardising, 0 the features as they are."""

    name = "center"
    summary = "location and scale of every batch, taken out by a share"
    settings = CenterSettings
    dials = (SHARE,)

    def inductive(self, settings: CenterSettings) -> bool:
        """With controls: those of a new batch are all that it needs."""
        return settings.fit_on == "controls"

    def try_out(self, inputs: Inputs, settings: CenterSettings) -> None:
        """Refuse a batch that has too few rows to be centred by."""
        from trainers.screens.table import codes

        rows = np.arange(len(inputs.wells))
        groups = codes(inputs.wells[settings.by])
        for group in np.unique(groups):
            _reference(inputs, rows[groups == group], settings)

    def correct(self, inputs: Inputs, cell: TrainingCell, settings: CenterSettings) -> FloatArray:
        """(n, d) the screen with every batch of the cell centred by a share."""
        from trainers.screens.table import codes

        assert inputs.features is not None  # noqa: S101 - what it reads
        share, _ = cell.dials
        by_batch = settings.by == "batch" or cell.batches is not None  # an arm's labels are all it knows of batches
        groups = batches_of(inputs, cell) if by_batch else codes(inputs.wells["plate"])
        own = own_rows(cell)
        corrected = np.array(inputs.features)
        for group in np.unique(groups[own]):
            rows = own[groups[own] == group]
            mean, std = location_and_scale(inputs.features[_reference(inputs, rows, settings)])
            corrected[rows] = (inputs.features[rows] - share * mean) / (std**share if settings.scale else 1.0)
        return corrected

    def fitted(self, inputs: Inputs, cell: TrainingCell, settings: CenterSettings) -> Fitted:  # noqa: ARG002
        """Nothing but the share: a new batch is centred by its own controls."""
        layer = {
            "op": "by_group",
            "column": settings.by,
            "rows": "negative",
            "share": cell.adversarial_weight,
            "scale": settings.scale,
        }
        return Fitted((layer,), {}, named=True)


def _reference(inputs: Inputs, rows: IntArray, settings: CenterSettings) -> IntArray:
    """The rows of a group that it is centred by."""
    chosen = rows
    if settings.fit_on == "controls":
        chosen = rows[(inputs.wells["control_type"].to_numpy() == "negative")[rows]]
    if len(chosen) < FEWEST:
        name = inputs.wells[settings.by].iloc[rows[0]]
        what = "negative control" if settings.fit_on == "controls" else "well"
        raise InputError(f"center: {settings.by} {name} has {counted(len(chosen), what)}, {FEWEST} are needed")
    return chosen


__all__ = ["Center", "CenterSettings"]
