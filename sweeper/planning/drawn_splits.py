"""The splits of a sweep: of several draws of a seed the first in which the metrics that decide can be measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
import pandas as pd

from sweeper.config.sweep_config import SweepConfig
from sweeper.metrics.composites import DETECTORS
from sweeper.metrics.layout import Given, Layout
from sweeper.metrics.registry import BATCH_READER, REGISTRY, decisive
from sweeper.planning.cells import Cell, panel_names
from trainers.base import IntArray
from trainers.errors import InputError
from trainers.screens.splits import DRAWS, Split, fold_count, make_split
from trainers.screens.view_spec import ViewSpec

_KEPT = 12
"""Layouts of draws that are kept to be asked again; each holds a part of the table."""


def deciding_metrics(config: SweepConfig) -> dict[str, tuple[str, ...]]:
    """Role → the metrics that decide: those that the decision names, else those of the panel that are primary."""
    primary = decisive(panel_names(config))
    named = {"technical": config.decision.primary_technical, "biological": config.decision.primary_biological}
    return {
        role: tuple(sorted(name for name in primary if REGISTRY[name].role == role)) if names is None else names
        for role, names in named.items()
    }


class DrawnSplits:
    """Every split that a sweep uses: by view, fold and seed alone, whatever the strength, trainer or process."""

    def __init__(self, config: SweepConfig, wells: pd.DataFrame, *, keep_layouts: bool = False) -> None:
        """`wells`: of the whole screen; `keep_layouts`: what metrics are asked to find a draw is asked again."""
        self._config, self._wells, self._keep = config, wells, keep_layouts
        self._layouts: dict[tuple[str, int, int], Layout] = {}
        self._views: Mapping[str, ViewSpec] = {spec.view: spec for spec in config.views}
        self._splits: dict[tuple[str, int, int], Split] = {}
        self._draws: dict[tuple[str, int], int] = {}

    def of(self, cell: Cell) -> Split:
        """The split of a cell."""
        return self.split(cell.view, cell.fold, cell.seed)

    def split(self, view: str, fold: int, seed: int) -> Split:
        """One split."""
        key = view, fold, seed
        if key not in self._splits:
            self._splits[key] = self._make(view, fold, seed, self.draw(view, seed))
        return self._splits[key]

    def draw(self, view: str, seed: int) -> int:
        """Which draw of a seed is used, see `make_split`: of all folds of a view, the one that measures most.

        The first wins a tie, so that a seed keeps its split where that measures all that any can.
        """
        key = view, seed
        if key not in self._draws:
            self._draws[key] = 0 if self._config.split_draws == "first" else self._best(view, seed)
        return self._draws[key]

    def drawn_again(self, view: str) -> tuple[int, ...]:
        """Seeds of the configuration that use another draw than their first."""
        return tuple(seed for seed in self._config.seeds if self.draw(view, seed))

    def layout(self, view: str, fold: int, seed: int) -> Layout:
        """What metrics are asked about the split's rows; the cells of trained strengths."""
        split = self.split(view, fold, seed)
        return self._layouts.get((view, fold, seed)) or self._layout(split, seed)

    def _make(self, view: str, fold: int, seed: int, draw: int) -> Split:
        return make_split(
            self._wells,
            self._views[view],
            fold=fold,
            seed=seed,
            held_out_perturbations=self._config.held_out_perturbations,
            draw=draw,
        )

    def _best(self, view: str, seed: int) -> int:
        folds = range(fold_count(self._views[view], self._wells))
        fewest, best = len(folds) * len(self.wanted) + 1, 0
        asked: dict[tuple[object, ...], Layout] = {}  # a draw often deals the rows of another
        for draw in range(DRAWS + 1):
            try:
                splits = [self._make(view, fold, seed, draw) for fold in folds]
            except InputError:
                if draw == 0:
                    raise
                continue
            layouts = [self._asked(asked, split, seed) for split in splits]
            missing = self._missing(layouts, fewest)
            if missing < fewest:
                fewest, best = missing, draw
                if self._keep:
                    self._layouts |= {(view, fold, seed): layout for fold, layout in zip(folds, layouts, strict=True)}
            if not missing:
                break
        return best

    def _asked(self, asked: dict[tuple[object, ...], Layout], split: Split, seed: int) -> Layout:
        """The layout of a split, the same for the same rows: what metrics were asked of it need not be asked again."""
        parts = (split.test, split.train, split.validation)
        key = (*(rows.tobytes() for rows in parts), split.held_out_perturbations)
        if key not in asked:
            if len(asked) >= _KEPT:
                asked.clear()
            asked[key] = self._layout(split, seed)
        return asked[key]

    def _missing(self, layouts: Sequence[Layout], enough: int) -> int:
        """How often a deciding metric cannot be measured; counting stops at `enough`."""
        found = 0
        for name in self.wanted:
            for layout in layouts:
                found += layout.once(REGISTRY[name].absent) is not None
                if found == enough:
                    return found
        return found

    @cached_property
    def wanted(self) -> tuple[str, ...]:
        """The deciding metrics, and what stands beside the reader, that some split could measure.

        Those that the whole screen does as one, in the order in which they are asked: the readers, whose folds take
        longest, last.
        """
        rows = np.arange(len(self._wells))
        whole = self._of(rows, rows, rows, (), "screen", 0)
        roles, panel = deciding_metrics(self._config), panel_names(self._config)
        technical = set(roles["technical"])
        if BATCH_READER in panel and self._config.decision.primary_technical is None:
            technical |= set(DETECTORS).intersection(panel)
        names = sorted((*roles["biological"], *sorted(technical)), key=lambda name: "reader" in name)
        return tuple(name for name in names if REGISTRY[name].absent(whole) is None)

    def _layout(self, split: Split, seed: int) -> Layout:
        return self._of(split.test, split.train, split.validation, split.held_out_perturbations, split.view, seed)

    def _of(
        self, test: IntArray, train: IntArray, validation: IntArray, hidden: tuple[str, ...], view: str, seed: int
    ) -> Layout:
        test_wells, train_wells, validation_wells = (
            self._wells.iloc[rows].reset_index(drop=True) for rows in (test, train, validation)
        )
        return Layout(
            test_wells=test_wells,
            train_wells=train_wells,
            validation_wells=validation_wells,
            held_out_perturbations=hidden,
            view=view,
            seed=seed,
            options=self._config.panel,
            at_hand=at_hand(self._config),
        )


def at_hand(config: SweepConfig) -> tuple[Given, ...]:
    """What the evaluation of a trained cell has beside embeddings."""
    how = config.how
    source: tuple[Given, ...] = ("source",) if how.embeds_features else ()
    predict: tuple[Given, ...] = ("predict",) if how.classifies else ()
    return ("reference", *source, *predict)


__all__ = ["DrawnSplits", "at_hand", "deciding_metrics"]
