"""A listing: which image files make up a screen, before any of them is opened."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trainers.errors import InputError
from trainers.screens.images.image_files import UNSIGNED, Conversion
from trainers.screens.names import first_few
from trainers.screens.table import check_wells, wells_digest


@dataclass(frozen=True, eq=False)
class Listing:
    """Sites of a screen and the files that hold their channels; listing and decoding are separate steps.

    Attributes:
        layout: which reader made it: "wilds", "rxrx1" or "plates".
        root: the folder that `paths` start from.
        wells: n rows as `Screen.wells`.
        paths: (n, f) relative paths: f = C files of one channel, or f = 1 file that holds all C.
        channels: C distinct names.
        conversion: what was declared for samples that are not unsigned integers.
        columns: canonical column → column of the table that it was read from.
        warnings: what a user should look at.

    Raises:
        InputError: empty, a file is listed twice, or the parts disagree.
    """

    layout: str
    root: Path
    wells: pd.DataFrame
    paths: NDArray[np.object_]
    channels: tuple[str, ...]
    conversion: Conversion = UNSIGNED
    columns: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the invariants above."""
        if not len(self.wells):
            raise InputError(f"{self.root}: the listing has no images")
        if not self.channels or len(set(self.channels)) != len(self.channels):
            raise InputError(f"{self.root}: channel names must be distinct, got {', '.join(self.channels) or 'none'}")
        if self.paths.ndim != 2 or self.paths.shape[0] != len(self.wells):
            raise InputError(f"{self.root}: paths have shape {self.paths.shape} for {len(self.wells)} sites")
        if self.paths.shape[1] not in (1, len(self.channels)):
            raise InputError(f"{self.root}: {self.paths.shape[1]} files a site for {len(self.channels)} channels")
        check_wells(self.wells)
        repeated = pd.Series(self.paths.ravel())
        again = repeated[repeated.duplicated()]
        if len(again):
            raise InputError(f"{self.root}: {len(again)} files are listed twice ({first_few(again)})")

    def __len__(self) -> int:
        """Number of sites n."""
        return len(self.wells)

    @property
    def channels_per_file(self) -> int:
        """Channels that each file must hold."""
        return len(self.channels) // int(self.paths.shape[1])

    @cached_property
    def digest(self) -> str:
        """The digest "<hex>" over layout, channels, wells and relative paths; the root may move."""
        digest = hashlib.sha256()
        for part in (self.layout, *self.channels, wells_digest(self.wells), *self.paths.ravel()):
            digest.update(f"{part}\0".encode())
        if self.conversion != UNSIGNED:
            digest.update(repr(tuple(self.conversion)).encode())
        return digest.hexdigest()

    def subset(self, rows: Iterable[int] | NDArray[np.int64]) -> Listing:
        """The listing of the given rows, in their order."""
        index = np.asarray(rows if isinstance(rows, np.ndarray) else list(rows), dtype=np.int64)
        wells = self.wells.iloc[index].reset_index(drop=True)
        return replace(self, wells=wells, paths=self.paths[index])


__all__ = ["Listing"]
