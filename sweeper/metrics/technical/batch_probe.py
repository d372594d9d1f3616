"""The batch probe: can a fresh classifier still read the batch?

The adversary met in training proves nothing by standing at chance; a classifier fitted anew on held-out wells does.
"""

from __future__ import annotations

import numpy as np

from sweeper.metrics.classifier import balanced_accuracy, fit
from sweeper.metrics.evaluation import Evaluation, Measurement, Metric
from trainers.base import IntArray

_ATTEMPTS = 8


def batch_probe_linear(evaluation: Evaluation) -> Measurement:
    """1 - chance-corrected balanced accuracy of a linear batch classifier on the test wells, in [0, 1]; 1 is best.

    Predictions are out of fold; a fold holds out whole perturbations (or plates, by `probe_groups`). Raw is the
    balanced accuracy of the pooled predictions, chance is 1/B. Below chance counts as chance: centring on the very
    wells that are scored pushes the probe there, and it is no success. A linear probe does not see batch-specific
    variances.

    Not identifiable: one batch; every perturbation (controls included) in one batch only; a batch that no split of
    the groups keeps in training.
    """
    batch = evaluation.code("batch")
    batches = int(batch.max()) + 1
    if batches < 2:
        return Measurement(None, reason="not identifiable: one batch among the test rows")
    perturbation = evaluation.code("perturbation")
    pairs = np.unique(perturbation * batches + batch)
    if len(pairs) == perturbation.max() + 1:
        return Measurement(
            None, reason="not identifiable: every perturbation is in one batch only, and no control is shared"
        )
    folds = _folds(batch, evaluation.code(evaluation.options.probe_groups), evaluation)
    if folds is None:
        unit = evaluation.options.probe_groups
        return Measurement(None, reason=f"not identifiable: holding out a {unit} leaves a batch without training wells")
    predicted = np.empty_like(batch)
    for fold in np.unique(folds):
        out = folds == fold
        predicted[out] = fit(evaluation.test[~out], batch[~out]).predict(evaluation.test[out])
    raw, chance = balanced_accuracy(batch, predicted), 1.0 / batches
    return Measurement(1.0 - float(np.clip((raw - chance) / (1.0 - chance), 0.0, 1.0)), raw=raw, chance=chance)


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
    primary=True,
    title="Batch probe (linear)",
    direction="1: a fresh linear classifier reads the batch no better than chance; 0: it reads every batch",
    function=batch_probe_linear,
)
