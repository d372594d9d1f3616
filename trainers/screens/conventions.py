"""Which column of a table says what: the field's conventions, each candidate judged by its values.

A table whose batch, plate, well and perturbation carry the plain `Metadata_*` names is read by these names. In any
other, names are compared without prefix, case and underscores: CPJUMP1, LINCS, CytoTable, RxRx3-like embeddings and
cpDistiller's obs spell them in many ways. Of several candidates the first whose values fit is taken.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import pandas as pd

from trainers.screens.controls import ControlWords, control_type
from trainers.screens.names import first_few, nearest
from trainers.screens.screen_spec import IDENTIFYING
from trainers.screens.text import as_text, described_text

METADATA_PREFIXES = ("Metadata_", "Image_Metadata_")

CONVENTION: Mapping[str, tuple[str, ...]] = {
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
"""Canonical column → the file columns of the plain convention, in the order in which they are tried."""

WORDS: Mapping[str, tuple[str, ...]] = {
    "batch": ("batch", "batchid", "batchname", "experiment", "experimentname", "source"),
    "plate": ("plate", "assayplatebarcode", "platebarcode", "barcode", "platename", "platemapname"),
    "well": ("well", "wellposition", "wellname", "address", "pertwell"),
    "perturbation": (
        "perturbation",
        "compound",
        "jcp2022",
        "broadsample",
        "pertiname",
        "pertid",
        "compoundname",
        "treatment",
        "sirnaid",
        "sirna",
        "symbol",
        "gene",
        "inchikey",
    ),
    "control_type": ("perttype", "controltype", "welltype", "control"),
    "target": ("target", "moa", "targetlist", "targetgene", "gene"),
    "cell_type": ("celltype", "cellline", "cellid"),
    "row": ("row", "wellrow"),
    "column": ("col", "column", "wellcol", "wellcolumn"),
    "site": ("site", "field", "fieldid", "fov"),
}
"""Canonical column → what a name may be without prefix, case and underscores, in the order in which it is tried."""

_DESCRIBING = frozenset(word for words in WORDS.values() for word in words) | {
    "cell",
    "compoundid",
    "concentration",
    "dose",
    "experimentid",
    "id",
    "index",
    "plateid",
    "replicate",
    "sampleid",
    "siteid",
    "smiles",
    "split",
    "time",
    "timepoint",
    "wellid",
}
_IGNORED = re.compile(r"[\s_.-]+")


@dataclass(frozen=True)
class ColumnMap:
    """What was found.

    Attributes:
        chosen: canonical column → the file's.
        derived: canonical column → how it comes about without a column of its own ("plate").
        notes: candidates that were passed over, and why.
        warnings: what a user should look at.
        problems: what is absent or does not exist, one line each.
        plain: the table follows the plain `Metadata_*` convention.
    """

    chosen: Mapping[str, str]
    derived: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    plain: bool = True


def bare(name: str) -> str:
    """A column's name without metadata prefix, case, blanks, dots, dashes and underscores."""
    for prefix in METADATA_PREFIXES:
        if name.startswith(prefix):
            name = name[len(prefix) :]
            break
    return _IGNORED.sub("", name).casefold()


def describing(names: Iterable[str], given: Mapping[str, str | None]) -> frozenset[str]:
    """The columns of a table that describe its rows; all others count as measured.

    Those are the columns with a metadata prefix and those the user names. Where these do not identify a row, a table
    may carry its metadata under bare names (`experiment_name`, `plate`, `well`): such are known by name.
    """
    names = list(names)
    found = {name for name in names if name.startswith(METADATA_PREFIXES) or name in given.values()}
    if not all(given.get(name) or any(column in names for column in CONVENTION[name]) for name in IDENTIFYING):
        found |= {name for name in names if bare(name) in _DESCRIBING}
    return frozenset(found)


def find_columns(metadata: pd.DataFrame, given: Mapping[str, str | None], words: ControlWords) -> ColumnMap:
    """Canonical column → the file's column, for those that the file has.

    Args:
        metadata: n rows of what describes them.
        given: canonical column → column that the user names; None for one that is not to be read.
        words: what further words of a control column mean.
    """
    search = _Search(metadata, given, words)
    for name in CONVENTION:
        search.find(name)
    return search.result()


