"""Which measured columns are features: decided by rule, in the open, never "any number".

By rule a feature is

1. a column that CellProfiler names (`Cells_AreaShape_Area`), one of a numbered family (`feature_12`, `F0003`), an entry
   of a list column (`embedding`), or a column of a matrix that a file declares (X of an .h5ad);
2. where such columns are absent or fewer, a column of the block of decimal numbers that is left.

Never are: row numbers, ids, counts, coordinates, bookkeeping of images (by their names), constants, truth values, dates
and text. Patterns given by the user come before every rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

import numpy as np
import pandas as pd

from trainers.base import FloatArray
from trainers.screens.cell_values import CellValues, understand
from trainers.screens.feature_names import akin, bookkeeping, compartment, numbered_families
from trainers.screens.names import first_few, nearest
from trainers.screens.screen_spec import FeaturePatterns

BLOCK = "numeric block"
NAMED = "named by the user"
CONSTANT = "constant"


@dataclass(frozen=True, eq=False)
class FeatureChoice:
    """The features of a table.

    Attributes:
        names: d distinct names, in the file's order.
        features: (n, d) float32; NaN or infinite where a value is missing.
        families: family → number of its columns, in the order of their first column.
        left_out: reason → columns of the file.
        forms: column → how its numbers were written, where not as such.
        warnings: what a user should look at.
        problems: what is wrong, one line each; names and features then do not count.
    """

    names: tuple[str, ...]
    features: FloatArray
    families: dict[str, int]
    left_out: dict[str, tuple[str, ...]] = field(default_factory=dict)
    forms: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    def without(self, columns: Sequence[int], reason: str) -> FeatureChoice:
        """The choice less some features, by their place."""
        kept = np.setdiff1d(np.arange(len(self.names)), np.asarray(columns, dtype=np.int64))
        gone = tuple(self.names[place] for place in columns)
        return replace(
            self,
            names=tuple(self.names[place] for place in kept),
            features=self.features[:, kept],
            left_out=self.left_out | {reason: (*self.left_out.get(reason, ()), *gone)},
        )


@dataclass
class _Column:
    """A column of the file on its way."""

    name: str
    held: CellValues
    family: str | None = None
    reason: str | None = None


def choose_features(
    measured: pd.DataFrame,
    wanted: Sequence[str] | FeaturePatterns | None = None,
    *,
    matrix: str | None = None,
    decimal: str = ".",
) -> FeatureChoice:
    """Choose and read the features of a table.

    Args:
        measured: n rows of all columns that do not describe a row.
        wanted: the features and their order, patterns, or None for the rule.
        matrix: the name of the matrix that the columns are, where the file says so ("X"): all of them are meant.
        decimal: what stands before a fraction in numbers that are written as text.
    """
    patterns = wanted if isinstance(wanted, FeaturePatterns) else FeaturePatterns()
    names = [str(name) for name in measured.columns]
    problems: list[str] = []
    if wanted is not None and not isinstance(wanted, FeaturePatterns):
        problems += [f"feature {name!r} does not exist; {nearest(name, names)}" for name in wanted if name not in names]
        if len(set(wanted)) != len(wanted):
            problems.append("features names a column twice")
        chosen = [name for name in dict.fromkeys(wanted) if name in names]
        columns = [_Column(name, understand(measured[name], decimal=decimal), family=NAMED) for name in chosen]
    else:
        for given in (*patterns.include, *patterns.exclude):
            if not any(fnmatchcase(name, given) for name in names):
                problems.append(f"features: no column is called {given!r}; {nearest(given, names)}")
        columns = [_Column(name, understand(measured[name], decimal=decimal)) for name in names]
        _apply_patterns(columns, patterns)
        if not patterns.include:
            _apply_rule([column for column in columns if column.reason is None], matrix)
    ruled = wanted is None or (isinstance(wanted, FeaturePatterns) and not wanted.include)
    problems += _unreadable(columns, ruled=ruled)
    return _collected(columns, len(measured), tuple(problems), ruled=ruled)


def _apply_patterns(columns: Sequence[_Column], patterns: FeaturePatterns) -> None:
    """What the user includes and excludes."""
    for column in columns:
        if any(fnmatchcase(column.name, given) for given in patterns.exclude):
            column.reason = "excluded by the user"
        elif patterns.include:
            if any(fnmatchcase(column.name, given) for given in patterns.include):
                column.family = NAMED
            else:
                column.reason = "not included by the user"


def _apply_rule(columns: Sequence[_Column], matrix: str | None) -> None:
    """Families and reasons of columns that no pattern settles."""
    numbered = numbered_families([column.name for column in columns])
    loose: list[_Column] = []
    for column in columns:
        kind = column.held.kind
        column.reason = bookkeeping(column.name)
        if column.reason is None and kind in ("truth values", "dates", "text") and compartment(column.name) is None:
            column.reason = kind
        if column.reason is not None:
            continue
        if kind == "lists":
            column.family = column.name
        elif matrix is not None:
            column.family = matrix
        else:
            column.family = compartment(column.name) or numbered.get(column.name)
            if column.family is None:
                loose.append(column)
    _settle_loose(loose, [column for column in columns if column.family is not None])


def _settle_loose(loose: Sequence[_Column], known: Sequence[_Column]) -> None:
    """Columns whose names say nothing: the block of decimal numbers, where families do not outnumber it."""
    numbers = [column for column in loose if column.held.kind == "numbers"]
    decimals = [column.name for column in numbers if not column.held.whole]
    size = sum(_width(column.held) for column in known)
    for column in loose:
        if column.held.kind == "refused":  # it looks like a feature: named among the problems
            column.family = BLOCK
        elif column.held.kind == "nothing":
            column.reason = "empty"
    if size > len(numbers):
        for column in numbers:
            column.reason = "numbers of no family of features"
        return
    related = akin([column.name for column in numbers if column.held.whole], decimals)
    for column in numbers:
        if decimals and column.held.whole and column.name not in related:
            column.reason = "whole numbers beside decimal ones"
        elif _counts_up(column.held.read):
            column.reason = "row numbers"
        else:
            column.family = BLOCK


def _unreadable(columns: Sequence[_Column], *, ruled: bool) -> list[str]:
    """What is wrong with features whose values cannot be read, and the remedy: one line a kind, naming the columns."""
    kinds: dict[tuple[str, str], list[_Column]] = {}
    for column in columns:
        if column.family is None or column.reason is not None:
            continue
        if column.held.kind == "refused":
            kinds.setdefault(column.held.says, []).append(column)
        elif column.held.kind in ("text", "dates", "truth values"):
            kinds.setdefault((f"is not numeric but holds {column.held.kind}", "mend it"), []).append(column)
    lines: list[str] = []
    for (what, remedy), found in kinds.items():
        names = [column.name for column in found]
        example = f" ({found[0].held.example})" if found[0].held.example else ""
        subject = (
            f"feature {names[0]!r}" if len(names) == 1 else f"{len(names)} features ({first_few(names, 12)}): each"
        )
        other = f", or leave {'it' if len(names) == 1 else 'them'} out (features: exclude)" if ruled else ""
        lines.append(f"{subject} {what}{example}; {remedy}{other}")
    return lines


def _collected(columns: Sequence[_Column], rows: int, problems: tuple[str, ...], *, ruled: bool) -> FeatureChoice:
    left_out: dict[str, list[str]] = {}
    families: dict[str, int] = {}
    names: list[str] = []
    parts: list[FloatArray] = []
    forms: dict[str, str] = {}
    kept = [column for column in columns if column.family is not None and column.reason is None]
    constant = [column for column in kept if ruled and _constant(column.held.read)]
    if len(constant) < len(kept):  # where all are, they are a collapsed embedding, and that is said of it
        for column in constant:
            column.reason = CONSTANT
    for column in columns:
        if column.reason is not None or column.family is None:
            left_out.setdefault(column.reason or "empty", []).append(column.name)
            continue
        values = column.held.read
        if values is None:
            values = np.full(rows, np.nan, dtype=np.float32)
        block = values[:, None] if values.ndim == 1 else values
        width = len(str(block.shape[1] - 1))
        entries = [column.name] if values.ndim == 1 else [f"{column.name}_{i:0{width}d}" for i in range(block.shape[1])]
        names += entries
        parts.append(block)
        families[column.family] = families.get(column.family, 0) + len(entries)
        if column.held.form:
            forms[column.name] = column.held.form
    repeated = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) != len(names) else []
    if repeated:
        problems = (*problems, f"columns {first_few(repeated)} stand beside a list column of the same name; rename one")
    stray = left_out.get("numbers of no family of features", []) + left_out.get("whole numbers beside decimal ones", [])
    warnings = (
        (f"{len(stray)} columns of numbers are taken for no features ({first_few(stray)}): see features, include",)
        if stray
        else ()
    )
    values = np.concatenate(parts, axis=1) if parts else np.empty((rows, 0), dtype=np.float32)
    return FeatureChoice(
        tuple(names),
        values,
        families,
        {reason: tuple(found) for reason, found in left_out.items()},
        forms,
        warnings,
        problems,
    )


def _width(held: CellValues) -> int:
    """Number of features in a column."""
    return 1 if held.read is None or held.read.ndim == 1 else held.read.shape[1]


def _counts_up(values: FloatArray | None) -> bool:
    """Whether the values number the rows: each one more than the one before."""
    return values is not None and len(values) > 9 and bool((np.diff(values) == 1.0).all())


def _constant(values: FloatArray | None) -> bool:
    if values is None or values.ndim != 1:
        return False
    known = values[~np.isnan(values)]
    return bool(len(known)) and bool((known == known[0]).all())


__all__ = ["FeatureChoice", "choose_features"]
