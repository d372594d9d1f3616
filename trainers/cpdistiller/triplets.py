"""A positive and a negative for every well, drawn anew every epoch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from trainers.base import IntArray
from trainers.cpdistiller.neighbour_pairs import NeighbourPairs
from trainers.errors import InputError


class Triplets:
    """Every well is an anchor once.

    A negative control's positive is a random negative control, its negative a random well that is no neighbour and no
    control. Any other well's positive is, with probability `mutual_share`, a mutual neighbour, else a neighbour within
    its level, each where it has one, else itself; its negative is a random negative control that is no neighbour. Where
    no well of that kind is left, the negative is any well that is no neighbour.

    Args:
        pairs: of n wells.
        controls: (n,) bool, the negative controls; there may be none.
        mutual_share: see above.

    Raises:
        InputError: a well with all others as neighbours has no negative.
    """

    def __init__(self, pairs: NeighbourPairs, controls: NDArray[np.bool_], *, mutual_share: float) -> None:
        self._pairs, self._controls, self._share = pairs, controls, mutual_share
        self._size = len(controls)
        related = (pairs.mutual + pairs.within + sparse.eye_array(self._size, dtype=np.bool_, format="csr")).tocsr()
        related.sort_indices()
        counts = np.diff(related.indptr)
        if (counts == self._size).any():
            raise InputError(
                f"cpdistiller: all {self._size - 1} other training wells are neighbours of one of them, which leaves "
                "it no negative; lower cpdistiller.between_neighbours and within_neighbours, or train on more wells"
            )
        self._keys = np.repeat(np.arange(self._size), counts) * self._size + related.indices  # ascending
        self._pools = (np.flatnonzero(controls), np.flatnonzero(~controls), np.arange(self._size))
        near_controls = np.asarray(related.astype(np.int64) @ controls.astype(np.int64))
        left = np.where(controls, (~controls).sum() - (counts - near_controls), controls.sum() - near_controls)
        self._pool = np.where(left == 0, 2, controls.astype(np.int64))  # which of `_pools` a negative is drawn from

    def draw(self, rng: np.random.Generator) -> tuple[IntArray, IntArray]:
        """(n,) positives and (n,) negatives, as well numbers 0 … n − 1."""
        return self._positives(rng), self._negatives(rng)

    def _positives(self, rng: np.random.Generator) -> IntArray:
        coins, picks = rng.random(self._size) < self._share, rng.random(self._size)
        found = np.arange(self._size)
        mutual = coins & (np.diff(self._pairs.mutual.indptr) > 0)
        within = ~mutual & (np.diff(self._pairs.within.indptr) > 0)
        for matrix, chosen in ((self._pairs.mutual, mutual), (self._pairs.within, within)):
            rows = np.flatnonzero(chosen & ~self._controls)
            counts = matrix.indptr[rows + 1] - matrix.indptr[rows]
            found[rows] = matrix.indices[matrix.indptr[rows] + (picks[rows] * counts).astype(np.int64)]
        pool = self._pools[0]
        found[pool] = pool[(picks[pool] * len(pool)).astype(np.int64)]
        return found

    def _negatives(self, rng: np.random.Generator) -> IntArray:
        found = np.empty(self._size, np.int64)
        pending = np.arange(self._size)
        while len(pending):  # every well has a negative in its pool
            picks = rng.random(len(pending))
            for number, pool in enumerate(self._pools):
                here = self._pool[pending] == number
                found[pending[here]] = pool[(picks[here] * len(pool)).astype(np.int64)]
            keys = pending * self._size + found[pending]
            place = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
            pending = pending[self._keys[place] == keys]
        return found


__all__ = ["Triplets"]
