"""DeepProfiler's output: a folder with index.csv and one .npz file a site, whose cells are averaged.

::

    <folder>/index.csv                              Metadata_Plate, Metadata_Well, Metadata_Site and what else is known
    <folder>/**/<plate>/<well>/<site>.npz           `features`: cells × dimensions (also <plate>/<well>_<site>.npz)

Only `features` is read: the files' own `metadata` is pickled.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from trainers.base import FloatArray
from trainers.errors import InputError
from trainers.screens.files import FileOptions, RawTable, reading
from trainers.screens.names import first_few

INDEX = "index.csv"
_KEY = ("Metadata_Plate", "Metadata_Well", "Metadata_Site")


def is_deep_profiler(path: Path) -> bool:
    """Whether a folder is DeepProfiler's output."""
    return path.is_dir() and (path / INDEX).is_file()


def read_deep_profiler(path: Path) -> RawTable:
    """One row a site: what index.csv says of it, and the mean of its cells' features.

    A site without a cell has no values. Files are found below the folder, however deep.

    Raises:
        InputError: index.csv lacks a column, a site has no file, or a file holds no `features` of the same width.
    """
    from trainers.screens.delimited import read_delimited

    table = read_delimited(path / INDEX, None, FileOptions()).metadata
    absent = [name for name in _KEY if name not in table.columns]
    if absent:
        raise InputError(f"{path / INDEX}: lacks the columns {first_few(absent)}, which name a site's file")
    files = {"/".join(file.parts[-3:]): file for file in path.rglob("*.npz")}
    flat = {"/".join(file.parts[-2:]): file for file in files.values()}
    found: list[Path] = []
    lost: list[str] = []
    for plate, well, site in table[list(_KEY)].astype(str).itertuples(index=False):
        file = files.get(f"{plate}/{well}/{site}.npz") or flat.get(f"{plate}/{well}_{site}.npz")
        found += [file] if file else []
        lost += [] if file else [f"{plate}/{well}/{site}.npz"]
    if lost:
        raise InputError(f"{path}: {len(lost)} of {len(table)} sites of {INDEX} have no file ({first_few(lost)})")
    if not found:
        raise InputError(f"{path / INDEX}: the table has no rows")
    rows = [_mean_of_cells(file) for file in found]
    width = max(len(row) for row in rows)
    for file, row in zip(found, rows, strict=True):
        if len(row) not in (0, width):
            raise InputError(f"{file}: features have {len(row)} dimensions, those of other sites {width}")
    values = np.full((len(rows), width), np.nan, dtype=np.float32)
    for place, row in enumerate(rows):
        values[place, : len(row)] = row
    digits = len(str(max(width - 1, 0)))
    measured = pd.DataFrame(values, columns=[f"feature_{place:0{digits}d}" for place in range(width)])
    notes = (f"means of the cells of {len(rows)} files",)
    return RawTable(table, measured, matrix="DeepProfiler features", notes=notes)


def _mean_of_cells(path: Path) -> FloatArray:
    """(d,) mean over a site's cells; empty where there is none."""
    with reading(path, ".npz"), path.open("rb") as file, np.load(file, allow_pickle=False) as data:
        if "features" not in data.files:
            raise InputError(f"{path}: holds no array 'features'")
        cells = data["features"]
    if cells.ndim != 2 or cells.dtype.kind not in "fiu":
        raise InputError(f"{path}: features are {cells.dtype} of shape {cells.shape}, expected cells × dimensions")
    if not len(cells):
        return np.empty(0, dtype=np.float32)
    mean: FloatArray = cells.mean(axis=0, dtype=np.float64).astype(np.float32)
    return mean


__all__ = ["INDEX", "is_deep_profiler", "read_deep_profiler"]
