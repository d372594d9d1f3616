"""Embeddings of several seeds on one another: each is turned onto the first, before their mean is taken."""

from __future__ import annotations

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


__all__ = ["rotation"]
