"""The tidy results table: checked, made canonical and cut to one trade-off curve."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from sweeper.arms.arm import Arm, in_arms, stored_name

LABEL_SHUFFLED = stored_name(Arm.CONTROL, "label_shuffled")
ROLES = ("biological", "technical")
LOST = ("collapsed", "failed", "oom")  # worst first: the first that occurs among a run's cells names the run
TEXTS = ("trainer", "split", "view", "metric", "role", "status")
NUMBERS = ("adversarial_weight", "margin", "seed", "value", "floor", "ceiling")
COLUMNS = (*TEXTS, *NUMBERS, "primary", "reason")
KEY = ["view", "trainer", "margin", "adversarial_weight", "seed", "split", "metric"]


class InvalidTableError(Exception):
    """The table cannot be judged; the message is the one-line reason given with the state INVALID_INPUT."""


@dataclass(frozen=True, eq=False)
class Selection:
    """The rows of one trade-off curve: one trainer, view and margin, and the controls of that view."""

    trainer: str
    trained: pd.DataFrame
    controls: pd.DataFrame


def canonical(number: float) -> str:
    """`number` at 12 significant digits: the same λ written by two routes is one level."""
    return f"{number + 0.0:.12g}"


def prepare(results: pd.DataFrame) -> pd.DataFrame:
    """A sorted copy with one value a level of λ and of m, so that neither row order nor float noise can matter.

    Args:
        results: one row a metric of a cell, with at least `COLUMNS` (`reason` may be absent).

    Raises:
        InvalidTableError: a column is missing or not numeric, or a status or a role is unknown.
    """
    missing = [column for column in COLUMNS if column not in results.columns and column != "reason"]
    if missing:
        raise InvalidTableError(f"the results table lacks the column {missing[0]!r}; it needs {', '.join(COLUMNS)}")
    table = pd.DataFrame(index=pd.RangeIndex(len(results)))
    for column in TEXTS:
        if bool(results[column].isna().any()):
            raise InvalidTableError(f"column {column!r} of the results table has empty entries; every row needs one")
        table[column] = results[column].astype(str).to_numpy()
    for column in NUMBERS:
        try:
            table[column] = pd.to_numeric(results[column]).to_numpy(dtype=float, na_value=np.nan)
        except (TypeError, ValueError):
            raise InvalidTableError(f"column {column!r} of the results table is not numeric") from None
    table["primary"] = results["primary"].eq(True).fillna(False).to_numpy(dtype=bool)
    reason = results["reason"] if "reason" in results.columns else pd.Series([""] * len(results))
    table["reason"] = ["" if pd.isna(text) else str(text) for text in reason]
    for column, allowed in (("status", ("ok", *LOST)), ("role", ROLES)):
        unknown = sorted(set(table[column]) - set(allowed))
        if unknown:
            raise InvalidTableError(f"unknown {column} {unknown[0]!r}; known are {', '.join(allowed)}")
    for column in ("adversarial_weight", "margin"):
        written, inverse = np.unique(table[column].to_numpy(), return_inverse=True)
        first: dict[str, float] = {}  # each level goes by its smallest written value, so that it names a trained cell
        table[column] = np.array([first.setdefault(canonical(value), value) for value in written])[inverse]
    return table.sort_values([*KEY, "value"], kind="stable", ignore_index=True)


def select(table: pd.DataFrame, *, view: str, margin: float) -> Selection:
    """The trained rows of (view, margin) and the view's controls, from a `prepare`d table.

    Raises:
        InvalidTableError: no such rows, several trainers, an impossible λ, margin or seed, a cell recorded twice, or a
            metric under two roles.
    """
    in_view = table[table["view"] == view]
    is_control = in_arms(in_view["trainer"], Arm.CONTROL)
    trained = in_view[in_arms(in_view["trainer"], Arm.SWEEP)]
    if bool(trained["margin"].isna().any()):
        raise InvalidTableError(f"view {view!r} has trained rows without a margin; every strength needs one")
    trained = trained[
        trained["margin"].isin([m for m in trained["margin"].unique() if canonical(m) == canonical(margin)])
    ]
    if trained.empty:
        known = [f"{name} at margin {m:g}" for name, margins in curves(table).items() for m in margins]
        has = "the table has " + "; ".join(known) if known else "the table has no trained cells"
        raise InvalidTableError(f"no trained cells in view {view!r} at margin {margin:g}; {has}")
    trainers = sorted(set(trained["trainer"]))
    if len(trainers) > 1:
        raise InvalidTableError(f"several trainers in one curve ({', '.join(trainers)}); decide on one at a time")
    weights = trained["adversarial_weight"].to_numpy()
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise InvalidTableError("adversarial_weight must be a finite number of 0 or more in every trained row")
    if bool(trained["seed"].isna().any()):
        raise InvalidTableError("seed is empty in some trained rows; every run needs one")
    for part in (trained, in_view[is_control]):
        twice = part[part.duplicated(KEY)]
        if len(twice):
            row = twice.iloc[0]
            raise InvalidTableError(
                f"the same cell is recorded twice: trainer {row['trainer']}, λ = {row['adversarial_weight']:g}, "
                f"margin {row['margin']:g}, seed {row['seed']:g}, {row['split']}, {row['metric']}; copies are not seeds"
            )
    roles = trained.groupby("metric")["role"].nunique()
    if bool((roles > 1).any()):
        raise InvalidTableError(f"metric {roles.index[roles > 1][0]!r} appears under both roles")
    return Selection(trainers[0], trained, in_view[is_control])


def curves(table: pd.DataFrame) -> dict[str, list[float]]:
    """Margins, ascending, of every view that has trained rows; views in alphabetical order."""
    trained = table[in_arms(table["trainer"], Arm.SWEEP) & table["margin"].notna()]
    found: dict[str, list[float]] = {}
    for view, margin in sorted(set(zip(trained["view"], trained["margin"], strict=True))):
        found.setdefault(view, []).append(margin)
    return found
