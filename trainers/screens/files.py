"""Tables as files hold them, before anything is known of their columns: Parquet, CSV, TSV (.gz) and AnnData."""

from __future__ import annotations

import csv
import gzip
import warnings
import zlib
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from trainers.errors import InputError
from trainers.screens.names import first_few

FORMATS = (".parquet", ".csv", ".csv.gz", ".tsv", ".tsv.gz", ".h5ad")
METADATA_PREFIX = "Metadata_"

_MISSING = ["", "NA", "N/A", "NaN", "nan", "null", "None"]
_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_CSV_ERRORS = (
    OSError,
    EOFError,
    zlib.error,
    UnicodeDecodeError,
    csv.Error,
    pd.errors.ParserError,
    pd.errors.ParserWarning,
)


@dataclass(frozen=True, eq=False)
class RawTable:
    """A file's columns, told apart into what describes a row and what was measured; both n rows, RangeIndex."""

    metadata: pd.DataFrame
    measured: pd.DataFrame


def read_table(path: Path, described: Collection[str] | None = ()) -> RawTable:
    """Read a file by its suffix.

    Metadata are the columns named `Metadata_*` and those in `described` (None: every column); all others count as
    measured. In an
    .h5ad file metadata are the columns of obs and measured is X (a sparse X is made dense).

    Raises:
        InputError: absent, unreadable, of another format, empty, or with a repeated column.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file")
    if not path.is_file():
        raise InputError(f"{path}: is a folder, expected one of {', '.join(FORMATS)}")
    name = path.name.lower()
    if name.endswith(".parquet"):
        table = _split(_read_parquet(path), described)
    elif name.endswith((".csv", ".csv.gz", ".tsv", ".tsv.gz")):
        table = _split(_read_csv(path, described), described)
    elif name.endswith(".h5ad"):
        table = _read_h5ad(path)
    else:
        raise InputError(f"{path}: unknown format, expected one of {', '.join(FORMATS)}")
    if not len(table.metadata):
        raise InputError(f"{path}: the table has no rows")
    return table


def _split(frame: pd.DataFrame, described: Collection[str] | None) -> RawTable:
    """Part a frame into metadata and measured columns."""
    metadata = [name for name in frame.columns if _describes(name, described)]
    return RawTable(frame[metadata], frame.drop(columns=metadata))


def _describes(name: str, described: Collection[str] | None) -> bool:
    """Whether a column describes its row."""
    return described is None or name.startswith(METADATA_PREFIX) or name in described


def _read_parquet(path: Path) -> pd.DataFrame:
    """A Parquet file; a named pandas index becomes columns again."""
    import pyarrow.parquet as pq
    from pyarrow import ArrowException

    try:
        with pq.ParquetFile(path) as file:
            _refuse_repeated(path, file.schema_arrow.names)
            frame: pd.DataFrame = file.read().to_pandas()
    except (ArrowException, OSError) as error:
        raise InputError(f"{path}: not a readable Parquet file ({_first_line(error)})") from error
    named = [name for name in frame.index.names if name is not None]
    frame = frame.reset_index(level=named) if named else frame
    frame.columns = frame.columns.astype(str)
    return frame.reset_index(drop=True)


def _read_csv(path: Path, described: Collection[str] | None) -> pd.DataFrame:
    """A CSV or TSV file; metadata are read as text, so that "01" stays "01" and a gene named NA is no null."""
    opened = gzip.open if path.name.lower().endswith(".gz") else open
    separator = "\t" if ".tsv" in path.name.lower()[-7:] else ","
    try:
        with opened(path, "rt", newline="", encoding="utf-8-sig") as file:
            header = next(csv.reader(file, delimiter=separator), [])
        if not header:
            raise InputError(f"{path}: the file is empty")
        _refuse_repeated(path, header)
        text = [name for name in header if _describes(name, described)]
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # rows longer than the header
            return pd.read_csv(
                path,
                sep=separator,
                dtype=dict.fromkeys(text, str),
                keep_default_na=False,
                na_values={name: [""] if name in text else _MISSING for name in header},
                index_col=False,
                low_memory=False,
                encoding="utf-8-sig",
            )
    except _CSV_ERRORS as error:
        raise InputError(f"{path}: not a readable CSV file ({_first_line(error)})") from error


def _read_h5ad(path: Path) -> RawTable:
    """An AnnData file: obs describes the rows, X is measured."""
    import anndata

    with path.open("rb") as file:
        if file.read(len(_HDF5_SIGNATURE)) != _HDF5_SIGNATURE:
            raise InputError(f"{path}: not an .h5ad file (no HDF5 signature)")
    try:
        with warnings.catch_warnings():
            # Repeated names are our own error below; obs names are not used.
            warnings.filterwarnings("ignore", message=r".*names are not unique", category=UserWarning)
            data = anndata.read_h5ad(path)
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path}: not a readable .h5ad file ({_first_line(error)})") from error
    if data.X is None:
        raise InputError(f"{path}: the .h5ad file has no X; features are read from there")
    names = [str(name) for name in data.var_names]
    _refuse_repeated(path, names)
    values = data.X if isinstance(data.X, np.ndarray) else data.X.toarray()
    obs = data.obs.reset_index(drop=True)
    obs.columns = obs.columns.astype(str)
    return RawTable(obs, pd.DataFrame(values, columns=names))


def _refuse_repeated(path: Path, names: Collection[str]) -> None:
    """A column name that occurs twice is ambiguous."""
    repeated = sorted(name for name, times in Counter(names).items() if times > 1)
    if repeated:
        raise InputError(f"{path}: repeated columns {first_few(repeated)}; names must be distinct")


def _first_line(error: Exception) -> str:
    """A foreign error's message in one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


__all__ = ["FORMATS", "METADATA_PREFIX", "RawTable", "read_table"]
