"""What a metric is when plates, or perturbations, count several times or not at all: the bootstrap of the composites.

Neighbours, predictions and clusters stay those of the embedding as it is; only what is averaged is drawn anew. Wells
that stood twice in a resampled embedding would be each other's nearest neighbours.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from trainers.base import IntArray

Float64Array = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
Weighted = Callable[[Float64Array], Float64Array]
"""(r, u) weights of u units, in r resamples, to the (r,) values of a metric; NaN where nothing is left to average."""


def draw_weights(units: int, resamples: int, *, seed: tuple[int, int]) -> Float64Array:
    """(r, u) how often each of u units is drawn, u at a time, with replacement."""
    return np.random.default_rng(seed).multinomial(units, np.full(units, 1.0 / units), resamples).astype(np.float64)


def weighted_mean(values: Float64Array, units: IntArray, count: int, groups: IntArray | None = None) -> Weighted:
    """Mean over groups of the weighted mean of a group's values.

    Args:
        values: (n,).
        units: (n,) the unit of each, 0 … count - 1.
        count: number of units.
        groups: (n,) codes; None for one group. A group without a unit of weight above 0 is left out.
    """
    from scipy.sparse import csr_array

    code = np.zeros(len(values), dtype=np.int64) if groups is None else np.unique(groups, return_inverse=True)[1]
    shape = (int(code.max(initial=0)) + 1, count)
    sums = csr_array((values, (code, units)), shape=shape)
    sizes = csr_array((np.ones(len(values)), (code, units)), shape=shape)

    def weighted(weights: Float64Array) -> Float64Array:
        total, size = (np.asarray(part @ weights.T) for part in (sums, sizes))
        drawn = size > 0
        means = np.where(drawn, total / np.where(drawn, size, 1.0), 0.0).sum(axis=0)
        there = drawn.sum(axis=0)
        return np.where(there > 0, means / np.maximum(there, 1), np.nan)

    return weighted


def rescaled(weighted: Weighted, change: Callable[[Float64Array], Float64Array]) -> Weighted:
    """The same of a function of the metric."""
    return lambda weights: change(weighted(weights))


__all__ = ["Weighted", "draw_weights", "rescaled", "weighted_mean"]
