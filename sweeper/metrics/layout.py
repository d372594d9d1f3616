"""What of an evaluation the table of wells decides by itself: which rows are compared, and which metrics can be."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from typing import Any, Literal, Self, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweeper.metrics.panel_options import PanelOptions
from trainers.base import IntArray

BoolArray = NDArray[np.bool_]
Value = TypeVar("Value")
Given = Literal["reference", "source", "predict"]
"""What an evaluation may have beside embeddings."""


@dataclass(frozen=True)
class Absence:
    """Why a metric cannot be measured on these rows, whatever the embedding.

    Attributes:
        reason: what is missing.
        remedy: what would mend it; "" where nothing of the configuration does.
    """

    reason: str
    remedy: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Layout:
    """The rows of an evaluation without their embeddings.

    Attributes:
        test_wells: the n_test rows of the table of wells.
        train_wells: rows that the encoder learnt from.
        validation_wells: rows of seen batches on unseen plates; may have 0 rows.
        held_out_perturbations: perturbations without any row in train or validation; () when none is held out.
        view: the evaluation view the rows come from; for messages only.
        seed: seeds every random draw of the panel (folds, permutations, k-means).
        options: see `PanelOptions`.
        at_hand: what the evaluation will have beside embeddings.
    """

    test_wells: pd.DataFrame
    train_wells: pd.DataFrame
    validation_wells: pd.DataFrame
    held_out_perturbations: tuple[str, ...] = ()
    view: str
    seed: int
    options: PanelOptions = field(default_factory=PanelOptions)
    at_hand: tuple[Given, ...] = ()
    _kept: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False)

    def has(self, given: Given) -> bool:
        """Whether that is at hand."""
        return given in self.at_hand

    @cached_property
    def negative(self) -> BoolArray:
        """(n_test,) whether the row is a negative control."""
        return np.asarray(self.test_wells["control_type"] == "negative", dtype=bool)

    @cached_property
    def scored(self) -> BoolArray:
        """(n_test,) rows whose phenotype is judged: held-out perturbations when there are any, else all non-negative.

        A margin pulls the training classes apart, so label metrics on them rise without any gain of biology.
        """
        if self.held_out_perturbations:
            held_out = self.test_wells["perturbation"].isin(self.held_out_perturbations)
            return ~self.negative & held_out.to_numpy(dtype=bool)
        return ~self.negative

    def code(self, column: str) -> IntArray:
        """(n_test,) the column's values as integers 0, 1, … in sorted order."""
        if column not in self._kept:
            names = self.test_wells[column].to_numpy(dtype=str)
            self._kept[column] = np.unique(names, return_inverse=True)[1].astype(np.int64)
        codes: IntArray = self._kept[column]
        return codes

    def count(self, column: str) -> int:
        """Number of different values of the column."""
        return int(self.code(column).max()) + 1

    def once(self, work: Callable[[Self], Value]) -> Value:
        """`work(self)`, computed at the first call and kept for the other metrics that need it."""
        if work not in self._kept:
            self._kept[work] = work(self)
        kept: Value = self._kept[work]
        return kept


def companions(same: Iterable[IntArray], other: Iterable[IntArray], among: BoolArray) -> IntArray:
    """(n,) how many rows `among` all equal each row in all of `same` and differ from it in every one of `other`.

    By inclusion and exclusion over group sizes: no pair of rows is formed.

    Args:
        same, other: (n,) codes each.
        among: (n,) which rows count.
    """
    found = np.zeros(len(among), dtype=np.int64)
    for sign, code in signed_groups(same, other, len(among)):
        found += sign * np.bincount(code[among], minlength=int(code.max(initial=0)) + 1)[code]
    return found


def signed_groups(
    same: Iterable[IntArray], other: Iterable[IntArray], rows: int
) -> Iterator[tuple[Literal[-1, 1], IntArray]]:
    """Groupings of n rows by `same` and some of `other`, and the sign with which their sizes add up to `companions`."""
    same, other = tuple(same), tuple(other)
    for size in range(len(other) + 1):
        for some in combinations(other, size):
            yield -1 if size % 2 else 1, _joined((*same, *some), rows)


def _joined(codes: tuple[IntArray, ...], rows: int) -> IntArray:
    """(n,) codes of the combinations of several codes."""
    joined = np.zeros(rows, dtype=np.int64)
    for code in codes:
        joined = np.unique(joined * (int(code.max(initial=0)) + 1) + code, return_inverse=True)[1]
    return joined


__all__ = ["Absence", "BoolArray", "Given", "Layout", "companions", "signed_groups"]
