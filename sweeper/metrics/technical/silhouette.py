"""Silhouettes of technical labels, as the field reports them; BRAS (`mixing`) is the one that decides."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sweeper.metrics.evaluation import Evaluation, Measurement, Metric
from sweeper.metrics.layout import Absence, Layout
from sweeper.metrics.neighbours import CHUNK
from sweeper.metrics.silhouette import grouped_silhouettes, label_silhouettes, silhouette_labels
from sweeper.metrics.technical.design import by_size, permuted_within, unidentifiable
from sweeper.metrics.technical.position import UNKNOWN, positions


def asw_batch(evaluation: Evaluation) -> Measurement:
    """Batch silhouette of scIB (Luecken et al., Nat Methods 2022, doi:10.1038/s41592-021-01336-8), in [0, 1].

    Inside each perturbation, s of the batch labels in Euclidean distance; the mean over perturbations of the mean of
    1 - |s|; higher is better. The nearest other batch alone counts, so a partial merge passes for a whole one.
    Perturbations in one batch, or with one well in each, are left out. The ceiling, and the chance level of raw, is
    the mean with batches permuted inside each perturbation.
    """
    if (absence := evaluation.once(unjudged)) is not None:
        return Measurement.absent(absence)
    perturbation, batch = evaluation.code("perturbation"), evaluation.code("batch")
    shuffles = permuted_within(batch, perturbation, count=evaluation.options.permutations, seed=(evaluation.seed, 5))
    labellings = np.stack([batch, *shuffles])
    scores = []
    for rows in by_size(perturbation):
        batches = np.array([len(np.unique(own)) for own in batch[rows]])
        judged = rows[(batches > 1) & (batches < rows.shape[1])]
        step = max(1, CHUNK // rows.shape[1] ** 2)
        for at in range(0, len(judged), step):
            some = judged[at : at + step]
            s = grouped_silhouettes(evaluation.test[some], labellings[:, some])
            scores.append((1.0 - np.abs(s)).mean(axis=2).T)
    raw, *permuted = np.concatenate(scores).mean(axis=0)
    ceiling = float(np.mean(permuted))
    return Measurement(float(raw), ceiling=ceiling, raw=float(raw), chance=ceiling)


def tasw_batch(evaluation: Evaluation) -> Measurement:
    """Technical silhouette of the batch over all wells, a candidate reading of "tASW"; in [0, 1], higher is better.

    Value (1 - s) / 2 with s, the raw number, the mean Euclidean silhouette of the batch labels. The definition of the
    published metric could not be verified; this is the plainest one. Ceiling and chance are those of batches permuted
    inside each perturbation.
    """
    return _technical(evaluation, "batch", batch_alike)


def tasw_row(evaluation: Evaluation) -> Measurement:
    """As `tasw_batch`, of the wells' rows; the permutation is over all wells.

    A global silhouette of rows or columns hardly moves, even under strong gradients: read `row_column_ridge`.
    """
    return _technical(evaluation, "row", rows_alike)


def tasw_column(evaluation: Evaluation) -> Measurement:
    """As `tasw_row`, of the wells' columns."""
    return _technical(evaluation, "column", columns_alike)


def batch_alike(layout: Layout) -> Absence | None:
    """Why batches have no silhouette."""
    return unidentifiable(layout) or _alike(layout, "batch")


def rows_alike(layout: Layout) -> Absence | None:
    """Why rows have none."""
    return UNKNOWN if positions(layout) is None else _alike(layout, "row")


def columns_alike(layout: Layout) -> Absence | None:
    """Why columns have none."""
    return UNKNOWN if positions(layout) is None else _alike(layout, "column")


def _alike(layout: Layout, name: str) -> Absence | None:
    return None if name in silhouette_labels(layout) else Absence(f"one {name} only, or one well in each")


def unjudged(layout: Layout) -> Absence | None:
    """Why no perturbation has a silhouette of its batches."""
    perturbation, batch = layout.code("perturbation"), layout.code("batch")
    for rows in by_size(perturbation):
        batches = np.array([len(np.unique(own)) for own in batch[rows]])
        if ((batches > 1) & (batches < rows.shape[1])).any():
            return None
    return Absence("not identifiable: no perturbation has two wells in one batch and wells in another")


def _technical(evaluation: Evaluation, name: str, absent: Callable[[Layout], Absence | None]) -> Measurement:
    if (absence := evaluation.once(absent)) is not None:
        return Measurement.absent(absence)
    found = evaluation.once(label_silhouettes)[name]
    value, ceiling = (1.0 - found.mean) / 2.0, (1.0 - found.chance) / 2.0
    return Measurement(value, ceiling=ceiling, raw=found.mean, chance=found.chance)


ASW = Metric(
    name="asw_batch",
    role="technical",
    standing="parity",
    in_sweep=False,
    title="Batch silhouette (scIB)",
    direction="ceiling: inside a perturbation each batch has another on top of it; 0: every batch is apart",
    function=asw_batch,
    absent=unjudged,
)
TASW_BATCH = Metric(
    name="tasw_batch",
    role="technical",
    standing="parity",
    in_sweep=False,
    title="Technical silhouette, batch (candidate tASW)",
    direction="ceiling: batches lie as if drawn at random; 0: they are compact and apart",
    function=tasw_batch,
    absent=batch_alike,
)
TASW_ROW = Metric(
    name="tasw_row",
    role="technical",
    standing="parity",
    in_sweep=False,
    title="Technical silhouette, row (candidate tASW)",
    direction="ceiling: rows of the plate lie as if drawn at random; 0: they are compact and apart",
    function=tasw_row,
    absent=rows_alike,
)
TASW_COLUMN = Metric(
    name="tasw_column",
    role="technical",
    standing="parity",
    in_sweep=False,
    title="Technical silhouette, column (candidate tASW)",
    direction="ceiling: columns of the plate lie as if drawn at random; 0: they are compact and apart",
    function=tasw_column,
    absent=columns_alike,
)
