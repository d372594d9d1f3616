"""Harmony on principal components: batches are mixed within soft clusters by a ridge regression a cluster.

The algorithm is harmonypy's (Korsunsky et al., Nature Methods 2019), an optional extra under the GPL-3 that is imported
when this trainer is asked for, and not before. Its ridge penalty `lamb` is the dial, as 1/lamb: the regression takes
out nothing at lamb → ∞, which is 0 here and exactly the principal components. Its diversity penalty θ is the second
dial; θ = 0 is not "no correction", the regression still removes what batches differ by within clusters.

Harmony 2 estimates lamb in each cluster unless it is given; 1, the default of Harmony 1, is what is published here.
"""

# ruff: noqa: ARG002 - its answers do not depend on its settings
from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from trainers.base import FloatArray, Inputs, IntArray, TrainingCell
from trainers.corrector import Corrector, batches_of, kept_of, own_rows, refuse_small_batches
from trainers.errors import InputError
from trainers.trainer import Dial, Spaced

WELLS_A_CLUSTER, MOST_CLUSTERS = 30, 100


class HarmonySettings(BaseModel):
    """What is fixed over a sweep of `harmony`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    components: int = Field(default=50, ge=2, le=1000, description="Principal components; no more than there are.")
    scale: bool = Field(
        default=True, description="Standardise every feature over the cell's rows before the components are found."
    )
    by: tuple[str, ...] = Field(default=("batch",), min_length=1, description="Columns that are harmonised.")


class Harmony(Corrector):
    """Principal components of the cell's rows, harmonised over batches."""

    name = "harmony"
    summary = "Harmony on principal components (needs the extra sweeper[harmony])"
    settings = HarmonySettings
    dials = (
        Dial(
            name="inverse ridge penalty",
            symbol="1/lamb",
            published=1.0,
            grid=Spaced(low=1e-3, high=1e2, count=11),
        ),
        Dial(name="diversity penalty", symbol="θ", none=None, published=2.0, grid=(1.0, 2.0, 4.0)),
    )

    def try_out(self, inputs: Inputs, settings: HarmonySettings) -> None:
        """Refuse to begin without harmonypy, without a named column, and with a batch of one well."""
        _harmonypy()
        for column in settings.by:
            if column not in inputs.wells:
                raise InputError(f"harmony.by: the screen has no column {column!r}")
        refuse_small_batches(self.name, inputs)

    def correct(self, inputs: Inputs, cell: TrainingCell, settings: HarmonySettings) -> FloatArray:
        """(n, components) harmonised components of the cell's rows; 0 for the others."""
        inverse, theta = cell.dials
        rows = own_rows(cell)
        scores = kept_of(inputs, ("harmony", settings, rows.tobytes()), lambda: _components(inputs, rows, settings))
        found = np.zeros((len(inputs.wells), scores.shape[1]), np.float32)
        if inverse > 0.0:
            scores = _harmonised(inputs, cell, rows, scores, 1.0 / inverse, theta, settings)
        found[rows] = scores
        return found

    def width(self, settings: HarmonySettings) -> int | None:
        """Known when the screen is."""
        return None


def _components(inputs: Inputs, rows: IntArray, settings: HarmonySettings) -> FloatArray:
    """(n_rows, k) scores of the leading principal components, each turned so that its largest loading is positive."""
    from trainers.screens.normalise import location_and_scale

    assert inputs.features is not None  # noqa: S101 - what it reads
    mean, std = location_and_scale(inputs.features[rows])
    values = (inputs.features[rows].astype(np.float64) - mean) / (std if settings.scale else 1.0)
    size = min(settings.components, *values.shape)
    # Eigenvectors of the smaller Gram matrix: components beyond those kept cost nothing more.
    wide = values.shape[1] > values.shape[0]
    eigenvalues, vectors = np.linalg.eigh(values @ values.T if wide else values.T @ values)
    leading = vectors[:, ::-1][:, :size]
    if wide:
        leading = values.T @ leading / np.sqrt(np.maximum(eigenvalues[::-1][:size], 1e-12))
    signs = np.sign(leading[np.abs(leading).argmax(axis=0), np.arange(size)])
    return np.asarray(values @ (leading * signs), np.float32)


def _harmonised(
    inputs: Inputs,
    cell: TrainingCell,
    rows: IntArray,
    scores: FloatArray,
    lamb: float,
    theta: float,
    settings: HarmonySettings,
) -> FloatArray:
    if cell.batches is not None or settings.by == ("batch",):
        groups = {"batch": batches_of(inputs, cell)[rows]}  # an arm's labels are all it knows of batches
    else:
        groups = {column: inputs.wells[column].to_numpy(dtype=str)[rows] for column in settings.by}
    done = _harmonypy().run_harmony(
        scores.astype(np.float64),
        groups,
        list(groups),
        theta=theta,
        lamb=lamb,
        nclust=max(1, min(round(len(rows) / WELLS_A_CLUSTER), MOST_CLUSTERS)),
        verbose=False,
        random_state=cell.seed,
        ncores=1,
    )
    return np.asarray(done.Z_corr, np.float32)


def _harmonypy() -> Any:
    try:
        import harmonypy
    except ImportError as error:
        raise InputError(
            f"harmony: needs harmonypy, which is not installed ({error}); pip install 'sweeper[harmony]'"
        ) from None
    return harmonypy


__all__ = ["Harmony", "HarmonySettings"]
