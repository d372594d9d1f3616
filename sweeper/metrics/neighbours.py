"""Exact nearest neighbours in Euclidean distance, by matrix products in bounded memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweeper.metrics.evaluation import Evaluation, Float64Array
from trainers.base import IntArray

CHUNK = 1 << 22  # distances held at a time: 32 MB in float64
SHARED = 89  # neighbours of every well that the metrics share; with the well itself 90


def nearest(queries: NDArray[Any], rows: NDArray[Any], count: int) -> tuple[IntArray, Float64Array]:
    """(q, count) numbers of the nearest of the (n ≥ count, e) rows to each of the (q, e) queries, and distances."""
    return _search(*_centred(queries, rows), count, apart=False)


def neighbours(rows: NDArray[Any], count: int) -> tuple[IntArray, Float64Array]:
    """(n, count) numbers and distances of the other rows nearest to each of the (n > count, e) rows, nearest first."""
    return _search(*_centred(rows, rows), count, apart=True)


def nearest_wells(evaluation: Evaluation) -> tuple[IntArray, Float64Array]:
    """`neighbours` of all test wells, 89 of each or all others; for `Evaluation.once`."""
    return neighbours(evaluation.test, min(SHARED, len(evaluation.test) - 1))


def distances(queries: Float64Array, rows: Float64Array) -> Float64Array:
    """(q, n) Euclidean distances; round-off is smallest for centred rows."""
    found: Float64Array = queries @ rows.T
    found *= -2.0
    found += np.einsum("ne,ne->n", queries, queries)[:, None]
    found += np.einsum("ne,ne->n", rows, rows)
    np.maximum(found, 0.0, out=found)
    return np.sqrt(found, out=found)


def pairwise(groups: NDArray[Any]) -> Float64Array:
    """(g, m, m) Euclidean distances inside each of g groups of m rows (g, m, e); 0 from a row to itself."""
    rows = groups - groups.mean(axis=1, keepdims=True, dtype=np.float64)
    square = np.einsum("gme,gme->gm", rows, rows)
    found = rows @ rows.transpose(0, 2, 1)
    found *= -2.0
    found += square[:, :, None]
    found += square[:, None, :]
    np.sqrt(np.maximum(found, 0.0, out=found), out=found)
    found[:, np.arange(groups.shape[1]), np.arange(groups.shape[1])] = 0.0
    return np.asarray(found)


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


__all__ = ["CHUNK", "SHARED", "distances", "nearest", "nearest_wells", "neighbours", "pairwise"]
