"""Training images on the device, a mini-batch at a time: crops, flips, rotations, standardisation and CutMix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trainers.base import IntArray
from trainers.images.settings import AugmentSettings


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


def moments(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (n − 1; 0 → 1) of each image's channels, (B, C, 1, 1) fp32, as WILDS takes them."""
    std, mean = torch.std_mean(images.float(), dim=(2, 3), keepdim=True)
    return mean, torch.where(std > 0.0, std, 1.0)


def standardised(images: Tensor) -> Tensor:
    """(B, C, H, W) images, each channel with its own mean and standard deviation, fp32."""
    mean, std = moments(images)
    return (images.float() - mean) / std


def augmented(images: Tensor, one: Draw, settings: AugmentSettings) -> tuple[Tensor, Tensor | None]:
    """(B, C, H, W) raw images → (B, C, s, s) standardised crops, and the (B,) share that is an image's own pixels.

    An image is standardised by the moments of the whole of it, before it is cropped and mixed.
    """
    count, channels, height, width = images.shape
    side_y, side_x = (settings.crop, settings.crop) if settings.crop else (height, width)
    device = images.device

    def host(values: IntArray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(device, non_blocking=True)

    mean, std = moments(images)
    rows = torch.arange(side_y, device=device)[None, :, None]
    columns = torch.arange(side_x, device=device)[None, None, :]
    turned, upside, mirrored = (host(v.astype(np.bool_))[:, None, None] for v in (one.turned, one.upside, one.mirrored))
    y, x = torch.where(turned, columns, rows), torch.where(turned, rows, columns)
    y = torch.where(upside, side_y - 1 - y, y) + host(one.top)[:, None, None]
    x = torch.where(mirrored, side_x - 1 - x, x) + host(one.left)[:, None, None]
    source = (y * width + x).flatten(1)[:, None].expand(-1, channels, -1)
    sixteen = images.dtype == torch.uint16  # gather knows no unsigned 16 bits on a GPU: take the bits as int16
    flat = (images.view(torch.int16) if sixteen else images).reshape(count, channels, height * width)
    cut = flat.gather(2, source).view(count, channels, side_y, side_x)
    out = ((cut.view(torch.uint16) if sixteen else cut).float() - mean) / std
    if one.partner is None:
        return out, None
    top, bottom, left, right = (edge[:, None, None] for edge in host(one.box).unbind(1))
    inside = (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)
    mixed = torch.where(inside[:, None], out[host(one.partner)], out)
    return mixed, 1.0 - inside.float().mean((1, 2))


__all__ = ["Draw", "augmented", "draw", "moments", "standardised"]
