"""Embeddings of held-out wells that the store keeps, at the strengths that a report compares."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweeper.errors import InputError
from sweeper.store.store import Store

RAW = "control:raw"


@dataclass(frozen=True, eq=False)
class EmbeddedRun:
    """One run's test wells at several strengths.

    Attributes:
        seed, split: which run.
        wells: (n) rows of the screen's table, in the order of the vectors.
        weights: λ of each embedding; None: the raw features.
        vectors: (n, e) each; e may differ.
    """

    seed: int
    split: str
    wells: pd.DataFrame
    weights: tuple[float | None, ...]
    vectors: tuple[NDArray[np.float32], ...]


class StoredEmbeddings:
    """The embeddings of a store, read when they are asked for."""

    def __init__(self, store: Store, results: pd.DataFrame, trainer: str | None) -> None:
        self._store = store
        named = ["cell_id", "trainer", "view", "split", "seed", "margin", "adversarial_weight", "status"]
        cells = results[named].drop_duplicates("cell_id")
        self._cells = cells[(cells["status"] == "ok") & cells["trainer"].isin([trainer, RAW])]

    def run(self, *, view: str, margin: float, weights: Sequence[float | None]) -> EmbeddedRun | None:
        """The first run (by split, then seed) with embeddings at the most of `weights`; None where none has two.

        Args:
            view: the evaluation view.
            margin: of the trained cells.
            weights: λ wanted; None: the raw features.
        """
        found: list[EmbeddedRun] = []
        here = self._cells[self._cells["view"] == view]
        runs = here[["split", "seed"]].drop_duplicates().sort_values(["split", "seed"])
        for split, seed in zip(runs["split"].tolist(), runs["seed"].tolist(), strict=True):
            cells = here[(here["split"] == split) & (here["seed"] == seed)]
            run = self._read(split, seed, cells, margin, weights)
            if run is not None and len(run.weights) == len(weights):
                return run
            found += [run] if run is not None else []
        return max(found, key=lambda run: len(run.weights), default=None)

    def _read(
        self, split: str, seed: int, cells: pd.DataFrame, margin: float, weights: Sequence[float | None]
    ) -> EmbeddedRun | None:
        kept: list[tuple[float | None, NDArray[np.int64], NDArray[np.float32]]] = []
        for weight in weights:
            for cell_id in _at(cells, margin, weight):
                try:
                    rows, vectors = self._store.embeddings(cell_id)
                except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile):
                    continue  # not kept, or damaged: the picture does without
                if len(vectors) == len(rows) > 0 and vectors.ndim == 2 and np.isfinite(vectors).all():
                    kept.append((weight, rows, vectors))
        if len(kept) < 2:
            return None
        shared = kept[0][1]
        for _, rows, _ in kept[1:]:
            shared = np.intersect1d(shared, rows)
        shared = np.unique(shared)
        try:
            table = self._store.screen().wells
        except InputError:
            return None
        if not len(shared) or shared[0] < 0 or shared[-1] >= len(table):
            return None
        wells = table.iloc[shared].reset_index(drop=True)
        found = tuple(_rows(vectors, rows, shared) for _, rows, vectors in kept)
        return EmbeddedRun(seed, split, wells, tuple(weight for weight, _, _ in kept), found)


def _at(cells: pd.DataFrame, margin: float, weight: float | None) -> list[str]:
    """The cell at a strength, or none; a decision's numbers have 12 significant digits."""
    if weight is None:
        return cells.loc[cells["trainer"] == RAW, "cell_id"].tolist()[:1]
    own = cells[cells["trainer"] != RAW]
    at = np.isclose(own["margin"], margin, rtol=1e-9) & np.isclose(own["adversarial_weight"], weight, rtol=1e-9)
    ids: list[str] = own.loc[at, "cell_id"].tolist()
    return ids[:1]


def _rows(vectors: NDArray[np.float32], rows: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.float32]:
    order = np.argsort(rows, kind="stable")
    return vectors[order[np.searchsorted(rows[order], wanted)]]


__all__ = ["EmbeddedRun", "StoredEmbeddings"]
