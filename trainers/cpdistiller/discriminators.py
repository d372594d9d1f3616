"""Discriminators: which batch, row or column is this latent from? One an effect and cell, stacked.

How well they do during training says nothing of how much of an effect is left: the probes of the panel are fresh.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from trainers.abra.draws import Purpose, generator
from trainers.base import FloatArray, IntArray
from trainers.cpdistiller.distiller_losses import smoothed_rows
from trainers.cpdistiller.levels import soft_labels
from trainers.cpdistiller.mixture_vae import Shapes, hidden_layer, initial_linear, linear, linear_shapes

_ABSENT = -1e9  # a logit whose probability underflows to exactly 0


class EffectLevels:
    """One effect's levels of every cell: those among its training rows, counted from 0 in their order.

    Attributes:
        count: the largest number of levels in a cell.
    """

    def __init__(self, codes: Sequence[IntArray], trains: Sequence[IntArray], true_share: float, device: str) -> None:
        """`codes`: K times (n,) codes of the whole screen; `trains`: K times training rows."""
        own = [np.unique(code[train]) for code, train in zip(codes, trains, strict=True)]
        self.count = max(len(levels) for levels in own)
        places = np.stack([np.searchsorted(levels, code) for levels, code in zip(own, codes, strict=True)])
        soft = np.zeros((len(own), self.count, self.count), np.float32)
        for cell, levels in enumerate(own):
            soft[cell, : len(levels), : len(levels)] = soft_labels(len(levels), true_share)
        absent = np.arange(self.count)[None, :] >= np.array([len(levels) for levels in own])[:, None]
        self._places = torch.from_numpy(places).to(device)
        self._soft = torch.from_numpy(soft).to(device)
        self._absent = torch.from_numpy(absent[:, None, :]).to(device)

    def loss(self, parameters: Mapping[str, Tensor], effect: str, z: Tensor, rows: Tensor, smoothing: float) -> Tensor:
        """(K, B) smoothed cross-entropy of (K, B, Z) latents of the screen's `rows` (K, B)."""
        hidden = hidden_layer(parameters, f"{effect}1", hidden_layer(parameters, f"{effect}0", z))
        logits = linear(parameters, f"{effect}2", hidden).masked_fill(self._absent, _ABSENT)
        levels = self._places.gather(1, rows)
        soft = self._soft.gather(1, levels[..., None].expand(-1, -1, self.count))
        return smoothed_rows(logits, levels, soft, smoothing)


def discriminator_shapes(levels: Mapping[str, EffectLevels], *, latent: int, width: int) -> Shapes:
    """Parameter shapes of one cell: three layers an effect."""
    layers: dict[str, tuple[int, int]] = {}
    for effect, own in levels.items():
        layers |= {f"{effect}0": (latent, width), f"{effect}1": (width, width), f"{effect}2": (width, own.count)}
    return linear_shapes(layers)


def initial_discriminators(shapes: Shapes, effects: Sequence[str], seed: int) -> dict[str, FloatArray]:
    """Drawn effect by effect: an effect's start depends on the seed alone, not on which others there are."""
    found: dict[str, FloatArray] = {}
    for number, effect in enumerate(("batch", "row", "column")):
        if effect in effects:
            own = {name: shape for name, shape in shapes.items() if name.startswith(effect)}
            found |= initial_linear(own, generator(seed, Purpose.CRITIC, number))
    return found


__all__ = ["EffectLevels", "discriminator_shapes", "initial_discriminators"]
