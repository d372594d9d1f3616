"""Retrieval: does a well find its replicates before other wells?

A replicate is a well of the same perturbation in another batch (`replicates_across`) and, by default, at another well
position: on a fixed layout, position alone finds replicates.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sweeper.metrics.evaluation import Evaluation, Measurement, Metric, Unit
from sweeper.metrics.layout import Absence, BoolArray, Layout, companions
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
    on_plate, on_batch = _controls_beside(evaluation)
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
    if (absence := evaluation.once(without_activity)) is not None:
        return Measurement.absent(absence)
    ranking, borrowed = activity_ranking(evaluation)
    note = f"{borrowed} of {len(ranking.queries)} queries took the controls of their batch: fewer than 2 on their plate"
    return _by_perturbation(evaluation, ranking, note if borrowed else None)


def within_batch_activity(evaluation: Evaluation) -> Measurement:
    """As `activity_map`, with the replicates on other plates of the query's own batch: no batch effect between them.

    The guard beside `activity_map`: low in both means that phenotype is lost; high here and low there that batch is
    left or perturbations are misaligned between batches. Its ratio to the same number of the uncorrected,
    plate-centred features is the retention of phenotype.
    """
    if (absence := evaluation.once(without_activity_within)) is not None:
        return Measurement.absent(absence)
    ranking, borrowed = activity_ranking(evaluation, within=True)
    note = f"{borrowed} of {len(ranking.queries)} queries took the controls of their batch: fewer than 2 on their plate"
    return _by_perturbation(evaluation, ranking, note if borrowed else None)


def retrieval_map(evaluation: Evaluation) -> Measurement:
    """Normalised mAP of replicates against other perturbations, all in another batch and well position; 1 is best.

    Queries and candidates are the scored wells, without negative controls. Value, raw and chance as in `activity_map`.
    """
    if (absence := evaluation.once(without_replicates)) is not None:
        return Measurement.absent(absence)
    return _by_perturbation(evaluation, evaluation.once(replicate_ranking))


def nn_accuracy(evaluation: Evaluation) -> Measurement:
    """Chance-corrected accuracy of the nearest neighbour in another batch and well position; 1 is best.

    Queries and candidates as in `retrieval_map`; equally near neighbours share the vote. Raw is the mean over
    perturbations of the share of wells whose neighbour has their perturbation, chance the mean share of replicates
    among the candidates.
    """
    if (absence := evaluation.once(without_replicates)) is not None:
        return Measurement.absent(absence)
    perturbation = evaluation.code("perturbation")
    ranking = evaluation.once(replicate_ranking)
    queries = ranking.queries
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
    same, other = ([_narrow(evaluation, column) for column in columns] for columns in _sides(evaluation, within=within))

    def apart(rows: IntArray) -> BoolArray:
        found: BoolArray = other[0][rows, None] != other[0]
        for code in other[1:]:
            found &= code[rows, None] != code
        for code in same:
            found &= code[rows, None] == code
        return found

    return apart


def _sides(layout: Layout, *, within: bool) -> tuple[list[str], list[str]]:
    """In which columns a well and its replicate are the same, and in which they differ."""
    other = ["plate" if within else layout.options.replicates_across]
    return ["batch"] if within else [], [*other, *(["well"] if layout.options.different_wells else [])]


def answerable(layout: Layout, *, within: bool = False) -> IntArray:
    """The queries of `replicate_ranking`: scored rows with a replicate and another perturbation to tell it from."""
    replicates = _replicates(layout, layout.scored, within=within)
    same, other = ([layout.code(column) for column in columns] for columns in _sides(layout, within=within))
    candidates = companions(same, other, layout.scored)
    return np.flatnonzero(layout.scored & (replicates > 0) & (candidates > replicates))


def answerable_by_controls(layout: Layout, *, within: bool = False) -> IntArray:
    """The queries of `activity_ranking`: scored rows with a replicate and 2 negative controls beside them."""
    every = np.ones(len(layout.test_wells), dtype=bool)
    beside = np.maximum(*_controls_beside(layout)) >= 2
    return np.flatnonzero(layout.scored & beside & (_replicates(layout, every, within=within) > 0))


def _replicates(layout: Layout, among: BoolArray, *, within: bool) -> IntArray:
    same, other = ([layout.code(column) for column in columns] for columns in _sides(layout, within=within))
    return companions([layout.code("perturbation"), *same], other, among)


def _controls_beside(layout: Layout) -> tuple[IntArray, IntArray]:
    """(n,) negative controls on each row's plate and in its batch."""
    on_plate, on_batch = (
        np.bincount(code[layout.negative], minlength=code.max() + 1)[code]
        for code in (layout.code("plate"), layout.code("batch"))
    )
    return on_plate, on_batch


