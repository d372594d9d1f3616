"""Retrieval: does a well find its replicates before other wells?

A replicate is a well of the same perturbation in another batch (`replicates_across`) and, by default, at another well
position: on a fixed layout, position alone finds replicates.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sweeper.metrics.evaluation import BoolArray, Evaluation, Measurement, Metric, Unit
from sweeper.metrics.ranking import Ranking, mean_by_group, rank
from sweeper.metrics.resampling import Weighted, weighted_mean
from sweeper.metrics.units import query_units
from trainers.base import IntArray


def activity_ranking(evaluation: Evaluation, *, within: bool = False) -> tuple[Ranking, int]:
    """Replicates against negative controls, and how many queries took those of their batch instead of their plate.

    Replicates lie in another batch or, `within`, on another plate of the same one.
    """
    perturbation, plate, batch = (_narrow(evaluation, column) for column in ("perturbation", "plate", "batch"))
    control = evaluation.negative
    on_plate, on_batch = (np.bincount(code[control], minlength=code.max() + 1)[code] for code in (plate, batch))
    from_batch = on_plate < 2
    apart = _apart(evaluation, within=within)

    def select(rows: IntArray) -> tuple[BoolArray, BoolArray]:
        near = np.where(from_batch[rows, None], batch[rows, None] == batch, plate[rows, None] == plate)
        return apart(rows) & (perturbation[rows, None] == perturbation), near & control

    queries = np.flatnonzero(evaluation.scored & (np.maximum(on_plate, on_batch) >= 2))
    ranking = rank(evaluation.unit, queries, select, evaluation.arrays)
    return ranking, int(from_batch[ranking.queries].sum())


def activity_map(evaluation: Evaluation) -> Measurement:
    """Phenotypic activity: normalised mAP of replicates against negative controls of the query's plate; 1 is best.

    Queries are the scored wells. A query on a plate with fewer than 2 negative controls takes those of its batch, and
    the reason says for how many that was; a query with fewer than 2 there as well, or without a replicate, is left
    out. Value is the mean over perturbations of (AP - E) / (1 - E), raw the mean AP, chance the mean E. Controls
    share the plate and replicates do not, so a batch effect pushes the value below 0, and removing batch raises it
    without any gain of phenotype.
    """
    if not evaluation.negative.any():
        return Measurement(None, reason="no negative controls among the test rows")
    ranking, borrowed = activity_ranking(evaluation)
    if not len(ranking.queries):
        return Measurement(
            None, reason=f"no query has {_replicate(evaluation)} and 2 negative controls on its plate or batch"
        )
    note = f"{borrowed} of {len(ranking.queries)} queries took the controls of their batch: fewer than 2 on their plate"
    return _by_perturbation(evaluation, ranking, note if borrowed else None)


def within_batch_activity(evaluation: Evaluation) -> Measurement:
    """As `activity_map`, with the replicates on other plates of the query's own batch: no batch effect between them.

    The guard beside `activity_map`: low in both means that phenotype is lost; high here and low there that batch is
    left or perturbations are misaligned between batches. Its ratio to the same number of the uncorrected,
    plate-centred features is the retention of phenotype.
    """
    if not evaluation.negative.any():
        return Measurement(None, reason="no negative controls among the test rows")
    ranking, borrowed = activity_ranking(evaluation, within=True)
    if not len(ranking.queries):
        return Measurement(
            None, reason="no query has a replicate on another plate of its batch and 2 negative controls beside it"
        )
    note = f"{borrowed} of {len(ranking.queries)} queries took the controls of their batch: fewer than 2 on their plate"
    return _by_perturbation(evaluation, ranking, note if borrowed else None)


def retrieval_map(evaluation: Evaluation) -> Measurement:
    """Normalised mAP of replicates against other perturbations, all in another batch and well position; 1 is best.

    Queries and candidates are the scored wells, without negative controls. Value, raw and chance as in `activity_map`.
    """
    perturbation = evaluation.code("perturbation")
    ranking = evaluation.once(replicate_ranking)
    if len(np.unique(perturbation[ranking.queries])) < 2:
        return Measurement(None, reason=f"fewer than 2 perturbations have {_replicate(evaluation)} among the test rows")
    return _by_perturbation(evaluation, ranking)


def nn_accuracy(evaluation: Evaluation) -> Measurement:
    """Chance-corrected accuracy of the nearest neighbour in another batch and well position; 1 is best.

    Queries and candidates as in `retrieval_map`; equally near neighbours share the vote. Raw is the mean over
    perturbations of the share of wells whose neighbour has their perturbation, chance the mean share of replicates
    among the candidates.
    """
    perturbation = evaluation.code("perturbation")
    ranking = evaluation.once(replicate_ranking)
    queries = ranking.queries
    if len(np.unique(perturbation[queries])) < 2:
        return Measurement(None, reason=f"fewer than 2 perturbations have {_replicate(evaluation)} among the test rows")
    groups = perturbation[queries]
    raw = mean_by_group(ranking.nearest, groups)
    chance = mean_by_group(ranking.positives / ranking.candidates, groups)
    units = query_units(evaluation.test_wells, queries, ranking.nearest, chance=chance, axes=evaluation.options.units)
    return Measurement((raw - chance) / (1.0 - chance), raw=raw, chance=chance, units=units)


def replicate_ranking(evaluation: Evaluation, *, within: bool = False) -> Ranking:
    """Replicates against other perturbations, both in another batch or, `within`, on other plates of the same one."""
    perturbation = _narrow(evaluation, "perturbation")
    eligible = evaluation.scored
    apart = _apart(evaluation, within=within)

    def select(rows: IntArray) -> tuple[BoolArray, BoolArray]:
        candidate = apart(rows) & eligible
        same = perturbation[rows, None] == perturbation
        return candidate & same, candidate & ~same

    return rank(evaluation.unit, np.flatnonzero(eligible), select, evaluation.arrays)


def _apart(evaluation: Evaluation, *, within: bool = False) -> Callable[[IntArray], BoolArray]:
    """For some rows (k,), the (k, n) rows that are far enough away in the design to be their replicates."""
    unit = _narrow(evaluation, "plate" if within else evaluation.options.replicates_across)
    batch, well = _narrow(evaluation, "batch"), _narrow(evaluation, "well")

    def apart(rows: IntArray) -> BoolArray:
        other: BoolArray = unit[rows, None] != unit
        if within:
            other &= batch[rows, None] == batch
        if evaluation.options.different_wells:
            other &= well[rows, None] != well
        return other

    return apart


def _narrow(evaluation: Evaluation, column: str) -> NDArray[np.int32]:
    """The column's codes in half the width: masks of queries against all rows are made of many comparisons."""
    return evaluation.code(column).astype(np.int32)


