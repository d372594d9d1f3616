"""The batch classifier of record: the strongest of five fresh readers, against what the strongest would score by luck.

A batch that one reader cannot see another may: a linear probe at chance proves no more than an adversary at chance.
"""

from __future__ import annotations

import numpy as np

from sweeper.metrics.classifier import balanced_accuracy
from sweeper.metrics.evaluation import Evaluation, Measurement, Metric
from sweeper.metrics.resampling import rescaled
from sweeper.metrics.technical.batch_probe import BELOW, accuracy_by_plate, below_chance, left_unread
from sweeper.metrics.technical.design import Factor
from sweeper.metrics.technical.permuted_maximum import luck_of_the_best
from sweeper.metrics.technical.readers import READERS, held_out, reading, shared_task, unreadable


def batch_reader(evaluation: Evaluation) -> Measurement:
    """1 - chance-corrected balanced accuracy of the strongest reader of the batch, in [0, 1]; 1 is best.

    Readers are those of `readers.READERS`: linear, neighbours, spread, covariance, trees. Predictions are out of fold;
    a fold holds out whole perturbations, negative controls plate by plate (or plates, by `probe_groups`). Raw is the
    largest of their balanced accuracies, each over its own expectation. Chance is the expected maximum when batches
    are permuted inside each perturbation (or plates between batches, where plates are held out, as their wells fail
    together): the best of several readers of noise is above 1/B, and is at chance here. What wells of perturbations in
    one batch only show can be phenotype as well, and no permutation moves it: it is in raw and chance alike. Value is
    1 - clip((raw - chance) / (1 - chance), 0, 1); `parts` has raw of every reader, `limit` the 95 % quantile of raw
    under permutation: up to there nothing is shown to be read.

    The standard error of raw from n wells is at most 1 / (2 √n) for balanced batches, 0.013 with 1,500. Of more than
    1,500 training wells the spread and covariance readers are fitted on 1,500, a tree on 400 (or 12 a batch): that
    makes a reader weaker, by little, and no more uncertain.

    Not identifiable: as `batch_probe_linear`.
    """
    return _strongest(evaluation, "batch")


def plate_reader(evaluation: Evaluation) -> Measurement:
    """As `batch_reader`, of plates, holding out whole perturbations always."""
    return _strongest(evaluation, "plate")


def _strongest(evaluation: Evaluation, factor: Factor) -> Measurement:
    if (absence := evaluation.once(unreadable(factor))) is not None:
        return Measurement.absent(absence)
    unit, given = held_out(evaluation, factor), evaluation.once(shared_task(factor))
    assert given is not None  # noqa: S101 - or it would be unreadable
    predicted = {name: evaluation.once(reading(name, factor)) for name in READERS}
    parts = {name: balanced_accuracy(given.labels, own) for name, own in predicted.items()}
    whole = unit == "plate"
    luck = luck_of_the_best(
        list(predicted.values()),
        given.labels,
        np.zeros_like(given.groups) if whole else evaluation.code("perturbation"),
        given.groups if whole else given.rows,
    )
    number = int(np.argmax(luck.score(np.array(list(parts.values())))))
    best, chance, limit = list(parts)[number], luck.accuracy(number, luck.best), luck.accuracy(number, luck.limit)
    raw = parts[best]
    right = predicted[best] == given.labels
    below = below_chance(given.labels, right, given.groups)
    return Measurement(
        float(left_unread(np.array(raw), chance)),
        weighted=rescaled(accuracy_by_plate(evaluation, given, right), lambda found: left_unread(found, chance)),
        raw=raw,
        chance=chance,
        limit=limit,
        parts=parts,
        reason=BELOW.format(raw=raw, chance=chance) if below else _told(parts, best, limit),
        flag="below_chance" if below else None,
    )


def _told(parts: dict[str, float], best: str, limit: float) -> str:
    others = ", ".join(f"{name} {raw:.3f}" for name, raw in parts.items() if name != best)
    if parts[best] <= limit:
        return f"nothing is read beyond luck (up to {limit:.3f}): {best} {parts[best]:.3f}, {others}"
    return f"read best by {best}; {others}; luck reaches {limit:.3f}"


BATCH = Metric(
    name="batch_reader",
    role="technical",
    standing="primary",
    title="Strongest batch reader",
    direction="1: no fresh reader of five kinds tells the batch beyond luck; 0: one reads every batch",
    function=batch_reader,
    absent=unreadable("batch"),
)
PLATE = Metric(
    name="plate_reader",
    role="technical",
    standing="secondary",
    in_sweep=False,
    title="Strongest plate reader",
    direction="1: no fresh reader of five kinds tells the plate beyond luck; 0: one reads every plate",
    function=plate_reader,
    absent=unreadable("plate"),
)
