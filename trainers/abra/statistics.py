"""Uncertain bio-batch statistics: perturbed views that look like a plausible new bio-batch, random or worst-case.

For vectors the statistics of a feature are those of a bio-batch inside the mini-batch: μ and σ over its n items, and
their spread S over the G bio-batches. A view redraws them, β = μ + ε·u_μ and γ = σ + ε'·u_σ with one ε per bio-batch,
and restyles, z̃ = γ·(z − μ)/σ + β. The random form (DSU, Li et al., ICLR 2022) has u = S·radius. The worst case (after
AdvStyle, arXiv:2301.12643) has u = (r/‖r‖)·‖S‖·radius, its direction r learned by gradient ascent on L_arc(perturbed).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainers.abra.draws import Purpose, generator
from trainers.abra.encoder import Hook

_VARIANCE_FLOOR = 1e-6
_SMALLEST_SIGMA = 1e-6
_CHUNK = 8  # steps drawn at a time


@dataclass(frozen=True, eq=False)
class StyleDraw:
    """The draws of one mini-batch: layer → ε (K, 2, G, D), for μ and σ; layer → (K,) whether the layer is perturbed."""

    epsilon: Mapping[int, Tensor]
    applied: Mapping[int, Tensor]


class StyleDraws:
    """Draws ε ~ N(0, 1) and the coins of every step; a cell's are a pure function of its seed and the step."""

    def __init__(
        self, seeds: Sequence[int], widths: Mapping[int, int], *, groups: int, probability: float, device: torch.device
    ) -> None:
        self._seeds, self._cell = np.unique(np.asarray(seeds), return_inverse=True)
        self._widths = dict(widths)
        self._groups = groups
        self._probability = probability
        self._device = device
        self._chunk = -1
        self._normals = np.empty(0, np.float32)
        self._coins = np.empty(0, np.bool_)

    def at(self, step: int) -> StyleDraw:
        """The draws of one step."""
        chunk, offset = divmod(step, _CHUNK)
        if chunk != self._chunk:
            rngs = [generator(int(seed), Purpose.STATISTICS, chunk) for seed in self._seeds]
            shape = (_CHUNK, 2, self._groups, sum(self._widths.values()))
            # coins first: they must not depend on how many normals follow
            self._coins = np.stack([rng.random((_CHUNK, len(self._widths))) < self._probability for rng in rngs])
            self._normals = np.stack([rng.standard_normal(shape, np.float32) for rng in rngs])
            self._chunk = chunk
        normals = torch.from_numpy(self._normals[self._cell, offset]).to(self._device)
        coins = torch.from_numpy(self._coins[self._cell, offset]).to(self._device)
        parts = torch.split(normals, list(self._widths.values()), dim=-1)
        layers = tuple(self._widths)
        return StyleDraw(dict(zip(layers, parts, strict=True)), dict(zip(layers, coins.unbind(1), strict=True)))


