"""What the strongest of several readers scores by luck: labels dealt out anew inside strata, predictions as they are.

A reader's score is a sum over items of A[item, label], the labels of each stratum in a random order. Mean and
covariance of such sums over all orders are known exactly (Hoeffding, Ann Math Stat 1951, doi:10.1214/aoms/1177729545):
no permutation is drawn, and equal predictions have equal chance levels. The maximum over readers is then that of
correlated normal variables, which sums over many items are close to.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from sweeper.metrics.evaluation import Float64Array
from trainers.base import IntArray

_DRAWS = 2048
_MOST = 1.0 - 1e-6


class Luck(NamedTuple):
    """What balanced accuracies are when labels say nothing.

    A reader's score is its accuracy over its own expectation, (accuracy - mean) / (1 - mean): where a stratum holds one
    label only, what is right there is right by necessity, and differs from reader to reader.

    Attributes:
        means: (R,) expectation of each reader's accuracy, < 1.
        best: expectation of the largest score.
        limit: its 95 % quantile.
    """

    means: Float64Array
    best: float
    limit: float

    def score(self, accuracies: Float64Array) -> Float64Array:
        """(R,) scores of the readers' accuracies; their largest is to be compared with `best` and `limit`."""
        return np.asarray((accuracies - self.means) / (1.0 - self.means))

    def accuracy(self, reader: int, score: float) -> float:
        """The accuracy of a reader that has this score."""
        return float(self.means[reader] + score * (1.0 - self.means[reader]))


def luck_of_the_best(predicted: Sequence[IntArray], labels: IntArray, strata: IntArray, items: IntArray) -> Luck:
    """How good the best of R readers is under permuted labels; spread as `cross_fitting` says.

    Args:
        predicted: for each of R readers the (n,) labels, 0 … B - 1, that it takes the rows for.
        labels: (n,) true labels, every one of 0 … B - 1 present.
        strata: (n,) labels are permuted inside these alone; constant inside an item.
        items: (n,) rows that keep one label together, e.g. plates; `np.arange(n)` for rows each by itself.
    """
    mean, covariance = moments(predicted, labels, strata, items)
    mean = np.minimum(mean, _MOST)
    covariance *= cross_fitting(int(labels.max()) + 1) / np.outer(1.0 - mean, 1.0 - mean)
    values, axes = np.linalg.eigh(covariance)
    spread = axes * np.sqrt(np.maximum(values, 0.0))
    normal = np.random.default_rng(0).standard_normal((_DRAWS, len(mean)))
    best = (np.concatenate([normal, -normal]) @ spread.T).max(axis=1)
    return Luck(mean, float(best.mean()), float(np.quantile(best, 0.95)))


@cache
def cross_fitting(count: int) -> float:
    """How much more the accuracy of cross-fitted readers varies than permutation under fixed predictions lets it.

    Two rows vote for each other's label, so they tend to be right together. Where a vote weighs K(i, j) = K(j, i),
    scores of B labels are about normal and labels say nothing, the covariances of a row with all others sum to
    m² / (B (B - 1)), m the mean of the largest of B standard normals, beside its variance (B - 1) / B²: the accuracy
    varies 1 + m² B / (B - 1)² times as much as of independent rows. That is 1.64 for 2 labels, 1.38 for 6, 1.10 for
    50; less where votes are not mutual. Screens without effect agree (benchmarks/readers.py).

    Args:
        count: B ≥ 2.
    """
    from scipy.special import ndtr

    z = np.linspace(-9.0, 9.0, 3601)
    density = np.exp(-0.5 * z**2) / np.sqrt(2.0 * np.pi)
    m = float(np.sum(z * count * density * ndtr(z) ** (count - 1)) * (z[1] - z[0]))
    return 1.0 + m**2 * count / (count - 1) ** 2


def moments(
    predicted: Sequence[IntArray], labels: IntArray, strata: IntArray, items: IntArray
) -> tuple[Float64Array, Float64Array]:
    """(R,) mean and (R, R) covariance of the balanced accuracies over all permutations; arguments as above."""
    from scipy.sparse import csr_array

    items, first, item = np.unique(items, return_index=True, return_inverse=True)
    stratum = np.unique(strata[first], return_inverse=True)[1]
    number, count = np.bincount(stratum), int(labels.max()) + 1
    weight = 1.0 / (count * np.bincount(labels, minlength=count))
    # Items with each label in each stratum: (strata, B).
    dealt = np.zeros((len(number), count))
    np.add.at(dealt, (stratum, labels[first]), 1.0)
    members = csr_array((np.ones(len(items)), (stratum, np.arange(len(items)))), shape=(len(number), len(items)))
    ones = np.ones(len(item))
    tables = [csr_array((ones, (item, own)), shape=(len(items), count)) for own in predicted]
    # Mean of A over the stratum's labels for an item, over its items for a label, and over both.
    worth = dealt * weight / number[:, None]
    by_item = [np.bincount(item, weights=worth[stratum[item], own]) for own in predicted]
    by_label = [np.asarray((members @ table).todense()) * weight / number[:, None] for table in tables]
    grand = [np.sum(dealt * own, axis=1) / number for own in by_label]
    mean = np.array([np.sum(number * own) for own in grand])
    share = np.where(number > 1, 1.0 / np.maximum(number - 1, 1), 0.0)
    covariance = np.empty((len(tables), len(tables)))
    for one in range(len(tables)):
        for other in range(one + 1):
            both = np.asarray((members @ tables[one].multiply(tables[other])).todense())
            total = np.sum(dealt * weight**2 * both, axis=1)
            total -= number * np.bincount(stratum, weights=by_item[one] * by_item[other], minlength=len(number))
            total -= number * np.sum(dealt * by_label[one] * by_label[other], axis=1)
            total += number**2 * grand[one] * grand[other]
            covariance[one, other] = covariance[other, one] = np.sum(share * total)
    return mean, covariance


__all__ = ["Luck", "cross_fitting", "luck_of_the_best", "moments"]
