"""The arms of a sweep, and the one place that writes and reads the text they are stored as.

Records, tables and the content that a cell's id is the hash of say the arm in front of the trainer's name, "sham:abra";
the cells that decide, and those that confirm them, bear the trainer's name alone. Confirmations are told from them by
their seeds, which the kept rounds list: a stored name never reads as `Arm.CONFIRM`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection

    import pandas as pd


class Arm(StrEnum):
    """What a cell is trained for; the value is its name for people and in stored rounds."""

    SWEEP = "sweep"
    """On the trade-off curve: the grid, and the strengths that a search adds to it."""
    CONTROL = "control"
    """An embedding that nothing trained: a floor, a ceiling or a baseline."""
    SHAM = "sham"
    """The trainer with batch labels permuted within perturbation."""
    PSEUDO = "pseudo"
    """The trainer on one batch that was split into two at random."""
    CONFIRM = "confirm"
    """The bounds again, on seeds that had no part in finding them."""
    LADDER = "ladder"
    """A rung: the trainer with other settings."""

    @property
    def packs_apart(self) -> bool:
        """Whether its cells need packs of their own: other settings, or another number of training batches."""
        return self in (Arm.LADDER, Arm.PSEUDO)


class StoredName(NamedTuple):
    """What a stored name says: the arm, and the trainer's (the control's, the rung's) own name."""

    arm: Arm
    trainer: str


_SEPARATOR = ":"
_UNMARKED = (Arm.SWEEP, Arm.CONFIRM)


def stored_name(arm: Arm, trainer: str) -> str:
    """The text that cells of the arm are stored under: (SHAM, "abra") → "sham:abra", (SWEEP, "abra") → "abra"."""
    return trainer if arm in _UNMARKED else f"{arm}{_SEPARATOR}{trainer}"


def read_name(stored: str) -> StoredName:
    """Inverse of `stored_name`; a name that begins with no arm is the trainer's own, of the sweep."""
    mark, separator, trainer = stored.partition(_SEPARATOR)
    marked = {str(arm): arm for arm in Arm if arm not in _UNMARKED}
    return StoredName(marked[mark], trainer) if separator and mark in marked else StoredName(Arm.SWEEP, stored)


def arm_of(stored: str) -> Arm:
    """The arm that a stored name says."""
    return read_name(stored).arm


def in_arms(stored: pd.Series, *arms: Arm) -> pd.Series:
    """(n,) booleans: which of a column's stored names are of these arms."""
    wanted = {name: arm_of(str(name)) in arms for name in stored.unique()}
    found: pd.Series = stored.map(wanted).astype(bool)
    return found


def arm_column(stored: pd.Series, seeds: pd.Series, fresh_seeds: Collection[int]) -> pd.Series:
    """(n,) the arm of every row of a table, as its text; rows of the trainer on fresh seeds are confirmations."""
    named = {name: arm_of(str(name)).value for name in stored.unique()}
    arms: pd.Series = stored.map(named).astype(object)
    return arms.mask((arms == Arm.SWEEP) & seeds.isin(list(fresh_seeds)), Arm.CONFIRM.value)


__all__ = ["Arm", "StoredName", "arm_column", "arm_of", "in_arms", "read_name", "stored_name"]
