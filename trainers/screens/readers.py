"""Profile tables of the field's conventions (`Metadata_*` columns and their kin) as screens, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trainers.base import FloatArray
from trainers.errors import raise_problems
from trainers.screens.conventions import CONVENTION, describing
from trainers.screens.feature_choice import FeatureChoice, choose_features
from trainers.screens.files import FileOptions, RawTable, read_table
from trainers.screens.missing import Completed, complete
from trainers.screens.names import first_few, nearest
from trainers.screens.screen_account import Account
from trainers.screens.screen_spec import ScreenSpec
from trainers.screens.table import CANONICAL, Screen, make_screen, make_wells
from trainers.screens.well_columns import FoundWells, find_wells, repeated_wells

_PERT_TYPE = {"treatment": "trt", "negative": "negcon", "positive": "poscon"}
_FAR = 3.0  # standard deviations from 0
_SOME = 1000  # rows that show the scale of a feature


@dataclass(frozen=True, eq=False)
class Reading:
    """A table that was read.

    Attributes:
        screen: its screen.
        account: how it was read.
        metadata: the file's own metadata of the screen's rows, RangeIndex.
    """

    screen: Screen
    account: Account
    metadata: pd.DataFrame


def read_screen(spec: ScreenSpec, base_dir: Path) -> Reading:
    """Read and check a screen.

    Args:
        spec: the file and its columns.
        base_dir: the folder that a relative `spec.path` starts from.

    Raises:
        InputError: the file and everything that is wrong with it: columns, rows, values, each with its remedy.
    """
    path = base_dir / spec.path
    table = _read_raw(path, spec)
    found = find_wells(table.metadata, spec.columns, spec.negative_controls, spec.control_words)
    choice = choose_features(table.measured, spec.features, matrix=table.matrix, decimal=table.decimal)
    return _made(path, spec, table, found, choice)


def read_like(spec: ScreenSpec, names: Sequence[str]) -> Reading:
    """Read a table as another was read, with exactly the features of that one, in their order; one batch is enough.

    Args:
        spec: how the other was read, with the path of this one.
        names: the features; columns beside them are ignored.

    Raises:
        InputError: as `read_screen`; features that are not there, with the nearest names that are.
    """
    table = _read_raw(spec.path, spec)
    found = find_wells(table.metadata, spec.columns, spec.negative_controls, spec.control_words, one_batch=True)
    there = {str(name) for name in table.measured.columns}
    wanted = tuple(names) if there.issuperset(names) else spec.features  # entries of a list column have no column
    choice = choose_features(table.measured, wanted, matrix=table.matrix, decimal=table.decimal)
    at = {name: place for place, name in enumerate(choice.names)}
    if absent := [name for name in names if name not in at]:
        known = sorted({*there, *at} - set(names))
        raise_problems(spec.path, [*found.problems, _absent(absent, len(names), known)])
    chosen = replace(choice, names=tuple(names), features=choice.features[:, [at[name] for name in names]])
    return _made(spec.path, spec, table, found, chosen)


def _absent(absent: Sequence[str], features: int, known: Sequence[str]) -> str:
    """Features that a table lacks, and what they may be called there."""
    if len(absent) == features:
        return f"has none of the {features} features ({first_few(absent)}): it is another feature set"
    renamed = [f"{name!r}: {nearest(name, known)}" for name in absent[:3]] if known else []
    offered = f"; renamed? {'; '.join(renamed)}" if renamed else ""
    return f"lacks {len(absent)} of the {features} features ({first_few(absent, 12)}){offered}"


def _read_raw(path: Path, spec: ScreenSpec) -> RawTable:
    options = FileOptions(spec.separator, spec.decimal, spec.matrix)
    return read_table(path, lambda names: describing(names, spec.columns), options)


def _made(path: Path, spec: ScreenSpec, table: RawTable, found: FoundWells, choice: FeatureChoice) -> Reading:
    """The screen of what was found; raises `InputError` with everything that is wrong."""
    problems = [*found.problems, *choice.problems]
    if not choice.names and not choice.problems:
        problems.append(_no_features(choice))
    done = Completed(choice, found.rows)
    if choice.names and not choice.problems:
        done = complete(choice, spec.missing, found.rows)
        problems += [done.problem] if done.problem else []
    if not found.problems:
        wells = found.wells.iloc[done.rows].reset_index(drop=True)
        repeated = repeated_wells(make_wells(wells), done.rows)
        problems += [repeated] if repeated else []
    raise_problems(path, problems)
    screen = make_screen(done.choice.features, done.choice.names, wells)
    account = _account(path, table, found, done, screen.features)
    return Reading(screen, account, table.metadata.iloc[done.rows].reset_index(drop=True))


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


def simulated_account(screen: Screen, source: str) -> Account:
    """The account of a screen that no table was read for: a simulated one."""
    families = choose_features(pd.DataFrame(screen.features, columns=list(screen.feature_names))).families
    return Account(source, len(screen), len(screen.feature_names), families, far_from_zero=_far(screen.features))


def _no_features(choice: FeatureChoice) -> str:
    """Why nothing is left."""
    reasons = "; ".join(f"{reason}: {', '.join(names[:5])}" for reason, names in choice.left_out.items())
    return (
        "no feature columns; features are columns of numbers that do not describe a row"
        + (f" (left out: {reasons})" if reasons else "")
        + "; name them: features: {include: [PATTERN]}"
    )


def _account(path: Path, table: RawTable, found: FoundWells, done: Completed, features: FloatArray) -> Account:
    choice = done.choice
    forms: dict[str, list[str]] = {}
    for name, form in choice.forms.items():
        forms.setdefault(form, []).append(name)
    written = [f"{len(names)} columns hold {form}, read as numbers" for form, names in forms.items()]
    return Account(
        source=path.name,
        rows=len(features),
        features=features.shape[1],
        families=choice.families,
        left_out=choice.left_out,
        columns={**found.columns.chosen, **{name: f"= {source}" for name, source in found.columns.derived.items()}},
        notes=(*table.notes, *written, *found.notes, *([done.done] if done.done else [])),
        warnings=(*found.warnings, *choice.warnings),
        far_from_zero=_far(features),
    )


def _far(features: FloatArray) -> float:
    """Share of the features whose mean lies more than 3 standard deviations from 0, on at most 2,000 rows."""
    some = features[:: max(1, len(features) // _SOME)]
    mean, std = some.mean(axis=0, dtype=np.float64), some.std(axis=0, dtype=np.float64)
    return float((np.abs(mean) > _FAR * std).mean()) if features.size else 0.0


__all__ = ["Reading", "read_like", "read_screen", "screen_frame", "simulated_account"]
