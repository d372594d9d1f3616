"""The fresh linear classifier behind the probe and the accuracies.

Linear discriminant analysis with one pooled covariance and equal class priors. Against a fully converged multinomial
logistic regression it finds as much batch (or more) in raw profiles and in trained embeddings, in a fifth of the
time, and it has no stopping rule: a logistic regression stopped early reports a batch that is harder to read than it
is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweeper.metrics.evaluation import Float64Array
from trainers.base import IntArray

# Share of the identity in the pooled covariance of standardised dimensions: keeps low-rank embeddings solvable and
# changes nothing else (0 and 0.05 give the same accuracies within 0.02 on the JUMP positive controls).
_SHRINKAGE = 0.01


@dataclass(frozen=True, eq=False)
class LinearClassifier:
    """Scores are `rows @ weights + offsets`; the class with the largest wins.

    Attributes:
        classes: (C,) the labels, sorted.
        weights: (e, C).
        offsets: (C,).
    """

    classes: IntArray
    weights: Float64Array
    offsets: Float64Array

    def predict(self, rows: NDArray[Any]) -> IntArray:
        """(n,) the label of each of the (n, e) rows."""
        winner: IntArray = self.classes[np.argmax(rows @ self.weights + self.offsets, axis=1)]
        return winner


def fit(rows: NDArray[Any], labels: IntArray) -> LinearClassifier:
    """Fit on (n, e) rows and their (n,) integer labels, standardised by these rows alone; n ≥ 1."""
    rows = np.asarray(rows, dtype=np.float64)
    mean, std = rows.mean(axis=0), rows.std(axis=0)
    std[std == 0] = 1.0
    standard = (rows - mean) / std
    classes, code = np.unique(labels, return_inverse=True)
    count = np.bincount(code)
    order = np.argsort(code, kind="stable")
    centres = np.add.reduceat(standard[order], np.cumsum(count) - count, axis=0) / count[:, None]
    within = standard - centres[code]
    covariance = within.T @ within / len(rows)
    scale = np.trace(covariance) / len(covariance)
    ridge = _SHRINKAGE * scale if scale > 0 else 1.0
    covariance *= 1 - _SHRINKAGE
    covariance[np.diag_indices_from(covariance)] += ridge
    weights = np.linalg.solve(covariance, centres.T)
    offsets = -0.5 * np.sum(centres.T * weights, axis=0) - (mean / std) @ weights
    return LinearClassifier(classes.astype(np.int64), weights / std[:, None], offsets)


def balanced_accuracy(truth: IntArray, predicted: IntArray) -> float:
    """Mean over the classes present in `truth` of the share of their rows that is predicted right."""
    _, code = np.unique(truth, return_inverse=True)
    return float(np.mean(np.bincount(code, weights=truth == predicted) / np.bincount(code)))


__all__ = ["LinearClassifier", "balanced_accuracy", "fit"]
