"""Features with missing values: refused, or dropped or filled as the user says."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from trainers.base import FloatArray, IntArray
from trainers.screens.feature_choice import FeatureChoice
from trainers.screens.names import first_few
from trainers.screens.screen_spec import Missing

_REMEDY = "say what to do with them: missing: drop_features, drop_rows or median"


@dataclass(frozen=True, eq=False)
class Completed:
    """Features without a missing value.

    Attributes:
        choice: the features of the rows that are kept; finite unless there is a problem.
        rows: row numbers that are kept, ascending.
        done: what was done, in words; empty where nothing was missing.
        problem: why it could not be done.
    """

    choice: FeatureChoice
    rows: IntArray
    done: str = ""
    problem: str = ""


def complete(choice: FeatureChoice, mode: Missing, rows: IntArray) -> Completed:
    """Deal with NaN and infinite values.

    drop_features leaves out every feature with one, drop_rows every row with one (after features that hold nothing
    else), median fills in the feature's median over all rows that have a value; a feature without any is left out.
    No label enters.

    Args:
        choice: features of all n rows.
        mode: what to do.
        rows: the row numbers that count; the others are left out beforehand.
    """
    if len(rows) < len(choice.features):
        choice = replace(choice, features=choice.features[rows])
    missing = ~np.isfinite(choice.features)
    if not missing.any():
        return Completed(choice, rows)
    counts = missing.sum(axis=0)
    columns = np.flatnonzero(counts)
    found = f"{int(counts.sum())} feature values in {len(columns)} columns"
    if mode == "refuse":
        first = int(columns[0])
        return Completed(
            choice,
            rows,
            problem=f"{found} are NaN or infinite (first: column {choice.names[first]!r}, row "
            f"{int(rows[missing[:, first].argmax()]) + 1}); {_REMEDY}",
        )
    listed = first_few(choice.names[place] for place in columns)
    if mode == "drop_features":
        done = f"{found} missing: these features are left out ({listed})"
        return _checked(choice.without(columns.tolist(), "missing values"), rows, done)
    hollow = np.flatnonzero(counts == len(choice.features))
    filled = choice.without(hollow.tolist(), "no value at all") if len(hollow) else choice
    if mode == "drop_rows":
        whole = np.asarray(np.isfinite(filled.features).all(axis=1))
        done = f"{found} missing: {int((~whole).sum())} of {len(whole)} rows are left out ({listed})"
        return _checked(replace(filled, features=filled.features[whole]), rows[whole], done)
    done = f"{found} missing: filled with the feature's median ({listed})"
    return _checked(_with_medians(filled), rows, done)


def _with_medians(choice: FeatureChoice) -> FeatureChoice:
    known = np.where(np.isfinite(choice.features), choice.features, np.nan)
    median = np.nanmedian(known, axis=0)
    values: FloatArray = np.where(np.isnan(known), median, known).astype(np.float32)
    return replace(choice, features=values)


def _checked(choice: FeatureChoice, rows: IntArray, done: str) -> Completed:
    """Whether anything is left."""
    if not choice.names or not len(rows):
        what = "feature" if not choice.names else "row"
        return Completed(choice, rows, done, problem=f"{done}: no {what} is left; {_REMEDY}")
    return Completed(choice, rows, done)


__all__ = ["Completed", "complete"]
