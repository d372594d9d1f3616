"""Rows of an array that is larger than memory."""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainers.base import IntArray


def read_rows(array: NDArray[Any], rows: IntArray) -> NDArray[Any]:
    """A C-contiguous copy of some rows of an array, in the order asked for.

    Rows of a memory-mapped file are read with pread: the process never maps their pages, so its memory does not grow
    with the rows it has read (they stay in the page cache, which all processes share and the system takes back at
    will), and other threads run meanwhile.

    Args:
        array: (n, …), memory-mapped or in memory.
        rows: (k,) row numbers, 0 ≤ row < n.

    Raises:
        IndexError: a row that is not there.
        OSError: the file is gone, or shorter than the array.
    """
    if not (isinstance(array, np.memmap) and isinstance(array.base, mmap.mmap) and array.flags.c_contiguous):
        return np.ascontiguousarray(array[rows])
    if len(rows) and not (rows.min() >= 0 and rows.max() < len(array)):
        raise IndexError(f"rows from {rows.min()} to {rows.max()} of an array of {len(array)}")
    out = np.empty((len(rows), *array.shape[1:]), dtype=array.dtype)
    size = array[:1].nbytes
    with Path(str(array.filename)).open("rb", buffering=0) as file:
        for number, row in enumerate(rows):
            view, start = out[number].data.cast("B"), array.offset + int(row) * size
            done = 0
            while done < size:
                count = os.preadv(file.fileno(), [view[done:]], start + done)
                if not count:
                    raise OSError(f"{array.filename}: ends before row {int(row)}")
                done += count
    return out


__all__ = ["read_rows"]
