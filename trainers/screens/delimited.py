"""CSV and TSV files: separator, decimal sign and what describes a row are found in the header and the first rows."""

from __future__ import annotations

import csv
import gzip
import re
import warnings
from itertools import islice, takewhile
from pathlib import Path

import pandas as pd

from trainers.errors import InputError
from trainers.screens.cell_values import comma_numbers
from trainers.screens.files import (
    Described,
    FileOptions,
    RawTable,
    describing_columns,
    reading,
    refuse_repeated,
    split_columns,
)

_MISSING = ["", "NA", "N/A", "NaN", "nan", "null", "None"]
_SEPARATORS = (";", "\t", "|", ",")
_DECLARED = re.compile(r'"?sep=(.)"?\s*')  # what Excel writes above the header
_SAMPLE = 200
csv.field_size_limit(2**30)  # an embedding written as text is one field


def read_delimited(path: Path, described: Described, options: FileOptions) -> RawTable:
    """A CSV or TSV file; metadata are read as text, so that "01" stays "01" and a gene named NA is no null.

    Raises:
        InputError: not readable, empty, or with a repeated column.
    """
    with reading(path, "CSV"), warnings.catch_warnings():
        skipped, separator, header, sample = _look(path, options.separator)
        names = [name if name.strip() else f"Unnamed: {place}" for place, name in enumerate(header)]
        refuse_repeated(path, names)
        text = [name for name in names if name in describing_columns(names, described)]
        decimal = options.decimal or _decimal(sample, [name not in text for name in names], separator)
        warnings.simplefilter("error", pd.errors.ParserWarning)  # rows longer than the header
        missing = {name: [""] if name in text else _MISSING for name in names}
        try:
            frame: pd.DataFrame = pd.read_csv(
                path,
                sep=separator,
                decimal=decimal,
                dtype=dict.fromkeys(text, str),
                header=None,
                names=names,
                skiprows=skipped + 1,
                keep_default_na=False,
                na_values=missing,
                index_col=False,
                low_memory=False,
                encoding="utf-8-sig",
            )
        except pd.errors.ParserWarning:
            long = [row for row in sample if len(row) > len(names)]
            shown = f" (first: {separator.join(long[0])[:60]!r})" if long else ""
            raise InputError(
                f"{path}: not a readable CSV file: rows have more fields than the header's {len(names)}{shown}; "
                f"are fields separated by {separator!r}? say so with separator"
            ) from None
    table = split_columns(frame, described)
    usual = "\t" if _is_tabbed(path) else ","
    notes = [] if separator == usual else [f"fields are separated by {separator!r}"]
    notes += [] if decimal == "." else [f"numbers are written with {decimal!r} before the fraction"]
    return RawTable(table.metadata, table.measured, notes=tuple(notes), decimal=decimal)


def _look(path: Path, separator: str | None) -> tuple[int, str, list[str], list[list[str]]]:
    """Lines above the header, the separator, the header, and the first rows."""
    opened = gzip.open if path.name.lower().endswith(".gz") else open
    with opened(path, "rt", newline="", encoding="utf-8-sig") as file:
        lines = list(islice(file, _SAMPLE))
    above = len(list(takewhile(lambda line: not line.strip(), lines)))
    declared = _DECLARED.fullmatch(lines[above].rstrip("\r\n")) if above < len(lines) else None
    skipped = above + (declared is not None)
    lines = lines[skipped:]
    if not lines:
        raise InputError(f"{path}: the file is empty")
    usual = "\t" if _is_tabbed(path) else ","
    chosen = separator or (declared[1] if declared else usual)
    header = next(csv.reader(lines, delimiter=chosen), [])
    if separator is None and len(header) < 2:
        other = max(_SEPARATORS, key=lambda mark: lines[0].count(mark))
        if lines[0].count(other):
            chosen = other
    rows = list(csv.reader(lines, delimiter=chosen))
    return skipped, chosen, rows[0], rows[1:]


def _decimal(sample: list[list[str]], measured: list[bool], separator: str) -> str:
    """The decimal sign of the measured fields: a comma only where it cannot separate fields, and beyond doubt."""
    if separator == ",":
        return "."
    fields = [value for row in sample for value, number in zip(row, measured, strict=False) if number]
    return "," if comma_numbers(fields) else "."


def _is_tabbed(path: Path) -> bool:
    return ".tsv" in path.name.lower()[-7:]


__all__ = ["read_delimited"]
