"""The wells that a table's metadata describe: canonical columns, and everything that is wrong with them at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from trainers.base import IntArray
from trainers.errors import raise_problems
from trainers.screens.controls import DROP, EMBEDDED_CONTROLS, ControlWords, control_types, lookalikes
from trainers.screens.conventions import ColumnMap, find_columns
from trainers.screens.names import first_few
from trainers.screens.positions import parse_index, well_name
from trainers.screens.screen_spec import IDENTIFYING
from trainers.screens.table import CANONICAL
from trainers.screens.text import MISSING_WORDS, as_text, described_text

_LARGEST = 2**31  # rows, columns and sites beyond it are no numbers of rows, columns and sites
_KEY = ("batch", "plate", "well", "site")


@dataclass(frozen=True, eq=False)
class FoundWells:
    """What a table's metadata say.

    Attributes:
        wells: canonical columns, then the file's further ones, for `make_wells`; n rows. Incomplete where a problem is.
        rows: row numbers that are kept: those whose control word does not drop them.
        columns: which column of the file says what.
        notes, warnings, problems: one line each.
    """

    wells: pd.DataFrame
    rows: IntArray
    columns: ColumnMap
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def find_wells(
    metadata: pd.DataFrame,
    columns: Mapping[str, str | None],
    negative_controls: Collection[str] = (),
    words: ControlWords = {},  # noqa: B006 - never changed
    *,
    one_batch: bool = False,
) -> FoundWells:
    """Read the wells.

    A control type is read from the values trt, negcon and poscon* (or treatment, negative and positive, alone or with
    _control) and counts as treatment where it is missing; `negative_controls` are negative controls whatever the file
    says.

    Args:
        metadata: n rows, RangeIndex.
        columns: canonical column → column of the file, as `ScreenSpec.columns`.
        negative_controls: perturbations.
        words: what further words of the control column mean.
        one_batch: a single batch is no problem: nothing is learnt from it.
    """
    found = find_columns(metadata, columns, words)
    chosen, problems = found.chosen, list(found.problems)
    wells = pd.DataFrame(index=range(len(metadata)))
    for name, column in chosen.items():
        read = as_text if name in IDENTIFYING else described_text
        wells[name] = read(metadata[column])
        if name in IDENTIFYING and wells[name].isna().any():
            problems.append(_empty(column, wells[name]))
    for name in ("row", "column", "site"):
        if name in chosen:
            wells[name], wrong = _numbers(chosen[name], wells[name], floor=0 if name == "site" else 1)
            problems += wrong
    for name, source in found.derived.items():
        if source in wells:
            wells[name] = wells[source]
        elif {"row", "column"} <= set(wells) and wells[["row", "column"]].notna().all(axis=None):
            pairs = zip(wells["row"], wells["column"], strict=True)
            wells[name] = pd.Series([well_name(int(row), int(column)) for row, column in pairs], dtype="string")
    warnings = list(found.warnings)
    if "perturbation" in wells:
        marked = list(negative_controls)
        if not found.plain and "control_type" not in chosen:
            marked += [name for name in EMBEDDED_CONTROLS if (wells["perturbation"] == name).any()]
        kind = chosen.get("control_type")
        given = None if kind is None else metadata[kind]
        wells["control_type"], wrong = control_types(kind, given, wells["perturbation"], marked, words)
        problems += wrong
        warnings += lookalikes(wells["perturbation"], wells["control_type"])
        if nothing := sorted(set(wells["perturbation"].dropna()) & _nothing(wells["perturbation"])):
            warnings.append(f"perturbation {first_few(nothing)} is read as a name; empty would be missing")
    kept = np.ones(len(wells), dtype=bool)
    notes = list(found.notes)
    if "control_type" in wells:
        kept = (wells["control_type"] != DROP).to_numpy(dtype=bool)
        notes += [f"{int((~kept).sum())} rows left out by control_words"] if not kept.all() else []
    if (
        not one_batch
        and "batch" in wells
        and len(wells.loc[kept, "batch"].unique()) == 1
        and wells["batch"].notna().all()
    ):
        only = wells.loc[kept, "batch"].iloc[0]
        problems.append(f"column {chosen.get('batch')!r} holds one batch only ({only!r}); at least 2 are needed")
    further = metadata.reset_index(drop=True).drop(columns=list(set(chosen.values())))
    further = further.drop(columns=[name for name in CANONICAL if name in further])
    return FoundWells(
        pd.concat([wells, further], axis=1),
        np.flatnonzero(kept),
        found,
        tuple(notes),
        tuple(warnings),
        tuple(problems),
    )


def describe_wells(
    path: Path, metadata: pd.DataFrame, columns: Mapping[str, str | None], negative_controls: Collection[str]
) -> pd.DataFrame:
    """As `find_wells`, the wells alone; raises `InputError` naming the file and all that is wrong."""
    found = find_wells(metadata, columns, negative_controls)
    raise_problems(path, found.problems)
    return found.wells


def repeated_wells(wells: pd.DataFrame, rows: IntArray | None = None) -> str | None:
    """What is wrong where a well, or a site of a well, has several rows; `rows` are their numbers in the file."""
    again = wells.duplicated(list(_KEY)).to_numpy(dtype=bool)
    if not again.any():
        return None
    row = int(again.argmax())
    place = ", ".join(f"{name} {wells[name].iloc[row]}" for name in _KEY if not pd.isna(wells[name].iloc[row]))
    number = row if rows is None else int(rows[row])
    return (
        f"{int(again.sum())} rows repeat a well (first: row {number + 1}, {place}); "
        "expected one row a well, or a site of a well"
    )


def refuse_duplicates(path: Path, wells: pd.DataFrame) -> None:
    """One row a well, or a site of a well; raises `InputError`."""
    problem = repeated_wells(wells)
    raise_problems(path, [] if problem is None else [problem])


def _empty(column: str, values: pd.Series[str]) -> str:
    """A row that cannot be placed cannot be used."""
    empty = values.isna().to_numpy(dtype=bool)
    return (
        f"column {column!r} is empty in {int(empty.sum())} rows (first: row {int(empty.argmax()) + 1}); "
        "every row needs a value"
    )


def _nothing(values: pd.Series[str]) -> set[str]:
    """Names that usually stand for nothing."""
    return {value for value in values.dropna().unique() if value.casefold() in MISSING_WORDS}


def _numbers(column: str, text: pd.Series[str], floor: int) -> tuple[pd.Series, list[str]]:
    """Rows and columns as letters or numbers from 1, sites as numbers from 0; nulls stay."""
    meaning = {value: _number(value, floor) for value in text.dropna().unique()}
    wrong = [value for value, number in meaning.items() if number is None]
    if wrong:
        row = int(text.eq(wrong[0]).fillna(False).to_numpy(dtype=bool).argmax()) + 1
        kind = "a whole number" if floor == 0 else "letters or a whole number from 1"
        none = pd.Series([pd.NA] * len(text), dtype="Int64")
        return none, [f"column {column!r} holds {wrong[0]!r} (first: row {row}); expected {kind}"]
    return text.map(meaning).astype("Int64"), []


def _number(value: str, floor: int) -> int | None:
    """A row, column or site number."""
    site = int(value) if value.isdecimal() and len(value) < 16 else None
    number = parse_index(value) if floor == 1 else site
    return number if number is None or number < _LARGEST else None


__all__ = ["FoundWells", "describe_wells", "find_wells", "refuse_duplicates", "repeated_wells"]
