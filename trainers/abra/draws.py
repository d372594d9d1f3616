"""Random draws as pure functions of (seed, purpose, counter): no generator has a state to lose or to share.

A cell's draws depend on its seed alone: not on λ, m or the companions in its pack. Hence the same seed at every
strength starts from the same weights and sees the same mini-batches, and a resumed run draws what an uninterrupted one
does.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """What a draw is for; each purpose is an independent stream of the cell's seed."""

    INIT = 0
    ORDER = 1
    STATISTICS = 2
    CRITIC = 3
    AUGMENTATION = 4
    STOCHASTIC_LAYERS = 5
    LATENT = 6


def generator(seed: int, purpose: Purpose, counter: int = 0) -> np.random.Generator:
    """The generator of one purpose at one count (a chunk of steps)."""
    return np.random.default_rng((seed, int(purpose), counter))


__all__ = ["Purpose", "generator"]
