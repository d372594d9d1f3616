"""Select wells by comparisons of their columns, in the syntax of pandas' `query`; nothing is ever evaluated as code.

"Metadata_Compound == 'DMSO'" · "Metadata_pert_type in ['negcon', 'empty'] and not Metadata_Dose > 0"
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trainers.errors import InputError
from trainers.screens.names import nearest

Mask = NDArray[np.bool_]
Scalar = str | int | float

_ORDER: Mapping[type[ast.cmpop], Callable[[pd.Series, float], pd.Series]] = MappingProxyType(
    {ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge}
)
_TOKEN = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|`([^`]+)`")
_FORM = "expected comparisons such as \"Metadata_Compound == 'DMSO'\", joined by and, or, not and parentheses"


def select_rows(metadata: pd.DataFrame, query: str) -> Mask:
    """(n,) the rows that the query selects.

    A comparison is `column == value`, with ==, !=, <, <=, >, >=, `in [..]` or `not in [..]`; a name with blanks stands
    in backticks; &, | and ~ may stand for and, or and not. Against a number the column is read as numbers; text can
    only be equal or not. An empty entry is selected by no comparison, != and `not in` included.

    Args:
        metadata: n rows of a file's metadata.
        query: see above.

    Raises:
        InputError: not of this form, or a column that is not there.
    """
    names: dict[str, str] = {}

    def quoted(match: re.Match[str]) -> str:
        if match.group(1) is None:
            return match.group(0)
        names[f"column_{len(names)}_"] = match.group(1)
        return list(names)[-1]

    try:
        tree = ast.parse(_TOKEN.sub(quoted, query.strip()), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise InputError(f"query {query!r}: {_FORM}") from None
    return _Reader(metadata, query, names).mask(tree)


class _Reader:
    def __init__(self, metadata: pd.DataFrame, query: str, names: Mapping[str, str]) -> None:
        self._metadata = metadata
        self._query = query
        self._names = names

    def mask(self, node: ast.expr) -> Mask:
        match node:
            case ast.BoolOp(op=ast.And(), values=values):
                return np.asarray(np.all([self.mask(value) for value in values], axis=0), dtype=bool)
            case ast.BoolOp(op=ast.Or(), values=values):
                return np.asarray(np.any([self.mask(value) for value in values], axis=0), dtype=bool)
            case ast.BinOp(left=left, op=ast.BitAnd(), right=right):
                return self.mask(left) & self.mask(right)
            case ast.BinOp(left=left, op=ast.BitOr(), right=right):
                return self.mask(left) | self.mask(right)
            case ast.UnaryOp(op=ast.Not() | ast.Invert(), operand=operand):
                return ~self.mask(operand)
            case ast.Compare(left=ast.Name(id=name), ops=[op], comparators=[right]):
                return self._compare(self._column(self._names.get(name, name)), op, right)
            case _:
                raise InputError(f"query {self._query!r}: {_FORM}")

    def _column(self, name: str) -> pd.Series:
        if name not in self._metadata.columns:
            known = [str(column) for column in self._metadata.columns]
            raise InputError(f"query {self._query!r}: there is no column {name!r}; {nearest(name, known)}")
        return self._metadata[name]

    def _compare(self, column: pd.Series, op: ast.cmpop, right: ast.expr) -> Mask:
        if isinstance(op, ast.In | ast.NotIn) and isinstance(right, ast.List | ast.Tuple):
            found = np.zeros(len(column), dtype=bool)
            for item in right.elts:
                found |= _equal(column, self._scalar(item))
        elif isinstance(op, ast.Eq | ast.NotEq):
            found = _equal(column, self._scalar(right))
        elif type(op) in _ORDER:
            value = self._scalar(right)
            if isinstance(value, str):
                raise InputError(f"query {self._query!r}: text can be equal or not, but has no order")
            return np.asarray(_ORDER[type(op)](pd.to_numeric(column, errors="coerce"), value).fillna(False), dtype=bool)
        else:
            raise InputError(f"query {self._query!r}: {_FORM}")
        negated = isinstance(op, ast.NotEq | ast.NotIn)
        return ~found & column.notna().to_numpy(dtype=bool) if negated else found

    def _scalar(self, node: ast.expr) -> Scalar:
        match node:
            case ast.Constant(value=str() | int() | float() as value):
                return value
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
                return -value
            case _:
                raise InputError(f"query {self._query!r}: {_FORM}")


def _equal(column: pd.Series, value: Scalar) -> Mask:
    if isinstance(value, str):
        return np.asarray((column.astype("string").str.strip() == value).fillna(False), dtype=bool)
    return np.asarray((pd.to_numeric(column, errors="coerce") == value).fillna(False), dtype=bool)


__all__ = ["select_rows"]
