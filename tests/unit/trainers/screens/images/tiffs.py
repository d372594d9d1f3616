"""TIFF files by hand: any tags, either byte order, any number format, so that no library decides what is written."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SAMPLE_FORMAT = {"u": 1, "i": 2, "f": 3, "c": 6}


def write_tiff(
    path: Path,
    pages: Sequence[NDArray[np.generic]],
    *,
    order: str = "<",
    big: bool = False,
    tags: Mapping[int, int | tuple[int, ...] | None] | None = None,
) -> None:
    """Pages (H, W) or (H, W, C) as an uncompressed TIFF; `tags` replace what would be written, None leaves one out."""
    word, entry = ("Q", "HHQ") if big else ("I", "HHI")
    mark = b"II" if order == "<" else b"MM"
    head = mark + struct.pack(order + "H", 43 if big else 42) + (struct.pack(order + "HH", 8, 0) if big else b"")
    content = bytearray(head + struct.pack(order + word, 0))
    link = len(head)
    for page in pages:
        data = np.ascontiguousarray(page)
        colours = data.shape[2] if data.ndim == 3 else 1
        strip = len(content)
        content += data.astype(data.dtype.newbyteorder(order)).tobytes()
        found: dict[int, int | tuple[int, ...] | None] = {
            256: data.shape[1],
            257: data.shape[0],
            258: (data.dtype.itemsize * 8,) * colours,
            259: 1,
            262: 1 if colours == 1 else 2,
            273: strip,
            277: colours,
            278: data.shape[0],
            279: data.nbytes,
            339: (SAMPLE_FORMAT[data.dtype.kind],) * colours,
            **(tags or {}),
        }
        entries = b""
        kept = sorted(
            (tag, value if isinstance(value, tuple) else (value,)) for tag, value in found.items() if value is not None
        )
        for tag, values in kept:
            kind, letter = (4, "I") if tag in (256, 257, 273, 279) else (3, "H")
            packed = struct.pack(order + letter * len(values), *values)
            room = struct.calcsize(word)
            if len(packed) > room:
                at = len(content)
                content += packed
                packed = struct.pack(order + word, at)
            entries += struct.pack(order + entry, tag, kind, len(values)) + packed.ljust(room, b"\0")
        here = len(content)
        content[link : link + struct.calcsize(word)] = struct.pack(order + word, here)
        content += struct.pack(order + ("Q" if big else "H"), len(kept)) + entries
        link = len(content)
        content += struct.pack(order + word, 0)
    path.write_bytes(bytes(content))
