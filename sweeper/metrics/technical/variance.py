"""Variance explained: how much of the embedding's spread is between batches or plates."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweeper.metrics.evaluation import Evaluation, Float64Array, Measurement, Metric
from sweeper.metrics.layout import Absence, BoolArray, Layout
from sweeper.metrics.resampling import Weighted, rescaled
from sweeper.metrics.technical.design import unidentifiable
from trainers.base import IntArray

_COMPONENTS = 50


def batch_variance(evaluation: Evaluation) -> Measurement:
    """1 - adjusted share of variance between batches, in [0, 1]; 1 is best.

    Raw is R² = SS between / SS total, summed over dimensions (one-way ANOVA; rotation changes nothing), chance
    (B - 1) / (n - 1), value 1 - clip((R² - chance) / (1 - chance), 0, 1). Sees differences of means only. Unbalanced
    perturbations count as batch.
    """
    if (absence := evaluation.once(unexplained)) is not None:
        return Measurement.absent(absence)
    return _adjusted(evaluation, "batch")


def plate_variance(evaluation: Evaluation) -> Measurement:
    """As `batch_variance`, between plates; what batches explain is in it, as a plate lies in one batch."""
    if (absence := evaluation.once(plates_unexplained)) is not None:
        return Measurement.absent(absence)
    return _adjusted(evaluation, "plate")


def pcr(evaluation: Evaluation) -> Measurement:
    """Principal component regression on batch (Büttner et al., Nat Methods 2019, doi:10.1038/s41592-018-0254-1).

    Raw is the mean R² of the first 50 principal components on the one-hot batch, weighted by their variance; value
    1 - raw, in [0, 1]; 1 is best. Chance (B - 1) / (n - 1), ceiling 1 - chance. With up to 50 dimensions raw is that
    of `batch_variance`.
    """
    if (absence := evaluation.once(unexplained)) is not None:
        return Measurement.absent(absence)
    rows = evaluation.test.astype(np.float64)
    rows -= rows.mean(axis=0)
    if rows.shape[1] > _COMPONENTS:
        _, vectors = np.linalg.eigh(rows.T @ rows)
        rows = rows @ vectors[:, -_COMPONENTS:]
    found = explained(rows, evaluation.code("batch"))
    if found is None:
        return Measurement(None, reason=_CONSTANT)
    raw, chance = found
    return Measurement(1.0 - raw, ceiling=1.0 - chance, raw=raw, chance=chance)


def explained(rows: NDArray[Any], codes: IntArray) -> tuple[float, float] | None:
    """Share of the (n, e) rows' variance between groups, and the share expected without effect; None if undefined."""
    rows = rows - rows.mean(axis=0, dtype=np.float64)
    total = float(np.sum(rows**2))
    groups = np.unique(codes, return_inverse=True)[1]
    count = np.bincount(groups)
    if total == 0 or len(count) >= len(rows):
        return None
    sums = np.zeros((len(count), rows.shape[1]))
    np.add.at(sums, groups, rows)
    between = float(np.sum(sums**2 / count[:, None]))
    return min(between / total, 1.0), (len(count) - 1) / (len(rows) - 1)


def unexplained(layout: Layout) -> Absence | None:
    """Why batches can explain no variance."""
    return unidentifiable(layout) or _alone(layout, "batch")


def plates_unexplained(layout: Layout) -> Absence | None:
    """Why plates can explain none."""
    if layout.count("plate") < 2:
        return Absence("not identifiable: one plate among the test rows")
    return _alone(layout, "plate")


def _alone(layout: Layout, column: str) -> Absence | None:
    return Absence(_CONSTANT) if layout.count(column) >= len(layout.test_wells) else None


_CONSTANT = "not identifiable: no variance among the test rows, or one row a group"


def _adjusted(evaluation: Evaluation, column: str) -> Measurement:
    found = explained(evaluation.test, evaluation.code(column))
    if found is None:
        return Measurement(None, reason=_CONSTANT)
    raw, chance = found

    def value(shares: Float64Array) -> Float64Array:
        return np.asarray(1.0 - np.clip((shares - chance) / (1.0 - chance), 0.0, 1.0))

    shares = _weighted_share(evaluation.test, evaluation.code(column), evaluation.code("plate"))
    return Measurement(float(value(np.array(raw))), raw=raw, chance=chance, weighted=rescaled(shares, value))


def _weighted_share(rows: NDArray[Any], codes: IntArray, plates: IntArray) -> Weighted:
    """The share of variance between groups when plates are weighted; from sums over plates alone."""
    rows = rows - rows.mean(axis=0, dtype=np.float64)
    cell, at = np.unique(np.stack([codes, plates]), axis=1, return_inverse=True)
    sums = np.zeros((cell.shape[1], rows.shape[1]))
    np.add.at(sums, at, rows)
    squares = np.bincount(at, weights=np.einsum("ne,ne->n", rows, rows))
    size, products = np.bincount(at).astype(np.float64), sums @ sums.T

    def weighted(weights: Float64Array) -> Float64Array:
        own = weights[:, cell[1]]

        def length(some: Float64Array, inside: BoolArray) -> Float64Array:
            """(r,) squared length of the weighted sum over some cells, over its weight."""
            number = some[:, inside] @ size[inside]
            found = np.einsum("rc,cd,rd->r", some[:, inside], products[np.ix_(inside, inside)], some[:, inside])
            return np.asarray(np.where(number > 0, found / np.where(number > 0, number, 1.0), 0.0))

        grand = length(own, np.ones(len(size), dtype=bool))
        between = sum(length(own, cell[0] == code) for code in range(int(codes.max()) + 1)) - grand
        total = own @ squares - grand
        return np.asarray(np.where(total > 0, between / np.where(total > 0, total, 1.0), np.nan))

    return weighted


BATCH = Metric(
    name="batch_variance",
    role="technical",
    standing="secondary",
    title="Variance not explained by batch (adjusted)",
    direction="1: batches explain no more variance than chance; 0: all of it",
    function=batch_variance,
    absent=unexplained,
)
PLATE = Metric(
    name="plate_variance",
    role="technical",
    standing="secondary",
    title="Variance not explained by plate (adjusted)",
    direction="1: plates explain no more variance than chance; 0: all of it",
    function=plate_variance,
    absent=plates_unexplained,
)
PCR = Metric(
    name="pcr",
    role="technical",
    standing="parity",
    in_sweep=False,
    title="Principal component regression on batch",
    direction="1: principal components do not depend on the batch; 0: they are the batch",
    function=pcr,
    absent=unexplained,
)
