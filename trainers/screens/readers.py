"""Profile tables with `Metadata_*` columns (the pycytominer and JUMP convention) as screens, and back."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator

from trainers.errors import InputError
from trainers.screens.files import METADATA_PREFIX, RawTable, read_table
from trainers.screens.names import nearest
from trainers.screens.positions import parse_index
from trainers.screens.table import CANONICAL, CONTROL_TYPES, Screen, as_text, make_screen

CONVENTION: dict[str, tuple[str, ...]] = {
    "batch": ("Metadata_Batch", "Metadata_batch"),
    "plate": ("Metadata_Plate", "Metadata_plate"),
    "well": ("Metadata_Well", "Metadata_well"),
    "perturbation": (
        "Metadata_Perturbation",
        "Metadata_Compound",
        "Metadata_JCP2022",
        "Metadata_Gene",
        "Metadata_Symbol",
        "Metadata_broad_sample",
    ),
    "control_type": ("Metadata_pert_type", "Metadata_control_type"),
    "target": ("Metadata_target", "Metadata_moa", "Metadata_MoA", "Metadata_Target"),
    "cell_type": ("Metadata_cell_type", "Metadata_Cell_Type"),
    "row": ("Metadata_Row",),
    "column": ("Metadata_Col", "Metadata_Column"),
    "site": ("Metadata_Site",),
}
"""Canonical column → the file columns looked for, in this order."""

_IDENTIFYING = ("batch", "plate", "well", "perturbation")
_CONTROL_NAMES = {
    "trt": "treatment",
    "negcon": "negative",
    "negative_control": "negative",  # RxRx1's words
    "positive_control": "positive",
} | {name: name for name in CONTROL_TYPES}
_PERT_TYPE = {"treatment": "trt", "negative": "negcon", "positive": "poscon"}


class ScreenSpec(BaseModel):
    """Where a screen is and how to read its columns."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path = Field(description="A .parquet, .csv, .csv.gz or .h5ad file, relative to the config file.")
    columns: dict[str, str | None] = Field(
        default_factory=dict,
        description="Canonical column → column of the file, where that departs from the Metadata_* convention; "
        "null for a column that is not to be read.",
    )
    features: tuple[str, ...] | None = Field(
        default=None, description="Feature columns; null for every numeric column that is not metadata."
    )
    negative_controls: tuple[str, ...] = Field(
        default=(), description="Perturbations that are negative controls, e.g. DMSO, beside those the file marks."
    )

    @field_validator("columns")
    @classmethod
    def _check_columns(cls, columns: dict[str, str | None]) -> dict[str, str | None]:
        """As `check_columns`."""
        return check_columns(columns)


def check_columns(columns: dict[str, str | None]) -> dict[str, str | None]:
    """Only canonical columns can be named, and those that identify a row cannot be left out; raises ValueError."""
    for name, column in columns.items():
        if name not in CONVENTION:
            raise ValueError(f"{name!r} is no column of a screen; {nearest(name, list(CONVENTION))}")
        if column is None and name in _IDENTIFYING:
            raise ValueError(f"{name!r} cannot be left out")
    return columns


def read_screen(spec: ScreenSpec, base_dir: Path) -> Screen:
    """Read and check a screen.

    Args:
        spec: the file and its columns.
        base_dir: the folder that a relative `spec.path` starts from.

    Raises:
        InputError: in one line, the file and the column or row that is wrong.
    """
    path = base_dir / spec.path
    table = read_table(path, described=[name for name in spec.columns.values() if name is not None])
    wells = describe_wells(path, table.metadata, spec.columns, spec.negative_controls)
    names, features = _features(path, spec, table)
    screen = make_screen(features, names, wells)
    refuse_duplicates(path, screen.wells)
    return screen


