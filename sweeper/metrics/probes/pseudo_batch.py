"""Pseudo-batches: correct for a batch that does not exist; whatever biology is lost by that is over-correction.

One real batch is split at random, evenly inside every plate, into two. There is nothing between them to remove.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweeper.metrics.biological.retention import by_perturbation
from sweeper.metrics.evaluation import Evaluation
from sweeper.metrics.panel_options import PanelOptions
from trainers.base import FloatArray, IntArray
from trainers.errors import InputError
from trainers.screens.normalise import normalise

Correct = Callable[[FloatArray, pd.DataFrame], FloatArray]
"""(n, d) features and their wells, whose batch is the pseudo-batch, to (n, e) corrected ones."""
_RESAMPLES = 1000


@dataclass(frozen=True)
class PseudoBatchLoss:
    """Normalised mAP inside the batch before and after a correction for nothing.

    Attributes:
        batch: the real batch that was split.
        before, after: mean over perturbations.
        loss: before - after; above 0 is over-correction.
        interval: 95 % of `loss`, perturbations resampled.
        perturbations: how many.
    """

    batch: str
    before: float
    after: float
    loss: float
    interval: tuple[float, float]
    perturbations: int


def pseudo_batch_loss(
    features: FloatArray, wells: pd.DataFrame, correct: Correct, *, seed: int, batch: str | None = None
) -> PseudoBatchLoss:
    """Split a batch, correct it for the split, and compare nAP inside the batch (see `within_batch_activity`).

    Cosine depends on the origin, and a correction that centres would gain by that alone: both sides are centred on
    the batch's mean before they are compared.

    Args:
        features: (n, d) of all rows, uncorrected.
        wells: their n rows of `Screen.wells`.
        correct: the correction.
        seed: of the split and of the resampling.
        batch: which to split; None for the one with most wells.

    Raises:
        InputError: no such batch; fewer than 3 perturbations with replicates on two plates of it; a correction that
            gives other rows back.
    """
    name = str(wells["batch"].value_counts().sort_index().idxmax()) if batch is None else batch
    inside = np.flatnonzero(wells["batch"].to_numpy(dtype=str) == name)
    if not len(inside):
        raise InputError(f"pseudo-batch: there is no batch {name!r}")
    own = wells.iloc[inside].reset_index(drop=True)
    before = by_perturbation(_evaluation(features[inside], own, seed))
    if not before.size:
        raise InputError(f"pseudo-batch: fewer than 3 perturbations of batch {name!r} have replicates on two plates")
    corrected = correct(features[inside], own.assign(batch=halves(own, seed)))
    if len(corrected) != len(own):
        raise InputError(f"pseudo-batch: the correction gave {len(corrected)} rows for {len(own)}")
    after = by_perturbation(_evaluation(corrected, own, seed))
    change = before - after
    rng = np.random.default_rng([seed, 17])
    means = change[rng.integers(0, len(change), (_RESAMPLES, len(change)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975]).tolist()
    return PseudoBatchLoss(
        batch=name,
        before=float(before.mean()),
        after=float(after.mean()),
        loss=float(change.mean()),
        interval=(low, high),
        perturbations=len(change),
    )


def standardise(features: FloatArray, wells: pd.DataFrame) -> FloatArray:
    """Each batch to mean 0 and std 1, without labels."""
    return normalise(features, wells, "batch")


def residualise(features: FloatArray, wells: pd.DataFrame) -> FloatArray:
    """Less the mean of the row's batch: the residual of a regression on the batch."""
    code = np.unique(wells["batch"].to_numpy(dtype=str), return_inverse=True)[1]
    sums = np.zeros((code.max() + 1, features.shape[1]))
    np.add.at(sums, code, features)
    residual: FloatArray = (features - (sums / np.bincount(code)[:, None])[code]).astype(np.float32)
    return residual


def halves(wells: pd.DataFrame, seed: int) -> NDArray[np.str_]:
    """(n,) "a" or "b": half of every plate each, at random."""
    rng = np.random.default_rng([seed, 16])
    label = np.full(len(wells), "a")
    for rows in wells.groupby("plate", sort=True).indices.values():
        shuffled: IntArray = rng.permutation(rows)
        label[shuffled[: len(shuffled) // 2]] = "b"
    return label


def _evaluation(embeddings: FloatArray, wells: pd.DataFrame, seed: int) -> Evaluation:
    rows = (embeddings - embeddings.mean(axis=0, dtype=np.float64)).astype(np.float32)
    nothing, no_wells = rows[:0], wells.iloc[:0]
    return Evaluation(
        test=rows,
        test_wells=wells,
        train=nothing,
        train_wells=no_wells,
        validation=nothing,
        validation_wells=no_wells,
        view="pseudo-batch",
        seed=seed,
        options=PanelOptions(),
    )


__all__ = ["Correct", "PseudoBatchLoss", "halves", "pseudo_batch_loss", "residualise", "standardise"]
