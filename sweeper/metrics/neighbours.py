"""Exact nearest neighbours in Euclidean distance, by matrix products in bounded memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweeper.metrics.evaluation import Float64Array
from trainers.base import IntArray

CHUNK = 1 << 22  # distances held at a time: 32 MB in float64


def nearest(queries: NDArray[Any], rows: NDArray[Any], count: int) -> tuple[IntArray, Float64Array]:
    """(q, count) numbers of the nearest of the (n ≥ count, e) rows to each of the (q, e) queries, and distances."""
    return _search(*_centred(queries, rows), count, apart=False)


def neighbours(rows: NDArray[Any], count: int) -> tuple[IntArray, Float64Array]:
    """(n, count) numbers and distances of the other rows nearest to each of the (n > count, e) rows, nearest first."""
    return _search(*_centred(rows, rows), count, apart=True)


def distances(queries: Float64Array, rows: Float64Array) -> Float64Array:
    """(q, n) Euclidean distances; round-off is smallest for centred rows."""
    squared = (queries**2).sum(axis=1)[:, None] + (rows**2).sum(axis=1) - 2.0 * (queries @ rows.T)
    found: Float64Array = np.sqrt(np.maximum(squared, 0.0, out=squared), out=squared)
    return found


def _centred(queries: NDArray[Any], rows: NDArray[Any]) -> tuple[Float64Array, Float64Array]:
    mean = rows.mean(axis=0, dtype=np.float64)
    return queries - mean, rows - mean


def _search(queries: Float64Array, rows: Float64Array, count: int, *, apart: bool) -> tuple[IntArray, Float64Array]:
    index = np.empty((len(queries), count), dtype=np.int64)
    distance = np.empty((len(queries), count))
    step = max(1, CHUNK // len(rows))
    for at in range(0, len(queries), step):
        some = distances(queries[at : at + step], rows)
        if apart:
            own = np.arange(len(some))
            some[own, at + own] = np.inf
        near = np.argpartition(some, count - 1, axis=1)[:, :count]
        found = np.take_along_axis(some, near, axis=1)
        order = np.argsort(found, axis=1, kind="stable")
        index[at : at + step] = np.take_along_axis(near, order, axis=1)
        distance[at : at + step] = np.take_along_axis(found, order, axis=1)
    return index, distance


__all__ = ["CHUNK", "distances", "nearest", "neighbours"]