def describe_wells(
    path: Path, metadata: pd.DataFrame, columns: Mapping[str, str | None], negative_controls: Collection[str]
) -> pd.DataFrame:
    """The wells that a file's metadata describe, for `make_wells`: canonical columns, then the file's further ones.

    A control type is read from the values trt, negcon and poscon* (or treatment, negative and positive, alone or with
    _control) and counts as treatment where it is empty; `negative_controls` are negative controls whatever the file
    says.

    Args:
        path: the file, for messages.
        metadata: n rows, RangeIndex.
        columns: canonical column → column of the file, as `ScreenSpec.columns`.
        negative_controls: perturbations.

    Raises:
        InputError: in one line, the file and the column or row that is wrong.
    """
    chosen = choose_columns(path, metadata, columns)
    wells = pd.DataFrame({name: as_text(metadata[column]) for name, column in chosen.items()})
    for name in _IDENTIFYING:
        _refuse_nulls(path, chosen[name], wells[name])
    for name in ("row", "column", "site"):
        if name in chosen:
            wells[name] = _numbers(path, chosen[name], wells[name], floor=0 if name == "site" else 1)
    wells["control_type"] = _control_types(path, negative_controls, chosen, wells)
    _refuse_single_batch(path, chosen["batch"], wells["batch"])
    further = metadata.drop(columns=list(set(chosen.values())))
    return pd.concat([wells, further.drop(columns=[name for name in CANONICAL if name in further])], axis=1)


def screen_frame(screen: Screen) -> pd.DataFrame:
    """The screen as one table in the `Metadata_*` convention, which `read_screen` reads back without any option."""
    wells = screen.wells
    columns: dict[str, pd.Series | NDArray[np.float32]] = {}
    for name in CANONICAL:
        if name == "control_type":
            columns[CONVENTION[name][0]] = wells[name].map(_PERT_TYPE)
        elif wells[name].notna().any():
            columns[CONVENTION[name][0]] = wells[name]
    columns |= {str(name): wells[name] for name in wells.columns if name not in CANONICAL}
    measured = pd.DataFrame(screen.features, columns=list(screen.feature_names))
    return pd.concat([pd.DataFrame(columns), measured], axis=1)


def choose_columns(path: Path, metadata: pd.DataFrame, columns: Mapping[str, str | None]) -> dict[str, str]:
    """Canonical column → the file's column, for those the file has."""
    existing = list(metadata.columns)
    chosen: dict[str, str] = {}
    for name, candidates in CONVENTION.items():
        if name in columns:
            column = columns[name]
            if column is None:
                continue
            if column not in existing:
                raise InputError(f"{path}: column {column!r} (for {name}) does not exist; {nearest(column, existing)}")
            chosen[name] = column
            continue
        found = [candidate for candidate in candidates if candidate in existing]
        if found:
            chosen[name] = found[0]
        elif name in _IDENTIFYING:
            raise InputError(
                f"{path}: no column for {name} (looked for {', '.join(candidates)}); "
                f"{nearest(candidates[0], existing)}; name it under columns"
            )
    return chosen


def _features(path: Path, spec: ScreenSpec, table: RawTable) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """Feature names and their (n, d) finite values."""
    measured = table.measured
    if spec.features is not None:
        names = list(spec.features)
        existing = list(measured.columns)
        for name in names:
            if name not in existing:
                raise InputError(f"{path}: feature {name!r} does not exist; {nearest(name, existing)}")
        if len(set(names)) != len(names):
            raise InputError(f"{path}: features names a column twice")
    else:
        names = [name for name in measured.columns if _is_number(measured[name]) or _holds_numbers(measured[name])]
    if not names:
        raise InputError(f"{path}: no feature columns; features are numeric and not named {METADATA_PREFIX}*")
    for name in names:
        if not _is_number(measured[name]):
            row, value = _first_text(measured[name])
            raise InputError(
                f"{path}: feature {name!r} is not numeric (row {row}: {value!r}); mend it or list the features"
            )
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite and is reported below
        values = measured[names].to_numpy(dtype=np.float32, na_value=np.nan)
    wrong = ~np.isfinite(values)
    if wrong.any():
        column = int(wrong.any(axis=0).argmax())
        raise InputError(
            f"{path}: {int(wrong.sum())} feature values in {int(wrong.any(axis=0).sum())} columns are NaN or infinite "
            f"(first: column {names[column]!r}, row {int(wrong[:, column].argmax()) + 1}); impute or drop them first"
        )
    return tuple(names), values


def _is_number(column: pd.Series) -> bool:
    """Whether a column holds numbers; truth values do not count."""
    return pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype)


