"""Controls: cheap embeddings without training that bracket every panel.

raw: the uncorrected features. random: no information at all. label_shuffled: the batch is kept and the biology is gone.
batch_standardised: the simplest correction a trained one must beat.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import pandas as pd

from trainers.base import FloatArray, IntArray
from trainers.errors import InputError
from trainers.screens.normalise import normalise

Control = Literal["raw", "random", "label_shuffled", "batch_standardised"]
CONTROLS: tuple[Control, ...] = get_args(Control)
_RANDOM_DIMENSION = 64


def control_embedding(
    name: str, features: FloatArray, wells: pd.DataFrame, *, train_rows: IntArray, seed: int
) -> FloatArray:
    """(n, e) float32 embedding of every row of the screen; e = d, or 64 for "random".

    Args:
        name: one of CONTROLS. "raw": z-scored by the training rows. "random": independent standard normal.
            "label_shuffled": the rows of "raw" permuted inside each batch. "batch_standardised": each batch to mean 0
            and std 1 by its own rows, test batches too, without labels; then z-scored by the training rows.
        features: (n, d) float32.
        wells: n rows of `Screen.wells`.
        train_rows: row numbers the z-score is taken from.
        seed: of the random draws; "raw" and "batch_standardised" have none.

    Raises:
        InputError: an unknown name.
    """
    if name not in CONTROLS:
        raise InputError(f"control: {name!r} is none of {', '.join(CONTROLS)}")
    if name == "random":
        return np.random.default_rng([seed, 3]).standard_normal((len(features), _RANDOM_DIMENSION), dtype=np.float32)
    if name == "batch_standardised":
        return _z_score(normalise(features, wells, "batch"), train_rows)
    raw = _z_score(features, train_rows)
    if name == "raw":
        return raw
    rng = np.random.default_rng([seed, 4])
    source = np.arange(len(raw))
    for rows in wells.groupby("batch", sort=True).indices.values():
        source[rows] = rng.permutation(rows)
    return raw[source]


def _z_score(features: FloatArray, train_rows: IntArray) -> FloatArray:
    values = features[train_rows].astype(np.float64)
    mean, std = values.mean(axis=0), values.std(axis=0)
    std[std <= np.finfo(np.float32).eps * np.abs(mean)] = 1.0
    standard: FloatArray = ((features - mean) / std).astype(np.float32)
    return standard


__all__ = ["CONTROLS", "Control", "control_embedding"]
