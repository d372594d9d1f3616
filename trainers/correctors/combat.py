"""ComBat: location and scale of every batch, shrunk towards what all features share, taken out by a share.

Parametric empirical Bayes after Johnson, Li & Rabinovic (Biostatistics 2007). Features are standardised by the pooled
residual variance; batch i's means γ̂ and variances δ̂² of the standardised features are taken as draws from
N(γ̄, τ²) and from an inverse gamma distribution, both fitted by moments over the features; their conditional posterior
means γ*, δ*² are found by iteration; then

    x → grand mean + σ·(z − γ*) / δ*,  z = (x − grand mean) / σ.

The perturbation as a covariate enters the fit alone, with the labels of the training rows: one map a batch, the same
for every row of it, so that no row that is scored is moved by its own label.
"""

# ruff: noqa: ARG002 - its answers do not all depend on its settings
from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from trainers.base import FloatArray, Inputs, IntArray, TrainingCell
from trainers.corrector import SHARE, Corrector, batches_of, own_rows, refuse_small_batches
from trainers.errors import InputError

Array = NDArray[np.float64]
CONVERGED = 1e-4
MOST_ITERATIONS = 1000


class CombatSettings(BaseModel):
    """What is fixed over a sweep of `combat`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean_only: bool = Field(default=False, description="Take out the location alone; false: the scale too.")
    covariates: Literal["none", "perturbation"] = Field(
        default="none",
        description="What batch effects are estimated beside: nothing, on all rows; or the perturbation, on the "
        "training rows, whose labels may be known. It must not be confounded with the batch.",
    )


@dataclass(frozen=True, eq=False)
class BatchEffects:
    """What ComBat found.

    Attributes:
        mean, std: (d,) grand mean and pooled residual standard deviation; std is 1 for a constant feature.
        location, scale: (B, d) γ* and δ* of every batch, in units of `std`.
    """

    mean: Array
    std: Array
    location: Array
    scale: Array

    def removed(self, features: Array, batches: IntArray) -> Array:
        """(n, d) features without the effects of their batches (n,)."""
        standard = (features - self.mean) / self.std
        corrected: Array = (standard - self.location[batches]) / self.scale[batches] * self.std + self.mean
        return corrected


class Combat(Corrector):
    """x → (1 − α)·x + α·ComBat(x); α = 1 is ComBat, 0 the features as they are."""

    name = "combat"
    summary = "ComBat's location and scale of every batch, taken out by a share"
    settings = CombatSettings
    dials = (SHARE,)

    def try_out(self, inputs: Inputs, settings: CombatSettings) -> None:
        """Refuse a batch of one well."""
        refuse_small_batches(self.name, inputs)

    def correct(self, inputs: Inputs, cell: TrainingCell, settings: CombatSettings) -> FloatArray:
        """(n, d) the screen, blended with what ComBat makes of the cell's rows."""
        assert inputs.features is not None  # noqa: S101 - what it reads
        share, _ = cell.dials
        rows = own_rows(cell)
        batches = np.unique(batches_of(inputs, cell)[rows], return_inverse=True)[1]
        features = inputs.features[rows].astype(np.float64)
        fitted, labels = np.arange(len(rows)), None
        if settings.covariates == "perturbation":
            fitted = np.flatnonzero(np.isin(rows, cell.train))
            labels = inputs.labels[rows[fitted]]
        effects = batch_effects(features[fitted], batches[fitted], labels=labels, mean_only=settings.mean_only)
        if len(effects.location) < batches.max() + 1:
            raise InputError("combat: a batch has no training row to be fitted on; give combat.covariates: none")
        corrected = np.array(inputs.features)
        corrected[rows] = (1.0 - share) * features + share * effects.removed(features, batches)
        return corrected


