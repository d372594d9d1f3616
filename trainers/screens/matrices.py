"""Files that declare a matrix of features: AnnData (.h5ad), Broad's GCT 1.3 and NumPy archives (.npz)."""

from __future__ import annotations

import csv
import gzip
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from trainers.errors import InputError
from trainers.screens.files import RawTable, reading, refuse_repeated
from trainers.screens.names import first_few, nearest

if TYPE_CHECKING:
    from anndata import AnnData

_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_GCT = "#1.3"
_USUAL = ("features", "embeddings", "X")


def read_matrix(path: Path, matrix: str | None) -> RawTable:
    """Read an .h5ad, .gct or .npz file.

    Raises:
        InputError: not readable, without the matrix asked for, or with repeated names.
    """
    name = path.name.lower()
    if name.endswith(".h5ad"):
        return _read_h5ad(path, matrix)
    return _read_npz(path, matrix) if name.endswith(".npz") else _read_gct(path)


_READ_TEXT = """
import sys, h5py
def walk(group):
    for name in group:
        item = group[name]
        if isinstance(item, h5py.Group):
            walk(item)
        elif h5py.check_string_dtype(item.dtype) is not None:
            item[()]
with h5py.File(sys.argv[1], "r") as file:
    walk(file)
"""


def _refuse_endless(path: Path) -> None:
    """HDF5 goes round and round in some damaged heaps of text, and nothing in its process can stop it: try apart."""
    allowed = 30 + path.stat().st_size / 1e7
    try:
        tried = subprocess.run(  # noqa: S603 - our own program
            [sys.executable, "-c", _READ_TEXT, str(path)], capture_output=True, timeout=allowed, check=False
        )
    except subprocess.TimeoutExpired:
        raise InputError(f"{path}: not a readable .h5ad file (damaged: reading its text does not end)") from None
    if tried.returncode < 0:
        raise InputError(f"{path}: not a readable .h5ad file (damaged: HDF5 crashes on it)")


def _read_h5ad(path: Path, matrix: str | None) -> RawTable:
    """An AnnData file: obs describes the rows; X, a layer or an entry of obsm is measured."""
    import anndata

    with path.open("rb") as file:
        if file.read(len(_HDF5_SIGNATURE)) != _HDF5_SIGNATURE:
            raise InputError(f"{path}: not an .h5ad file (no HDF5 signature)")
    _refuse_endless(path)
    with reading(path, ".h5ad"), warnings.catch_warnings():
        # Repeated names are our own error below; old files are read like new ones.
        warnings.simplefilter("ignore")
        data = anndata.read_h5ad(path)
        choice = _choose(path, data, matrix)
        frame = _matrix_frame(data, choice)
        obs = data.obs.reset_index(drop=True)
    names = [str(name) for name in frame.columns]
    refuse_repeated(path, names)
    frame.columns = pd.Index(names)
    obs.columns = obs.columns.astype(str)
    refuse_repeated(path, list(obs.columns))
    others = [name for name in _matrices(data) if name != choice]
    notes = (f"features are {choice}; the file also holds {', '.join(others)} (choose with matrix)",) if others else ()
    return RawTable(obs, frame, matrix=choice, notes=notes)


def _matrices(data: AnnData) -> list[str]:
    """What could be meant: X, layers/NAME, obsm/KEY."""
    found = [] if data.X is None else ["X"]
    found += [f"layers/{name}" for name in sorted(data.layers)]
    return found + [f"obsm/{name}" for name in sorted(data.obsm)]


def _choose(path: Path, data: AnnData, wanted: str | None) -> str:
    existing = _matrices(data)
    if wanted is None:
        if "X" in existing or len(existing) == 1:
            return existing[0]
        listed = f"; choose one with matrix: {', '.join(existing)}" if existing else "; features are read from there"
        raise InputError(f"{path}: the .h5ad file has no X{listed}")
    named = [name for name in existing if wanted in (name, name.partition("/")[2])]
    if len(named) == 1:
        return named[0]
    if named:
        raise InputError(f"{path}: matrix {wanted!r} may be {' or '.join(named)}; write which")
    raise InputError(f"{path}: matrix {wanted!r} does not exist; it holds {', '.join(existing) or 'none'}")


def _matrix_frame(data: AnnData, choice: str) -> pd.DataFrame:
    kind, _, key = choice.partition("/")
    values: Any = data.X if kind == "X" else (data.layers if kind == "layers" else data.obsm)[key]
    if isinstance(values, pd.DataFrame):
        return values.reset_index(drop=True).rename(columns=lambda name: f"{key}_{name}")
    dense = np.asarray(values if isinstance(values, np.ndarray) else values.toarray())
    if dense.ndim != 2:
        raise ValueError(f"{choice} has {dense.ndim} dimensions, expected 2")
    width = len(str(max(dense.shape[1] - 1, 0)))
    columns = data.var_names if kind != "obsm" else [f"{key}_{place:0{width}d}" for place in range(dense.shape[1])]
    return pd.DataFrame(dense, columns=columns)


