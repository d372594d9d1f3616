"""Accuracy of the nearest class mean: does a well still look like its perturbation?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainers.base import FloatArray


@dataclass(frozen=True, eq=False)
class ClassMeans:
    """Mean directions of C perturbations, about the mean of all rows."""

    names: tuple[str, ...]
    centre: FloatArray
    means: FloatArray

    @classmethod
    def of(cls, embeddings: FloatArray, perturbations: NDArray[Any]) -> ClassMeans:
        """Of (n, e) training embeddings."""
        names, codes = np.unique(perturbations.astype(str), return_inverse=True)
        centre = embeddings.mean(axis=0, dtype=np.float64)
        means = np.zeros((len(names), embeddings.shape[1]))
        np.add.at(means, codes, embeddings - centre)
        means /= np.bincount(codes)[:, None]
        return cls(tuple(str(name) for name in names), centre.astype(np.float32), means.astype(np.float32))

    def accuracy(self, embeddings: FloatArray, perturbations: NDArray[Any]) -> tuple[float | None, int]:
        """Mean over the known perturbations of the share of their rows whose nearest mean (cosine) is their own.

        Returns:
            The accuracy, None where no perturbation is known; and how many are.
        """
        asked = np.isin(perturbations.astype(str), self.names)
        if not asked.any() or len(self.names) < 2:
            return None, 0
        means = self.means / np.maximum(np.linalg.norm(self.means, axis=1, keepdims=True), 1e-12)
        found = ((embeddings[asked] - self.centre) @ means.T).argmax(axis=1)
        wanted = np.searchsorted(self.names, perturbations[asked].astype(str))
        hits = np.bincount(wanted, weights=found == wanted, minlength=len(self.names))
        counts = np.bincount(wanted, minlength=len(self.names))
        known = counts > 0
        return float((hits[known] / counts[known]).mean()), int(known.sum())


__all__ = ["ClassMeans"]
