"""A tidy table from anywhere: checked row by row, completed to what a sweep records, and decided."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweeper.arms.arm import Arm, in_arms
from sweeper.decision.input.decision_settings import decision_settings
from sweeper.decision.input.results_table import KEY, LOST, NUMBERS, ROLES, TEXTS, prepare
from sweeper.decision.verdict.decision import Decision
from sweeper.decision.verdict.states import State
from sweeper.decision.verdict.whole_sweep import decide_sweep
from trainers.errors import InputError

REQUIRED = ("adversarial_weight", "margin", "seed", "metric", "role", "value")
OPTIONAL = ("floor", "ceiling", "view", "fold", "status", "primary", "trainer", "reason")
TEXT_COLUMNS = ("metric", "role", "view", "fold", "split", "status", "trainer", "reason")
"""Columns that a reader of files must leave as text."""
STATUSES = ("ok", *LOST)
_DEFAULTS = {"view": "table", "status": "ok", "trainer": "the model", "fold": "0"}
_TRUTHS = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
LARGEST = 1e9
"""Of any number: no strength and no metric comes near it, and squares of more are no numbers any more."""
BEYOND = 2.0  # without a ceiling column: no noise takes a value on a scale that ends at 1 this far
Mask = NDArray[np.bool_]


def decide_table(
    table: pd.DataFrame, *, view: str | None = None, trainer: str | None = None, source: str = "table", **settings: Any
) -> Decision:
    """Judge a sweep made elsewhere, from its tidy table alone: one row a metric of a run.

    >>> curve = {0: (0.2, 0.8), 1: (0.4, 0.8), 3: (0.6, 0.8), 10: (0.7, 0.79)}
    >>> curve |= {30: (0.8, 0.6), 100: (0.8, 0.3), 300: (0.8, 0.2)}
    >>> table = pd.DataFrame(
    ...     [
    ...         (weight, 0.0, seed, metric, role, value + 0.01 * (seed - 1))
    ...         for weight, values in curve.items()
    ...         for seed in range(3)
    ...         for metric, role, value in zip(("probe", "matches"), ("technical", "biological"), values)
    ...     ],
    ...     columns=["adversarial_weight", "margin", "seed", "metric", "role", "value"],
    ... )
    >>> sweeper.decide_table(table, delta=0.1).rule.state.value
    'IDENTIFIED'

    Args:
        table: any row order. Needed columns: `adversarial_weight` (λ ≥ 0, λ = 0 among them), `margin`, `seed` (whole
            numbers), `metric`, `role` ("technical" or "biological") and `value` (higher is better; empty: not
            measured). Optional ones, and what holds without them: `floor` (0, the value at chance) and `ceiling` (1,
            the best value possible), `view` ("table"), `fold` (one; `split` is read as well), `status` ("ok"; also
            "failed", "collapsed", "oom"), `primary` (true: the metric is in its role's composite), `trainer` (one;
            names that begin with "control:" are untrained references, "sham:" and the trainer's name its sham arm,
            "ladder:" the trainer with other settings, which is left out), `reason`. Other columns are not read.
        view: the evaluation view that decides; needed where the table has several.
        trainer: whose rows are judged; needed where the table has several.
        source: what messages call the table.
        settings: fields of `DecisionSettings`, e.g. `delta=0.05, method="posterior"`.

    Returns:
        The decision, as of `decide_sweep`. A floor that had to be assumed lowers the certainty: a floor below the true
        one makes every loss look smaller than it is.

    Raises:
        InputError: one line with source, column, row (from 1) and what would be right; also where one group of metrics
            is absent, since neither technical nor biological metrics decide alone.
    """
    rows = completed(table, source)
    trained = rows[in_arms(rows["trainer"], Arm.SWEEP)]
    if trained.empty:
        raise InputError(f"{source}: there is no trained run, only controls")
    chosen_trainer = _only(trained["trainer"], trainer, "trainer", source)
    own = trained[trained["trainer"] == chosen_trainer]
    chosen_view = _only(own["view"], view, "view", source)
    assumed = sorted(set(own["metric"])) if "floor" not in table.columns else []
    decision = decide_sweep(
        rows,
        settings=decision_settings({**settings, "deciding_view": chosen_view}, "settings"),
        provenance={"trainer": chosen_trainer, "dataset_hash": _fingerprint(rows), "assumed_floor": assumed},
    )
    if decision.rule.state is State.INVALID_INPUT:
        raise InputError(f"{source}: {' '.join(decision.rule.reasons)}")
    return decision


def completed(table: pd.DataFrame, source: str) -> pd.DataFrame:
    """The table with every column of `results_table.COLUMNS`; raises `InputError` as `decide_table`."""
    _check_columns(table, source)
    if table.empty:
        raise InputError(f"{source}: the table has no rows")
    for column in (name for name in (*REQUIRED, *OPTIONAL, "split") if name in table.columns):
        given = table[column].reset_index(drop=True)
        several = given.map(lambda value: hasattr(value, "__len__") and not isinstance(value, str | bytes))
        if several.astype(bool).any():
            row = int(several.to_numpy(dtype=bool).argmax())
            raise InputError(f"{source}: column {column!r} holds several values in row {row + 1}; expected one")
    rows = pd.DataFrame(index=pd.RangeIndex(len(table)))
    for column in ("metric", "role", "trainer", "view", "status"):
        rows[column] = _texts(table, column, source)
    rows["split"] = _texts(table, "split", source) if "split" in table.columns else _folds(table, rows, source)
    _refuse(rows["role"], ~rows["role"].isin(ROLES), source, f"one of {', '.join(ROLES)}")
    _refuse(rows["status"], ~rows["status"].isin(STATUSES), source, f"one of {', '.join(STATUSES)}")
    for column in ("adversarial_weight", "margin", "seed", "value", "floor", "ceiling"):
        rows[column] = _numbers(table, column, source)
    below = (rows["ceiling"] < rows["floor"]).rename("ceiling")
    _refuse(rows["ceiling"], below, source, "the best value, at or above the floor beside it")
    is_control = in_arms(rows["trainer"], Arm.CONTROL).to_numpy(dtype=bool)
    strength_needed: tuple[tuple[str, Callable[[pd.Series], pd.Series], str], ...] = (
        ("adversarial_weight", lambda x: x.between(0, LARGEST), f"a strength λ of 0 to {LARGEST:g}"),
        ("margin", lambda x: x.between(0, LARGEST), f"a margin of 0 to {LARGEST:g}"),
        ("seed", lambda x: (x == x.round()) & (x.abs() <= LARGEST), f"a whole number of {LARGEST:g} or less"),
    )
    for column, holds, expected in strength_needed:
        _refuse(table[column], ~holds(rows[column]) & ~is_control, source, expected)
    rows["primary"] = _truths(table, source)
    rows["reason"] = table["reason"].to_numpy() if "reason" in table.columns else None
    beyond = (rows["value"] > BEYOND) if "ceiling" not in table.columns else pd.Series(False, rows.index)
    _refuse(rows["value"], beyond, source, "a scale whose best is 1, or a column 'ceiling' with the best value")
    again = rows.duplicated(KEY)
    if bool(again.any()):
        second = int(again.to_numpy().argmax())
        first = int((rows[KEY].eq(rows[KEY].iloc[second]) | rows[KEY].isna()).all(axis=1).to_numpy().argmax())
        at = rows.iloc[second]
        raise InputError(
            f"{source}: row {second + 1} repeats row {first + 1} (λ = {at['adversarial_weight']:g}, margin "
            f"{at['margin']:g}, seed {at['seed']:g}, {at['metric']}); expected one row a metric of a run, with a "
            "column 'fold' where a run has several"
        )
    return rows


def _check_columns(table: pd.DataFrame, source: str) -> None:
    """Refuse an absent column, and a name that looks like a column misspelt: a floor that is not read misleads."""
    found = [str(column) for column in table.columns]
    repeated = sorted({column for column in found if found.count(column) > 1})
    if repeated:
        raise InputError(f"{source}: column {repeated[0]!r} occurs twice")
    missing = [column for column in REQUIRED if column not in found]
    if missing:
        near = get_close_matches(missing[0], found, n=1, cutoff=0.6)
        has = f"is it {near[0]!r}?" if near else f"there are {', '.join(found) or 'none'}"
        raise InputError(f"{source}: column {missing[0]!r} is missing; {has} (needed: {', '.join(REQUIRED)})")
    for column in found:
        near = get_close_matches(column.strip().casefold(), OPTIONAL, n=1, cutoff=0.8)
        if near and column not in OPTIONAL and near[0] not in found:
            raise InputError(f"{source}: unknown column {column!r}; did you mean {near[0]!r}?")


def _refuse(given: pd.Series, wrong: pd.Series, source: str, expected: str) -> None:
    """One line for the first wrong row."""
    mask = wrong.to_numpy(dtype=bool)
    if mask.any():
        row = int(mask.argmax())
        value = given.iloc[row]
        what = "is empty" if pd.isna(value) else f"holds {str(value)!r}"
        raise InputError(f"{source}: column {given.name!r} {what} in row {row + 1}; expected {expected}")


def _texts(table: pd.DataFrame, column: str, source: str) -> pd.Series:
    if column not in table.columns:
        return pd.Series(_DEFAULTS[column], pd.RangeIndex(len(table)), dtype=object)
    given = table[column].reset_index(drop=True)
    _refuse(given, given.isna() | (given.astype(str).str.strip() == ""), source, "a text in every row")
    return given.astype(str).astype(object)


def _folds(table: pd.DataFrame, rows: pd.DataFrame, source: str) -> pd.Series:
    return rows["view"] + "/" + _texts(table, "fold", source)


def _numbers(table: pd.DataFrame, column: str, source: str) -> pd.Series:
    """The column as finite numbers, NaN where it is empty; beside every value stand its floor and its ceiling."""
    if column not in table.columns:
        return pd.Series({"floor": 0.0, "ceiling": 1.0}[column], pd.RangeIndex(len(table)))
    given = table[column].reset_index(drop=True)
    numbers = pd.to_numeric(given, errors="coerce").astype("float64")
    empty = given.isna() | (given.astype(str).str.strip() == "")
    _refuse(given, (numbers.isna() & ~empty) | np.isinf(numbers), source, "a finite number")
    if column in ("value", "floor", "ceiling"):
        _refuse(given, numbers.abs() > LARGEST, source, f"a number from -{LARGEST:g} to {LARGEST:g}")
    if column in ("floor", "ceiling"):
        measured = pd.to_numeric(table["value"], errors="coerce").notna().to_numpy()
        _refuse(given, numbers.isna() & measured, source, f"the {column} of the metric beside every value")
    return numbers


def _truths(table: pd.DataFrame, source: str) -> Sequence[bool] | Mask:
    if "primary" not in table.columns:
        return np.ones(len(table), dtype=bool)
    given = table["primary"].reset_index(drop=True)
    truths = given.astype(str).str.strip().str.casefold().map(_TRUTHS)
    _refuse(given, truths.isna(), source, "true or false")
    return truths.to_numpy(dtype=bool)


def _only(present: pd.Series, wanted: str | None, what: str, source: str) -> str:
    """The one trainer or view, or the wanted one."""
    names = sorted(set(present))
    if wanted is None and len(names) > 1:
        raise InputError(f"{source}: several {what}s ({', '.join(names)}); say which one decides")
    if wanted is not None and wanted not in names:
        raise InputError(f"{source}: no {what} {wanted!r}; there is {', '.join(names)}")
    return names[0] if wanted is None else wanted


def _fingerprint(rows: pd.DataFrame) -> str:
    """Content of the table, whatever the order of its rows."""
    content = prepare(rows)[[*TEXTS, *NUMBERS, "primary"]].to_csv(index=False, float_format="%.12g")
    return f"sha256:{hashlib.sha256(content.encode()).hexdigest()}"
