"""LISI: how many batches are among a well's neighbours?

LISI = 1 / Σ p_b², p_b the share of batch b among the k nearest wells, weighted by a Gaussian-like kernel exp(-β d)
whose β gives each well the perplexity k/3 (Korsunsky et al., Nat Methods 2019, doi:10.1038/s41592-019-0619-0).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweeper.metrics.evaluation import Evaluation, Float64Array, Measurement, Metric
from sweeper.metrics.layout import Absence, Layout
from sweeper.metrics.neighbours import CHUNK, SHARED, nearest_wells, neighbours, pairwise
from sweeper.metrics.resampling import weighted_mean
from sweeper.metrics.technical.design import Factor, by_size, permuted_within, plate_unidentifiable, unidentifiable
from trainers.base import IntArray

_NEIGHBOURS = SHARED + 1  # the well itself counted, with weight 0
_MIN_WELLS = 10
_STEPS, _EXACT = 60, 1e-9


def ilisi(evaluation: Evaluation) -> Measurement:
    """Median LISI of batches over all wells, scaled to (LISI - 1) / (B - 1), in [0, 1]; higher is better.

    Exact Euclidean neighbours, k = min(90, n). Blind to phenotype: noise, and perturbations swapped between batches,
    are perfect. The ceiling, and the chance level of raw, is the value with batches permuted inside each perturbation;
    it depends on the number and balance of batches.
    """
    if (absence := evaluation.once(unmixed_anywhere)) is not None:
        return Measurement.absent(absence)
    batch = evaluation.code("batch")
    shuffles = permuted_within(
        batch, evaluation.code("perturbation"), count=evaluation.options.permutations, seed=(evaluation.seed, 9)
    )
    near = evaluation.once(nearest_wells)
    medians = np.median(lisi(evaluation.test, [batch, *shuffles], near), axis=1)
    raw, *permuted = (medians - 1.0) / batch.max()
    ceiling = float(np.mean(permuted))
    return Measurement(float(raw), ceiling=ceiling, raw=float(raw), chance=ceiling)


def cilisi(evaluation: Evaluation) -> Measurement:
    """LISI of batches inside each perturbation (CiLISI), in [0, 1]; higher is better.

    Neighbours are taken among the wells of the same perturbation (controls too), of those with at least 10 wells in
    2 batches; LISI is scaled by that perturbation's own number of batches and averaged over wells (Andreatta et al.,
    Nat Commun 2024, doi:10.1038/s41467-024-45240-z, there with k = perplexity). Mixing of unlike phenotypes does not
    count. Ceiling and chance as in `ilisi`.
    """
    return _inside(evaluation, "batch")


def plate_cilisi(evaluation: Evaluation) -> Measurement:
    """As `cilisi`, of plates instead of batches."""
    return _inside(evaluation, "plate")


def _inside(evaluation: Evaluation, factor: Factor) -> Measurement:
    if (absence := evaluation.once(unmixed if factor == "batch" else plates_unmixed)) is not None:
        return Measurement.absent(absence)
    perturbation, batch = evaluation.code("perturbation"), evaluation.code(factor)
    labellings = [
        batch,
        *permuted_within(batch, perturbation, count=evaluation.options.permutations, seed=(evaluation.seed, 10)),
    ]
    labels = np.stack(labellings)
    scaled, judged_rows = [], []
    for rows in by_size(perturbation):
        batches = np.array([len(np.unique(own)) for own in batch[rows]])
        judged, batches = rows[batches > 1], batches[batches > 1]
        step = max(1, CHUNK // rows.shape[1] ** 2)
        for at in range(0, len(judged) if rows.shape[1] >= _MIN_WELLS else 0, step):
            some = judged[at : at + step]
            found = grouped_lisi(evaluation.test[some], labels[:, some])
            scaled.append(((found - 1.0) / (batches[at : at + step, None] - 1)).reshape(len(labels), -1))
            judged_rows.append(some.ravel())
    values = np.concatenate(scaled, axis=1)
    raw, *permuted = values.mean(axis=1)
    ceiling = float(np.mean(permuted))
    plates = evaluation.code("plate")[np.concatenate(judged_rows)]
    weighted = weighted_mean(values[0], plates, evaluation.count("plate"))
    return Measurement(float(raw), ceiling=ceiling, raw=float(raw), chance=ceiling, weighted=weighted)


def unmixed_anywhere(layout: Layout) -> Absence | None:
    """Why batches cannot be counted among the neighbours of all wells."""
    if (absence := unidentifiable(layout)) is not None:
        return absence
    return Absence(f"no more than {_MIN_WELLS} test rows") if len(layout.test_wells) <= _MIN_WELLS else None


def unmixed(layout: Layout) -> Absence | None:
    """Why no perturbation can be mixed."""
    return _unmixed(layout, "batch")


def plates_unmixed(layout: Layout) -> Absence | None:
    """The same, of plates."""
    return plate_unidentifiable(layout) or _unmixed(layout, "plate")


def _unmixed(layout: Layout, factor: Factor) -> Absence | None:
    perturbation, factors = layout.code("perturbation"), layout.code(factor)
    pairs = np.unique(perturbation * layout.count(factor) + factors) // layout.count(factor)
    if ((np.bincount(perturbation) >= _MIN_WELLS) & (np.bincount(pairs) > 1)).any():
        return None
    places = "batches" if factor == "batch" else "plates"
    return Absence(f"not identifiable: no perturbation has {_MIN_WELLS} wells and lies in 2 {places}")


def lisi(
    rows: NDArray[Any], labellings: Sequence[IntArray], near: tuple[IntArray, Float64Array] | None = None
) -> Float64Array:
    """(c, n) LISI in [1, labels] of the (n ≥ 4, e) rows under c labellings, each (n,).

    `near` are the rows' `neighbours`, 89 of each or all others, where they are known already.
    """
    from scipy.sparse import csr_array

    index, distance = neighbours(rows, min(_NEIGHBOURS, len(rows)) - 1) if near is None else near
    weights = affinities(distance, max((index.shape[1] + 1) // 3, 1))
    graph = csr_array(
        (weights.ravel(), index.ravel(), np.arange(0, weights.size + 1, index.shape[1])), shape=(len(rows), len(rows))
    )
    found = np.empty((len(labellings), len(rows)))
    for number, labels in enumerate(labellings):
        names, code = np.unique(labels, return_inverse=True)
        share = np.asarray(graph @ np.eye(len(names))[code])
        found[number] = 1.0 / np.einsum("nb,nb->n", share, share)
    return found


def grouped_lisi(rows: NDArray[Any], labellings: IntArray) -> Float64Array:
    """(c, g, m) LISI of g groups of m rows (g, m, e), each by itself, under c labellings (c, g, m)."""
    groups, m, _ = rows.shape
    if m > _NEIGHBOURS:
        return np.stack([lisi(own, list(labellings[:, at])) for at, own in enumerate(rows)], axis=1)
    # All others are neighbours: nothing to search.
    other = ~np.eye(m, dtype=bool)
    weights = np.zeros((groups, m, m))
    distance = pairwise(rows)[:, other].reshape(groups * m, m - 1)
    weights[:, other] = affinities(distance, max(m // 3, 1)).reshape(groups, m * (m - 1))
    found = np.empty(labellings.shape)
    for labels, own in zip(labellings, found, strict=True):
        share = weights @ np.equal.outer(labels, np.arange(labellings.max() + 1)).astype(np.float64)
        own[:] = 1.0 / np.sum(share**2, axis=2)
    return found


def affinities(distance: Float64Array, perplexity: float) -> Float64Array:
    """(n, k) weights ∝ exp(-β d), rows of sum 1, β by Newton's method so that their entropy is log(perplexity).

    The entropy falls with β, at the rate β · variance of d under the weights. A step out of the interval known to hold
    β is replaced by its middle.
    """
    shifted = distance - distance.min(axis=1, keepdims=True)
    mean = shifted.mean(axis=1, keepdims=True)
    shifted /= np.where(mean > 0, mean, 1.0)
    low, high = np.zeros(len(shifted)), np.full(len(shifted), np.inf)
    beta = np.ones(len(shifted))
    target = math.log(perplexity)
    for _ in range(_STEPS):
        weights = np.exp(-beta[:, None] * shifted)
        total = weights.sum(axis=1)
        first = np.einsum("nk,nk->n", weights, shifted) / total
        excess = np.log(total) + beta * first - target
        if np.all(np.abs(excess) < _EXACT):
            break
        spread = np.einsum("nk,nk,nk->n", weights, shifted, shifted) / total - first**2
        low, high = np.where(excess > 0, beta, low), np.where(excess > 0, high, beta)
        middle = np.where(np.isinf(high), 2.0 * beta, 0.5 * (low + np.where(np.isinf(high), 0.0, high)))
        step = beta + excess / np.maximum(beta * spread, 1e-12)
        beta = np.where((step > low) & (step < np.minimum(high, 8.0 * beta)), step, middle)
    normal: Float64Array = weights / total[:, None]
    return normal


ILISI = Metric(
    name="ilisi",
    role="technical",
    standing="parity",
    in_sweep=False,
    title="Batches among neighbours (iLISI)",
    direction="ceiling: neighbours come from batches as if drawn at random; 0: from one batch",
    function=ilisi,
    absent=unmixed_anywhere,
)
CILISI = Metric(
    name="cilisi",
    role="technical",
    standing="secondary",
    title="Batches among neighbours of the same perturbation (CiLISI)",
    direction="ceiling: inside a perturbation neighbours come from batches as if drawn at random; 0: from one batch",
    function=cilisi,
    absent=unmixed,
)
PLATE_CILISI = Metric(
    name="plate_cilisi",
    role="technical",
    standing="secondary",
    in_sweep=False,
    title="Plates among neighbours of the same perturbation (CiLISI)",
    direction="ceiling: inside a perturbation neighbours come from plates as if drawn at random; 0: from one plate",
    function=plate_cilisi,
    absent=plates_unmixed,
)
