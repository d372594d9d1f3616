"""Mini-batches of G bio-batches × n items, as the WILDS baselines draw them (Koh et al. 2021, arXiv:2012.07421)."""

from __future__ import annotations

import numpy as np

from trainers.abra.draws import Purpose, generator
from trainers.base import IntArray

CHUNK = 50
"""Mini-batches drawn at a time; chunk c holds steps c·CHUNK … (c+1)·CHUNK − 1."""


def mini_batch_groups(train_batches: IntArray, groups: int) -> int:
    """G of a cell: `groups`, or the number of its training bio-batches where that is smaller."""
    return min(groups, len(np.unique(train_batches)))


class GroupSampler:
    """Draws row numbers for one seed and one set of training rows.

    Each mini-batch takes G distinct bio-batches, uniformly, and n items from each. A bio-batch's items are walked in
    shuffled order, so none repeats in a mini-batch unless the bio-batch has fewer than n.
    """

    def __init__(self, train: IntArray, batches: IntArray, *, groups: int, items: int, seed: int) -> None:
        own = batches[train]
        self._members = [train[own == batch] for batch in np.unique(own)]
        self._groups = groups
        self._items = items
        self._seed = seed

    def chunk(self, index: int) -> IntArray:
        """(CHUNK, G·n) row numbers, bio-batch by bio-batch; a pure function of (seed, rows, index)."""
        rng = generator(self._seed, Purpose.ORDER, index)
        order = np.tile(np.arange(len(self._members)), (CHUNK, 1))
        picked = rng.permuted(order, axis=1)[:, : self._groups]
        rows = np.empty((CHUNK, self._groups, self._items), np.int64)
        for group, members in enumerate(self._members):
            here = picked == group
            rows[here] = self._blocks(members, int(here.sum()), rng)
        return rows.reshape(CHUNK, -1)

    def _blocks(self, members: IntArray, count: int, rng: np.random.Generator) -> IntArray:
        """(count, n) items of one bio-batch."""
        per_pass = max(1, len(members) // self._items)
        passes = rng.permuted(np.tile(members, (-(-count // per_pass), 1)), axis=1)
        repeats = -(-self._items // len(members))  # 1 unless the bio-batch is smaller than n
        return np.tile(passes, (1, repeats))[:, : per_pass * self._items].reshape(-1, self._items)[:count]


__all__ = ["CHUNK", "GroupSampler", "mini_batch_groups"]
