"""Mini-batches of anchors, positives and negatives: every training row is an anchor once an epoch."""

from __future__ import annotations

import numpy as np

from trainers.abra.draws import Purpose, generator
from trainers.base import FloatArray, IntArray
from trainers.cpdistiller.triplets import Triplets


class EpochSampler:
    """The mini-batches of one seed and one set of training rows; a pure function of both and the step.

    Attributes:
        steps: mini-batches of an epoch.
    """

    def __init__(self, train: IntArray, triplets: Triplets, *, size: int, seed: int) -> None:
        self._train, self._triplets, self._size, self._seed = train, triplets, size, seed
        self.steps = -(-len(train) // size)
        self._epoch = -1
        self._order = self._positive = self._negative = train

    def at(self, step: int) -> tuple[IntArray, FloatArray]:
        """(3, size) screen rows of anchors, positives and negatives, and (size,) weights of the anchors that sum to 1.

        An epoch's last mini-batch is filled up by rows of weight 0.
        """
        epoch, number = divmod(step, self.steps)
        if epoch != self._epoch:
            rng = generator(self._seed, Purpose.ORDER, epoch)
            self._order = rng.permutation(len(self._train))
            self._positive, self._negative = self._triplets.draw(rng)
            self._epoch = epoch
        anchors = self._order[number * self._size : (number + 1) * self._size]
        rows = np.zeros((3, self._size), np.int64)
        rows[:, : len(anchors)] = anchors, self._positive[anchors], self._negative[anchors]
        weights = np.zeros(self._size, np.float32)
        weights[: len(anchors)] = 1.0 / len(anchors)
        return self._train[rows], weights


__all__ = ["EpochSampler"]
