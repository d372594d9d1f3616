"""Does normalising by each plate's controls add a batch effect of its own? A quick probe, before anything is trained.

The mean of few controls is noisy, and all wells of a plate are shifted by the same noise: where a batch has one plate
or two, that shift is a mark of the batch. The metrics' own probes are slower and measure embeddings; this one compares
two tables of the same wells, and only the comparison is told.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trainers.base import FloatArray

RAISED = 0.05  # more of the way from chance to certainty than before
_MOST = 1200  # wells, so that the probe takes well under a second
_RIDGE = 0.1  # of the mean eigenvalue


def control_normalisation_warning(raw: FloatArray, normalised: FloatArray, wells: pd.DataFrame) -> tuple[str, ...]:
    """A line where the batch is predicted better from the normalised features than from the raw ones.

    Args:
        raw: (n, d) features.
        normalised: (n, d) the same by `normalise: plate_controls`.
        wells: n rows of `Screen.wells`.
    """
    rows = np.flatnonzero((wells["control_type"] != "negative").to_numpy(dtype=bool))
    if len(rows) > _MOST:
        rows = np.sort(np.random.default_rng(0).choice(rows, _MOST, replace=False))
    batch = np.unique(wells["batch"].to_numpy(dtype=str)[rows], return_inverse=True)[1]
    if len(np.unique(batch)) < 2 or not raw.shape[1]:  # a dry run of images has no features yet
        return ()
    before, after = (quick_batch_probe(features[rows], batch) for features in (raw, normalised))
    if after - before <= RAISED:
        return ()
    return (
        f"normalise: plate_controls makes the batch easier to predict from the features ({before:.2f} raw, {after:.2f} "
        "normalised; a quick linear probe on wells that are no controls, 0 chance, 1 certain): means of few controls "
        "shift whole plates, or perturbations lie in one batch only; compare with normalise: plate and batch",
    )


def quick_batch_probe(features: FloatArray, batch: NDArray[np.int64]) -> float:
    """Chance-corrected balanced accuracy of a linear classifier, trained on half of every batch, on the other half.

    Ridge regression on the batches as indicators, in its dual form; features standardised over all rows.

    Args:
        features: (n, d).
        batch: (n,) codes 0 … k - 1, k ≥ 2.

    Returns:
        0 at chance, 1 where every well's batch is known; below 0 by chance.
    """
    rows = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    rows /= np.maximum(rows.std(axis=0), 1e-12)
    kernel = rows @ rows.T / rows.shape[1] + 1.0
    order = np.random.default_rng(0).permutation(len(batch))
    half = np.empty(len(batch), dtype=np.int64)
    half[order] = pd.Series(batch[order]).groupby(batch[order]).cumcount().to_numpy() % 2
    indicator = np.eye(int(batch.max()) + 1)[batch]
    predicted = np.empty(len(batch), dtype=np.int64)
    for fold in (0, 1):
        train, test = np.flatnonzero(half != fold), np.flatnonzero(half == fold)
        if not len(train) or not len(test):
            return 0.0
        inner = kernel[np.ix_(train, train)]
        inner = inner + _RIDGE * float(np.trace(inner)) / len(train) * np.eye(len(train))
        share = indicator[train].mean(axis=0)
        weights = np.linalg.solve(inner, indicator[train] - share)
        predicted[test] = (kernel[np.ix_(test, train)] @ weights / np.maximum(share, 1e-12)).argmax(axis=1)
    hits = np.bincount(batch, weights=predicted == batch) / np.bincount(batch)
    return float((hits.mean() - 1 / len(hits)) / (1 - 1 / len(hits)))


__all__ = ["control_normalisation_warning", "quick_batch_probe"]
