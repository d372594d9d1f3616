"""Exact nearest neighbours in Euclidean distance, by matrix products in bounded memory."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweeper.metrics.arrays import NUMPY, Arrays, Block
from sweeper.metrics.evaluation import Evaluation, Float64Array
from trainers.base import IntArray

CHUNK = 1 << 22  # distances inside groups held at a time: 32 MB in float64
SHARED = 89  # neighbours of every well that the metrics share; with the well itself 90
_CLOSE = 0.05
"""d² / |q|² below which |q|² + |r|² - 2 q·r in float32 leaves too little of d² (at 0.05 it is right to about 1e-5)."""


class Cloud:
    """Rows as distances are made of them: centred, where round-off is smallest, in float32 and, if need be, float64.

    Args:
        rows: (n, e).
        arrays: where distances will be computed.
        mean: (e,) the centre; None for that of the rows.
    """

    def __init__(self, rows: NDArray[Any], arrays: Arrays, mean: Float64Array | None = None) -> None:
        self.mean = rows.mean(axis=0, dtype=np.float64) if mean is None else mean
        self._rows, self._arrays = rows, arrays
        centred = (rows - self.mean).astype(np.float32)
        self.square = np.einsum("ne,ne->n", centred, centred)
        self.single: Block = arrays.put(centred)

    def __len__(self) -> int:
        """Number of rows."""
        return len(self._rows)

    @cached_property
    def double(self) -> Block:
        """(n, e) in float64."""
        return self._arrays.put(self._rows.astype(np.float64) - self.mean)


def squared_block(queries: Cloud, rows: Cloud, some: IntArray, arrays: Arrays) -> Block:
    """(q, n) squared distances of some queries to all rows, float32; computed in float64 where rows nearly coincide.

    Where the queries are the rows, each has distance 0 to itself.
    """
    taken = arrays.put(some)
    found = arrays.squared(queries.single[taken], rows.single)
    own = some if queries is rows else None
    if own is not None:
        arrays.fill(found, own, np.inf)
    close = np.flatnonzero(arrays.least(found) < _CLOSE * queries.square[some])
    if len(close):
        arrays.put_rows(found, close, arrays.squared(queries.double[arrays.put(some[close])], rows.double))
    if own is not None:
        arrays.fill(found, own, 0.0)
    return found


def nearest(
    queries: NDArray[Any], rows: NDArray[Any], count: int, arrays: Arrays = NUMPY
) -> tuple[IntArray, Float64Array]:
    """(q, count) numbers of the nearest of the (n ≥ count, e) rows to each of the (q, e) queries, and distances."""
    cloud = Cloud(rows, arrays)
    return _search(Cloud(queries, arrays, cloud.mean), cloud, count, arrays)


def neighbours(rows: NDArray[Any], count: int, arrays: Arrays = NUMPY) -> tuple[IntArray, Float64Array]:
    """(n, count) numbers and distances of the other rows nearest to each of the (n > count, e) rows, nearest first."""
    cloud = Cloud(rows, arrays)
    return _search(cloud, cloud, count, arrays)


def nearest_wells(evaluation: Evaluation) -> tuple[IntArray, Float64Array]:
    """`neighbours` of all test wells, 89 of each or all others; for `Evaluation.once`."""
    return neighbours(evaluation.test, min(SHARED, len(evaluation.test) - 1), evaluation.arrays)


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


def _search(queries: Cloud, rows: Cloud, count: int, arrays: Arrays) -> tuple[IntArray, Float64Array]:
    """Where the queries are the rows, the other rows."""
    index = np.empty((len(queries), count), dtype=np.int64)
    distance = np.empty((len(queries), count))
    step = max(1, arrays.block // len(rows))
    for at in range(0, len(queries), step):
        some = np.arange(at, min(at + step, len(queries)))
        block = squared_block(queries, rows, some, arrays)
        if queries is rows:
            arrays.fill(block, some, np.inf)
        index[some], distance[some] = arrays.smallest(block, count)
    return index, np.sqrt(np.maximum(distance, 0.0))


__all__ = ["CHUNK", "SHARED", "Cloud", "nearest", "nearest_wells", "neighbours", "pairwise", "squared_block"]