class _Search:
    """The search for the columns of one table."""

    def __init__(self, metadata: pd.DataFrame, given: Mapping[str, str | None], words: ControlWords) -> None:
        self.metadata, self.given, self.words = metadata, given, words
        self.existing = [str(name) for name in metadata.columns]
        self.plain = all(name in given or self._plainly_named(name) for name in IDENTIFYING)
        self.chosen: dict[str, str] = {}
        self.derived: dict[str, str] = {}
        self.notes: list[str] = []
        self.warnings: list[str] = []
        self.problems: list[str] = []

    def candidates(self, name: str) -> list[str]:
        """The file's columns that may be this one, best name first."""
        found = [column for column in CONVENTION[name] if column in self.existing]
        if self.plain:
            return found
        by_word = [column for word in WORDS[name] for column in self.existing if bare(column) == word]
        taken = set(self.chosen.values()) | {column for column in self.given.values() if column is not None}
        if name == "perturbation":  # a gene may be what a compound hits: behind the names of compounds
            found = []
        return [column for column in dict.fromkeys([*found, *by_word]) if column not in taken]

    def _plainly_named(self, name: str) -> bool:
        """Whether the plain convention gives the column, and for a perturbation one that is filled in."""
        found = [column for column in CONVENTION[name] if column in self.existing]
        return any(name != "perturbation" or not self.misfit(name, column) for column in found)

    def find(self, name: str) -> None:
        """Settle one canonical column."""
        if name in self.given:
            column = self.given[name]
            if column is not None and column not in self.existing:
                self.problems.append(f"column {column!r} (for {name}) does not exist; {nearest(column, self.existing)}")
            elif column is not None:
                self.chosen[name] = column
            return
        candidates = self.candidates(name)
        faults = {column: self.misfit(name, column) for column in candidates}
        fitting = [column for column in candidates if not faults[column]]
        if fitting:
            self.chosen[name] = fitting[0]
            passed = candidates[: candidates.index(fitting[0])]
            self.notes += [f"{column} passed over as {name}: {faults[column]}" for column in passed]
        elif name in IDENTIFYING and not candidates:
            self._absent(name)
        elif candidates and (name in IDENTIFYING or not faults[candidates[0]].startswith("empty")):
            self.chosen[name] = candidates[0]  # what is wrong with it is said where its values are read

    def misfit(self, name: str, column: str) -> str:
        """Why a column cannot be what it is tried as; empty where it can."""
        return _MISFITS[name](self.metadata[column], self.words)

    def _absent(self, name: str) -> None:
        """A required column that no name gives: derived where a convention says how, else a problem."""
        columns = {bare(column) for column in self.existing}
        placed = "row" in columns and bool({"col", "column"} & columns)
        if name == "batch" and "platemapname" in columns and {"broadsample", "broadid"} & columns:
            self.derived[name] = "plate"
            self.warnings.append("no column says the batch (a LINCS table has none): every plate counts as a batch")
        elif name == "well" and placed:
            self.derived[name] = "row and column"
        elif name == "plate" and placed and "batch" in self.chosen and not self.candidates("well"):
            self.derived[name] = "batch"  # cpDistiller's obs: batch, row, col, control
            self.warnings.append("no column says the plate: every batch counts as one plate")
        else:
            wanted = CONVENTION[name]
            self.problems.append(
                f"no column for {name} (looked for {', '.join(wanted)}); {nearest(wanted[0], self.existing)}; "
                f"name it under columns"
            )

    def result(self) -> ColumnMap:
        """What was found."""
        parts = (tuple(self.notes), tuple(self.warnings), tuple(self.problems))
        return ColumnMap(dict(self.chosen), dict(self.derived), *parts, plain=self.plain)


def _incomplete(column: pd.Series, words: ControlWords) -> str:  # noqa: ARG001 - one shape for all
    empty = int(as_text(column).isna().sum())
    return f"empty in {empty} rows" if empty else ""


def _no_batches(column: pd.Series, words: ControlWords) -> str:
    text = as_text(column)
    return _incomplete(column, words) or ("" if len(text.unique()) > 1 else "one value only")


def _no_values(column: pd.Series, words: ControlWords) -> str:  # noqa: ARG001
    return "" if described_text(column).notna().any() else "empty throughout"


def _no_kinds(column: pd.Series, words: ControlWords) -> str:
    text = described_text(column)
    if text.isna().all():
        return "empty throughout"
    unknown = sorted(value for value in text.dropna().unique() if control_type(str(value), words) is None)
    return f"holds {first_few(unknown)}" if unknown else ""


_MISFITS: Mapping[str, Callable[[pd.Series, ControlWords], str]] = {
    "batch": _no_batches,
    "plate": _incomplete,
    "well": _incomplete,
    "perturbation": _incomplete,
    "control_type": _no_kinds,
} | dict.fromkeys(("target", "cell_type", "row", "column", "site"), _no_values)


__all__ = ["CONVENTION", "METADATA_PREFIXES", "ColumnMap", "bare", "describing", "find_columns"]
