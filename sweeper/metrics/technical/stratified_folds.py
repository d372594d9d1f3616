"""Whole groups dealt into folds in which labels are about as frequent as in all rows.

The rule, and for a seed the very folds, of scikit-learn's StratifiedGroupKFold with `shuffle`: groups in the order of
how unevenly their rows spread over labels, each to the fold where labels are then spread most evenly over folds. Here
because folds are dealt before anything is trained, to see what can be measured, and importing scikit-learn takes
longer than all else that is done then.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from trainers.base import IntArray

_ABSOLUTE, _RELATIVE = 1e-8, 1e-5  # two folds are as even as each other, as np.isclose has it


def stratified_folds(labels: IntArray, groups: IntArray, count: int, seed: int) -> IntArray:
    """(n,) fold of each row, 0 … count - 1.

    Args:
        labels: (n,) codes 0, 1, …; each stands in `count` rows or more.
        groups: (n,) codes 0, 1, … without gaps, at least `count` of them.
        count: of folds, at least 2.
        seed: of the order of groups that spread their rows alike.
    """
    table = np.zeros((int(groups.max()) + 1, int(labels.max()) + 1))
    np.add.at(table, (groups, labels), 1)
    order = np.arange(len(table))
    np.random.RandomState(seed).shuffle(order)
    order = order[np.argsort(-np.std(table[order], axis=1), kind="stable")]
    of_label, dealt = table.sum(axis=0), np.zeros((count, table.shape[1]))
    one, fold = np.arange(count), np.empty(len(table), dtype=np.int64)
    for group in order:
        tried = np.repeat(dealt[None], count, axis=0)
        tried[one, one] += table[group]
        uneven = np.std(tried / of_label, axis=1).mean(axis=1)
        fold[group] = best = _evenest(uneven.tolist(), dealt.sum(axis=1).tolist())
        dealt[best] += table[group]
    return fold[groups]


def _evenest(uneven: Iterable[float], rows: Iterable[float]) -> int:
    """The fold that leaves labels spread most evenly; of those as good as the best so far, one with fewer rows."""
    best, least, fewest = 0, math.inf, math.inf
    for fold, (spread, filled) in enumerate(zip(uneven, rows, strict=True)):
        close = math.isfinite(least) and abs(spread - least) <= _ABSOLUTE + _RELATIVE * abs(least)
        if spread < least or (close and filled < fewest):
            best, least, fewest = fold, spread, filled
    return best


__all__ = ["stratified_folds"]
