"""The packed form of a screen: one folder with images.npy, wells.parquet and, written last, manifest.json.

    images.npy       (n, C, H, W) uint8 or uint16, a plain .npy that any tool can memory-map
    wells.parquet    n rows as `Screen.wells`
    manifest.json    `Manifest`; a folder without it is no packed screen

Every process of a machine that opens the folder shares its pages through the page cache.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from trainers.errors import InputError
from trainers.screens.atomic import write_whole
from trainers.screens.images.image_screen import PIXEL_TYPES, ImageScreen, Pixels
from trainers.screens.table import wells_digest

FORMAT = 1
IMAGES, WELLS, MANIFEST = "images.npy", "wells.parquet", "manifest.json"

_CHUNK_BYTES = 32 * 2**20


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a packed screen holds.

    Attributes:
        format: version of the packed format.
        fingerprint: "sha256:<hex>" over wells, channels, shape, dtype and pixels.
        source: digest over the listing and its files' sizes and times; tells "already packed" from "another screen".
        layout: reader that listed the files.
        channels: C names.
        dtype: "uint8" or "uint16".
        shape: n, C, H, W.
        chunk_rows: images a checksum covers.
        checksums: SHA-256 of each chunk's bytes in images.npy, in order.
        wells: digest of the wells table.
        dropped: files that could not be used, "<path>: <reason>"; their sites are not in the screen.
        columns: canonical column → column of the metadata table that it was read from; {} where it was not kept.
        clipped: samples that lay outside what was declared for signed or float files and became its nearest value.
    """

    format: int
    fingerprint: str
    source: str
    layout: str
    channels: tuple[str, ...]
    dtype: str
    shape: tuple[int, int, int, int]
    chunk_rows: int
    checksums: tuple[str, ...]
    wells: str
    dropped: tuple[str, ...]
    columns: Mapping[str, str] = field(default_factory=dict)
    clipped: int = 0

    @property
    def image_bytes(self) -> int:
        """Bytes of one image."""
        return int(np.prod(self.shape[1:])) * np.dtype(self.dtype).itemsize


def chunk_rows(image_bytes: int) -> int:
    """Images a chunk: about 32 MiB, so that a lost chunk costs seconds."""
    return max(1, _CHUNK_BYTES // image_bytes)


def content_fingerprint(manifest_parts: dict[str, Any]) -> str:
    """The fingerprint of a packed screen from its wells' digest, channels, shape, dtype and checksums."""
    named = {name: manifest_parts[name] for name in ("wells", "channels", "shape", "dtype", "checksums")}
    return f"sha256:{hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()}"


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a folder, None where there is none.

    Raises:
        InputError: not readable, or of another format.
    """
    path = folder / MANIFEST
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a readable manifest ({error}); pack the screen again") from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        found = data.get("format") if isinstance(data, dict) else None
        raise InputError(f"{path}: packed format {found!r}, expected {FORMAT}; pack the screen again")
    try:
        # Packed screens of before lack what has a default.
        optional = {
            each.name for each in fields(Manifest) if (each.default, each.default_factory) != (MISSING, MISSING)
        }
        names = [each.name for each in fields(Manifest) if each.name in data or each.name not in optional]
        listed: dict[str, Any] = {
            name: tuple(data[name]) if isinstance(data[name], list) else data[name] for name in names
        }
        return Manifest(**listed)
    except KeyError as error:
        raise InputError(f"{path}: the manifest lacks {error}; pack the screen again") from None


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write manifest.json whole, as the last step of packing."""
    text = json.dumps(asdict(manifest), indent=1, ensure_ascii=False) + "\n"
    write_whole(folder / MANIFEST, lambda file: file.write(text.encode()))


def open_packed(folder: Path, *, verify: bool = False) -> ImageScreen:
    """Open a packed screen; images are memory-mapped read-only, and only the rows that are used are ever read.

    Args:
        folder: what `pack` wrote.
        verify: also read every image once and compare the chunks' checksums.

    Raises:
        InputError: no packed screen, half packed, or changed since it was packed.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        where = "holds no packed screen" if folder.is_dir() else "does not exist"
        begun = "; its packing was not finished, the same command continues it" if (folder / IMAGES).exists() else ""
        raise InputError(f"{folder}: {where} (no {MANIFEST}){begun}")
    images = _map_images(folder / IMAGES, manifest)
    try:
        wells = pd.read_parquet(folder / WELLS)
    except (OSError, ValueError) as error:
        raise InputError(f"{folder / WELLS}: not readable ({error}); pack the screen again") from None
    if wells_digest(wells) != manifest.wells:
        raise InputError(f"{folder / WELLS}: changed since it was packed; pack the screen again")
    if verify:
        _compare_checksums(folder / IMAGES, images, manifest)
    return ImageScreen(wells, images, manifest.channels, manifest.fingerprint, manifest.columns)


def in_memory_screen(wells: pd.DataFrame, images: Pixels, channels: tuple[str, ...]) -> ImageScreen:
    """A screen of an array in memory, with the fingerprint that it has when packed."""
    rows = chunk_rows(images[0].nbytes)
    chunks = (np.ascontiguousarray(images[start : start + rows]) for start in range(0, len(images), rows))
    content = {
        "wells": wells_digest(wells),
        "channels": channels,
        "shape": images.shape,
        "dtype": images.dtype.name,
        "checksums": tuple(hashlib.sha256(chunk.data).hexdigest() for chunk in chunks),
    }
    return ImageScreen(wells, images, channels, content_fingerprint(content))


def _map_images(path: Path, manifest: Manifest) -> Pixels:
    """The array on disk, if it is the one of the manifest."""
    try:
        images = np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # noqa: BLE001 - what NumPy raises at a damaged header is any of a dozen
        raise InputError(f"{path}: not a readable array ({error}); pack the screen again") from None
    if images.shape != manifest.shape or images.dtype != manifest.dtype or images.dtype not in PIXEL_TYPES:
        raise InputError(
            f"{path}: shape {images.shape} of {images.dtype}, but the manifest says {manifest.shape} of "
            f"{manifest.dtype}; pack the screen again"
        )
    return images


def _compare_checksums(path: Path, images: Pixels, manifest: Manifest) -> None:
    """Read all pixels, one chunk at a time."""
    for number, expected in enumerate(manifest.checksums):
        start = number * manifest.chunk_rows
        chunk = np.ascontiguousarray(images[start : start + manifest.chunk_rows])
        if hashlib.sha256(chunk.data).hexdigest() != expected:
            end = min(start + manifest.chunk_rows, len(images)) - 1
            raise InputError(f"{path}: images {start} to {end} changed since they were packed; pack the screen again")


__all__ = [
    "FORMAT",
    "IMAGES",
    "MANIFEST",
    "WELLS",
    "Manifest",
    "chunk_rows",
    "content_fingerprint",
    "in_memory_screen",
    "open_packed",
    "read_manifest",
    "write_manifest",
]
