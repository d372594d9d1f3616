"""Mini-batches of images: rows of a memory-mapped array, read ahead, moved to the device and augmented there."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from trainers.base import Images, IntArray
from trainers.errors import InputError
from trainers.images.augment import standardised
from trainers.images.backbones import has_one_size
from trainers.images.image_settings import ImageAbraSettings
from trainers.rows import read_rows

RESIDENT_SHARE = 0.4
"""Share of a GPU's free memory that a screen may take: a network of the usual size trains beside it."""

_COPY_BYTES = 256 * 2**20


def check_images(images: Images, settings: ImageAbraSettings) -> None:
    """Raise InputError unless the array is one that the settings can train on."""
    if images.ndim != 4 or 0 in images.shape:
        raise InputError(f"images: shape {images.shape}; it must be (n, channels, height, width)")
    if images.dtype not in (np.uint8, np.uint16):
        raise InputError(f"images: {images.dtype} values; they must be uint8 or uint16")
    height, width = images.shape[2:]
    if height != width:
        raise InputError(f"images: {height}×{width} pixels; they must be square")
    if settings.augment.crop is not None and settings.augment.crop > height:
        raise InputError(f"augment.crop: {settings.augment.crop} is more than the images' {height} pixels")


class RowReader:
    """Reads rows of the array and moves them to the device.

    On a GPU the whole array lives there if it takes at most `RESIDENT_SHARE` of the free memory; else the next
    mini-batch is read by a thread into pinned memory while the device computes.

    Args:
        images: as `check_images`.
        device: where the rows are wanted.
        resident: whether the array lives on the device; None = by its size, on a GPU.
    """

    def __init__(self, images: Images, device: torch.device, *, resident: bool | None = None) -> None:
        self._images = images
        if resident is None:
            resident = device.type == "cuda" and images.nbytes <= RESIDENT_SHARE * torch.cuda.mem_get_info(device)[0]
        self._all = _on_device(images, device) if resident else None
        self._device = device
        self._ahead: tuple[bytes, Future[Tensor]] | None = None
        self._thread = ThreadPoolExecutor(1) if device.type == "cuda" else None

    def read(self, rows: IntArray, then: IntArray | None = None) -> Tensor:
        """(len(rows), channels, H, W) raw images on the device; `then` are the rows wanted next."""
        if self._all is not None:
            found = self._all[torch.from_numpy(rows).to(self._device)]
            return found.view(torch.uint16) if self._images.dtype == np.uint16 else found
        if self._ahead is not None and self._ahead[0] == rows.tobytes():
            host = self._ahead[1].result()
        else:
            host = self._load(rows)
        self._ahead = None
        if self._thread is not None and then is not None:
            self._ahead = (then.tobytes(), self._thread.submit(self._load, then))
        return host.to(self._device, non_blocking=True)

    def _load(self, rows: IntArray) -> Tensor:
        host = torch.from_numpy(read_rows(self._images, rows))
        return host.pin_memory() if self._device.type == "cuda" else host


def _on_device(images: Images, device: torch.device) -> Tensor:
    """The whole array on the device, copied in pieces; 16 bits as int16, since few operations know unsigned ones."""
    kind = torch.uint8 if images.dtype == np.uint8 else torch.int16
    whole = torch.empty(images.shape, dtype=kind, device=device)
    rows = max(1, _COPY_BYTES // images[:1].nbytes)
    for start in range(0, len(images), rows):
        part = torch.from_numpy(read_rows(images, np.arange(start, min(start + rows, len(images)))))
        whole[start : start + len(part)] = part.view(kind).to(device)
    return whole


def evaluated(images: Images, rows: IntArray, settings: ImageAbraSettings, device: torch.device) -> Iterator[Tensor]:
    """Standardised images of the rows, `embedding_rows` at a time, as an encoder is given them after training.

    Whole images; their centre where training crops and the backbone takes one size alone.
    """
    side = images.shape[2]
    crop = settings.augment.crop if settings.augment.crop and has_one_size(settings.backbone) else side
    low = (side - crop) // 2
    for start in range(0, len(rows), settings.embedding_rows):
        part = read_rows(images, rows[start : start + settings.embedding_rows])
        x = standardised(torch.from_numpy(part).to(device))[..., low : low + crop, low : low + crop]
        yield in_format(x, settings)


def in_format(x: Tensor, settings: ImageAbraSettings) -> Tensor:
    """The images in the memory format of the settings."""
    return x.contiguous(memory_format=torch.channels_last if settings.channels_last else torch.contiguous_format)


__all__ = ["RowReader", "check_images", "evaluated", "in_format"]
