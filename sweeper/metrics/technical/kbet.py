"""kBET on negative controls: do neighbourhoods hold the batches in their global shares?"""

from __future__ import annotations

import numpy as np

from sweeper.metrics.evaluation import Evaluation, Float64Array, Measurement, Metric
from sweeper.metrics.layout import Absence, Layout
from sweeper.metrics.neighbours import neighbours
from sweeper.metrics.technical.design import permuted_within
from trainers.base import IntArray

_SIGNIFICANCE = 0.05
_FEWEST, _MOST = 10, 70


def kbet_controls(evaluation: Evaluation) -> Measurement:
    """Share of negative controls whose neighbourhood passes a χ² test of batch shares, in [0, 1]; higher is better.

    Büttner et al., Nat Methods 2019, doi:10.1038/s41592-018-0254-1. Neighbours among the controls, k a quarter of the
    mean batch, 10 … 70; a well passes at p ≥ 0.05. On perturbations kBET measures their connectivity instead, so
    controls alone are tested. Counts are small: the ceiling, and the chance level of raw, is the share with batches
    permuted among controls.
    """
    if (absence := evaluation.once(untestable)) is not None:
        return Measurement.absent(absence)
    rows, batch, count = _controls(evaluation)
    index, _ = neighbours(evaluation.test[rows], count, evaluation.arrays)
    shuffles = permuted_within(
        batch,
        evaluation.code("perturbation")[rows],
        count=evaluation.options.permutations,
        seed=(evaluation.seed, 11),
    )
    raw = accepted(index, batch)
    ceiling = float(np.mean([accepted(index, shuffled) for shuffled in shuffles]))
    return Measurement(raw, ceiling=ceiling, raw=raw, chance=ceiling)


def untestable(layout: Layout) -> Absence | None:
    """Why neighbourhoods of controls cannot be tested."""
    rows, batch, count = _controls(layout)
    if len(np.unique(batch)) < 2:
        return Absence("not identifiable: fewer than 2 batches have negative controls")
    if len(rows) < 2 * count:
        return Absence(f"fewer than {2 * count} negative controls among the test rows")
    return None


def _controls(layout: Layout) -> tuple[IntArray, IntArray, int]:
    """Row numbers of the negative controls, the batch of each, and how many neighbours are looked at."""
    rows = np.flatnonzero(layout.negative)
    batch = np.unique(layout.code("batch")[rows], return_inverse=True)[1].astype(np.int64)
    batches = int(batch.max(initial=0)) + 1
    return rows, batch, int(np.clip(len(rows) // (4 * batches), _FEWEST, _MOST))


def accepted(index: IntArray, batch: IntArray) -> float:
    """Share of the (n, k) neighbourhoods whose batches pass the test against the global shares."""
    from scipy.special import chdtrc

    share: Float64Array = np.bincount(batch) / len(batch)
    member = np.equal.outer(batch, np.arange(len(share)))
    expected = share * index.shape[1]
    statistic = np.sum((member[index].sum(axis=1) - expected) ** 2 / expected, axis=1)
    return float(np.mean(chdtrc(len(share) - 1, statistic) >= _SIGNIFICANCE))


KBET = Metric(
    name="kbet_controls",
    role="technical",
    standing="parity",
    in_sweep=False,
    title="kBET on negative controls",
    direction="ceiling: neighbourhoods of controls hold batches as if drawn at random; 0: none does",
    function=kbet_controls,
    absent=untestable,
)
