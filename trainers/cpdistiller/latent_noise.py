"""The noise of the latent and of its category: a pure function of a cell's seed and the step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from trainers.abra.draws import Purpose, generator


class LatentNoise:
    """Standard normal and Gumbel draws for anchors, positives and negatives of K cells; a seed is drawn once."""

    def __init__(self, seeds: Sequence[int], *, rows: int, latent: int, categories: int, device: torch.device) -> None:
        self._seeds, self._cell = np.unique(np.asarray(seeds), return_inverse=True)
        self._rows, self._latent, self._categories = rows, latent, categories
        self._device = device

    def at(self, step: int) -> tuple[Tensor, Tensor]:
        """(K, rows, Z) normal and (K, rows, C) Gumbel draws."""
        drawn = []
        for seed in self._seeds:
            rng = generator(int(seed), Purpose.LATENT, step)
            normal = rng.standard_normal((self._rows, self._latent), np.float32)
            drawn.append((normal, rng.gumbel(size=(self._rows, self._categories)).astype(np.float32)))
        normals, gumbels = (np.stack(part)[self._cell] for part in zip(*drawn, strict=True))
        return torch.from_numpy(normals).to(self._device), torch.from_numpy(gumbels).to(self._device)


__all__ = ["LatentNoise"]
