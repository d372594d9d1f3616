"""The gate: an embedding that has collapsed is never scored.

A constant embedding has a perfect batch mixing and, where ties favour positives, a perfect mAP, so no metric is
believed before this gate. It judges the shape of the cloud alone, without labels, and about its own mean: how far the
cloud lies from zero is a matter of units, not of information.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sweeper.metrics.evaluation import Float64Array, unit_rows
from trainers.errors import InputError

MAX_REPEATED = 0.05
"""Share of rows that may repeat an earlier one. A pair of equal wells is a fault of the table, and named; many are an
embedding that does not tell wells apart."""
MIN_RANK = 2.0
MIN_RANK_SHARE = 0.75
"""An embedding of dimension 2 never reaches rank 2; 1.5 still refuses one that has 9/10 of its variance in one
direction."""
ROUND_OFF = 1e-5
"""A column whose standard deviation is below this share of its mean is constant: float32 resolves 6e-8."""
FAR_FROM_ZERO = 0.99
UNLIKE_SCALES = 100.0
_COSINE_ROWS = 2000
_SHOWN = 3
_LEADING = 0.9


class Judgement(NamedTuple):
    """What the gate says of an embedding.

    Attributes:
        collapsed: why it is not scored, with the rows or columns at fault; None where it may be scored.
        notes: what is odd about rows that are scored, one sentence each.
    """

    collapsed: str | None
    notes: tuple[str, ...] = ()


def judge(
    embeddings: NDArray[Any],
    *,
    own_units: bool = False,
    columns: Sequence[str] | None = None,
    row_name: Callable[[int], str] = lambda row: f"row {row + 1}",
) -> Judgement:
    """Whether the embedding has collapsed, and what else is odd about it.

    Collapsed means: a value that is not finite, more than 5 % of the rows equal to an earlier one, or an effective rank
    of the centred rows below min(2, 0.75 e). The bound is low on purpose: an encoder trained with C labels spreads its
    rows over C - 1 directions, and with few labels that is no collapse.

    Args:
        embeddings: (n ≥ 3, e) the rows that will be scored.
        own_units: whether each column has units of its own, as features of a table have: then the rank is that of the
            standardised columns. An encoder's dimensions share theirs, and a single large one is a collapse.
        columns: e names for messages; None: "dimension 1", ….
        row_name: the name of a row for messages, from its number (0-based).

    Raises:
        InputError: fewer than 3 rows or no dimension.
    """
    if embeddings.ndim != 2 or embeddings.shape[0] < 3 or embeddings.shape[1] < 1:
        raise InputError(f"gate: embeddings have shape {embeddings.shape}; expected (n ≥ 3, e ≥ 1)")
    names = [f"dimension {number + 1}" for number in range(embeddings.shape[1])] if columns is None else list(columns)
    rows = np.asarray(embeddings, dtype=np.float64)
    if not (finite := np.isfinite(rows)).all():
        at, where = np.flatnonzero(~finite.all(axis=1)), np.flatnonzero(~finite.all(axis=0))
        columns_told = _few((names[column] for column in where.tolist()), len(where))
        told = f"{_few(map(row_name, at.tolist()), len(at))}; {columns_told}"
        return Judgement(f"collapsed: {len(at)} of {len(rows)} rows are not finite ({told})")
    repeats = repeated_rows(rows)
    told = _few((f"{row_name(row)} = {row_name(first)}" for row, first in repeats), len(repeats))
    if len(repeats) > MAX_REPEATED * len(rows):
        many = f"{len(repeats)} of {len(rows)} rows repeat an earlier one"
        return Judgement(f"collapsed: {many}, more than {MAX_REPEATED:.0%} ({told})")
    if (fault := _too_flat(rows, names, own_units=own_units)) is not None:
        return Judgement(f"collapsed: {fault}")
    notes = [f"{_rows(len(repeats))} an earlier one exactly ({told})"] if repeats else []
    if len(zero := np.flatnonzero(~rows.any(axis=1))):
        notes.append(f"{len(zero)} of {len(rows)} rows are zero ({_few(map(row_name, zero.tolist()), len(zero))})")
    if own_units and (note := _not_standardised(rows)) is not None:
        notes.append(note)
    return Judgement(None, tuple(notes))


def _too_flat(rows: Float64Array, names: Sequence[str], *, own_units: bool) -> str | None:
    """That the rows spread over too few directions, and the columns that they leave or follow; None if they do not."""
    mean, deviation = rows.mean(axis=0), rows.std(axis=0)
    constant = deviation <= ROUND_OFF * np.abs(mean)
    if constant.all():
        return f"all {len(names)} columns are constant"
    spread = (rows - mean)[:, ~constant]
    if own_units:
        spread = spread / deviation[~constant]
    needed = min(MIN_RANK, MIN_RANK_SHARE * rows.shape[1])
    if (rank := effective_rank(spread)) >= needed:
        return None
    told = f"effective rank is {rank:.2f}, below {needed:.2f}"
    followed = [name for name, kept in zip(names, ~constant, strict=True) if kept]
    weight = np.linalg.eigh(spread.T @ spread)[1][:, -1] ** 2
    order = np.argsort(-weight)
    leading = order[: 1 + int(np.searchsorted(np.cumsum(weight[order]), _LEADING))]
    told += f": nearly all variance is one direction, of {_few((followed[at] for at in leading), len(leading))}"
    if constant.any():
        still = [name for name, at in zip(names, constant, strict=True) if at]
        told += f"; {len(still)} of {len(names)} columns are constant ({_few(still, len(still))})"
    return told


def _not_standardised(rows: Float64Array) -> str | None:
    """That similarities of these rows see a few columns or the distance from zero alone; None if they do not."""
    deviation = rows.std(axis=0)
    low, high = np.quantile(deviation[deviation > 0], [0.05, 0.95])
    found = []
    if median_cosine(rows) > FAR_FROM_ZERO:
        found.append("they lie far from zero")
    if high > UNLIKE_SCALES * low:
        found.append(f"their standard deviations go from {low:.3g} to {high:.3g}")
    if not found:
        return None
    told = f"columns are not standardised ({', '.join(found)}): similarities see the largest alone"
    return f"{told}; standardise them first (sweeper metrics --standardise)"


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


def repeated_rows(rows: NDArray[Any]) -> list[tuple[int, int]]:
    """(row, the first row that it equals) of every row that repeats an earlier one exactly, ascending."""
    _, first, group = np.unique(np.asarray(rows), axis=0, return_index=True, return_inverse=True)
    of = first[group.ravel()]
    again = np.flatnonzero(of != np.arange(len(of)))
    return [(int(row), int(of[row])) for row in again]


def _rows(count: int) -> str:
    return "1 row repeats" if count == 1 else f"{count} rows repeat"


def _few(names: Iterable[str], count: int) -> str:
    """The first few of `count` names, and how many more."""
    shown = list(islice(names, _SHOWN))
    return ", ".join(shown) + (f" and {count - len(shown)} more" if count > len(shown) else "")


__all__ = ["Judgement", "effective_rank", "judge", "median_cosine", "repeated_rows"]
