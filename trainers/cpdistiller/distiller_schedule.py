"""What changes as a training goes on, for cells whose epochs have steps of their own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainers.base import IntArray
from trainers.cpdistiller.cpdistiller_settings import CpDistillerSettings

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class DistillerSchedule:
    """K cells; `epoch_steps` (K,) mini-batches of an epoch of each."""

    settings: CpDistillerSettings
    epoch_steps: IntArray

    @property
    def steps(self) -> IntArray:
        """(K,) optimiser steps of each cell."""
        return self.epoch_steps * self.settings.epochs

    def epoch(self, step: int) -> IntArray:
        """(K,) epochs finished before `step`, which counts from 0."""
        return np.minimum(step // self.epoch_steps, self.settings.epochs)

    def rate_share(self, step: int) -> Array:
        """(K,) share of the first step size: a cosine over the epochs (arXiv:1608.03983, without restarts)."""
        return 0.5 * (1.0 + np.cos(np.pi * self.epoch(step) / self.settings.epochs))

    def temperature(self, step: int) -> Array:
        """(K,) of the Gumbel-softmax; the first two epochs have 1, as in the public code."""
        epoch = np.maximum(self.epoch(step) - 1, 0)
        return np.maximum(np.exp(-self.settings.temperature_decay * epoch), self.settings.lowest_temperature)

    def reversal(self, step: int) -> Array:
        """(K,) share of λ in force: 2/(1 + exp(−10 p)) − 1 (Ganin & Lempitsky 2015, section 5.2)."""
        return 2.0 / (1.0 + np.exp(-10.0 * step / self.steps)) - 1.0


__all__ = ["DistillerSchedule"]
