"""A ridge critic that bends: ridge regression on the embedding and on random Fourier features of it, in closed form.

A linear critic removes what moves the means of the bio-batches. What readers still tell them apart by afterwards is
spread, shape and neighbourhoods; a smooth non-linear function of the embedding sees these, and a ridge on random
features of a Gaussian kernel fits such functions exactly, without an inner loop (Rahimi & Recht 2007).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from trainers.abra.adversary import ridge_r2
from trainers.abra.draws import Purpose, generator
from trainers.base import FloatArray

FEATURES = 64
"""D, random features drawn anew at each mini-batch: an encoder cannot learn to hide between fixed ones."""
_SMALLEST_SPREAD = 1e-8


def fourier_features(unit: Tensor, axes: Tensor, phases: Tensor) -> Tensor:
    """(K, B, e + D): the centred rows, scaled to a total variance of 1, and √(2/D)·cos(xᵀaxes + phases) of them.

    The scale is the mini-batch's own and differentiated through, so the features are the same for any scaling of the
    embedding. Two rows are √2 apart in the root mean square, where the kernel exp(−d²/2) of the features is e⁻¹.

    Args:
        unit: (K, B, e) embeddings.
        axes: (K, e, D) standard normal.
        phases: (K, D) uniform over [0, 2π).
    """
    centred = unit - unit.mean(1, keepdim=True)
    spread = centred.square().sum((1, 2), keepdim=True) / unit.shape[1]
    scaled = centred * torch.rsqrt(spread + _SMALLEST_SPREAD)
    waves = math.sqrt(2.0 / axes.shape[2]) * torch.cos(torch.bmm(scaled, axes) + phases[:, None, :])
    return torch.cat([scaled, waves], dim=2)


def fourier_draws(seeds: Sequence[int], step: int, *, width: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Axes (K, e, D) and phases (K, D) of one mini-batch, a function of each cell's seed and the step alone."""
    drawn: dict[int, tuple[FloatArray, FloatArray]] = {}
    for seed in seeds:
        if seed not in drawn:
            rng = generator(seed, Purpose.CRITIC, step)
            normal = rng.standard_normal((width, FEATURES), np.float32)
            drawn[seed] = normal, np.float32(2.0 * np.pi) * rng.random(FEATURES, np.float32)
    axes, phases = (torch.from_numpy(np.stack([drawn[seed][part] for seed in seeds])).to(like) for part in (0, 1))
    return axes, phases


def fourier_r2(
    unit: Tensor, axes: Tensor, phases: Tensor, *, groups: int, penalty: float, adjusted: bool = True
) -> Tensor:
    """(K,) share of the bio-batch's variance that a ridge on `fourier_features` explains in the mini-batch.

    Range, chance level and adjustment are those of `ridge_r2`: with permuted bio-batches the expectation is 0, exactly,
    as the features are fixed functions of the rows.
    """
    features = fourier_features(unit, axes, phases)
    return ridge_r2(features, groups=groups, penalty=penalty, adjusted=adjusted)


__all__ = ["FEATURES", "fourier_draws", "fourier_features", "fourier_r2"]
