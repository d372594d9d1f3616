"""Targets as sets: "A|B" and "B|A" are the same two targets, and share one with "A"."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trainers.base import IntArray

SEPARATOR = "|"
"""Between the targets of one perturbation, as the Drug Repurposing Hub and JUMP write them."""

_EQUAL = "any two perturbations share a target: equal sets of targets count instead"


@dataclass(frozen=True, eq=False)
class TargetSets:
    """The sets of targets of n rows.

    Attributes:
        code: (n,) which of the s distinct sets a row has.
        shared: (s, s) whether two sets have a target in common; of sets of one target each, the identity.
        members: the targets of each set, as numbers.
        note: what is unusual about them.
    """

    code: IntArray
    shared: NDArray[np.bool_]
    members: tuple[tuple[int, ...], ...]
    note: str | None = None

    def of(self, rows: IntArray | NDArray[np.bool_]) -> TargetSets:
        """Those of some rows."""
        return TargetSets(self.code[rows], self.shared, self.members, self.note)

    def by_target(self, rows: IntArray) -> tuple[IntArray, IntArray]:
        """(places in `rows`, target) of every target of every row: a row with two targets counts towards both."""
        of = [self.members[code] for code in self.code[rows]]
        sizes = np.array([len(targets) for targets in of], dtype=np.int64)
        places = np.repeat(np.arange(len(rows)), sizes)
        return places, np.array([target for targets in of for target in targets], dtype=np.int64)


def split_targets(text: str) -> frozenset[str]:
    """The targets that a text names: "A|B" → {A, B}."""
    return frozenset(part.strip() for part in text.split(SEPARATOR) if part.strip())


def target_sets(texts: NDArray[np.str_]) -> TargetSets:
    """The sets of targets that n texts name.

    Where any two sets share a target, sharing tells nothing apart: equal sets then count as one target each.
    """
    distinct, inverse = np.unique(texts, return_inverse=True)
    of_text = [split_targets(str(text)) or frozenset([str(text)]) for text in distinct]
    names = sorted({name for found in of_text for name in found})
    numbers = {name: number for number, name in enumerate(names)}
    members = [tuple(sorted(numbers[name] for name in found)) for found in of_text]
    sets = sorted(set(members))
    member = np.zeros((len(sets), len(names)), dtype=np.float32)
    for row, targets in enumerate(sets):
        member[row, list(targets)] = 1.0
    place = {targets: number for number, targets in enumerate(sets)}
    code = np.array([place[targets] for targets in members], dtype=np.int64)
    shared = member @ member.T > 0
    if shared.all() and len(sets) > 1:
        return TargetSets(code[inverse], np.eye(len(sets), dtype=bool), tuple((n,) for n in range(len(sets))), _EQUAL)
    return TargetSets(code[inverse], shared, tuple(sets))


def count_targets(texts: pd.Series) -> int:
    """Number of distinct targets in a column of texts."""
    return len({name for text in texts.dropna().unique() for name in split_targets(str(text))})


__all__ = ["SEPARATOR", "TargetSets", "count_targets", "split_targets", "target_sets"]
