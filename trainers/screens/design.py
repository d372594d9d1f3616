"""Which perturbation a simulated screen puts in which well of which plate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trainers.base import FloatArray, IntArray
from trainers.screens.positions import well_name

Counts = NDArray[np.int64]


def balanced_counts(share: NDArray[np.float64], total: int, order: Sequence[int] | IntArray) -> Counts:
    """Whole numbers that sum to `total` in the given proportions (largest remainder; `order` settles ties)."""
    exact = share / share.sum() * total
    counts = np.floor(exact + 1e-9).astype(np.int64)
    rank = np.empty(len(share), dtype=np.int64)
    rank[np.asarray(order)] = np.arange(len(share))
    first = np.lexsort((rank, -np.round(exact - counts, 9)))
    counts[first[: total - int(counts.sum())]] += 1
    return counts


def batch_shares(perturbations: int, batches: int, imbalance: float) -> NDArray[np.float64]:
    """(P, B) share of batch b's wells that perturbation p takes; columns sum to 1.

    Perturbation p's home is batch p mod B. imbalance 0: every batch holds all alike; 1: a batch holds its own only.
    """
    home = np.arange(perturbations)[:, None] % batches == np.arange(batches)
    return (1.0 - imbalance) / perturbations + imbalance * home / np.maximum(home.sum(axis=0), 1)


def fill_batch(counts: Counts, plates: int, order: IntArray) -> IntArray:
    """(plates, slots) perturbation of each treatment slot, a perturbation's wells dealt evenly over the plates."""
    dealt = np.repeat(order, counts[order])
    return dealt.reshape(-1, plates).T.copy()


def plate_table(rows: int, columns: int) -> pd.DataFrame:
    """Well name, row and column of every well of a plate, row by row."""
    row, column = np.divmod(np.arange(rows * columns), columns)
    names = [well_name(int(r) + 1, int(c) + 1) for r, c in zip(row, column, strict=True)]
    return pd.DataFrame({"well": names, "row": row + 1, "column": column + 1})


def centred(values: IntArray, count: int) -> FloatArray:
    """1-based rows or columns on [-1, 1], 0 in the middle of the plate."""
    return ((2.0 * values - count - 1.0) / max(count - 1, 1)).astype(np.float32)


__all__ = ["balanced_counts", "batch_shares", "centred", "fill_batch", "plate_table"]
