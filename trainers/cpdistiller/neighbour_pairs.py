"""Pairs of wells that are near each other in spite of, or within, every technical effect; exact, and never N × N."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from trainers.base import FloatArray, IntArray

_ROWS = 1024  # rows compared at a time


@dataclass(frozen=True, eq=False)
class NeighbourPairs:
    """Symmetric (n, n) sparse boolean matrices without a diagonal: `mutual` between levels, `within` a level."""

    mutual: sparse.csr_array
    within: sparse.csr_array


def principal_components(features: FloatArray, count: int) -> FloatArray:
    """(n, k) scores of (n, d) rows on their first k = min(count, n − 1, d) principal components."""
    from sklearn.decomposition import PCA

    rows, width = features.shape
    solver = "covariance_eigh" if width <= rows else "full"
    found = PCA(n_components=min(count, rows - 1, width), svd_solver=solver).fit_transform(features.astype(np.float64))
    return np.ascontiguousarray(found, np.float32)


def neighbour_pairs(points: FloatArray, effects: Sequence[IntArray], *, between: int, within: int) -> NeighbourPairs:
    """Pairs that hold for every effect, by cosine similarity.

    i and j are mutual for an effect where they are in different levels, and each is among the `between` nearest of its
    own level to the other; within where j is among the `within` nearest to i in their common level (i itself left out).
    A level with fewer wells gives all it has.

    Args:
        points: (n, k).
        effects: (n,) level codes of each effect.
    """
    length = np.linalg.norm(points, axis=1, keepdims=True)
    unit = points / np.maximum(length, np.finfo(np.float32).tiny)
    mutual: sparse.csr_array | None = None
    inside: sparse.csr_array | None = None
    for codes in effects:
        across, own = _nearest_in_levels(unit, codes, between, within)
        both = across.multiply(across.T).tocsr()
        mutual = both if mutual is None else mutual.multiply(both).tocsr()
        inside = own if inside is None else inside.multiply(own).tocsr()
    assert mutual is not None  # noqa: S101 - there is an effect
    assert inside is not None  # noqa: S101
    return NeighbourPairs(mutual, (inside + inside.T).tocsr())


def _nearest_in_levels(
    unit: FloatArray, codes: IntArray, between: int, within: int
) -> tuple[sparse.csr_array, sparse.csr_array]:
    """Row i of the first: its nearest of every other level; of the second: of its own."""
    order = np.argsort(codes, kind="stable")
    bounds = np.flatnonzero(np.diff(codes[order], prepend=codes[order[0]] - 1))
    members = np.split(order, bounds[1:])
    across: list[tuple[IntArray, IntArray]] = []
    own: list[tuple[IntArray, IntArray]] = []
    for level, rows in enumerate(members):
        for start in range(0, len(rows), _ROWS):
            part = rows[start : start + _ROWS]
            for other, candidates in enumerate(members):
                similarity = unit[part] @ unit[candidates].T
                count = between
                if other == level:
                    similarity[np.arange(len(part)), start + np.arange(len(part))] = -np.inf
                    count = min(within, len(candidates) - 1)
                (own if other == level else across).append(_largest(similarity, count, part, candidates))
    return _matrix(across, len(codes)), _matrix(own, len(codes))


def _largest(similarity: FloatArray, count: int, rows: IntArray, candidates: IntArray) -> tuple[IntArray, IntArray]:
    """(row, candidate) of the `count` largest in every row of a (rows, candidates) block."""
    if count <= 0:
        return rows[:0], candidates[:0]
    if count >= similarity.shape[1]:
        found = np.broadcast_to(np.arange(similarity.shape[1]), similarity.shape)
    else:
        found = np.argpartition(similarity, -count, axis=1)[:, -count:]
    return np.repeat(rows, found.shape[1]), candidates[found].ravel()


def _matrix(pairs: Sequence[tuple[IntArray, IntArray]], size: int) -> sparse.csr_array:
    rows = np.concatenate([row for row, _ in pairs]) if pairs else np.empty(0, np.int64)
    columns = np.concatenate([column for _, column in pairs]) if pairs else np.empty(0, np.int64)
    return sparse.csr_array((np.ones(len(rows), np.bool_), (rows, columns)), shape=(size, size))


__all__ = ["NeighbourPairs", "neighbour_pairs", "principal_components"]
