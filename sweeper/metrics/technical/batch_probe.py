"""The batch probe: can a fresh classifier still read the batch?

The adversary met in training proves nothing by standing at chance; a classifier fitted anew on held-out wells does.
"""

from __future__ import annotations

import numpy as np

from sweeper.metrics.classifier import balanced_accuracy
from sweeper.metrics.evaluation import Evaluation, Float64Array, Measurement, Metric
from sweeper.metrics.layout import Absence, BoolArray, Layout
from sweeper.metrics.resampling import Weighted, rescaled, weighted_mean
from sweeper.metrics.technical.design import Factor
from sweeper.metrics.technical.readers import READERS, Task, reading, shared_task, task, unreadable, untrainable
from trainers.base import IntArray


def batch_probe_linear(evaluation: Evaluation) -> Measurement:
    """1 - chance-corrected balanced accuracy of a linear batch classifier on the test wells, in [0, 1]; 1 is best.

    Predictions are out of fold; a fold holds out whole perturbations, negative controls plate by plate (or plates, by
    `probe_groups`). Raw is the balanced accuracy of the pooled predictions, chance is 1/B. Below chance counts as
    chance: centring on the very wells that are scored pushes the probe there, and it is no success. A linear probe does
    not see batch-specific variances; the strongest of several readers is `batch_reader`.

    Not identifiable: one batch; every perturbation (controls included) in one batch only; a batch that no split of
    the groups keeps in training.
    """
    return _probe_all(evaluation, "linear")


def batch_probe_knn(evaluation: Evaluation) -> Measurement:
    """As `batch_probe_linear`, read by the 15 nearest training wells: sees clouds that no plane tells apart.

    Euclidean distance on features standardised by the training rows of the fold; a vote counts 1 / (training wells of
    its batch), so that chance is 1/B in unbalanced designs too. In many dimensions the neighbours of every well are
    those of the tightest batch: for batches that differ in spread see `batch_probe_spread`.
    """
    return _probe_all(evaluation, "neighbours")


def plate_probe_linear(evaluation: Evaluation) -> Measurement:
    """As `batch_probe_linear`, of plates, holding out whole perturbations always; chance is 1 / plates."""
    return _probe_all(evaluation, "linear", "plate")


def plate_probe_knn(evaluation: Evaluation) -> Measurement:
    """As `plate_probe_linear`, read by the 15 nearest training wells; see `batch_probe_knn`."""
    return _probe_all(evaluation, "neighbours", "plate")


def batch_probe_spread(evaluation: Evaluation) -> Measurement:
    """As `batch_probe_linear`, read from the features and their distances to the training mean, |x - x̄| each.

    Batches centred to one mean that still differ in spread are at chance for a linear probe and not for this one.
    """
    return _probe_all(evaluation, "spread")


def batch_probe_controls(evaluation: Evaluation) -> Measurement:
    """As `batch_probe_linear`, on negative controls alone, holding out whole plates.

    Controls are the same in every batch, so phenotype cannot pass for batch. Features centred on these very controls
    are at chance here, or below, while treated wells may still show their batch: read it beside `batch_probe_linear`.

    Not identifiable: no controls in two batches, or a batch with controls on one plate only.
    """
    if (absence := evaluation.once(unreadable_controls)) is not None:
        return Measurement.absent(absence)
    given = evaluation.once(_of_controls)
    assert given is not None  # noqa: S101 - or it would be unreadable
    return _measured(evaluation, given, READERS["linear"](evaluation, given))


def _probe_all(evaluation: Evaluation, reader: str, factor: Factor = "batch") -> Measurement:
    if (absence := evaluation.once(unreadable(factor))) is not None:
        return Measurement.absent(absence)
    given = evaluation.once(shared_task(factor))
    assert given is not None  # noqa: S101 - or it would be unreadable
    return _measured(evaluation, given, evaluation.once(reading(reader, factor)))


def unreadable_controls(layout: Layout) -> Absence | None:
    """Why no probe can read the batch of controls."""
    if len(np.unique(layout.code("batch")[layout.negative])) < 2:
        return Absence("not identifiable: fewer than 2 batches have negative controls")
    return None if layout.once(_of_controls) is not None else untrainable("batch", "plate")


def _of_controls(layout: Layout) -> Task | None:
    return task(layout, "batch", "plate", layout.negative)


def _measured(evaluation: Evaluation, given: Task, predicted: IntArray) -> Measurement:
    raw, chance = balanced_accuracy(given.labels, predicted), 1.0 / (int(given.labels.max()) + 1)
    right = predicted == given.labels
    below = below_chance(given.labels, right, given.groups)
    return Measurement(
        float(left_unread(np.array(raw), chance)),
        weighted=rescaled(accuracy_by_plate(evaluation, given, right), lambda found: left_unread(found, chance)),
        raw=raw,
        chance=chance,
        reason=BELOW.format(raw=raw, chance=chance) if below else None,
        flag="below_chance" if below else None,
    )


def left_unread(accuracy: Float64Array, chance: float) -> Float64Array:
    """1 - chance-corrected balanced accuracy; below chance counts as chance."""
    return np.asarray(1.0 - np.clip((accuracy - chance) / (1.0 - chance), 0.0, 1.0))


def accuracy_by_plate(evaluation: Evaluation, given: Task, right: BoolArray) -> Weighted:
    """The balanced accuracy when plates are weighted."""
    plates = evaluation.code("plate")[given.rows]
    return weighted_mean(right.astype(np.float64), plates, evaluation.count("plate"), given.labels)


BELOW = (
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


LINEAR = Metric(
    name="batch_probe_linear",
    role="technical",
    standing="secondary",
    title="Batch probe (linear)",
    direction="1: a fresh linear classifier reads the batch no better than chance; 0: it reads every batch",
    function=batch_probe_linear,
    absent=unreadable("batch"),
)
KNN = Metric(
    name="batch_probe_knn",
    role="technical",
    standing="secondary",
    title="Batch probe (nearest neighbours)",
    direction="1: the nearest wells tell the batch no better than chance; 0: they tell every batch",
    function=batch_probe_knn,
    absent=unreadable("batch"),
)
SPREAD = Metric(
    name="batch_probe_spread",
    role="technical",
    standing="secondary",
    in_sweep=False,
    title="Batch probe (features and their spread)",
    direction="1: a classifier of features and their magnitudes is at chance; 0: it reads every batch",
    function=batch_probe_spread,
    absent=unreadable("batch"),
)
CONTROLS = Metric(
    name="batch_probe_controls",
    role="technical",
    standing="secondary",
    in_sweep=False,
    title="Batch probe on negative controls",
    direction="1: a fresh linear classifier reads the batch of controls no better than chance; 0: it reads every batch",
    function=batch_probe_controls,
    absent=unreadable_controls,
)
PLATE_LINEAR = Metric(
    name="plate_probe_linear",
    role="technical",
    standing="secondary",
    in_sweep=False,
    title="Plate probe (linear)",
    direction="1: a fresh linear classifier reads the plate no better than chance; 0: it reads every plate",
    function=plate_probe_linear,
    absent=unreadable("plate"),
)
PLATE_KNN = Metric(
    name="plate_probe_knn",
    role="technical",
    standing="secondary",
    in_sweep=False,
    title="Plate probe (nearest neighbours)",
    direction="1: the nearest wells tell the plate no better than chance; 0: they tell every plate",
    function=plate_probe_knn,
    absent=unreadable("plate"),
)
