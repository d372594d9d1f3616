"""Training images on the device, a mini-batch at a time: crops, flips, rotations, standardisation and CutMix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trainers.base import IntArray
from trainers.images.image_settings import AugmentSettings
from trainers.threads import torch_threads

CACHED = 2**18
"""Pixels that a processor works on at a time: a megabyte in fp32."""


@dataclass(frozen=True, eq=False)
class Draw:
    """What is drawn for one mini-batch of B images.

    Attributes:
        turned, upside, mirrored: (B,) bool; together the eight symmetries of a square (transposition, then flips).
        top, left: (B,) corner of the crop, pixels.
        partner: (B,) position in the mini-batch of the image that CutMix pastes in; None = not mixed.
        box: (B, 4) top, bottom, left, right of the pasted rectangle, pixels of the crop.
    """

    turned: IntArray
    upside: IntArray
    mirrored: IntArray
    top: IntArray
    left: IntArray
    partner: IntArray | None
    box: IntArray


def draw(
    rng: np.random.Generator, settings: AugmentSettings, *, groups: int, items: int, height: int, width: int
) -> Draw:
    """Draw for G bio-batches × n images of height × width pixels; CutMix partners stay within the bio-batch."""
    count = groups * items
    side_y, side_x = (settings.crop, settings.crop) if settings.crop else (height, width)
    quarter = rng.integers(4, size=count) if settings.rotations else np.zeros(count, np.int64)
    flip = rng.integers(2, size=count) if settings.flips else np.zeros(count, np.int64)
    top = rng.integers(height - side_y + 1, size=count)
    left = rng.integers(width - side_x + 1, size=count)
    mixed = rng.random() < settings.cutmix
    partner = rng.permuted(np.arange(count).reshape(groups, items), axis=1).ravel()
    # CutMix: an area of 1 − Beta(1, 1), centred anywhere, cut at the image's edge
    half = 0.5 * np.sqrt(rng.random(count))[:, None] * (side_y, side_x)
    centre = rng.random((count, 2)) * (side_y, side_x)
    low = np.clip(np.rint(centre - half), 0, (side_y, side_x)).astype(np.int64)
    high = np.clip(np.rint(centre + half), 0, (side_y, side_x)).astype(np.int64)
    return Draw(
        turned=quarter % 2,
        upside=(quarter == 1) | (quarter == 2),
        mirrored=((quarter >= 2) ^ (flip == 1)).astype(np.int64),
        top=top,
        left=left,
        partner=partner if mixed else None,
        box=np.stack([low[:, 0], high[:, 0], low[:, 1], high[:, 1]], axis=1),
    )


def standardised(images: Tensor) -> Tensor:
    """(B, C, H, W) images, each channel with its own mean and standard deviation (n − 1; 0 → 1) as WILDS has it, fp32.

    Worked in place: on a processor a fresh tensor of this size costs more than the arithmetic. The first pixel is taken
    off before the mean, so that a constant channel becomes exactly 0.
    """
    x, std = _centred(images)
    return x.div_(std)


def _centred(images: Tensor) -> tuple[Tensor, Tensor]:
    x = images.to(torch.float32, copy=True)
    x -= x[..., :1, :1].clone()
    x -= x.mean((2, 3), keepdim=True)
    std = torch.linalg.vector_norm(x, dim=(2, 3), keepdim=True) / max(x[0, 0].numel() - 1, 1) ** 0.5
    return x, torch.where(std > 0.0, std, 1.0)


def augmented(
    images: Tensor, one: Draw, settings: AugmentSettings, space: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """(B, C, H, W) raw images → (B, C, s, s) standardised crops, and the (B,) share that is an image's own pixels.

    An image is standardised by the moments of the whole of it, before it is cropped and mixed.

    Args:
        images, one, settings: what is done to what.
        space: (B, C, s, s) fp32 that a processor may write the crops into: half of its time would go into fresh memory.
    """
    height, width = images.shape[2:]
    side = (settings.crop, settings.crop) if settings.crop else (height, width)
    if images.device.type == "cpu":
        out = torch.empty((*images.shape[:2], *side)) if space is None else space
        with torch_threads(1):  # one image is too little to share: threads would wait for one another
            _one_by_one(images, one, out)
    else:
        out = _together(images, one, side)
    if one.partner is None:
        return out, None
    rows = torch.arange(side[0], device=out.device)[None, :, None]
    columns = torch.arange(side[1], device=out.device)[None, None, :]
    top, bottom, left, right = (edge[:, None, None] for edge in _on(out.device, one.box).unbind(1))
    inside = (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)
    mixed = torch.where(inside[:, None], out[_on(out.device, one.partner)], out)
    return mixed, 1.0 - inside.float().mean((1, 2))


def _one_by_one(images: Tensor, one: Draw, out: Tensor) -> None:
    """Crops for a processor: what is worked on stays in its cache, which makes it several times faster.

    The whole image is turned first, as integers, and the window moves along.
    """
    height, width = out.shape[2:]
    rest = (images.shape[2] - height, images.shape[3] - width)
    together = max(1, CACHED // (images.shape[2] * images.shape[3]))
    for number in range(len(images)):
        flips, corner = (one.upside[number], one.mirrored[number]), (one.top[number], one.left[number])
        top, left = (int(r - c) if flip else int(c) for flip, c, r in zip(flips, corner, rest, strict=True))
        top, left = (left, top) if one.turned[number] else (top, left)
        flipped = [dim for dim, flip in enumerate(flips, 1) if flip]
        for first in range(0, images.shape[1], together):
            channels = slice(first, first + together)
            raw = images[number, channels]
            raw = raw.flip(flipped) if flipped else raw
            x, std = _centred((raw.transpose(1, 2) if one.turned[number] else raw)[None])
            window = x[0, :, top : top + height, left : left + width]
            torch.div(window, std[0], out=out[number, channels])


def _together(images: Tensor, one: Draw, side: tuple[int, int]) -> Tensor:
    """Crops for a GPU: the whole mini-batch in a few kernels."""
    count, channels, _, width = images.shape
    device = images.device
    rows = torch.arange(side[0], device=device)[None, :, None]
    columns = torch.arange(side[1], device=device)[None, None, :]
    turned, upside, mirrored = (
        _on(device, values.astype(np.bool_))[:, None, None] for values in (one.turned, one.upside, one.mirrored)
    )
    y, x = torch.where(turned, columns, rows), torch.where(turned, rows, columns)
    y = torch.where(upside, side[0] - 1 - y, y) + _on(device, one.top)[:, None, None]
    x = torch.where(mirrored, side[1] - 1 - x, x) + _on(device, one.left)[:, None, None]
    source = (y * width + x).flatten(1)[:, None].expand(-1, channels, -1)
    return standardised(images).flatten(2).gather(2, source).view(count, channels, *side)


def _on(device: torch.device, values: IntArray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values)).to(device, non_blocking=True)


__all__ = ["Draw", "augmented", "draw", "standardised"]
