"""Rows of a memory-mapped array: the same values, and no memory that grows with what was read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from trainers.rows import read_rows


def mapped_kb() -> int:
    """Pages of files that are mapped into this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssFile"))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_rows_are_those_of_the_array(tmp_path: Path, dtype: type) -> None:
    values = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (20, 2, 3, 5)).astype(dtype)
    np.save(tmp_path / "a.npy", values)
    array = np.lib.format.open_memmap(tmp_path / "a.npy", mode="r")
    rows = np.array([7, 0, 19, 7])
    found = read_rows(array, rows)
    np.testing.assert_array_equal(found, values[rows])
    assert found.flags.c_contiguous
    assert found.flags.writeable
    assert read_rows(array, rows[:0]).shape == (0, 2, 3, 5)
    np.testing.assert_array_equal(read_rows(array[5:], rows[:2]), values[5:][rows[:2]])  # a view has another offset
    np.testing.assert_array_equal(read_rows(values, rows), values[rows])


def test_reading_a_whole_file_maps_none_of_it(tmp_path: Path) -> None:
    with (tmp_path / "a.npy").open("wb") as file:
        shape = (400, 1, 256, 256)
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        file.truncate(file.tell() + int(np.prod(shape)))
    array = np.lib.format.open_memmap(tmp_path / "a.npy", mode="r")
    before = mapped_kb()
    for row in range(400):
        read_rows(array, np.array([row]))
    assert mapped_kb() - before < 1_000  # of 26,000
    assert int(array.max()) == 0  # touching the map itself does map it: the measure can tell
    assert mapped_kb() - before > 20_000


def test_rows_that_are_not_there_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((4, 10), np.uint8))
    array = np.lib.format.open_memmap(tmp_path / "a.npy", mode="r")
    for rows in ([-1], [4]):
        with pytest.raises(IndexError, match="of an array of 4"):
            read_rows(array, np.array(rows))
    with (tmp_path / "a.npy").open("r+b") as file:
        file.truncate(150)
    with pytest.raises(OSError, match="ends before row 2"):
        read_rows(array, np.array([0, 2]))
