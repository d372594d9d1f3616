"""Sphering: directions in which the negative controls vary are shrunk, the more the more they vary.

With the controls' mean μ and covariance VΛVᵀ,

    x → (x − μ) V (1 + Λ/ε)^(−1/2) Vᵀ,

which is the regularised ZCA whitening (x − μ) V (Λ + ε)^(−1/2) Vᵀ of pycytominer's Spherize but for the factor √ε, that
no cosine and no neighbour sees. The dial is 1/ε: at 0 it is the centred input, and large ones whiten. The covariance of
typical variation normalisation plus ½·I (Ando et al. 2017) is the point 1/ε = 2.
"""

# ruff: noqa: ARG002 - its answers do not depend on its settings
from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from trainers.base import FloatArray, Inputs, IntArray, TrainingCell
from trainers.corrector import Corrector
from trainers.errors import InputError
from trainers.kept import Fitted
from trainers.kept_layers import run_layers
from trainers.trainer import Dial, Spaced

FEWEST = 2


class SpheringSettings(BaseModel):
    """What is fixed over a sweep of `sphering`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fit_on: Literal["controls", "all"] = Field(
        default="controls", description="Training rows whose covariance it is: the negative controls, or all."
    )


class Sphering(Corrector):
    """Regularised whitening, fitted on training rows; it reads no batch label and serves new batches."""

    name = "sphering"
    summary = "whitening by the covariance of the negative controls"
    settings = SpheringSettings
    dials = (
        Dial(
            name="inverse regularisation",
            symbol="1/ε",
            published=1e6,  # pycytominer's epsilon = 1e-6
            grid=Spaced(low=1e-4, high=1e6, count=11),
        ),
    )

    def inductive(self, settings: SpheringSettings) -> bool:
        """What was fitted on training rows applies to any other."""
        return True

    def reads_batches(self, settings: SpheringSettings) -> bool:
        """It does not know them."""
        return False

    def try_out(self, inputs: Inputs, settings: SpheringSettings) -> None:
        """Refuse a screen without controls."""
        _reference(inputs, np.arange(len(inputs.wells)), settings)

    def correct(self, inputs: Inputs, cell: TrainingCell, settings: SpheringSettings) -> FloatArray:
        """(n, d) every row of the screen, sphered."""
        assert inputs.features is not None  # noqa: S101 - what it reads
        found = self.fitted(inputs, cell, settings)
        return run_layers(found.layers, found.arrays, inputs.features)

    def fitted(self, inputs: Inputs, cell: TrainingCell, settings: SpheringSettings) -> Fitted:
        """Mean, axes and what the axes are shrunk by."""
        assert inputs.features is not None  # noqa: S101 - what it reads
        inverse, _ = cell.dials
        fitted = inputs.features[_reference(inputs, cell.train, settings)].astype(np.float64)
        mean = fitted.mean(axis=0)
        # The covariance's eigenvectors from the rows themselves: no square of the condition number, no d × d matrix.
        _, singular, axes = np.linalg.svd(fitted - mean, full_matrices=False)
        shrunk = 1.0 / np.sqrt(1.0 + inverse * singular**2 / (len(fitted) - 1))
        # Directions in which the fitted rows do not vary keep their length.
        layer = {"op": "shrink", "mean": "mean", "axes": "axes", "factor": "factor"}
        return Fitted((layer,), {"mean": mean, "axes": axes, "factor": shrunk - 1.0}, named=True)


def _reference(inputs: Inputs, rows: IntArray, settings: SpheringSettings) -> IntArray:
    chosen = rows
    if settings.fit_on == "controls":
        chosen = rows[(inputs.wells["control_type"].to_numpy() == "negative")[rows]]
    if len(chosen) < FEWEST:
        raise InputError(
            f"sphering: {len(chosen)} training rows to fit on ({settings.fit_on}), {FEWEST} are needed; name the "
            "screen's negative controls, or give sphering.fit_on: all"
        )
    return chosen


__all__ = ["Sphering", "SpheringSettings"]
