"""An image screen: the wells table of a profile screen, with one memory-mapped image a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trainers.errors import InputError
from trainers.screens.names import first_few
from trainers.screens.table import check_wells

Pixels = NDArray[np.uint8] | NDArray[np.uint16]
"""Raw pixels, as the microscope's files hold them."""

PIXEL_TYPES = (np.dtype(np.uint8), np.dtype(np.uint16))


@dataclass(frozen=True, eq=False)
class ImageScreen:
    """Images with their plate design. `open_packed` gives one whose images lie on disk, read-only.

    Attributes:
        wells: n rows, one an image (a site of a well), with the columns of `Screen.wells`; published splits are
            further columns ("split").
        images: (n, C, H, W) uint8 or uint16.
        channels: C distinct names.
        fingerprint: "sha256:<hex>" over wells, channels and pixels: equal content, equal fingerprint.
        columns: canonical column → column of the metadata that it was read from, where that is known.

    Raises:
        InputError: images, wells and channels disagree, or `check_wells` refuses the wells.
    """

    wells: pd.DataFrame
    images: Pixels
    channels: tuple[str, ...]
    fingerprint: str
    columns: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the invariants above."""
        if self.images.dtype not in PIXEL_TYPES:
            raise InputError(f"image screen: images must be uint8 or uint16, got {self.images.dtype}")
        if self.images.ndim != 4 or self.images.shape[:2] != (len(self.wells), len(self.channels)):
            raise InputError(
                f"image screen: images have shape {self.images.shape}, "
                f"expected ({len(self.wells)} rows, {len(self.channels)} channels, height, width)"
            )
        if len(set(self.channels)) != len(self.channels):
            raise InputError(f"image screen: channel names are not distinct: {first_few(self.channels)}")
        check_wells(self.wells)

    def __len__(self) -> int:
        """Number of images n."""
        return len(self.wells)


__all__ = ["PIXEL_TYPES", "ImageScreen", "Pixels"]