def batch_effects(
    features: Array, batches: IntArray, *, labels: IntArray | None = None, mean_only: bool = False
) -> BatchEffects:
    """The posterior means of every batch's location and scale.

    Args:
        features: (n, d).
        batches: (n,) 0 … B−1, each with two rows at least.
        labels: (n,) codes of a covariate, or None.
        mean_only: every scale is 1, and the location is shrunk as for one row of variance 1 (as sva does).

    Raises:
        InputError: a batch of fewer than two rows, or batches that the covariate determines.
    """
    sizes = np.bincount(batches)
    if sizes.min() < 2:
        raise InputError(f"combat: a batch has {sizes.min()} rows to be fitted on, 2 are needed")
    design = np.eye(len(sizes))[batches]
    if labels is not None:
        # Covariates are centred: the grand mean is that of a row of no known perturbation.
        kinds = np.eye(labels.max() + 1)[labels]
        kinds = kinds[:, kinds.any(axis=0)][:, 1:]
        design = np.hstack([design, kinds - kinds.mean(axis=0)])
        if np.linalg.matrix_rank(design) < design.shape[1]:
            raise InputError(
                "combat: batch and perturbation are confounded in the training rows, so that the one cannot be told "
                "from the other; give combat.covariates: none"
            )
    coefficients = np.linalg.lstsq(design, features, rcond=None)[0]
    mean = sizes / len(features) @ coefficients[: len(sizes)]
    residual = features - design @ coefficients
    std = np.sqrt((residual**2).mean(axis=0))
    varies = std > np.finfo(np.float32).eps * np.abs(mean)
    std[~varies] = 1.0
    known = design[:, len(sizes) :] @ coefficients[len(sizes) :]
    standard = (features - mean - known) / std
    # A feature that never varies is left as it is, and says nothing of what features share.
    location, scale = np.zeros((len(sizes), features.shape[1])), np.ones((len(sizes), features.shape[1]))
    for batch in range(len(sizes)) if varies.any() else ():
        rows = standard[batches == batch][:, varies]
        location[batch, varies], scale[batch, varies] = _mean_alone(rows) if mean_only else _posterior(rows)
    return BatchEffects(mean, std, location, scale)


def _mean_alone(rows: Array) -> tuple[Array, Array]:
    means = rows.mean(axis=0)
    spread = _spread(means)
    return (spread * means + means.mean()) / (spread + 1.0), np.ones_like(means)


def _posterior(rows: Array) -> tuple[Array, Array]:
    """(d,) γ* and δ* of one batch's standardised rows (n, d), by iterating their conditional posterior means."""
    count, means, variances = len(rows), rows.mean(axis=0), rows.var(axis=0, ddof=1)
    centre, spread = means.mean(), _spread(means)
    typical, between = variances.mean(), _spread(variances)
    if not between:  # every feature varies alike: nothing to shrink towards but that
        return (count * spread * means + variances * centre) / np.maximum(count * spread + variances, 1e-300), np.sqrt(
            np.where(variances > 0, variances, 1.0)
        )
    shape, rate = (2 * between + typical**2) / between, (typical * between + typical**3) / between
    squares = ((rows - means) ** 2).sum(axis=0)
    location, variance = means, variances
    for _ in range(MOST_ITERATIONS):
        new = (count * spread * means + variance * centre) / (count * spread + variance)
        new_variance = (rate + 0.5 * (squares + count * (means - new) ** 2)) / (count / 2 + shape - 1)
        moved = max(_change(new, location), _change(new_variance, variance))
        location, variance = new, new_variance
        if moved < CONVERGED:
            break
    return location, np.sqrt(variance)


def _spread(values: Array) -> float:
    """The variance over features; 0 of a single one."""
    return float(values.var(ddof=1)) if len(values) > 1 else 0.0


def _change(new: Array, old: Array) -> float:
    return float((np.abs(new - old) / np.maximum(np.abs(old), 1e-12)).max())


__all__ = ["BatchEffects", "Combat", "CombatSettings", "batch_effects"]