def without_replicates(layout: Layout) -> Absence | None:
    """Why no replicate can be retrieved."""
    if len(np.unique(layout.code("perturbation")[answerable(layout)])) < 2:
        return _absence(layout, f"fewer than 2 perturbations have {_replicate(layout)} among the test rows")
    return None


def without_activity(layout: Layout) -> Absence | None:
    """Why no replicate can be told from negative controls."""
    if not layout.negative.any():
        return Absence(_NO_CONTROLS, MARK)
    if not len(answerable_by_controls(layout)):
        return _absence(layout, f"no query has {_replicate(layout)} and 2 negative controls on its plate or batch")
    return None


def without_activity_within(layout: Layout) -> Absence | None:
    """Why no replicate of the same batch can be told from negative controls."""
    if not layout.negative.any():
        return Absence(_NO_CONTROLS, MARK)
    if not len(answerable_by_controls(layout, within=True)):
        return Absence("no query has a replicate on another plate of its batch and 2 negative controls beside it")
    return None


_NO_CONTROLS = "no negative controls among the test rows"
MARK = "name the negative controls (screen.negative_controls)"


def _absence(layout: Layout, reason: str) -> Absence:
    """Why replicates are missing, and what of the configuration would find some."""
    if layout.options.replicates_across == "batch" and layout.count("batch") < 2:
        return Absence(reason, "hold out 2 batches or more at a time (fewer folds), or panel.replicates_across: plate")
    apart = layout.code(layout.options.replicates_across)
    elsewhere = companions([layout.code("perturbation")], [apart], layout.scored)[layout.scored] > 0
    if layout.options.different_wells and elsewhere.any():
        return Absence(reason, "panel.different_wells: false, where position is known not to matter")
    if layout.held_out_perturbations:
        return Absence(reason, "hold out more perturbations (held_out_perturbations), or none")
    return Absence(reason, "hold out more plates")


def _narrow(evaluation: Evaluation, column: str) -> NDArray[np.int32]:
    """The column's codes in half the width: masks of queries against all rows are made of many comparisons."""
    return evaluation.code(column).astype(np.int32)


def _replicate(layout: Layout) -> str:
    position = " at another well position (option different_wells)" if layout.options.different_wells else ""
    return f"a replicate in another {layout.options.replicates_across}{position}"


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
    absent=without_activity,
)
RETRIEVAL = Metric(
    name="retrieval_map",
    role="biological",
    standing="primary",
    title="Replicate retrieval (mAP)",
    direction="1: replicates in other batches are found before every other perturbation; 0: chance",
    function=retrieval_map,
    absent=without_replicates,
)
NEAREST = Metric(
    name="nn_accuracy",
    role="biological",
    standing="secondary",
    title="Nearest neighbour in another batch",
    direction="1: it always has the well's perturbation; 0: chance",
    function=nn_accuracy,
    absent=without_replicates,
)
WITHIN = Metric(
    name="within_batch_activity",
    role="biological",
    standing="guard",
    in_sweep=False,
    title="Phenotypic activity within a batch (mAP)",
    direction="1: replicates of the same batch are found before every negative control; 0: chance",
    function=within_batch_activity,
    absent=without_activity_within,
)