def bio_batch_moments(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """μ, σ = √(var + 1e-6) over the items of (K, G, n, D), each (K, G, 1, D), and z − μ; var is the biased one."""
    mean = z.mean(2, keepdim=True)
    centred = z - mean
    return mean, torch.sqrt(centred.square().mean(2, keepdim=True) + _VARIANCE_FLOOR), centred


def spread(moment: Tensor) -> Tensor:
    """S: the standard deviation over the G bio-batches of a (K, G, 1, D) moment, (K, 1, 1, D)."""
    centred = moment - moment.mean(1, keepdim=True)
    return torch.sqrt(centred.square().mean(1, keepdim=True) + _VARIANCE_FLOOR)


def restyle(centred: Tensor, mean: Tensor, sigma: Tensor, mean_shift: Tensor, sigma_shift: Tensor) -> Tensor:
    """z̃ = γ·(z − μ)/σ + β with β = μ + mean_shift and γ = max(σ + sigma_shift, 1e-6); shapes as `bio_batch_moments`."""
    return torch.addcmul(mean + mean_shift, centred, (sigma + sigma_shift).clamp(min=_SMALLEST_SIGMA) / sigma)


def random_hook(draw: StyleDraw, *, groups: int, radius: float) -> Hook:
    """Restyle with one random draw per bio-batch (DSU)."""

    def hook(layer: int, z: Tensor) -> Tensor:
        if layer not in draw.epsilon:
            return z
        return _apply(z, draw, layer, groups, lambda mean, sigma: (radius * spread(mean), radius * spread(sigma)))

    return hook


class WorstCaseDirections:
    """The learned directions r of K cells, kept between steps, and the views they give.

    Attributes:
        direction: layer → (K, 2, D), for μ and σ; meaningless until initialised.
        initialised: layer → (K,) bool; a direction starts as the spread S of the first mini-batch it is applied to.
    """

    def __init__(
        self,
        cells: int,
        widths: Mapping[int, int],
        *,
        groups: int,
        radius: float,
        ascent_size: float,
        device: torch.device,
    ) -> None:
        self.direction = {layer: torch.zeros(cells, 2, width, device=device) for layer, width in widths.items()}
        self.initialised = {layer: torch.zeros(cells, dtype=torch.bool, device=device) for layer in widths}
        self._groups = groups
        self._radius = radius
        self._ascent_size = ascent_size

    def hook(self, draw: StyleDraw, leaves: dict[int, Tensor] | None = None) -> Hook:
        """Restyle along the directions; with `leaves`, each direction used is put there to be differentiated."""

        def hook(layer: int, z: Tensor) -> Tensor:
            if layer not in draw.epsilon:
                return z

            def shifts(mean: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
                size = torch.stack([spread(mean), spread(sigma)], dim=1).flatten(2)  # (K, 2, D)
                known = self.initialised[layer][:, None, None]
                direction = torch.where(known, self.direction[layer], size.detach())
                if leaves is not None:
                    direction = leaves[layer] = direction.requires_grad_()
                unit = direction / torch.linalg.vector_norm(direction, dim=-1, keepdim=True)
                bound = torch.linalg.vector_norm(size, dim=-1, keepdim=True) * self._radius
                along_mean, along_sigma = (unit * bound).unbind(1)
                return along_mean[:, None, None], along_sigma[:, None, None]

            return _apply(z, draw, layer, self._groups, shifts)

        return hook

    def ascend(self, loss: Callable[[Hook], Tensor], draw: StyleDraw) -> None:
        """One ascent step on the cell's `loss(hook)` (K,) at the draw's ε; see `move`."""
        leaves: dict[int, Tensor] = {}
        total = loss(self.hook(draw, leaves)).sum()
        if not leaves:
            return  # no layer of the draw has statistics to perturb
        gradients = torch.autograd.grad(total, list(leaves.values()))
        self.move(dict(zip(leaves, zip(leaves.values(), gradients, strict=True), strict=True)), draw)

    @torch.no_grad()
    def move(self, ascent: Mapping[int, tuple[Tensor, Tensor]], draw: StyleDraw) -> None:
        """Ascend: r ← r/‖r‖ + size·g/‖g‖ for layer → (r, g), (K, 2, D) each; only where applied in this draw."""
        for layer, (start, gradient) in ascent.items():
            length = torch.linalg.vector_norm(gradient, dim=-1, keepdim=True)
            unit = start / torch.linalg.vector_norm(start, dim=-1, keepdim=True)
            moved = unit + self._ascent_size * gradient / length.clamp(min=1e-12)
            applied = draw.applied[layer]
            self.direction[layer] = torch.where(applied[:, None, None], moved, self.direction[layer])
            self.initialised[layer] = self.initialised[layer] | applied

    def state_dict(self) -> dict[str, Any]:
        """The directions with their flags, by layer number."""
        return {
            "direction": {str(layer): value.clone() for layer, value in self.direction.items()},
            "initialised": {str(layer): value.clone() for layer, value in self.initialised.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` copied."""
        for layer in self.direction:
            self.direction[layer].copy_(state["direction"][str(layer)])
            self.initialised[layer].copy_(state["initialised"][str(layer)])


def _apply(
    z: Tensor,
    draw: StyleDraw,
    layer: int,
    groups: int,
    shifts: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
) -> Tensor:
    """(K, B, D) → restyled where the layer's coin fell so; `shifts` gives the sizes u_μ, u_σ from μ, σ."""
    cells, rows, width = z.shape
    mean, sigma, centred = bio_batch_moments(z.view(cells, groups, rows // groups, width))
    # a coin of 0 leaves the statistics as they are
    epsilon = (draw.epsilon[layer] * draw.applied[layer][:, None, None, None]).unsqueeze(3)  # (K, 2, G, 1, D)
    mean_size, sigma_size = shifts(mean, sigma)
    return restyle(centred, mean, sigma, epsilon[:, 0] * mean_size, epsilon[:, 1] * sigma_size).view_as(z)


__all__ = [
    "StyleDraw",
    "StyleDraws",
    "WorstCaseDirections",
    "bio_batch_moments",
    "random_hook",
    "restyle",
    "spread",
]
