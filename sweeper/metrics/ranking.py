"""Average precision of ranked neighbours, with ties at their expected value.

AP of a query with M positives among L = M + N candidates, ranked by cosine similarity, is the mean over its positives
of the precision at their rank (copairs, Kalinin et al., Nat Commun 2025, doi:10.1038/s41467-025-60306-2). Candidates
equally similar to the query stand in random order, and the expectation over these orders is taken (McSherry & Najork,
ECIR 2008, doi:10.1007/978-3-540-78646-7_38), so that a constant embedding scores exactly chance.

Nothing is sorted: the rank of a positive is the number of negatives above it. These are counted in float32; the few
that are too close to a positive for float32 are compared with it again in float64, so that the result is float64's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sweeper.metrics.arrays import NUMPY, Arrays, Block
from sweeper.metrics.evaluation import BoolArray, Float64Array
from trainers.base import IntArray

Select = Callable[[IntArray], tuple[BoolArray, BoolArray]]

_SPARSE = 16  # up to this share of candidates, 1 in 16, only theirs are computed
_TIE = 2.0**-40  # closer than this is a tie: above float64 round-off, below any real difference
_ROUND = 2.0**-20  # float32 products of unit rows are right to a sixth of this
_DOUBTFUL = 64  # above this share, 1 in 64, of a block that float32 cannot place, the block is made in float64


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


def rank(unit: Float64Array, queries: IntArray, select: Select, arrays: Arrays = NUMPY) -> Ranking:
    """Rank every query's candidates by cosine similarity.

    Args:
        unit: (n, e) rows of length 1.
        queries: row numbers to rank for.
        select: for some queries (k,), their (k, n) positives and negatives; disjoint. Memory is bounded by asking in
            chunks.
        arrays: where similarities are computed.
    """
    rows = _Rows(unit, arrays)
    step = max(1, arrays.block // len(unit))
    parts = [_rank_chunk(rows, queries[at : at + step], select) for at in range(0, len(queries), step)]
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


def nearest_shares(
    unit: Float64Array, queries: IntArray, selects: Sequence[Select], arrays: Arrays = NUMPY
) -> list[Nearest]:
    """As `Ranking.nearest` of `rank`, for several selections of the same queries: one product for all."""
    rows = _Rows(unit, arrays)
    step = max(1, arrays.block // len(unit))
    parts: list[list[Nearest]] = [[] for _ in selects]
    for at in range(0, len(queries), step):
        some = queries[at : at + step]
        block = rows.products(some)
        for select, found in zip(selects, parts, strict=True):
            positive, negative = select(some)
            m, n = np.count_nonzero(positive, axis=1), np.count_nonzero(negative, axis=1)
            keep = (m > 0) & (n > 0)
            share = _nearest_share(rows, some, block, positive, positive | negative)
            found.append(Nearest(some[keep], share[keep], m[keep] / (m + n)[keep]))
    return [
        Nearest(*(np.concatenate([getattr(part, name) for part in found]) for name in Nearest._fields))
        for found in parts
    ]


class _Rows:
    """The rows on both sides of a product: in float32 where blocks are made, in float64 where these are refined."""

    def __init__(self, unit: Float64Array, arrays: Arrays) -> None:
        self.unit, self.arrays = unit, arrays

    @cached_property
    def single(self) -> Block:
        return self.arrays.put(self.unit.astype(np.float32))

    @cached_property
    def double(self) -> Block:
        return self.arrays.put(self.unit)

    def products(self, queries: IntArray, *, double: bool = False) -> Block:
        """(q, n) cosines of the queries to all rows."""
        rows = self.double if double else self.single
        return self.arrays.products(rows[self.arrays.put(queries)], rows)

    def exact(self, queries: IntArray, columns: IntArray) -> Float64Array:
        """(k,) cosines of k pairs in float64."""
        step = max(1, self.arrays.block // self.unit.shape[1])
        parts = [
            np.einsum("ke,ke->k", self.unit[queries[at : at + step]], self.unit[columns[at : at + step]])
            for at in range(0, len(queries), step)
        ]
        return np.concatenate([*parts, np.empty(0)])


def _nearest_share(
    rows: _Rows, queries: IntArray, block: Block, positive: BoolArray, candidate: BoolArray
) -> Float64Array:
    """(q,) share of positives among the nearest candidate and those tied with it; NaN without a candidate."""
    arrays = rows.arrays
    line, column, similarity = _leading(arrays, arrays.penalised(block, candidate), _ROUND)
    if _DOUBTFUL * len(line) > candidate.size + _DOUBTFUL * len(queries):
        again = arrays.penalised(rows.products(queries, double=True), candidate)
        line, column, similarity = _leading(arrays, again, _TIE)
    elif len(line) > len(queries):
        similarity = rows.exact(queries[line], column)
    most = np.full(len(queries), -np.inf)
    np.maximum.at(most, line, similarity)
    tied = (similarity >= most[line] - _TIE) & candidate[line, column]
    line, column = line[tied], column[tied]
    size = np.bincount(line, minlength=len(queries))
    hits = np.bincount(line[positive[line, column]], minlength=len(queries))
    return np.where(size > 0, hits / np.maximum(size, 1), np.nan)


def _leading(arrays: Arrays, block: Block, margin: float) -> tuple[IntArray, IntArray, NDArray[Any]]:
    """Query, column and value of what is within a margin of each query's largest."""
    most = arrays.most(block)
    line, column = arrays.window(block, np.arange(len(most)), most - most.dtype.type(margin), most)
    return line, column, arrays.take(block, line, column)


