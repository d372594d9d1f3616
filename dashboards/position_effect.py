"""What the position on a plate explains of an embedding, beyond plate and perturbation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweeper.findings.stored_embeddings import EmbeddedRun

Array = NDArray[np.float64]
_ROUNDS = 10
_LEAST = 50


@dataclass(frozen=True)
class PositionMap:
    """The position effect in one embedding.

    Attributes:
        share: of the variance left after plate and perturbation that positions explain; in [0, 1].
        chance: the share that positions of no effect would explain.
        scores: by row and column of the plate, mean along the direction in which positions differ most, in standard
            deviations of single wells; None where no well is.
    """

    label: str
    share: float
    chance: float
    scores: tuple[tuple[float | None, ...], ...]


@dataclass(frozen=True)
class PositionEffect:
    """Maps of each embedding of the same wells; none, and the reason, where positions cannot be told apart."""

    maps: tuple[PositionMap, ...]
    wells: int
    reason: str = ""


def position_effect(run: EmbeddedRun, labels: Sequence[str]) -> PositionEffect:
    """The position effect before and after.

    A perturbation that has one position only says nothing of it and is left out, as are wells of unknown position.
    """
    table = run.wells
    known = (table["row"].notna() & table["column"].notna()).to_numpy()
    if not known.any():
        return PositionEffect((), 0, "no well says its row and column")
    position = table["row"].astype("Int64").astype(str) + "/" + table["column"].astype("Int64").astype(str)
    places = position[known].groupby(table["perturbation"][known]).nunique()
    moved = set(places.index[places > 1])
    used = known & table["perturbation"].isin(moved).to_numpy()
    if used.sum() < _LEAST or position[used].nunique() < 2:
        return PositionEffect(
            (),
            int(used.sum()),
            "nearly every perturbation has one position on all plates: the two cannot be told apart",
        )
    wells = table[used]
    codes = [pd.factorize(wells[name].astype(str))[0] for name in ("plate", "perturbation")]
    place, names = pd.factorize(position[used], sort=True)
    at = [tuple(int(part) for part in str(name).split("/")) for name in names]
    maps = tuple(
        _map(label, vectors[used].astype(np.float64), codes, place, at)
        for label, vectors in zip(labels, run.vectors, strict=True)
    )
    return PositionEffect(maps, int(used.sum()))


def _map(
    label: str, vectors: Array, codes: list[NDArray[np.int64]], place: NDArray[np.int64], at: list[tuple[int, ...]]
) -> PositionMap:
    left = vectors - vectors.mean(axis=0)
    for _ in range(_ROUNDS):  # plates and perturbations are not quite orthogonal: in turns until neither has a mean
        for code in codes:
            left = left - _means(left, code)[code]
    counts = np.bincount(place).astype(np.float64)
    means = _means(left, place)
    total = float((left**2).sum())
    share = float((counts[:, None] * means**2).sum()) / total if total > 0 else 0.0
    _, _, directions = np.linalg.svd(np.sqrt(counts)[:, None] * means, full_matrices=False)
    direction = directions[0] * np.sign(directions[0][np.abs(directions[0]).argmax()])
    spread = float((left @ direction).std()) or 1.0
    scores = means @ direction / spread
    rows, columns = max(row for row, _ in at), max(column for _, column in at)
    grid: list[list[float | None]] = [[None] * columns for _ in range(rows)]
    for (row, column), score in zip(at, scores, strict=True):
        grid[row - 1][column - 1] = float(score)
    chance = (len(at) - 1) / max(len(vectors) - 1 - sum(int(code.max()) for code in codes), 1)
    return PositionMap(label, share, min(chance, 1.0), tuple(tuple(row) for row in grid))


def _means(values: Array, code: NDArray[np.int64]) -> Array:
    sums = np.zeros((int(code.max()) + 1, values.shape[1]))
    np.add.at(sums, code, values)
    return sums / np.bincount(code)[:, None]


__all__ = ["PositionEffect", "PositionMap", "position_effect"]
