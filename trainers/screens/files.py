"""Tables as files hold them, before anything is known of their columns: Parquet, CSV, TSV, AnnData, GCT and NumPy."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from trainers.errors import InputError
from trainers.screens.conventions import METADATA_PREFIXES
from trainers.screens.names import first_few

if TYPE_CHECKING:
    import pyarrow as pa

FORMATS = (".parquet", ".csv", ".csv.gz", ".tsv", ".tsv.gz", ".h5ad", ".gct", ".gct.gz", ".npz")

Described = Collection[str] | Callable[[Sequence[str]], Collection[str]] | None
"""The columns that describe a row beside those called `Metadata_*`: names, a function of all names, or None for all."""


@dataclass(frozen=True, eq=False)
class RawTable:
    """A file's columns, told apart into what describes a row and what was measured; both n rows, RangeIndex.

    Attributes:
        metadata: (n, …) what describes a row.
        measured: (n, …) everything else.
        matrix: name of the matrix that `measured` is, where the file declares one ("X"); all of it is meant.
        notes: what was found on the way.
        decimal: what stands before a fraction in numbers that are text.
    """

    metadata: pd.DataFrame
    measured: pd.DataFrame
    matrix: str | None = None
    notes: tuple[str, ...] = ()
    decimal: str = "."


@dataclass(frozen=True)
class FileOptions:
    """What a file does not say of itself.

    Attributes:
        separator: between the fields of a CSV; None: comma, unless the header has another beyond doubt.
        decimal: before a fraction in a CSV; None: point, unless the file is written with commas beyond doubt.
        matrix: of an .h5ad file or .npz: "X", "layers/NAME", "obsm/KEY", an array's name; None: X.
    """

    separator: str | None = None
    decimal: str | None = None
    matrix: str | None = None


def read_table(path: Path, described: Described = (), options: FileOptions = FileOptions()) -> RawTable:
    """Read a file by its suffix.

    Metadata are the columns named `Metadata_*` and those that `described` says; all others count as measured. In an
    .h5ad file metadata are the columns of obs, in a .gct those of its columns' metadata; measured is the matrix. A
    folder with index.csv is DeepProfiler's.

    Raises:
        InputError: absent, unreadable, of another format, empty, or with a repeated column.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file")
    if not path.is_file():
        from trainers.screens.deep_profiler import INDEX, is_deep_profiler, read_deep_profiler

        if is_deep_profiler(path):
            return read_deep_profiler(path)
        if not path.is_dir():
            raise InputError(f"{path}: is not a file (a device, a pipe or the like)")
        raise InputError(
            f"{path}: is a folder, expected one of {', '.join(FORMATS)} (or DeepProfiler's folder with {INDEX})"
        )
    name = path.name.lower()
    if name.endswith(".parquet"):
        table = split_columns(_read_parquet(path), described)
    elif name.endswith((".csv", ".csv.gz", ".tsv", ".tsv.gz")):
        from trainers.screens.delimited import read_delimited

        table = read_delimited(path, described, options)
    elif name.endswith((".h5ad", ".gct", ".gct.gz", ".npz")):
        from trainers.screens.matrices import read_matrix

        table = read_matrix(path, options.matrix)
    else:
        raise InputError(f"{path}: unknown format, expected one of {', '.join(FORMATS)}")
    if not len(table.metadata):
        raise InputError(f"{path}: the table has no rows")
    return table


def _odd_byte(error: UnicodeDecodeError) -> str:
    """The first byte that is no UTF-8, with what commonly writes it."""
    first = error.object[error.start]
    return f"0x{first:02x}, as {'UTF-16' if first in (0xFE, 0xFF) else 'Latin-1 or Windows'} text does"


@contextmanager
def reading(path: Path, kind: str) -> Iterator[None]:
    """What the libraries that read files raise, as one line: they document few of their errors, and raise many."""
    try:
        yield
    except InputError:
        raise
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (it holds the byte {_odd_byte(error)}); save it as UTF-8") from error
    except (AttributeError, AssertionError, IndexError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a readable {kind} file (damaged: its parts do not fit together)") from error
    except Exception as error:
        raise InputError(f"{path}: not a readable {kind} file ({_first_line(error)})") from error


def split_columns(frame: pd.DataFrame, described: Described) -> RawTable:
    """Part a frame into metadata and measured columns."""
    names = describing_columns([str(name) for name in frame.columns], described)
    metadata = [name for name in frame.columns if name in names]
    return RawTable(frame[metadata], frame.drop(columns=metadata))


def describing_columns(names: Sequence[str], described: Described) -> frozenset[str]:
    """The columns that describe their row."""
    if described is None:
        return frozenset(names)
    further = described(names) if callable(described) else described
    return frozenset(name for name in names if name.startswith(METADATA_PREFIXES) or name in further)


def refuse_repeated(path: Path, names: Sequence[str]) -> None:
    """A column name that occurs twice is ambiguous."""
    repeated = sorted(name for name, times in Counter(names).items() if times > 1)
    if repeated:
        raise InputError(f"{path}: repeated columns {first_few(repeated)}; names must be distinct")


def _read_parquet(path: Path) -> pd.DataFrame:
    """A Parquet file; a named pandas index becomes columns again, decimals become floating numbers."""
    import pyarrow.parquet as pq

    with reading(path, "Parquet"):
        with pq.ParquetFile(path) as file:
            refuse_repeated(path, file.schema_arrow.names)
            frame: pd.DataFrame = _plain_numbers(file.read()).to_pandas()
        named = [name for name in frame.index.names if name is not None]
        frame = frame.reset_index(level=named) if named else frame
        frame.columns = frame.columns.astype(str)
        return frame.reset_index(drop=True)


def _plain_numbers(table: pa.Table) -> pa.Table:
    """The table with decimal128, decimal256 and half floats as floating numbers, alone or in lists."""
    import pyarrow as pa

    for place, column in enumerate(table.schema):
        kind = column.type
        if pa.types.is_decimal(kind):
            table = table.set_column(place, column.name, table.column(place).cast(pa.float64()))
        elif isinstance(kind, pa.BaseExtensionType) and pa.types.is_fixed_size_list(kind.storage_type):
            storage = pa.chunked_array([chunk.storage for chunk in table.column(place).chunks], kind.storage_type)
            table = table.set_column(place, column.name, storage)
    return table


def _first_line(error: Exception) -> str:
    """A foreign error's message in one line."""
    lines = [re.sub(r"\s+", " ", line).strip() for line in str(error).strip().splitlines()]
    return (lines or [type(error).__name__])[0][:200]


__all__ = [
    "FORMATS",
    "Described",
    "FileOptions",
    "RawTable",
    "describing_columns",
    "read_table",
    "reading",
    "refuse_repeated",
    "split_columns",
]