def _read_gct(path: Path) -> RawTable:
    """A GCT 1.3 file: rows are features, columns are wells, both with metadata; turned round to one row a well."""
    opened = gzip.open if path.name.lower().endswith(".gz") else open
    with reading(path, ".gct"):
        with opened(path, "rt", newline="", encoding="utf-8-sig") as file:
            lines = list(csv.reader(file, delimiter="\t"))
        if not lines or lines[0][:1] != [_GCT]:
            found = lines[0][0][:20] if lines and lines[0] else ""
            raise InputError(f"{path}: its first line is {found!r}, expected {_GCT!r} (GCT version 1.3)")
        try:
            features, wells, of_features, of_wells = sizes = [int(text) for text in lines[1][:4]]
        except (IndexError, ValueError):
            raise InputError(f"{path}: line 2 must give 4 numbers: rows, columns, row and column metadata") from None
        if min(sizes) < 0:
            raise InputError(f"{path}: line 2 announces {min(sizes)} rows or columns; expected 0 or more")
        body = lines[2:]
        width = 1 + of_features + wells
        if len(body) < 1 + of_wells + features or any(len(line) < width for line in body[: 1 + of_wells + features]):
            raise InputError(
                f"{path}: is cut off or has short lines: line 2 announces {features} features × {wells} wells"
            )
        header, described = body[0], body[1 : 1 + of_wells]
        rows = body[1 + of_wells : 1 + of_wells + features]
        first = 1 + of_features
        names = [row[0] for row in rows]
        if "cp_feature_name" in header[1:first]:  # pycytominer's: the id is a number there
            names = [row[header.index("cp_feature_name")] for row in rows]
        refuse_repeated(path, names)
        metadata = pd.DataFrame({line[0]: pd.Series(line[first:width], dtype=object) for line in described})
        if not described:
            metadata = pd.DataFrame(index=range(wells))
        refuse_repeated(path, [line[0] for line in described])
        measured = pd.DataFrame(
            {
                name: pd.to_numeric(pd.Series(row[first:width]), errors="coerce").astype("float64")
                if _all_numbers(row[first:width])
                else pd.Series(row[first:width], dtype=object)
                for name, row in zip(names, rows, strict=True)
            },
            index=range(wells),
        )
    return RawTable(metadata, measured, matrix="GCT matrix")


def _all_numbers(values: list[str]) -> bool:
    from trainers.screens.text import MISSING_WORDS

    known = [value for value in values if value.strip().casefold() not in MISSING_WORDS]
    return bool(pd.to_numeric(pd.Series(known, dtype=object), errors="coerce").notna().all())


def _read_npz(path: Path, matrix: str | None) -> RawTable:
    """A NumPy archive: one matrix of numbers (`features`, as DeepProfiler calls it), and arrays of one value a row."""
    with reading(path, ".npz"):
        if not zipfile.is_zipfile(path):
            raise InputError(f"{path}: not an .npz file (no archive)")
        arrays: dict[str, Any] = {}
        pickled: list[str] = []
        with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
            for name in data.files:
                try:
                    arrays[name] = data[name]
                except ValueError:
                    pickled.append(name)
    matrices = {name: found for name, found in arrays.items() if found.ndim == 2 and found.dtype.kind in "fiu"}
    if matrix is None:
        usual = [name for name in _USUAL if name in matrices] or [*matrices]
        if not usual or (len(usual) > 1 and usual[0] not in _USUAL):
            held = ", ".join(arrays) or "none that can be read"
            raise InputError(f"{path}: which array holds the features? choose with matrix (it holds {held})")
        matrix = usual[0]
    elif matrix not in matrices:
        raise InputError(f"{path}: no matrix {matrix!r} of numbers; {nearest(matrix, list(matrices))}")
    values = matrices[matrix]
    names = arrays.get("feature_names")
    if names is None or names.shape != (values.shape[1],):
        width = len(str(max(values.shape[1] - 1, 0)))
        columns = [f"{matrix}_{place:0{width}d}" for place in range(values.shape[1])]
    else:
        columns = [str(name) for name in names]
    refuse_repeated(path, columns)
    rows = {name: found for name, found in arrays.items() if found.ndim == 1 and len(found) == len(values)}
    metadata = pd.DataFrame({name: found for name, found in rows.items() if name != "feature_names"})
    if not rows:
        unread = f"; {first_few(pickled)} would have to be unpickled, which is not done" if pickled else ""
        raise InputError(
            f"{path}: nothing in it says batch, plate, well and perturbation of the {len(values)} rows{unread}; "
            "store them as arrays of text (Metadata_Plate, Metadata_Well, …)"
        )
    notes = (f"not read: {first_few(pickled)} (pickled)",) if pickled else ()
    return RawTable(metadata, pd.DataFrame(values, columns=columns), matrix=matrix, notes=notes)


__all__ = ["read_matrix"]
