"""Sphering: directions in which the negative controls vary are shrunk, the more the more they vary.

With the controls' mean μ, the singular values s of their n centred rows and their axes V,

    x → (x − μ) V (1 + Λ/ε)^(−1/2) Vᵀ,  Λ = s²/(n − 1),   regularise: variance
    x → (x − μ) V (1 + s/ε)^(−1) Vᵀ,                       regularise: singular_values

The first is the whitening by the covariance plus ε·I but for a factor √ε that no cosine and no neighbour sees; the
covariance of typical variation normalisation plus ½·I (Ando et al. 2017) is its point 1/ε = 2. Directions in which the
controls do not vary keep their length. The second is pycytominer's Spherize (≥ 1.7.1, method ZCA) but for a factor
ε/√(n − 1): it adds ε to the singular values, and counts directions without variation as the least one with. With fewer
controls than features the two go apart. The dial is 1/ε: at 0 both are the centred input, and large ones whiten.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from trainers.base import FloatArray, Inputs, IntArray, TrainingCell
from trainers.corrector import FEWEST, Corrector, batches_of, counted, kept_of, own_rows
from trainers.errors import InputError
from trainers.kept import Fitted
from trainers.kept_layers import run_layers
from trainers.trainer import Dial, Spaced


class SpheringSettings(BaseModel):
    """What is fixed over a sweep of `sphering`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fit_on: Literal["controls", "all"] = Field(
        default="controls", description="Training rows whose covariance it is: the negative controls, or all."
    )
    per: Literal["screen", "batch"] = Field(
        default="screen",
        description="One whitening for the screen; or one for every batch, centred by its own rows, which says nothing "
        "of a batch without training rows.",
    )
    regularise: Literal["variance", "singular_values"] = Field(
        default="variance",
        description="What ε is added to: the variances (whitening by the covariance plus ε·I), or the singular values, "
        "as pycytominer does.",
    )


class Sphering(Corrector):
    """Regularised whitening, fitted on training rows; one for the whole screen serves new batches."""

    name = "sphering"
    summary = "whitening by the covariance of the negative controls"
    settings = SpheringSettings
    as_published: ClassVar[Mapping[str, Any]] = {"regularise": "singular_values"}
    dials = (
        Dial(
            name="inverse regularisation",
            symbol="1/ε",
            published=1e6,  # pycytominer's epsilon = 1e-6
            grid=Spaced(low=1e-4, high=1e6, count=11),
        ),
    )

    def inductive(self, settings: SpheringSettings) -> bool:
        """What was fitted on the whole screen's training rows applies to any other."""
        return settings.per == "screen"

    def identity(self, settings: SpheringSettings) -> dict[str, Any]:
        """Without what was added later, where it is as before: stored sweeps keep their ids."""
        found: dict[str, Any] = settings.model_dump(mode="json")
        later = {"per": "screen", "regularise": "variance"}
        return {key: value for key, value in found.items() if value != later.get(key)}

    def reads_batches(self, settings: SpheringSettings) -> bool:
        """Where it is one for the screen it does not know them."""
        return settings.per == "batch"

    def try_out(self, inputs: Inputs, settings: SpheringSettings) -> None:
        """Refuse a screen, or a batch, without controls."""
        rows = np.arange(len(inputs.wells))
        for own in _parts(inputs.batches, rows, settings):
            _reference(inputs, own, settings)

    def correct(self, inputs: Inputs, cell: TrainingCell, settings: SpheringSettings) -> FloatArray:
        """(n, d) every row of the screen, sphered."""
        assert inputs.features is not None  # noqa: S101 - what it reads
        inverse, _ = cell.dials
        batches = batches_of(inputs, cell)
        sphered = np.array(inputs.features)
        rows = np.arange(len(sphered)) if settings.per == "screen" else own_rows(cell)
        for own in _parts(batches, rows, settings):
            found = self._axes(inputs, cell.train[np.isin(cell.train, own)], settings)
            shrunk = found.fitted(inverse, settings.regularise)
            sphered[own] = run_layers(shrunk.layers, shrunk.arrays, inputs.features[own])
        return sphered

    def fitted(self, inputs: Inputs, cell: TrainingCell, settings: SpheringSettings) -> Fitted:
        """Mean, axes and what the axes are shrunk by: those of the screen."""
        return self._axes(inputs, cell.train, settings).fitted(cell.adversarial_weight, settings.regularise)

    def _axes(self, inputs: Inputs, rows: IntArray, settings: SpheringSettings) -> Axes:
        reference = _reference(inputs, rows, settings)
        return kept_of(inputs, (self.name, reference.tobytes()), partial(_fit, inputs, reference))


@dataclass(frozen=True, eq=False)
class Axes:
    """Where the fitted rows vary.

    Attributes:
        mean: (d,).
        axes: (k, d) eigenvectors of their covariance.
        singular: (k,) singular values of the n centred rows above rounding; n − 1 is `degrees`.
    """

    mean: NDArray[np.float64]
    axes: NDArray[np.float64]
    singular: NDArray[np.float64]
    degrees: int

    def fitted(self, inverse: float, regularise: str) -> Fitted:
        """Rows shrunk along the axes, as a layer."""
        if regularise == "variance":
            shrunk, other = 1.0 / np.sqrt(1.0 + inverse * self.singular**2 / self.degrees), 1.0
        else:
            shrunk = 1.0 / (1.0 + inverse * self.singular)
            other = float(shrunk[-1])
        # Directions in which the fitted rows do not vary need no axes of their own.
        layer = {"op": "shrink", "mean": "mean", "axes": "axes", "factor": "factor", "rest": other}
        return Fitted((layer,), {"mean": self.mean, "axes": self.axes, "factor": shrunk - other}, named=True)


def _fit(inputs: Inputs, rows: IntArray) -> Axes:
    assert inputs.features is not None  # noqa: S101 - what it reads
    fitted = inputs.features[rows].astype(np.float64)
    mean = fitted.mean(axis=0)
    # The covariance's eigenvectors from the rows themselves: no square of the condition number, no d × d matrix.
    _, singular, axes = np.linalg.svd(fitted - mean, full_matrices=False)
    varies = singular > singular[0] * max(fitted.shape) * np.finfo(np.float64).eps
    return Axes(mean, axes[varies], singular[varies], len(fitted) - 1)


def _parts(batches: IntArray, rows: IntArray, settings: SpheringSettings) -> list[IntArray]:
    """The rows that are sphered together."""
    if settings.per == "screen":
        return [rows]
    return [rows[batches[rows] == batch] for batch in np.unique(batches[rows])]


def _reference(inputs: Inputs, rows: IntArray, settings: SpheringSettings) -> IntArray:
    chosen = rows
    if settings.fit_on == "controls":
        chosen = rows[(inputs.wells["control_type"].to_numpy() == "negative")[rows]]
    if len(chosen) < FEWEST:
        raise InputError(
            f"sphering: {counted(len(chosen), 'training row')} to fit on ({settings.fit_on}), {FEWEST} are needed; "
            "name the screen's negative controls, or give sphering.fit_on: all"
        )
    return chosen


__all__ = ["Sphering", "SpheringSettings"]
