"""What a measured column holds: numbers, numbers in another form (lists, decimal commas, units), or none at all."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trainers.base import FloatArray
from trainers.screens.text import MISSING_WORDS

Kind = Literal["numbers", "lists", "refused", "truth values", "dates", "text", "nothing"]

_COMMA = re.compile(r"[+-]?\d+,\d+([eE][+-]?\d+)?")
_CERTAIN_COMMA = re.compile(r"[+-]?(0,\d+|\d+,(\d{1,2}|\d{4,}))([eE][+-]?\d+)?")
_UNITS = re.compile(
    r"[+-]?\d+([.,]\d+)?([eE][+-]?\d+)?\s*(%|[µu]m[²2]?|nm|mm|cm|px|pixels?|a\.?\s?u\.?|[µumn]?M|mg|kDa|deg|°|s|ms|min|h)"
)
_LIST = re.compile(r"\s*[\[(].*[\])]\s*", re.DOTALL)
_MOSTLY = 0.5


@dataclass(frozen=True, eq=False)
class CellValues:
    """A column, understood.

    Attributes:
        kind: what it is.
        read: (n,) or, for lists, (n, k) float32, NaN where nothing is known and infinite beyond float32; None unless
            numbers or lists.
        says: for a refusal, what is wrong and the remedy: ("holds decimal commas", "say decimal: ','").
        example: a value that shows it, with its row.
        whole: numbers are of a whole-number type, or such that pandas made floating because some are missing.
        form: how numbers were written, where not as such ("decimal128", "lists", "decimal commas").
    """

    kind: Kind
    read: FloatArray | None = None
    whole: bool = False
    says: tuple[str, str] = ("", "")
    example: str = ""
    form: str = ""


def understand(column: pd.Series, *, decimal: str = ".") -> CellValues:
    """Read a measured column, whatever its type.

    Args:
        column: n values.
        decimal: what the user says stands before a fraction.
    """
    dtype = column.dtype
    if pd.api.types.is_bool_dtype(dtype):
        return CellValues("truth values")
    if pd.api.types.is_datetime64_any_dtype(dtype) or pd.api.types.is_timedelta64_dtype(dtype):
        return CellValues("dates")
    if pd.api.types.is_complex_dtype(dtype):
        return CellValues("refused", says=("holds complex numbers", "give real and imaginary parts as columns"))
    if isinstance(dtype, pd.CategoricalDtype) and pd.api.types.is_numeric_dtype(dtype.categories.dtype):
        column = column.astype("float64")
    if pd.api.types.is_numeric_dtype(column.dtype):
        return CellValues("numbers", _single(column), whole=_whole(column))
    given = column[column.notna()]
    if not len(given):
        return CellValues("nothing")
    if given.map(_is_sequence).any():
        return _lists(column, given.map(_is_sequence))
    if given.map(lambda value: isinstance(value, (bool, np.bool_))).all():
        return CellValues("truth values")
    if not given.map(lambda value: isinstance(value, (str, bytes, int, float, np.number)) or _decimal(value)).all():
        return CellValues("text")
    return _written(column, decimal)


def _written(column: pd.Series, decimal: str) -> CellValues:
    """Numbers written as text, or text."""
    text = column.astype("string").str.strip()
    text = text.mask(text.str.casefold().isin(MISSING_WORDS).fillna(False).astype(bool), pd.NA)
    known = text.notna().to_numpy(dtype=bool)
    if not known.any():
        return CellValues("nothing")
    plain = _single(pd.to_numeric(text, errors="coerce"))
    wrong = known & np.isnan(plain)
    if not wrong.any():
        codes = text.dropna().str.fullmatch(r"[+-]?\d+").all()  # "0012" is a code as likely as a number
        return CellValues("numbers", plain, whole=bool(codes), form="text")
    row = int(wrong.argmax())
    shown = f"row {row + 1}: {str(text.iloc[row])[:40]!r}"
    spoilt = text[wrong]
    if spoilt.str.fullmatch(_COMMA).all():
        if decimal == ",":
            swapped = pd.to_numeric(text.str.replace(",", ".", regex=False), errors="coerce")
            return CellValues("numbers", _single(swapped), form="decimal commas")
        sure = spoilt.str.fullmatch(_CERTAIN_COMMA).any()
        what = "holds decimal commas" if sure else "holds decimal commas, or commas between thousands"
        return CellValues("refused", says=(what, "say decimal: ',' (metrics: --decimal ,)"), example=shown)
    if spoilt.str.fullmatch(_LIST).mean() > _MOSTLY:
        return _written_lists(text, shown)
    if spoilt.str.fullmatch(_UNITS).mean() > _MOSTLY:
        return CellValues("refused", says=("holds numbers with units", "write the numbers alone"), example=shown)
    if (~np.isnan(plain)).any():
        return CellValues("refused", says=("is not numeric", "mend it"), example=shown)
    return CellValues("text")


def _lists(column: pd.Series, is_list: pd.Series) -> CellValues:
    """Sequences of numbers, one a row."""
    if not is_list.all():
        row = int((~is_list).to_numpy(dtype=bool).argmax())
        return CellValues(
            "refused", says=("holds lists and other values", "mend it"), example=f"entry {row + 1} is none"
        )
    known = column.notna().to_numpy(dtype=bool)
    try:
        rows = [np.asarray(value, dtype=np.float64) for value in column[known]]
    except (TypeError, ValueError, OverflowError):
        return CellValues("refused", says=("holds lists that are not all numbers", "mend it"))
    return _stacked(rows, known)


def _written_lists(text: pd.Series, shown: str) -> CellValues:
    """Lists written as text: "[0.1, 0.2]", as a CSV file has them."""
    known = text.notna().to_numpy(dtype=bool)
    try:
        rows = [
            np.array([float(part) for part in re.split(r"[\s,;]+", value.strip("[]() \t\n")) if part])
            for value in text[known]
        ]
    except ValueError:
        return CellValues(
            "refused", says=("holds lists as text, cut or not all numbers", "store numbers"), example=shown
        )
    return _stacked(rows, known)


def _stacked(rows: list[NDArray[np.float64]], known: NDArray[np.bool_]) -> CellValues:
    sizes = sorted({row.shape for row in rows})
    if len(sizes) > 1 or len(sizes[0]) != 1 or sizes[0][0] == 0:
        listed = " and ".join("×".join(map(str, size)) for size in (sizes[0], sizes[-1]))
        return CellValues("refused", says=(f"holds lists of {listed} numbers", "store one list of fixed length a row"))
    values = np.full((len(known), sizes[0][0]), np.nan, dtype=np.float32)
    with np.errstate(over="ignore"):
        values[known] = np.stack(rows)
    return CellValues("lists", values, form="lists")


def _single(column: pd.Series) -> FloatArray:
    """A column of numbers as float32."""
    with np.errstate(over="ignore"):  # beyond float32 is infinite, and counts as missing
        values: FloatArray = column.to_numpy(dtype=np.float32, na_value=np.nan)
    return values


def _whole(column: pd.Series) -> bool:
    """Whether a column counts: its type is whole, or it is floating only for what is missing."""
    if pd.api.types.is_integer_dtype(column.dtype):
        return True
    values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    known = values[~np.isnan(values)]
    return 0 < len(known) < len(values) and bool((known == np.round(known)).all() and np.isfinite(known).all())


def _is_sequence(value: object) -> bool:
    return isinstance(value, (list, tuple, np.ndarray))


def _decimal(value: object) -> bool:
    from decimal import Decimal

    return isinstance(value, Decimal)


def comma_numbers(texts: list[str]) -> bool:
    """Whether fields of a file are written with decimal commas beyond doubt: some are, and none with a point."""
    commas = [text for text in texts if _COMMA.fullmatch(text.strip())]
    points = any(re.fullmatch(r"[+-]?\d*\.\d+([eE][+-]?\d+)?", text.strip()) for text in texts)
    return not points and any(_CERTAIN_COMMA.fullmatch(text.strip()) for text in commas)


__all__ = ["CellValues", "comma_numbers", "understand"]
