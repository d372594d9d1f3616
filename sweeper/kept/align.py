"""Embeddings of several seeds as one: each is turned onto the first, then their mean is taken."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trainers.base import FloatArray


def rotation(moved: FloatArray, onto: FloatArray) -> NDArray[np.float32]:
    """(e, e) orthogonal R that minimises ‖moved·R − onto‖ (orthogonal Procrustes, Schönemann 1966).

    Args:
        moved, onto: (n, e) embeddings of the same rows. Neither is centred: 0 stays 0.
    """
    left, _, right = np.linalg.svd(moved.astype(np.float64).T @ onto.astype(np.float64))
    return np.asarray(left @ right, np.float32)


def mean_embedding(embeddings: Sequence[FloatArray], *, unit: bool) -> FloatArray:
    """(n, e) mean of aligned embeddings; of length 1 again where the embeddings are (`unit`)."""
    if len(embeddings) == 1:
        return embeddings[0]
    mean = np.mean(embeddings, axis=0, dtype=np.float64)
    if unit:
        mean /= np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-12)
    return np.asarray(mean, np.float32)


__all__ = ["mean_embedding", "rotation"]
