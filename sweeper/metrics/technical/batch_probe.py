"""The batch probe: can a fresh classifier still read the batch?

The adversary met in training proves nothing by standing at chance; a classifier fitted anew on held-out wells does.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweeper.metrics.arrays import Arrays
from sweeper.metrics.classifier import balanced_accuracy, fit
from sweeper.metrics.evaluation import BoolArray, Evaluation, Measurement, Metric
from sweeper.metrics.neighbours import nearest
from sweeper.metrics.resampling import rescaled, weighted_mean
from sweeper.metrics.technical.design import Factor, unidentifiable
from trainers.base import IntArray

Predict = Callable[[NDArray[Any], IntArray, NDArray[Any]], IntArray]
"""Training rows, their labels and further rows to the labels of the latter."""

_ATTEMPTS = 8
_VOTERS = 15


def batch_probe_linear(evaluation: Evaluation) -> Measurement:
    """1 - chance-corrected balanced accuracy of a linear batch classifier on the test wells, in [0, 1]; 1 is best.

    Predictions are out of fold; a fold holds out whole perturbations (or plates, by `probe_groups`). Raw is the
    balanced accuracy of the pooled predictions, chance is 1/B. Below chance counts as chance: centring on the very
    wells that are scored pushes the probe there, and it is no success. A linear probe does not see batch-specific
    variances.

    Not identifiable: one batch; every perturbation (controls included) in one batch only; a batch that no split of
    the groups keeps in training.
    """
    return _probe_all(evaluation, _linear)


def batch_probe_knn(evaluation: Evaluation) -> Measurement:
    """As `batch_probe_linear`, read by the 15 nearest training wells: sees clouds that no plane tells apart.

    Euclidean distance on features standardised by the training rows of the fold; a vote counts 1 / (training wells of
    its batch), so that chance is 1/B in unbalanced designs too. In many dimensions the neighbours of every well are
    those of the tightest batch: for batches that differ in spread see `batch_probe_spread`.
    """
    return _probe_all(evaluation, partial(_by_neighbours, arrays=evaluation.arrays))


def plate_probe_linear(evaluation: Evaluation) -> Measurement:
    """As `batch_probe_linear`, of plates, holding out whole perturbations always; chance is 1 / plates."""
    return _probe_all(evaluation, _linear, "plate")


def plate_probe_knn(evaluation: Evaluation) -> Measurement:
    """As `plate_probe_linear`, read by the 15 nearest training wells; see `batch_probe_knn`."""
    return _probe_all(evaluation, partial(_by_neighbours, arrays=evaluation.arrays), "plate")


def batch_probe_spread(evaluation: Evaluation) -> Measurement:
    """As `batch_probe_linear`, read from the features and their distances to the training mean, |x - x̄| each.

    Batches centred to one mean that still differ in spread are at chance for a linear probe and not for this one.
    """
    return _probe_all(evaluation, _by_spread)


def batch_probe_controls(evaluation: Evaluation) -> Measurement:
    """As `batch_probe_linear`, on negative controls alone, holding out whole plates.

    Controls are the same in every batch, so phenotype cannot pass for batch. Features centred on these very controls
    are at chance here, or below, while treated wells may still show their batch: read it beside `batch_probe_linear`.

    Not identifiable: no controls in two batches, or a batch with controls on one plate only.
    """
    if len(np.unique(evaluation.code("batch")[evaluation.negative])) < 2:
        return Measurement(None, reason="not identifiable: fewer than 2 batches have negative controls")
    return _probe(evaluation, evaluation.negative, "plate", _linear)


def _probe_all(evaluation: Evaluation, predict: Predict, factor: Factor = "batch") -> Measurement:
    if (reason := unidentifiable(evaluation, factor)) is not None:
        return Measurement(None, reason=reason)
    unit = evaluation.options.probe_groups if factor == "batch" else "perturbation"
    return _probe(evaluation, np.ones(len(evaluation.test), dtype=bool), unit, predict, factor)


def _probe(
    evaluation: Evaluation, rows: BoolArray, unit: str, predict: Predict, factor: Factor = "batch"
) -> Measurement:
    """Probe the factor on some of the test rows, holding out whole units (a column of the table of wells)."""
    batch, groups = (np.unique(evaluation.code(column)[rows], return_inverse=True)[1] for column in (factor, unit))
    folds = _folds(batch, groups, evaluation)
    if folds is None:
        return Measurement(
            None, reason=f"not identifiable: holding out a {unit} leaves a {factor} without training wells"
        )
    embeddings = evaluation.test[rows]
    predicted = np.empty_like(batch)
    for fold in np.unique(folds):
        out = folds == fold
        predicted[out] = predict(embeddings[~out], batch[~out], embeddings[out])
    raw, chance = balanced_accuracy(batch, predicted), 1.0 / (int(batch.max()) + 1)
    right = predicted == batch
    below = below_chance(batch, right, groups)
    accuracy = weighted_mean(right.astype(np.float64), evaluation.code("plate")[rows], evaluation.count("plate"), batch)
    return Measurement(
        1.0 - float(np.clip((raw - chance) / (1.0 - chance), 0.0, 1.0)),
        weighted=rescaled(accuracy, lambda found: 1.0 - np.clip((found - chance) / (1.0 - chance), 0.0, 1.0)),
        raw=raw,
        chance=chance,
        reason=_BELOW.format(raw=raw, chance=chance) if below else None,
        flag="below_chance" if below else None,
    )


_BELOW = (
    "balanced accuracy {raw:.3f} is below chance {chance:.3f}: a symptom of a correction fitted on the scored wells, or"
    " of perturbations swapped between batches; counted as chance"
)
_SIGNIFICANCE = 1e-4


def below_chance(batch: IntArray, right: BoolArray, groups: IntArray) -> bool:
    """Whether the balanced accuracy lies below 1/B by more than the held-out groups vary (one-sided t, p < 0.0001).

    Wells of a group are predicted by one fit and fail together, so groups are counted, not wells. The level is strict:
    what a fold holds out is missing in its fit, which takes pure noise below chance by up to 3 standard errors.

    Args:
        batch: (n,) batch of each well, 0 … B - 1.
        right: (n,) whether it was predicted.
        groups: (n,) what a fold held out as a whole.
    """
    from scipy.stats import t as student

    batches = int(batch.max()) + 1
    weight = 1.0 / (batches * np.bincount(batch))[batch]
    share = np.bincount(groups, weights=weight * (right - 1.0 / batches))
    spread = np.sqrt(len(share) / (len(share) - 1) * np.sum((share - share.mean()) ** 2)) if len(share) > 1 else 0.0
    return bool(share.sum() < 0 and share.sum() <= student.ppf(_SIGNIFICANCE, len(share) - 1) * spread)


def _linear(rows: NDArray[Any], labels: IntArray, further: NDArray[Any]) -> IntArray:
    return fit(rows, labels).predict(further)


def _by_spread(rows: NDArray[Any], labels: IntArray, further: NDArray[Any]) -> IntArray:
    mean = rows.mean(axis=0, dtype=np.float64)
    both = (np.hstack([some - mean, np.abs(some - mean)]) for some in (rows, further))
    return _linear(next(both), labels, next(both))


def _by_neighbours(rows: NDArray[Any], labels: IntArray, further: NDArray[Any], *, arrays: Arrays) -> IntArray:
    std = rows.std(axis=0, dtype=np.float64)
    std[std == 0] = 1.0
    voters, _ = nearest(further / std, rows / std, min(_VOTERS, len(rows)), arrays)
    count = np.bincount(labels)
    votes = (labels[voters][:, :, None] == np.arange(len(count))).sum(axis=1) / np.maximum(count, 1)
    winner: IntArray = votes.argmax(axis=1)
    return winner


def _folds(batch: IntArray, groups: IntArray, evaluation: Evaluation) -> IntArray | None:
    """(n,) fold of each row: whole groups, batches balanced, each batch in every training set; else None."""
    count = min(evaluation.options.probe_folds, int(groups.max()) + 1, int(np.bincount(batch).min()))
    if count < 2:
        return None
    from sklearn.model_selection import StratifiedGroupKFold

    for attempt in range(_ATTEMPTS):
        splitter = StratifiedGroupKFold(count, shuffle=True, random_state=(evaluation.seed + attempt) % 2**32)
        folds = np.empty_like(batch)
        for number, (_, out) in enumerate(splitter.split(batch, batch, groups)):
            folds[out] = number
        table = np.zeros((batch.max() + 1, count), dtype=np.int64)
        np.add.at(table, (batch, folds), 1)
        if (table.sum(axis=1) > table.max(axis=1)).all():
            return folds
    return None


LINEAR = Metric(
    name="batch_probe_linear",
    role="technical",
    standing="primary",
    title="Batch probe (linear)",
    direction="1: a fresh linear classifier reads the batch no better than chance; 0: it reads every batch",
    function=batch_probe_linear,
)
KNN = Metric(
    name="batch_probe_knn",
    role="technical",
    standing="secondary",
    title="Batch probe (nearest neighbours)",
    direction="1: the nearest wells tell the batch no better than chance; 0: they tell every batch",
    function=batch_probe_knn,
)
SPREAD = Metric(
    name="batch_probe_spread",
    role="technical",
    standing="secondary",
    in_sweep=False,
    title="Batch probe (features and their spread)",
    direction="1: a classifier of features and their magnitudes is at chance; 0: it reads every batch",
    function=batch_probe_spread,
)
CONTROLS = Metric(
    name="batch_probe_controls",
    role="technical",
    standing="secondary",
    in_sweep=False,
    title="Batch probe on negative controls",
    direction="1: a fresh linear classifier reads the batch of controls no better than chance; 0: it reads every batch",
    function=batch_probe_controls,
)
PLATE_LINEAR = Metric(
    name="plate_probe_linear",
    role="technical",
    standing="secondary",
    in_sweep=False,
    title="Plate probe (linear)",
    direction="1: a fresh linear classifier reads the plate no better than chance; 0: it reads every plate",
    function=plate_probe_linear,
)
PLATE_KNN = Metric(
    name="plate_probe_knn",
    role="technical",
    standing="secondary",
    in_sweep=False,
    title="Plate probe (nearest neighbours)",
    direction="1: the nearest wells tell the plate no better than chance; 0: they tell every plate",
    function=plate_probe_knn,
)
