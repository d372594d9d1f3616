"""The gate: an embedding that has collapsed is never scored.

A constant embedding has a perfect batch mixing and, where ties favour positives, a perfect mAP, so no metric is
believed before this gate. It judges the shape of the cloud alone, without labels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweeper.metrics.evaluation import unit_rows
from trainers.errors import InputError

MAX_DUPLICATES = 0.001
MAX_MEDIAN_COSINE = 0.99
MIN_RANK = 2.0
# An embedding of dimension 2 never reaches rank 2; 1.5 still refuses one that has 9/10 of its variance in one
# direction.
MIN_RANK_SHARE = 0.75
_COSINE_ROWS = 2000


def gate(embeddings: NDArray[Any], *, reference: NDArray[Any] | None = None, relative_rank: float = 0.1) -> str | None:
    """Why the embedding counts as collapsed, or None.

    Collapsed means: a non-finite value, a zero row, more than 0.1 % duplicate rows (beyond those of the reference), a
    median cosine between rows above 0.99, or an effective rank below min(2, 0.75 e) and, with a reference, below
    `relative_rank` · its effective rank. The absolute bound is low on purpose: an encoder trained with C labels
    spreads its rows over C - 1 directions, and with few labels that is no collapse.

    Args:
        embeddings: (n ≥ 3, e) the rows that will be scored.
        reference: (n, d) the uncorrected features of the same rows.
        relative_rank: smallest share of the reference's effective rank.

    Raises:
        InputError: fewer than 3 rows or no dimension.
    """
    if embeddings.ndim != 2 or embeddings.shape[0] < 3 or embeddings.shape[1] < 1:
        raise InputError(f"gate: embeddings have shape {embeddings.shape}; expected (n ≥ 3, e ≥ 1)")
    bad = int((~np.isfinite(embeddings)).any(axis=1).sum())
    if bad:
        return f"collapsed: {bad} of {len(embeddings)} rows are not finite"
    rows = np.asarray(embeddings, dtype=np.float64)
    zero = int((rows == 0).all(axis=1).sum())
    if zero:
        return f"collapsed: {zero} of {len(rows)} rows are zero"
    allowed = MAX_DUPLICATES + (duplicate_share(reference) if reference is not None else 0.0)
    if (share := duplicate_share(rows)) > allowed:
        return f"collapsed: {share:.1%} of the rows are duplicates, more than {allowed:.1%}"
    if (cosine := median_cosine(rows)) > MAX_MEDIAN_COSINE:
        return f"collapsed: median cosine between rows is {cosine:.4f}, above {MAX_MEDIAN_COSINE}"
    needed = min(MIN_RANK, MIN_RANK_SHARE * rows.shape[1])
    if reference is not None:
        needed = max(needed, relative_rank * effective_rank(reference))
    if (rank := effective_rank(rows)) < needed:
        return f"collapsed: effective rank is {rank:.2f}, below {needed:.2f}"
    return None


def effective_rank(rows: NDArray[Any]) -> float:
    """Exponential of the entropy of the covariance's eigenvalue shares (Roy & Vetterli, EUSIPCO 2007).

    1 … min(n - 1, e); 0 for rows without variance. Invariant to scale and rotation.
    """
    rows = np.asarray(rows, dtype=np.float64)
    centred = rows - rows.mean(axis=0)
    if len(centred) < centred.shape[1]:
        centred = centred.T
    # Of the products rather than of the rows: what this loses, 1e-16 of the largest eigenvalue, has no entropy.
    spectrum = np.maximum(np.linalg.eigvalsh(centred.T @ centred), 0.0)
    # Round-off of the mean leaves a trace of variance in constant rows.
    if spectrum.sum() <= (np.finfo(np.float64).eps * np.abs(rows).max(initial=0.0)) ** 2 * rows.size:
        return 0.0
    share = spectrum[spectrum > 0] / spectrum.sum()
    return float(np.exp(-np.sum(share * np.log(share))))


def median_cosine(rows: NDArray[Any]) -> float:
    """Median cosine between two different rows, of 2000 evenly spaced rows when there are more."""
    step = -(-len(rows) // _COSINE_ROWS)
    unit = unit_rows(rows[::step])
    return float(np.median((unit @ unit.T)[np.triu_indices(len(unit), k=1)]))


def duplicate_share(rows: NDArray[Any]) -> float:
    """Share of rows that repeat an earlier row exactly."""
    return 1.0 - len(np.unique(np.asarray(rows), axis=0)) / len(rows)


__all__ = ["duplicate_share", "effective_rank", "gate", "median_cosine"]