def _holds_numbers(column: pd.Series) -> bool:
    """Whether a text column holds numbers among its text: a spoilt feature, not a description."""
    if pd.api.types.is_bool_dtype(column.dtype) or pd.api.types.is_datetime64_any_dtype(column.dtype):
        return False
    return bool(pd.to_numeric(column.astype("string"), errors="coerce").notna().any())


def _first_text(column: pd.Series) -> tuple[int, str]:
    """1-based row and value of the first entry that is no number."""
    text = column.astype("string")
    wrong = (pd.to_numeric(text, errors="coerce").isna() & text.notna()).to_numpy(dtype=bool)
    row = int(wrong.argmax())
    return row + 1, str(text.iloc[row])


def _control_types(
    path: Path, negative_controls: Collection[str], chosen: dict[str, str], wells: pd.DataFrame
) -> pd.Series:
    """Canonical control types of all rows."""
    existing = sorted(wells["perturbation"].unique())
    for name in negative_controls:
        if name not in existing:
            raise InputError(f"{path}: negative control {name!r} does not exist; {nearest(name, existing)}")
    if "control_type" in wells:
        given = wells["control_type"].fillna("treatment")
        known = {value: _control_type(value) for value in given.unique()}
        unknown = sorted(value for value, meaning in known.items() if meaning is None)
        if unknown:
            row = int(given.eq(unknown[0]).to_numpy(dtype=bool).argmax()) + 1
            raise InputError(
                f"{path}: column {chosen['control_type']!r} holds {unknown[0]!r} (first: row {row}); "
                f"expected trt, negcon, poscon* or {', '.join(CONTROL_TYPES)}"
            )
        types = given.map(known)
    else:
        types = pd.Series("treatment", index=wells.index, dtype="string")
    return types.mask(wells["perturbation"].isin(negative_controls), "negative")


def _control_type(value: str) -> str | None:
    """The canonical control type of a file's word for it, or None."""
    word = value.lower()
    return "positive" if word.startswith("poscon") else _CONTROL_NAMES.get(word)


def _numbers(path: Path, column: str, text: pd.Series[str], floor: int) -> pd.Series:
    """Rows and columns as letters or numbers from 1, sites as numbers from 0; nulls stay."""
    meaning = {value: _number(value, floor) for value in text.dropna().unique()}
    wrong = [value for value, number in meaning.items() if number is None]
    if wrong:
        row = int(text.eq(wrong[0]).fillna(False).to_numpy(dtype=bool).argmax()) + 1
        kind = "a whole number" if floor == 0 else "letters or a whole number from 1"
        raise InputError(f"{path}: column {column!r} holds {wrong[0]!r} (first: row {row}); expected {kind}")
    return text.map(meaning).astype("Int64")


def _number(value: str, floor: int) -> int | None:
    """A row, column or site number."""
    if floor == 1:
        return parse_index(value)
    return int(value) if value.isdecimal() else None


def _refuse_nulls(path: Path, column: str, values: pd.Series[str]) -> None:
    """A row that cannot be placed cannot be used."""
    empty = values.isna()
    if empty.any():
        row = int(empty.to_numpy(dtype=bool).argmax()) + 1
        raise InputError(
            f"{path}: column {column!r} is empty in {int(empty.sum())} rows (first: row {row}); every row needs a value"
        )


def _refuse_single_batch(path: Path, column: str, batches: pd.Series[str]) -> None:
    """Without a second batch there is nothing to correct."""
    if batches.nunique() < 2:
        raise InputError(f"{path}: column {column!r} holds one batch only ({batches.iloc[0]!r}); at least 2 are needed")


def refuse_duplicates(path: Path, wells: pd.DataFrame) -> None:
    """One row a well, or a site of a well."""
    key = ["batch", "plate", "well", "site"]
    again = wells.duplicated(key).to_numpy(dtype=bool)
    if again.any():
        row = int(again.argmax())
        place = ", ".join(f"{name} {wells[name].iloc[row]}" for name in key if not pd.isna(wells[name].iloc[row]))
        raise InputError(
            f"{path}: {int(again.sum())} rows repeat a well (first: row {row + 1}, {place}); "
            "expected one row a well, or a site of a well"
        )


__all__ = [
    "CONVENTION",
    "ScreenSpec",
    "check_columns",
    "choose_columns",
    "describe_wells",
    "read_screen",
    "refuse_duplicates",
    "screen_frame",
]
