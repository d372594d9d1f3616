"""A screen: one row a well (or a site of a well), its features and where on which plate it was."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from trainers.base import FloatArray, IntArray
from trainers.errors import InputError
from trainers.screens.controls import CONTROL_TYPES
from trainers.screens.names import first_few
from trainers.screens.positions import parse_well, well_name
from trainers.screens.text import as_text

REQUIRED = ("batch", "plate", "well", "perturbation", "control_type")
NUMBERED = ("row", "column", "site")
DESCRIBED = ("target", "cell_type")
CANONICAL = REQUIRED + NUMBERED + DESCRIBED


@dataclass(frozen=True, eq=False)
class Screen:
    """A validated screen. Build one with `make_screen`, which brings a table of wells into this form.

    Attributes:
        features: (n, d) float32, C-contiguous, finite.
        feature_names: d distinct names.
        wells: n rows with a RangeIndex. `batch, plate, well, perturbation, control_type` are str and never null
            (control_type one of CONTROL_TYPES; a plate lies in one batch); `row, column` (Int64, counted from 1; null
            where the well's name is of another kind) and `site` (Int64, nullable); `target` (MoA or gene) and
            `cell_type` (string, nullable); every further column of the file as nullable string under its own name.

    Raises:
        InputError: features and wells disagree, a value is missing or not finite, or a plate lies in two batches.
    """

    features: FloatArray
    feature_names: tuple[str, ...]
    wells: pd.DataFrame

    def __post_init__(self) -> None:
        """Check the invariants above."""
        shape, rows, names = self.features.shape, len(self.wells), len(self.feature_names)
        if shape != (rows, names):
            raise InputError(f"screen: features have shape {shape}, expected ({rows} wells, {names} feature names)")
        if self.features.dtype != np.float32 or not self.features.flags.c_contiguous:
            raise InputError(f"screen: features must be C-contiguous float32, got {self.features.dtype}")
        if len(set(self.feature_names)) != names:
            raise InputError("screen: feature names are not distinct")
        if not np.isfinite(self.features).all():
            raise InputError("screen: features hold NaN or infinite values; impute or drop them first")
        check_wells(self.wells)

    def __len__(self) -> int:
        """Number of rows n."""
        return len(self.wells)

    @cached_property
    def fingerprint(self) -> str:
        """The digest "sha256:<hex>" over feature names, feature values and wells: equal content, equal fingerprint."""
        digest = hashlib.sha256()
        _update(digest, "features", *self.feature_names)
        digest.update(np.ascontiguousarray(self.features, dtype="<f4").data)
        _update_wells(digest, self.wells)
        return f"sha256:{digest.hexdigest()}"

    def subset(self, rows: ArrayLike) -> Screen:
        """The screen of the given row numbers, in their order."""
        index = np.asarray(rows, dtype=np.int64)
        wells = self.wells.iloc[index].reset_index(drop=True)
        return Screen(np.ascontiguousarray(self.features[index]), self.feature_names, wells)


def check_wells(wells: pd.DataFrame) -> None:
    """Check what must hold of every screen's wells, as `Screen` describes them.

    Raises:
        InputError: a column or value is missing, a control type is unknown, or a plate lies in two batches.
    """
    missing = [name for name in CANONICAL if name not in wells.columns]
    if missing:
        raise InputError(f"screen: wells lack the columns {first_few(missing)}")
    if not wells.index.equals(pd.RangeIndex(len(wells))):
        raise InputError("screen: wells must be numbered 0..n-1 (RangeIndex)")
    for name in REQUIRED:
        if wells[name].isna().any():
            raise InputError(f"screen: column {name!r} holds nulls")
    unknown = sorted(set(wells["control_type"]) - set(CONTROL_TYPES))
    if unknown:
        raise InputError(f"screen: control_type {unknown[0]!r} is none of {', '.join(CONTROL_TYPES)}")
    batches = wells.groupby("plate")["batch"].nunique()
    if (batches > 1).any():
        raise InputError(f"screen: plate {batches.idxmax()!r} lies in {batches.max()} batches")


def wells_digest(wells: pd.DataFrame) -> str:
    """The digest "<hex>" over the names and values of every column: equal wells, equal digest."""
    digest = hashlib.sha256()
    _update_wells(digest, wells)
    return digest.hexdigest()


def make_screen(features: NDArray[np.floating], feature_names: tuple[str, ...], wells: pd.DataFrame) -> Screen:
    """A screen of features and any table of wells that `make_wells` can bring into its form.

    Args:
        features: (n, d), any floating type.
        feature_names: d names.
        wells: n rows with at least batch, plate, well and perturbation.

    Raises:
        InputError: as `Screen`; a required column is absent.
    """
    return Screen(np.ascontiguousarray(features, dtype=np.float32), tuple(feature_names), make_wells(wells))


def make_wells(wells: pd.DataFrame) -> pd.DataFrame:
    """Bring a table of wells into a screen's form.

    Names are stripped of surrounding blanks; well names become canonical ("b1" → "B01") and give `row` and `column`
    where those are absent or null; a plate name used in several batches becomes "<batch>/<plate>"; an absent
    control_type is "treatment"; further columns become nullable strings.

    Args:
        wells: n rows with at least batch, plate, well and perturbation.

    Raises:
        InputError: a required column is absent.
    """
    absent = [name for name in REQUIRED if name not in wells.columns and name != "control_type"]
    if absent:
        raise InputError(f"screen: wells lack the columns {first_few(absent)}")
    table: dict[str, pd.Series[str]] = {}
    count = len(wells)
    for name in REQUIRED:
        given = wells[name] if name in wells.columns else pd.Series(["treatment"] * count)
        table[name] = as_text(given)
    parsed = {name: parse_well(name) for name in table["well"].dropna().unique()}
    canonical = {name: well_name(*position) for name, position in parsed.items() if position is not None}
    table["well"] = table["well"].map(canonical).fillna(table["well"])
    table["plate"] = _paired_plates(table["batch"], table["plate"])
    frame = pd.DataFrame({name: column.astype(object) for name, column in table.items()})
    positions = {well_name(*position): position for position in parsed.values() if position is not None}
    for axis, name in enumerate(("row", "column")):
        named = frame["well"].map({well: position[axis] for well, position in positions.items()}).astype("Int64")
        frame[name] = wells[name].reset_index(drop=True).astype("Int64").fillna(named) if name in wells else named
    frame["site"] = (
        wells["site"].reset_index(drop=True).astype("Int64")
        if "site" in wells
        else pd.Series([pd.NA] * count, dtype="Int64")
    )
    for name in DESCRIBED:
        frame[name] = as_text(wells[name]) if name in wells.columns else pd.Series([pd.NA] * count, dtype="string")
    further = {str(name): as_text(wells[name]) for name in wells.columns if name not in CANONICAL}
    return pd.concat([frame, pd.DataFrame(further, index=frame.index)], axis=1)


def codes(values: pd.Series) -> IntArray:
    """(n,) integer codes 0..k-1 of a column, in sorted order of its values."""
    return np.asarray(pd.Categorical(values, categories=sorted(values.unique())).codes, dtype=np.int64)


def screen_warnings(screen: Screen) -> tuple[str, ...]:
    """What is legal in a screen but limits what a sweep can tell, one line each.

    Labels seen in one batch only (batch and phenotype cannot be told apart), no negative controls, perturbations with
    fewer than 2 wells, well names of no plate layout, and rows or columns that contradict the well's name.
    """
    wells = screen.wells
    lines: list[str] = []
    treated = wells[wells["control_type"] != "negative"]
    batches = treated.groupby("perturbation")["batch"].nunique()
    single = sorted(batches.index[batches == 1])
    if single:
        lines.append(
            f"{len(single)} of {len(batches)} perturbations occur in one batch only ({first_few(single)}): "
            "there batch and phenotype cannot be told apart"
        )
    if not (wells["control_type"] == "negative").any():
        lines.append("no negative controls: phenotypic activity and normalisation by controls are not measurable")
    counts = treated.drop_duplicates(["plate", "well"]).groupby("perturbation").size()
    rare = sorted(counts.index[counts < 2])
    if rare:
        lines.append(f"{len(rare)} perturbations have fewer than 2 wells ({first_few(rare)}): they have no replicate")
    unplaced = wells.loc[wells["row"].isna() | wells["column"].isna(), "well"].unique()
    if len(unplaced):
        lines.append(f"{len(unplaced)} well names give no row and column ({first_few(unplaced)}): position unknown")
    named = [parse_well(name) for name in wells["well"]]
    wrong = [
        well
        for well, position, row, column in zip(wells["well"], named, wells["row"], wells["column"], strict=True)
        if position is not None and position != (row, column)
    ]
    if wrong:
        lines.append(
            f"in {len(wrong)} table rows row and column contradict the well's name (first: well {wrong[0]!r}): "
            "both count from 1; leave them out under columns to take them from the name"
        )
    return tuple(lines)


def _paired_plates(batch: pd.Series[str], plate: pd.Series[str]) -> pd.Series[str]:
    """Plate names, "<batch>/<plate>" where the same name occurs in several batches."""
    batches = pd.DataFrame({"batch": batch, "plate": plate}).groupby("plate")["batch"].nunique()
    shared = plate.isin(batches.index[batches > 1])
    return plate.mask(shared, batch + "/" + plate)


def _update_wells(digest: hashlib._Hash, wells: pd.DataFrame) -> None:
    """Feed every column; a null is told from every string by the mark in front of each value."""
    for name in sorted(wells.columns):
        column = wells[name]
        marked = ("-" if null else f"+{value}" for value, null in zip(column, column.isna(), strict=True))
        _update(digest, name, *marked)


def _update(digest: hashlib._Hash, *parts: str) -> None:
    """Feed parts with their lengths, so that no two lists of parts read the same."""
    for part in parts:
        data = part.encode()
        digest.update(f"{len(data)}:".encode() + data)


__all__ = [
    "CANONICAL",
    "Screen",
    "check_wells",
    "codes",
    "make_screen",
    "make_wells",
    "screen_warnings",
    "wells_digest",
]
