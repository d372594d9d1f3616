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


def decode_chunk(task: DecodeTask) -> tuple[str, list[tuple[int, str, str]]]:
    """Decode a chunk and write it; its checksum and the (row, path, reason) of sites that cannot be decoded.

    Written with pwrite, not through a memory map: a full disk is then an error and not a killed process.
    """
    header = task.header
    shape = (len(task.paths), task.paths.shape[1] * header.channels, header.height, header.width)
    pixels: NDArray[Any] = np.zeros(shape, dtype=header.dtype)
    bad: list[tuple[int, str, str]] = []
    for row, files in enumerate(task.paths):
        for column, path in enumerate(files):
            try:
                planes = decode(task.root / path, header, task.conversion)
            except BadImageError as error:
                bad.append((row, path, str(error)))
                pixels[row] = 0
                break
            pixels[row, column * header.channels : (column + 1) * header.channels] = planes
    view, written = pixels.data.cast("B"), 0
    try:
        with task.images.open("r+b", buffering=0) as file:
            while written < len(view):
                written += os.pwrite(file.fileno(), view[written:], task.offset + written)
            os.fsync(file.fileno())
    except OSError as error:
        kept = "finished chunks are kept, the same command continues"
        raise InputError(f"{task.images}: {error.strerror}; {kept}") from None
    return hashlib.sha256(view).hexdigest(), bad


__all__ = ["DecodeTask", "decode_chunk", "survey_chunk"]
