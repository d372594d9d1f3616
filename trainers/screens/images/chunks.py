"""What a decoding process does with a few files; imports neither pandas nor torch, so that it starts at once."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainers.base import IntArray
from trainers.errors import InputError
from trainers.screens.images.image_files import UNSIGNED, BadImageError, Conversion, Header, decode, read_header


def survey_chunk(
    task: tuple[str, NDArray[np.object_]],
) -> tuple[IntArray, list[tuple[int, str, str]], dict[Header, tuple[int, str]]]:
    """Headers of some sites: stamps, bad sites, and how many files have which header (with a path of each)."""
    root, paths = Path(task[0]), task[1]
    stamps = np.zeros((*paths.shape, 2), dtype=np.int64)
    bad: list[tuple[int, str, str]] = []
    kinds: dict[Header, tuple[int, str]] = {}
    for row, files in enumerate(paths):
        for column, path in enumerate(files):
            try:
                header, stamps[row, column] = read_header(root / path)
            except BadImageError as error:
                bad.append((row, path, str(error)))
                break
            kinds[header] = (kinds.get(header, (0, path))[0] + 1, kinds.get(header, (0, path))[1])
    return stamps, bad, kinds


class DecodeTask(NamedTuple):
    """One chunk: where its pixels go, and the files they come from."""

    number: int
    images: Path
    offset: int
    root: Path
    paths: NDArray[np.object_]
    header: Header
    conversion: Conversion = UNSIGNED


class DecodedChunk(NamedTuple):
    """What became of a chunk: its checksum, the (row, path, reason) of its bad sites, and samples that were clipped."""

    sha256: str
    bad: list[tuple[int, str, str]]
    clipped: int


def decode_chunk(task: DecodeTask) -> DecodedChunk:
    """Decode a chunk and write it.

    Written with pwrite, not through a memory map: a full disk is then an error and not a killed process.
    """
    header = task.header
    shape = (len(task.paths), task.paths.shape[1] * header.channels, header.height, header.width)
    pixels: NDArray[Any] = np.zeros(shape, dtype=header.dtype)
    bad: list[tuple[int, str, str]] = []
    clipped = 0
    for row, files in enumerate(task.paths):
        of_site = 0
        for column, path in enumerate(files):
            try:
                planes, outside = decode(task.root / path, header, task.conversion)
            except BadImageError as error:
                bad.append((row, path, str(error)))
                pixels[row], of_site = 0, 0
                break
            pixels[row, column * header.channels : (column + 1) * header.channels] = planes
            of_site += outside
        clipped += of_site
    view, written = pixels.data.cast("B"), 0
    try:
        with task.images.open("r+b", buffering=0) as file:
            while written < len(view):
                written += os.pwrite(file.fileno(), view[written:], task.offset + written)
            os.fsync(file.fileno())
    except OSError as error:
        kept = "finished chunks are kept, the same command continues"
        raise InputError(f"{task.images}: {error.strerror}; {kept}") from None
    return DecodedChunk(hashlib.sha256(view).hexdigest(), bad, clipped)


__all__ = ["DecodeTask", "DecodedChunk", "decode_chunk", "survey_chunk"]
