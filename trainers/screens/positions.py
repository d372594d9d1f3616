"""Well names and plate positions: "b1", "B01", "AA01" and "r02c01" name a row and a column, counted from 1."""

from __future__ import annotations

import re
from string import ascii_uppercase

_WELL = re.compile(r"([A-Za-z]{1,2})0*([1-9][0-9]?)")
_NUMBERED = re.compile(r"[rR]0*([1-9][0-9]?)[-_]?[cC]0*([1-9][0-9]?)")  # Opera and Operetta
_LETTERS = re.compile(r"[A-Za-z]{1,2}")

PLATE_LAYOUTS = {96: (8, 12), 384: (16, 24), 1536: (32, 48)}
"""Wells on a plate → (rows, columns)."""


def row_number(letters: str) -> int:
    """1-based row of a row's letters: "A" → 1, "Z" → 26, "AA" → 27."""
    number = 0
    for letter in letters.upper():
        number = number * 26 + ascii_uppercase.index(letter) + 1
    return number


def row_letters(row: int) -> str:
    """The letters of a 1-based row, the inverse of `row_number`."""
    letters = ""
    while row > 0:
        row, rest = divmod(row - 1, 26)
        letters = ascii_uppercase[rest] + letters
    return letters


def well_name(row: int, column: int) -> str:
    """The canonical name of a 1-based position: (2, 1) → "B01"."""
    return f"{row_letters(row)}{column:02d}"


def parse_well(name: str) -> tuple[int, int] | None:
    """(row, column), 1-based, of a well name; None for a name of another kind (a slide, a serial number)."""
    if match := _NUMBERED.fullmatch(name):
        return int(match[1]), int(match[2])
    match = _WELL.fullmatch(name)
    return (row_number(match[1]), int(match[2])) if match else None


def parse_index(text: str) -> int | None:
    """1-based row or column given as letters ("B") or as a number ("2", "2.0"); None for anything else."""
    if _LETTERS.fullmatch(text):
        return row_number(text)
    try:
        number = float(text)
    except ValueError:
        return None
    return int(number) if number.is_integer() and 1 <= number < 2**31 else None


__all__ = ["PLATE_LAYOUTS", "parse_index", "parse_well", "row_letters", "row_number", "well_name"]
