"""What packing a listing would write: its shape, its bytes, and what cannot be used; nothing is written here."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from trainers.base import IntArray
from trainers.errors import InputError
from trainers.screens.images.image_files import Header
from trainers.screens.images.listing import Listing
from trainers.screens.images.manifest import FORMAT, IMAGES, chunk_rows
from trainers.screens.images.survey import describe_bad, survey
from trainers.screens.images.workers import Workers

OnBad = Literal["fail", "drop"]


class PackProgress(NamedTuple):
    """How far packing is: "survey" (headers) or "decode", images done of all, bytes an image takes when packed."""

    phase: Literal["survey", "decode"]
    done: int
    total: int
    image_bytes: int


Progress = Callable[[PackProgress], None]


@dataclass(frozen=True, eq=False)
class PackPlan:
    """The usable sites of a listing, what their files are, and the files that cannot be used."""

    listing: Listing
    header: Header
    stamps: IntArray
    bad: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """n, C, H, W of the array."""
        return (len(self.listing), len(self.listing.channels), self.header.height, self.header.width)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Pixel type of the array."""
        return self.header.dtype

    @property
    def image_bytes(self) -> int:
        """Bytes of one image."""
        return int(np.prod(self.shape[1:])) * self.dtype.itemsize

    @property
    def total_bytes(self) -> int:
        """Bytes of all pixels."""
        return len(self.listing) * self.image_bytes

    @property
    def chunk_rows(self) -> int:
        """Images a chunk."""
        return chunk_rows(self.image_bytes)

    @property
    def chunks(self) -> int:
        """Number of chunks."""
        return -(-len(self.listing) // self.chunk_rows)

    @property
    def offset(self) -> int:
        """Where in the file the pixels begin."""
        return len(self.npy_header(len(self.listing)))

    def npy_header(self, rows: int) -> bytes:
        """The .npy header of an array of `rows` images; NumPy pads it so that every number takes the same room."""
        described = {
            "descr": np.lib.format.dtype_to_descr(self.dtype),
            "fortran_order": False,
            "shape": (rows, *self.shape[1:]),
        }
        buffer = io.BytesIO()
        np.lib.format.write_array_header_1_0(buffer, described)
        return buffer.getvalue()

    def chunk_source(self, number: int) -> str:
        """Digest of the files behind one chunk: their paths, sizes and times."""
        part = slice(number * self.chunk_rows, (number + 1) * self.chunk_rows)
        digest = hashlib.sha256(np.ascontiguousarray(self.stamps[part], dtype="<i8").data)
        digest.update("\0".join(self.listing.paths[part].ravel()).encode())
        return digest.hexdigest()

    @cached_property
    def content(self) -> dict[str, Any]:
        """What the array is made of: tells this packing from another's."""
        return {"format": FORMAT, "listing": self.listing.digest, "shape": list(self.shape), "dtype": self.dtype.name}

    @cached_property
    def source(self) -> str:
        """Digest over the listing and all its files' sizes and times."""
        digest = hashlib.sha256(json.dumps(self.content, sort_keys=True).encode())
        for number in range(self.chunks):
            digest.update(self.chunk_source(number).encode())
        return digest.hexdigest()

    def missing_bytes(self, folder: Path) -> int:
        """Bytes that the disk lacks for the whole array, 0 if it fits; what is half packed already counts."""
        existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
        images = folder / IMAGES
        taken = images.stat().st_blocks * 512 if images.exists() else 0
        return max(0, self.total_bytes - taken - shutil.disk_usage(existing).free)


def plan_pack(listing: Listing, workers: Workers, *, on_bad: OnBad, progress: Progress = lambda _: None) -> PackPlan:
    """Read the headers of all files and settle what would be packed.

    Raises:
        InputError: as `survey`; with `on_bad` "fail", files that are missing or truncated, counted and named.
    """
    done = 0

    def advance(sites: int) -> None:
        nonlocal done
        done += sites
        progress(PackProgress("survey", done, len(listing), 0))

    found = survey(listing, workers, advance)
    if found.bad and on_bad == "fail":
        told = describe_bad(found.bad, len(listing))
        raise InputError(f"{listing.root}: {told}; mend them, or leave them out (--on-bad drop)")
    kept = np.setdiff1d(np.arange(len(listing)), [row for row, _, _ in found.bad])
    bad = tuple(f"{path}: {reason}" for _, path, reason in found.bad)
    return PackPlan(listing.subset(kept) if bad else listing, found.header, found.stamps[kept], bad)


__all__ = ["OnBad", "PackPlan", "PackProgress", "Progress", "plan_pack"]
