"""Silhouettes of many labellings of the same rows at once.

s = (b - a) / max(a, b), with a the mean distance to the other rows of the own label and b that to the nearest other
label; 0 for a row alone in its label (Rousseeuw, J Comput Appl Math 1987, doi:10.1016/0377-0427(87)90125-7).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from sweeper.metrics.evaluation import Float64Array
from sweeper.metrics.neighbours import CHUNK, distances
from trainers.base import IntArray


def silhouettes(rows: NDArray[Any], labellings: Sequence[IntArray]) -> Float64Array:
    """(c, n) Euclidean silhouettes in [-1, 1] of the (n, e) rows under c labellings, each (n,) of ≥ 2 labels."""
    centred = rows - rows.mean(axis=0, dtype=np.float64)
    codes = [np.unique(labels, return_inverse=True)[1] for labels in labellings]
    sizes = [np.bincount(code) for code in codes]
    starts = np.cumsum([0, *(len(size) for size in sizes)])
    n = len(centred)
    # One sparse product sums the distances to every label of every labelling.
    members = csr_array(
        (
            np.ones(n * len(codes)),
            (np.concatenate([code + start for code, start in zip(codes, starts, strict=False)]),
             np.tile(np.arange(n), len(codes))),
        ),
        shape=(int(starts[-1]), n),
    )  # fmt: skip
    found = np.empty((len(codes), n))
    step = max(1, CHUNK // max(n, int(starts[-1])))
    for at in range(0, n, step):
        some = distances(centred, centred[at : at + step])
        here = np.arange(some.shape[1])
        some[at + here, here] = 0.0
        sums = np.asarray(members @ some)
        for number, (code, size) in enumerate(zip(codes, sizes, strict=True)):
            own = code[at : at + step]
            means = sums[starts[number] : starts[number + 1]]
            a = means[own, here] / np.maximum(size[own] - 1, 1)
            means = means / size[:, None]
            means[own, here] = np.inf
            b = means.min(axis=0)
            largest = np.maximum(a, b)
            defined = (size[own] > 1) & (largest > 0)
            found[number, at : at + step] = np.where(defined, (b - a) / np.where(defined, largest, 1.0), 0.0)
    return found


__all__ = ["silhouettes"]
