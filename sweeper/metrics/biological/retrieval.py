"""Retrieval: does a well find its replicates before other wells?

A replicate is a well of the same perturbation in another batch (`replicates_across`) and, by default, at another well
position: on a fixed layout, position alone finds replicates.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sweeper.metrics.evaluation import BoolArray, Evaluation, Measurement, Metric, unit_rows
from sweeper.metrics.ranking import Ranking, mean_by_group, rank
from trainers.base import IntArray


def activity_ranking(evaluation: Evaluation) -> tuple[Ranking, int]:
    """Replicates against negative controls, and how many queries took those of their batch instead of their plate."""
    perturbation, plate, batch = (evaluation.code(column) for column in ("perturbation", "plate", "batch"))
    control = evaluation.negative
    on_plate, on_batch = (np.bincount(code[control], minlength=code.max() + 1)[code] for code in (plate, batch))
    from_batch = on_plate < 2
    apart = _apart(evaluation)

    def select(rows: IntArray) -> tuple[BoolArray, BoolArray]:
        near = np.where(from_batch[rows, None], batch[rows, None] == batch, plate[rows, None] == plate)
        return apart(rows) & (perturbation[rows, None] == perturbation), near & control

    ranking = rank(evaluation.unit, np.flatnonzero(evaluation.scored & (np.maximum(on_plate, on_batch) >= 2)), select)
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
    return _average(ranking, evaluation.code("perturbation"), note if borrowed else None)


def retrieval_map(evaluation: Evaluation) -> Measurement:
    """Normalised mAP of replicates against other perturbations, all in another batch and well position; 1 is best.

    Queries and candidates are the scored wells, without negative controls. Value, raw and chance as in `activity_map`.
    """
    perturbation = evaluation.code("perturbation")
    ranking = evaluation.once(_replicate_ranking)
    if len(np.unique(perturbation[ranking.queries])) < 2:
        return Measurement(None, reason=f"fewer than 2 perturbations have {_replicate(evaluation)} among the test rows")
    return _average(ranking, perturbation)


def nn_accuracy(evaluation: Evaluation) -> Measurement:
    """Chance-corrected accuracy of the nearest neighbour in another batch and well position; 1 is best.

    Queries and candidates as in `retrieval_map`; equally near neighbours share the vote. Raw is the mean over
    perturbations of the share of wells whose neighbour has their perturbation, chance the mean share of replicates
    among the candidates.
    """
    perturbation = evaluation.code("perturbation")
    ranking = evaluation.once(_replicate_ranking)
    queries = ranking.queries
    if len(np.unique(perturbation[queries])) < 2:
        return Measurement(None, reason=f"fewer than 2 perturbations have {_replicate(evaluation)} among the test rows")
    groups = perturbation[queries]
    raw = mean_by_group(ranking.nearest, groups)
    chance = mean_by_group(ranking.positives / ranking.candidates, groups)
    return Measurement((raw - chance) / (1.0 - chance), raw=raw, chance=chance)


def target_consistency(evaluation: Evaluation) -> Measurement:
    """Phenotypic consistency: normalised mAP of perturbations that share a target, among all with one; 1 is best.

    A perturbation is its consensus, the median of its unit rows. Queries are the scored perturbations; candidates are
    all non-negative test perturbations with a target. Value is the mean over targets. Consensus averages batches out,
    so a batch effect in a balanced design does not show here.
    """
    wells = evaluation.test_wells
    known = ~evaluation.negative & (wells["target"].notna().to_numpy() if "target" in wells.columns else False)
    if not known.any():
        return Measurement(None, reason="no targets among the test rows")
    names, first, code = np.unique(
        wells.loc[known, "perturbation"].to_numpy(dtype=str), return_index=True, return_inverse=True
    )
    target = np.unique(wells.loc[known, "target"].to_numpy(dtype=str)[first], return_inverse=True)[1].astype(np.int64)
    rows = evaluation.unit[known]
    consensus = unit_rows(np.stack([np.median(rows[code == number], axis=0) for number in range(len(names))]))
    queries = np.flatnonzero(evaluation.scored[known][first])

    def select(some: IntArray) -> tuple[BoolArray, BoolArray]:
        same = target[some, None] == target
        return same & (some[:, None] != np.arange(len(names))), ~same

    ranking = rank(consensus, queries, select)
    if not len(ranking.queries):
        return Measurement(
            None, reason="no scored perturbation shares its target with another, or there is one target only"
        )
    return _average(ranking, target)


def _replicate_ranking(evaluation: Evaluation) -> Ranking:
    perturbation = evaluation.code("perturbation")
    eligible = evaluation.scored
    apart = _apart(evaluation)

    def select(rows: IntArray) -> tuple[BoolArray, BoolArray]:
        candidate = apart(rows) & eligible
        same = perturbation[rows, None] == perturbation
        return candidate & same, candidate & ~same

    return rank(evaluation.unit, np.flatnonzero(eligible), select)


def _apart(evaluation: Evaluation) -> Callable[[IntArray], BoolArray]:
    """For some rows (k,), the (k, n) rows that are far enough away in the design to be their replicates."""
    unit = evaluation.code(evaluation.options.replicates_across)
    well = evaluation.code("well")

    def apart(rows: IntArray) -> BoolArray:
        other: BoolArray = unit[rows, None] != unit
        if evaluation.options.different_wells:
            other &= well[rows, None] != well
        return other

    return apart


def _replicate(evaluation: Evaluation) -> str:
    position = " at another well position (option different_wells)" if evaluation.options.different_wells else ""
    return f"a replicate in another {evaluation.options.replicates_across}{position}"


def _average(ranking: Ranking, groups: IntArray, note: str | None = None) -> Measurement:
    """Value, raw and chance of a ranking, as means over groups of the mean over their queries."""
    of_query = groups[ranking.queries]
    value, raw, chance = (
        mean_by_group(column, of_query) for column in (ranking.normalised, ranking.precision, ranking.expected)
    )
    return Measurement(value, raw=raw, chance=chance, reason=note)


ACTIVITY = Metric(
    name="activity_map",
    role="biological",
    primary=True,
    title="Phenotypic activity (mAP)",
    direction="1: replicates are found before every negative control; 0: chance",
    function=activity_map,
)
RETRIEVAL = Metric(
    name="retrieval_map",
    role="biological",
    primary=True,
    title="Replicate retrieval (mAP)",
    direction="1: replicates in other batches are found before every other perturbation; 0: chance",
    function=retrieval_map,
)
NEAREST = Metric(
    name="nn_accuracy",
    role="biological",
    primary=False,
    title="Nearest neighbour in another batch",
    direction="1: it always has the well's perturbation; 0: chance",
    function=nn_accuracy,
)
TARGET = Metric(
    name="target_consistency",
    role="biological",
    primary=False,
    title="Phenotypic consistency (shared target)",
    direction="1: perturbations that share a target are found before all others; 0: chance",
    function=target_consistency,
)
