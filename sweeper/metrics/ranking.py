"""Average precision of ranked neighbours, with ties at their expected value.

AP of a query with M positives among L = M + N candidates, ranked by cosine similarity, is the mean over its positives
of the precision at their rank (copairs, Kalinin et al., Nat Commun 2025, doi:10.1038/s41467-025-60306-2). Candidates
equally similar to the query stand in random order, and the expectation over these orders is taken (McSherry & Najork,
ECIR 2008, doi:10.1007/978-3-540-78646-7_38), so that a constant embedding scores exactly chance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sweeper.metrics.evaluation import BoolArray, Float64Array
from trainers.base import IntArray

Select = Callable[[IntArray], tuple[BoolArray, BoolArray]]

_CHUNK = 1 << 20  # similarities held at a time: 8 MB in float64
_SPARSE = 16  # up to this share of candidates, 1 in 16, only theirs are computed
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


class Nearest(NamedTuple):
    """The nearest candidate of the queries that have at least one positive and one negative.

    Attributes:
        queries: (q,) their row numbers.
        share: (q,) share of positives among the nearest candidate and those tied with it.
        chance: (q,) share of positives among the candidates.
    """

    queries: IntArray
    share: Float64Array
    chance: Float64Array


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


def nearest_shares(unit: Float64Array, queries: IntArray, selects: Sequence[Select]) -> list[Nearest]:
    """As `Ranking.nearest` of `rank`, for several selections of the same queries: one product, and nothing sorted."""
    step = max(1, _CHUNK // len(unit))
    parts: list[list[Nearest]] = [[] for _ in selects]
    for at in range(0, len(queries), step):
        some = queries[at : at + step]
        similarity = unit[some] @ unit.T
        for select, found in zip(selects, parts, strict=True):
            positive, negative = select(some)
            m, n = positive.sum(axis=1), negative.sum(axis=1)
            keep = (m > 0) & (n > 0)
            candidate = positive | negative
            closest = np.where(candidate, similarity, -np.inf).max(axis=1)
            tied = candidate & (similarity >= (closest - 1.0 / _RESOLUTION)[:, None])
            share = (tied & positive).sum(axis=1)[keep] / tied.sum(axis=1)[keep]
            found.append(Nearest(some[keep], share, m[keep] / (m + n)[keep]))
    return [
        Nearest(*(np.concatenate([getattr(part, name) for part in found]) for name in Nearest._fields))
        for found in parts
    ]


def _rank_chunk(
    unit: Float64Array, queries: IntArray, select: Select
) -> tuple[IntArray, Float64Array, IntArray, IntArray, Float64Array]:
    positive, negative = select(queries)
    m, n = positive.sum(axis=1), negative.sum(axis=1)
    keep = (m > 0) & (n > 0)
    queries, positive, negative, m, n = queries[keep], positive[keep], negative[keep], m[keep], n[keep]
    # One integer carries both: the distance, and in the lowest bit whether it is a positive. One plain sort then
    # ranks all.
    if _SPARSE * (m + n).max(initial=0) <= len(unit):
        key = np.full((len(queries), (m + n).max(initial=1)), _EXCLUDED)
        candidates = np.split(np.nonzero(positive | negative)[1], np.cumsum(m + n)[:-1])
        for line, own in enumerate(candidates[: len(queries)]):
            key[line, : len(own)] = _keys(unit[own] @ unit[queries[line]], positive[line, own])
    else:
        key = _keys(unit[queries] @ unit.T, positive)
        key[~(positive | negative)] = _EXCLUDED
    key.sort(axis=1)
    row, place = np.nonzero(key & 1)
    found = np.arange(len(row)) - (np.cumsum(m) - m)[row] + 1
    precision = np.bincount(row, weights=found / (place + 1), minlength=len(queries)) / m
    nearest = (key[:, 0] & 1).astype(np.float64)
    # A negative of the same distance sorts just before the positives of that distance.
    tied = (place > 0) & (key[row, place - 1] == key[row, place] - 1)
    for query in np.unique(row[tied]):
        precision[query] = _tied_average_precision(key[query, : m[query] + n[query]])
        nearest[query] = (key[query, key[query] >> 1 == key[query, 0] >> 1] & 1).mean()
    return queries, precision, m.astype(np.int64), (m + n).astype(np.int64), nearest


def _keys(similarity: Float64Array, positive: BoolArray) -> IntArray:
    """Integers of the same shape that sort by distance, with the lowest bit set for positives."""
    np.subtract(1.0, similarity, out=similarity)
    similarity *= _RESOLUTION
    distance = np.maximum(np.rint(similarity, out=similarity), 0.0, out=similarity).astype(np.int64)
    distance <<= 1
    distance |= positive
    return distance


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


__all__ = ["Nearest", "Ranking", "Select", "expected_average_precision", "mean_by_group", "nearest_shares", "rank"]
