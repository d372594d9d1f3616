"""The adversary's draws for feature maps, made on the device: a screen's maps need too many to send there."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from trainers.abra.draws import Purpose, generator
from trainers.abra.statistics import StyleDraw


class MapDraws:
    """ε ~ N(0, 1) per image and channel, and the coins of the points; a pure function of (seed, mini-batch number).

    The coins are known on the host, so a point that is not perturbed costs nothing: `StyleDraw` holds the others alone.

    Args:
        widths: channels of each point.
        images: B, images in a mini-batch.
        probability: of a point's coin.
    """

    def __init__(
        self, seed: int, widths: Sequence[int], *, images: int, probability: float, device: torch.device
    ) -> None:
        self._seed = seed
        self._widths = tuple(widths)
        self._images = images
        self._probability = probability
        self._device = device
        self._generator = torch.Generator(device)

    def at(self, number: int) -> StyleDraw:
        """The draws of one mini-batch: point index → (1, 2, B, C), applied points only."""
        rng = generator(self._seed, Purpose.STATISTICS, number)
        coins = rng.random(len(self._widths)) < self._probability
        self._generator.manual_seed(int(rng.integers(2**63)))
        normals = {
            index: torch.randn(1, 2, self._images, width, generator=self._generator, device=self._device)
            for index, width in enumerate(self._widths)
        }
        applied = torch.ones(1, dtype=torch.bool, device=self._device)
        chosen = [index for index in normals if coins[index]]
        return StyleDraw({index: normals[index] for index in chosen}, dict.fromkeys(chosen, applied))


__all__ = ["MapDraws"]
