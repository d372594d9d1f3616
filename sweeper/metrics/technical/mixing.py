"""BRAS: do the wells of one perturbation lie together, whatever their batch?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sweeper.metrics.evaluation import Evaluation, Float64Array, Measurement, Metric
from sweeper.metrics.layout import Absence, BoolArray, Layout
from sweeper.metrics.resampling import weighted_mean
from sweeper.metrics.technical.design import Factor, plate_unidentifiable
from trainers.base import IntArray

if TYPE_CHECKING:
    from scipy.sparse import csr_array


@dataclass(frozen=True, eq=False)
class _Design:
    """Wells sorted by (perturbation, batch), of the perturbations that can be judged.

    Attributes:
        order: (n,) row numbers in that order.
        label: (n,) perturbation of each, 0, 1, …
        cell: (n,) perturbation × batch of each, 0, 1, …
        label_size, cell_size: (n,) wells in each row's perturbation and in its perturbation × batch.
    """

    order: IntArray
    label: IntArray
    cell: IntArray
    label_size: IntArray
    cell_size: IntArray


def batch_mixing_bras(evaluation: Evaluation) -> Measurement:
    """Batch-removal-adapted silhouette, cosine, label = perturbation, in [0, 1]; higher is better.

    Per well, a is the mean distance to the other wells of its perturbation in its own batch and b that to the
    perturbation's wells in all other batches; s = (b - a) / max(a, b); the score is the mean over perturbations of
    the mean of 1 - |s|. Pooling the other batches keeps it from taking a partial merge for a whole one, as the
    nearest-batch silhouette does (Rautenstrauch & Ohler, Nat Biotechnol 2025, doi:10.1038/s41587-025-02743-4).

    A well without a companion in its batch has s = 0, as in every silhouette; the floor is the share of such wells.
    The ceiling, and the chance level of raw, is the mean score with batches permuted inside each perturbation.
    Perturbations in one batch, or with one well in each, are left out.
    """
    return _mixing(evaluation, "batch")


def plate_mixing_bras(evaluation: Evaluation) -> Measurement:
    """As `batch_mixing_bras`, of plates; where a perturbation has one well a plate, of the controls alone."""
    return _mixing(evaluation, "plate")


def _mixing(evaluation: Evaluation, factor: Factor) -> Measurement:
    if (absence := evaluation.once(apart if factor == "batch" else plates_apart)) is not None:
        return Measurement.absent(absence)
    design = _design(evaluation.code("perturbation"), evaluation.code(factor))
    unit = evaluation.unit[design.order]
    every = np.einsum("ne,ne->n", unit, (_members(design.label) @ unit)[design.label])
    itself = np.einsum("ne,ne->n", unit, unit)
    rng = np.random.default_rng([evaluation.seed, 1])
    # Permuting batches inside a perturbation keeps every size, and the sums over it: it only deals its wells out anew.
    shuffles = (np.lexsort((rng.random(len(unit)), design.label)) for _ in range(evaluation.options.permutations))
    permuted = (_scores(unit[shuffle], every[shuffle], itself[shuffle], design) for shuffle in shuffles)
    ceiling = float(np.mean([_mean_by_label(scores, design) for scores in permuted]))
    scores = _scores(unit, every, itself, design)
    raw = _mean_by_label(scores, design)
    floor = _mean_by_label(np.asarray(design.cell_size == 1, dtype=np.float64), design)
    plates = evaluation.code("plate")[design.order]
    weighted = weighted_mean(scores, plates, evaluation.count("plate"), design.label)
    return Measurement(raw, floor=floor, ceiling=ceiling, raw=raw, chance=ceiling, weighted=weighted)


def apart(layout: Layout) -> Absence | None:
    """Why no perturbation can be mixed."""
    return _apart(layout, "batch")


def plates_apart(layout: Layout) -> Absence | None:
    """The same, of plates."""
    return plate_unidentifiable(layout) or _apart(layout, "plate")


def _apart(layout: Layout, factor: Factor) -> Absence | None:
    if _judged(layout.code("perturbation"), layout.code(factor)).any():
        return None
    return Absence(f"not identifiable: no perturbation has two wells in one {factor} and wells in another")


def _judged(label: IntArray, batch: IntArray) -> BoolArray:
    """(n,) wells of perturbations in several batches that have a companion in one."""
    pairs = np.unique(label * (batch.max() + 1) + batch) // (batch.max() + 1)
    wells, batches = np.bincount(label), np.bincount(pairs)
    return np.asarray(((batches > 1) & (wells > batches))[label])


def _design(label: IntArray, batch: IntArray) -> _Design:
    cell = label * (batch.max() + 1) + batch
    _, code, size = np.unique(cell, return_inverse=True, return_counts=True)
    wells, order = np.bincount(label), np.flatnonzero(_judged(label, batch))
    order = order[np.argsort(code[order], kind="stable")]
    labels, cells = (np.unique(codes[order], return_inverse=True)[1] for codes in (label, code))
    return _Design(order, labels, cells, wells[label[order]], size[code[order]])


def _scores(unit: Float64Array, with_every: Float64Array, with_itself: Float64Array, design: _Design) -> Float64Array:
    """(n,) 1 - |s| of (n, e) unit rows in the design's order, given each one's cosines summed over its perturbation.

    The mean cosine distance from x to a set is 1 - x · (mean of the set), so no pair is ever formed: O(n e).
    """
    with_own = np.einsum("ne,ne->n", unit, (_members(design.cell) @ unit)[design.cell])
    a = 1.0 - (with_own - with_itself) / np.maximum(design.cell_size - 1, 1)
    b = 1.0 - (with_every - with_own) / (design.label_size - design.cell_size)
    largest = np.maximum(a, b)
    # Distances of identical rows are round-off, not geometry.
    defined = (design.cell_size > 1) & (largest > 1e-12)
    s = np.where(defined, (b - a) / np.where(defined, largest, 1.0), 0.0)
    return np.asarray(1.0 - np.abs(np.clip(s, -1.0, 1.0)))


def _members(codes: IntArray) -> csr_array:
    """(groups, n) 1 where the row is of the group; the (n,) codes are sorted."""
    from scipy.sparse import csr_array

    return csr_array(
        (np.ones(len(codes)), np.arange(len(codes)), np.r_[0, np.cumsum(np.bincount(codes))]),
        shape=(codes[-1] + 1, len(codes)),
    )


def _mean_by_label(values: Float64Array, design: _Design) -> float:
    return float(np.mean(np.bincount(design.label, weights=values) / np.bincount(design.label)))


BRAS = Metric(
    name="batch_mixing_bras",
    role="technical",
    standing="secondary",
    title="Batch mixing (BRAS)",
    direction="ceiling: inside a perturbation batches are mixed as if drawn at random; 0: they are apart",
    function=batch_mixing_bras,
    absent=apart,
)
PLATE = Metric(
    name="plate_mixing_bras",
    role="technical",
    standing="secondary",
    in_sweep=False,
    title="Plate mixing (BRAS)",
    direction="ceiling: inside a perturbation plates are mixed as if drawn at random; 0: they are apart",
    function=plate_mixing_bras,
    absent=plates_apart,
)