def _replicate(evaluation: Evaluation) -> str:
    position = " at another well position (option different_wells)" if evaluation.options.different_wells else ""
    return f"a replicate in another {evaluation.options.replicates_across}{position}"


def average(
    ranking: Ranking,
    groups: IntArray,
    note: str | None = None,
    units: tuple[Unit, ...] = (),
    weighted: Weighted | None = None,
) -> Measurement:
    """Value, raw and chance of a ranking, as means over groups of the mean over their queries."""
    of_query = groups[ranking.queries]
    value, raw, chance = (
        mean_by_group(column, of_query) for column in (ranking.normalised, ranking.precision, ranking.expected)
    )
    return Measurement(value, raw=raw, chance=chance, reason=note, units=units, weighted=weighted)


def _by_perturbation(evaluation: Evaluation, ranking: Ranking, note: str | None = None) -> Measurement:
    units = query_units(evaluation.test_wells, ranking.queries, ranking.normalised, axes=evaluation.options.units)
    perturbation = evaluation.code("perturbation")
    found, own = np.unique(perturbation[ranking.queries], return_inverse=True)
    means = np.bincount(own, weights=ranking.normalised) / np.bincount(own)
    weighted = weighted_mean(means, found, evaluation.count("perturbation"))
    return average(ranking, perturbation, note, units, weighted)


ACTIVITY = Metric(
    name="activity_map",
    role="biological",
    standing="primary",
    title="Phenotypic activity (mAP)",
    direction="1: replicates are found before every negative control; 0: chance",
    function=activity_map,
)
RETRIEVAL = Metric(
    name="retrieval_map",
    role="biological",
    standing="primary",
    title="Replicate retrieval (mAP)",
    direction="1: replicates in other batches are found before every other perturbation; 0: chance",
    function=retrieval_map,
)
NEAREST = Metric(
    name="nn_accuracy",
    role="biological",
    standing="secondary",
    title="Nearest neighbour in another batch",
    direction="1: it always has the well's perturbation; 0: chance",
    function=nn_accuracy,
)
WITHIN = Metric(
    name="within_batch_activity",
    role="biological",
    standing="guard",
    in_sweep=False,
    title="Phenotypic activity within a batch (mAP)",
    direction="1: replicates of the same batch are found before every negative control; 0: chance",
    function=within_batch_activity,
)
