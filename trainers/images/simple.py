"""What the pixels alone say of an image, without any model: mean, spread and quantiles of each channel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trainers.base import FloatArray, Images
from trainers.rows import read_rows

QUANTILES = (0.01, 0.25, 0.5, 0.75, 0.99)


def statistic_names(channels: Sequence[str]) -> tuple[str, ...]:
    """Names of the columns of `channel_statistics`, channel by channel."""
    kinds = ("mean", "std", *(f"q{round(100 * q):02d}" for q in QUANTILES))
    return tuple(f"{channel}_{kind}" for channel in channels for kind in kinds)


def channel_statistics(images: Images) -> FloatArray:
    """(n, 7·C) mean, standard deviation and 1, 25, 50, 75 and 99 % quantiles of each channel, 0 to 1 of the full scale.

    A quantile is the smallest pixel value that so large a share of the pixels does not exceed. One image is in memory
    at a time.
    """
    levels = int(np.iinfo(images.dtype).max) + 1
    values = np.arange(levels, dtype=np.float64) / (levels - 1)
    out = np.empty((len(images), images.shape[1], 2 + len(QUANTILES)), dtype=np.float32)
    for row in range(len(images)):
        for channel, plane in enumerate(read_rows(images, np.array([row]))[0]):
            out[row, channel] = _of_plane(plane.ravel(), values)
    return out.reshape(len(images), -1)


def _of_plane(pixels: NDArray[np.uint8] | NDArray[np.uint16], values: NDArray[np.float64]) -> list[float]:
    counts = np.bincount(pixels, minlength=len(values))
    mean = float(counts @ values) / len(pixels)
    variance = float(counts @ (values - mean) ** 2) / len(pixels)
    below = np.cumsum(counts)
    quantiles = np.searchsorted(below, np.ceil(np.array(QUANTILES) * len(pixels)))
    return [mean, float(np.sqrt(variance)), *values[quantiles]]


__all__ = ["QUANTILES", "channel_statistics", "statistic_names"]