def _rank_chunk(
    rows: _Rows, queries: IntArray, select: Select
) -> tuple[IntArray, Float64Array, IntArray, IntArray, Float64Array]:
    positive, negative = select(queries)
    m, n = np.count_nonzero(positive, axis=1), np.count_nonzero(negative, axis=1)
    keep = (m > 0) & (n > 0)
    if not keep.all():
        queries, positive, negative, m, n = queries[keep], positive[keep], negative[keep], m[keep], n[keep]
    if not len(queries):
        return queries, np.empty(0), m, m, np.empty(0)
    line, column = np.divmod(np.flatnonzero(positive), positive.shape[1])
    place = np.arange(len(line)) - (np.cumsum(m) - m)[line]
    width = int(m.max())
    if _SPARSE * (m + n).max() <= len(rows.unit):
        found = _sparse_counts(rows, queries, positive, negative)
    else:
        found = _dense_counts(rows, queries, negative, line, column, place, width)
    precision, nearest = _average_precision(*found, m)
    return queries, precision, m, m + n, nearest


def _dense_counts(
    rows: _Rows,
    queries: IntArray,
    negative: BoolArray,
    line: IntArray,
    column: IntArray,
    place: IntArray,
    width: int,
) -> tuple[IntArray, IntArray]:
    """(q, width) negatives above each positive and tied with it; positive `place` of query `line` is row `column`."""
    arrays, shape = rows.arrays, (len(queries), width)
    for double, margin in ((False, _ROUND), (True, _TIE)):
        block = rows.products(queries, double=double)
        similarity = arrays.take(block, line, column)
        block = arrays.penalised(block, negative)
        ends = np.full((len(queries), 2 * width), np.inf, dtype=similarity.dtype)
        ends[line, place] = similarity + similarity.dtype.type(margin)
        ends[line, width + place] = similarity - similarity.dtype.type(margin)
        counts = arrays.above(block, ends)
        above, within = counts[:, :width], counts[:, width:] - counts[:, :width]
        if double:
            return above, within
        if _DOUBTFUL * int(within.sum()) <= negative.size:
            break
    doubtful = np.flatnonzero(within[line, place])
    own, at = line[doubtful], place[doubtful]
    number, near = arrays.window(block, own, ends[own, width + at], ends[own, at])
    exact = rows.exact(queries[own], column[doubtful])
    change = rows.exact(queries[own[number]], near) - exact[number]
    above, within = above.reshape(-1).copy(), np.zeros(above.size, dtype=np.int64)
    flat = (own * width + at)[number]
    np.add.at(above, flat, change > _TIE)
    np.add.at(within, flat, np.abs(change) <= _TIE)
    return above.reshape(shape), within.reshape(shape)


def _sparse_counts(
    rows: _Rows, queries: IntArray, positive: BoolArray, negative: BoolArray
) -> tuple[IntArray, IntArray]:
    """As `_dense_counts`, where candidates are few: only their similarities are computed."""
    m, n = np.count_nonzero(positive, axis=1), np.count_nonzero(negative, axis=1)
    own = np.full((len(queries), m.max()), np.inf)
    other = np.full((len(queries), n.max()), -np.inf)
    for found, mask, size in ((own, positive, m), (other, negative, n)):
        columns = np.split(np.flatnonzero(mask) % mask.shape[1], np.cumsum(size)[:-1])
        for row, query, near in zip(found, queries, columns, strict=True):
            row[: len(near)] = rows.unit[near] @ rows.unit[query]
    counts = NUMPY.above(other, np.concatenate([own + _TIE, own - _TIE], axis=1))
    above, upto = np.split(counts, 2, axis=1)
    return above, upto - above


def _average_precision(above: IntArray, within: IntArray, m: IntArray) -> tuple[Float64Array, Float64Array]:
    """(q,) AP, and share of positives among the nearest, of queries with m of the (q, width) positives each."""
    number = np.arange(above.shape[1])
    real = number < m[:, None]
    # By negatives above; of equals those that are tied with a negative come last, as they are farther away.
    key = np.where(real, 2 * above + (within > 0), np.iinfo(np.int64).max)
    key.sort(axis=1)
    found = number + 1
    precision = np.sum(np.where(real, found / (found + (key >> 1)), 0.0), axis=1) / m
    nearest = (key[:, 0] == 0).astype(np.float64)
    for query in np.flatnonzero((within > 0).any(axis=1)):
        own = slice(0, m[query])
        precision[query], nearest[query] = _tied_average_precision(above[query, own], within[query, own])
    return precision, nearest


def _tied_average_precision(above: IntArray, within: IntArray) -> tuple[float, float]:
    """Expected AP over the random orders of ties, and share of positives in the first of them, of one query.

    Args:
        above: (m,) negatives above each positive.
        within: (m,) negatives tied with it.
    """
    total, before, first = 0.0, 0, 0.0
    for key, r in zip(*np.unique(2 * above + (within > 0), return_counts=True), strict=True):
        t = int(within[2 * above + (within > 0) == key].max())
        if before == 0 and key < 2:
            first = r / (r + t)
        # At the j-th place of a tie of size r + t: a positive with probability r / (r + t), and given that,
        # (j-1)(r-1)/(r+t-1) of the places before it inside the tie are expected to be positives.
        size = r + t
        j = np.arange(1, size + 1)
        ahead = before + 1 + (j - 1) * (r - 1) / max(size - 1, 1)
        total += r / size * float(np.sum(ahead / (before + (key >> 1) + j)))
        before += r
    return total / before, first


__all__ = ["Nearest", "Ranking", "Select", "expected_average_precision", "mean_by_group", "nearest_shares", "rank"]
