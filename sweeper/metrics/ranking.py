"""Average precision of ranked neighbours, with ties at their expected value.

AP of a query with M positives among L = M + N candidates, ranked by cosine similarity, is the mean over its positives
of the precision at their rank (copairs, Kalinin et al., Nat Commun 2025, doi:10.1038/s41467-025-60306-2). Candidates
equally similar to the query stand in random order, and the expectation over these orders is taken (McSherry & Najork,
ECIR 2008, doi:10.1007/978-3-540-78646-7_38), so that a constant embedding scores exactly chance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sweeper.metrics.evaluation import BoolArray, Float64Array
from trainers.base import IntArray

Select = Callable[[IntArray], tuple[BoolArray, BoolArray]]

_CHUNK = 1 << 20  # similarities held at a time: 8 MB in float64
_RESOLUTION = float(1 << 40)  # closer than 2**-40 is a tie: above float64 round-off, below any real difference
_EXCLUDED = np.iinfo(np.int64).max - 1  # even: sorts last and is flagged as no positive


@dataclass(frozen=True, eq=False)
class Ranking:
    """How the queries that have at least one positive and one negative rank them.

    Attributes:
        queries: (q,) their row numbers.
        precision: (q,) average precision, (0, 1], higher is better.
        positives: (q,) M of each.
        candidates: (q,) L of each.
        nearest: (q,) share of positives among the nearest candidate and those tied with it.
    """

    queries: IntArray
    precision: Float64Array
    positives: IntArray
    candidates: IntArray
    nearest: Float64Array

    @property
    def expected(self) -> Float64Array:
        """(q,) average precision under random ranking."""
        return expected_average_precision(self.positives, self.candidates)

    @property
    def normalised(self) -> Float64Array:
        """(q,) (AP - E) / (1 - E): 0 at chance, 1 at best; not clipped below -1, so that its mean at chance stays 0."""
        return (self.precision - self.expected) / (1.0 - self.expected)


def rank(unit: Float64Array, queries: IntArray, select: Select) -> Ranking:
    """Rank every query's candidates by cosine similarity.

    Args:
        unit: (n, e) rows of length 1.
        queries: row numbers to rank for.
        select: for some queries (k,), their (k, n) positives and negatives; disjoint. Memory is bounded by asking in
            chunks.
    """
    step = max(1, _CHUNK // len(unit))
    parts = [_rank_chunk(unit, queries[at : at + step], select) for at in range(0, len(queries), step)]
    if not parts:
        none = np.empty(0, dtype=np.int64)
        return Ranking(none, np.empty(0), none, none, np.empty(0))
    return Ranking(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def expected_average_precision(positives: IntArray, candidates: IntArray) -> Float64Array:
    """E[AP] of M positives among L ≥ 2 in random order: ((M-1)/(L-1) · (L - H_L) + H_L) / L, H_L harmonic number."""
    harmonic = np.cumsum(1.0 / np.arange(1, candidates.max(initial=1) + 1))[candidates - 1]
    share = (positives - 1) / (candidates - 1)
    return np.asarray((share * (candidates - harmonic) + harmonic) / candidates, dtype=np.float64)


def mean_by_group(values: Float64Array, groups: IntArray) -> float:
    """Mean over groups of the mean within the group: every perturbation counts once, however many wells it has."""
    _, code = np.unique(groups, return_inverse=True)
    return float(np.mean(np.bincount(code, weights=values) / np.bincount(code)))


def _rank_chunk(
    unit: Float64Array, queries: IntArray, select: Select
) -> tuple[IntArray, Float64Array, IntArray, IntArray, Float64Array]:
    positive, negative = select(queries)
    m, n = positive.sum(axis=1), negative.sum(axis=1)
    keep = (m > 0) & (n > 0)
    queries, positive, negative, m, n = queries[keep], positive[keep], negative[keep], m[keep], n[keep]
    # One integer carries both: the distance, and in the lowest bit whether it is a positive. One plain sort then
    # ranks all.
    distance = np.rint((1.0 - unit[queries] @ unit.T) * _RESOLUTION).astype(np.int64)
    key = np.where(positive | negative, 2 * np.maximum(distance, 0) + positive, _EXCLUDED)
    key.sort(axis=1)
    flag = key & 1
    precision = (flag * np.cumsum(flag, axis=1) / np.arange(1, key.shape[1] + 1)).sum(axis=1) / m
    nearest = flag[:, 0].astype(np.float64)
    # Same distance, other flag: neighbours in the sorted row that differ in the lowest bit only.
    for row in np.flatnonzero(((key[:, 1:] ^ key[:, :-1]) == 1).any(axis=1)):
        precision[row] = _tied_average_precision(key[row, : m[row] + n[row]])
        nearest[row] = flag[row, key[row] >> 1 == key[row, 0] >> 1].mean()
    return queries, precision, m.astype(np.int64), (m + n).astype(np.int64), nearest


def _tied_average_precision(key: IntArray) -> float:
    """Expected AP of one sorted row of keys (L,) over the random orders of its ties."""
    _, start, tie, size = np.unique(key >> 1, return_index=True, return_inverse=True, return_counts=True)
    positives = np.add.reduceat(key & 1, start)
    before = np.cumsum(positives) - positives
    rank_ = np.arange(1, len(key) + 1)
    # At the j-th place of a tie of size n with r positives: a positive with probability r/n, and given that,
    # (j-1)(r-1)/(n-1) of the places before it inside the tie are expected to be positives.
    r, n, j = positives[tie], size[tie], rank_ - start[tie]
    found = before[tie] + 1 + (j - 1) * (r - 1) / np.maximum(n - 1, 1)
    return float(np.sum(r / n * found / rank_) / positives.sum())


__all__ = ["Ranking", "Select", "expected_average_precision", "mean_by_group", "rank"]
