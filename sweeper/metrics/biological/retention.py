"""Retention: how much of the phenotype that the uncorrected features show inside a batch does the embedding keep?

Inside a batch there is no batch effect to remove, so what is lost there is over-correction, whatever the batch labels.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweeper.metrics.biological.retrieval import (
    activity_ranking,
    answerable,
    answerable_by_controls,
    replicate_ranking,
)
from sweeper.metrics.evaluation import Evaluation, Float64Array, Measurement, Metric
from sweeper.metrics.layout import Absence, Layout
from sweeper.metrics.panel_options import PanelOptions
from sweeper.metrics.ranking import Ranking
from trainers.base import FloatArray, IntArray

LOST_BELOW = 0.9
LOST_FLAG = "phenotype_lost"
_RESAMPLES = 1000
_MIN_PERTURBATIONS = 3


def uncorrected(
    features: FloatArray,
    wells: pd.DataFrame,
    *,
    view: str,
    seed: int,
    held_out_perturbations: tuple[str, ...] = (),
    options: PanelOptions | None = None,
) -> Evaluation:
    """The reference that retention is measured against: z-scored features less the mean of each plate's controls.

    A plate without negative controls is centred on all its wells. No batch is corrected beyond that.

    Args:
        features: (n, d) features of the test rows, before any correction.
        wells: their n rows of `Screen.wells`.
        view, seed, held_out_perturbations, options: as in the evaluations it serves.
    """
    rows = features.astype(np.float64)
    std = rows.std(axis=0)
    rows /= np.where(std > np.finfo(np.float32).eps * np.abs(rows).max(axis=0, initial=0.0), std, 1.0)
    negative = np.asarray(wells["control_type"] == "negative", dtype=bool)
    plates = np.unique(wells["plate"].to_numpy(dtype=str), return_inverse=True)[1]
    for plate in range(plates.max() + 1):
        inside = plates == plate
        chosen = inside & negative
        rows[inside] -= rows[chosen if chosen.any() else inside].mean(axis=0)
    reference = rows.astype(np.float32)
    return Evaluation(
        test=reference,
        test_wells=wells,
        train=reference[:0],
        train_wells=wells.iloc[:0],
        validation=reference[:0],
        validation_wells=wells.iloc[:0],
        held_out_perturbations=held_out_perturbations,
        view=view,
        seed=seed,
        options=options or PanelOptions(),
    )


def within_batch_retention(evaluation: Evaluation) -> Measurement:
    """Retention R: nAP inside batches over that of the uncorrected, plate-centred features of the same wells.

    nAP as in `within_batch_activity` (replicates on other plates of the query's batch, against negative controls);
    without negative controls among the test rows, against other perturbations of the batch, and the reason says so.
    Raw is the ratio of the two means over perturbations, with a 95 % interval from resampled perturbations; value is
    raw within [0, 1], higher is better: more than kept counts as kept. R < 0.9 is flagged. It is blind to
    perturbations swapped between batches: read `activity_map` beside it. Perturbations that the encoder was trained on
    can stand far above 1 and hide a loss: raw along the strengths shows it.
    """
    if (absence := evaluation.once(nothing_to_keep)) is not None:
        return Measurement.absent(absence)
    assert evaluation.reference is not None  # noqa: S101 - or it would be absent
    return retained(
        evaluation.once(by_perturbation),
        evaluation.reference.once(by_perturbation),
        seed=evaluation.seed,
        note="" if evaluation.negative.any() else "no negative controls: against other perturbations",
    )


def nothing_to_keep(layout: Layout) -> Absence | None:
    """Why there is no phenotype inside batches to compare."""
    if not layout.has("reference"):
        return Absence("no uncorrected features of these wells to compare with")
    return without_replicates_within(layout)


def without_replicates_within(layout: Layout) -> Absence | None:
    """Why phenotype inside batches cannot be judged."""
    queries = (answerable_by_controls if layout.negative.any() else answerable)(layout, within=True)
    if len(np.unique(layout.code("perturbation")[queries])) < _MIN_PERTURBATIONS:
        return Absence(
            f"fewer than {_MIN_PERTURBATIONS} perturbations have replicates on two plates of a batch and"
            " something to be told from beside them"
        )
    return None


def retained(after: Float64Array, before: Float64Array, *, seed: int, note: str = "") -> Measurement:
    """Ratio of two means over the same (p,) perturbations, with its bootstrap interval, as a measurement.

    Absent where the mean before is not above 0 in 97.5 % of the resamples: nothing was there that could be lost.
    """
    rng = np.random.default_rng([seed, 14])
    drawn = rng.integers(0, len(before), (_RESAMPLES, len(before)))
    denominator = before[drawn].mean(axis=1)
    if before.mean() <= 0 or np.quantile(denominator, 0.025) <= 0:
        return Measurement(None, reason="the uncorrected features show no phenotype inside batches")
    raw = float(after.mean() / before.mean())
    low, high = np.quantile(after[drawn].mean(axis=1) / np.maximum(denominator, 1e-12), [0.025, 0.975]).tolist()
    lost = raw < LOST_BELOW
    notes = [note] if note else []
    if lost:
        notes.append(f"phenotype is lost inside batches: {raw:.2f} of it is left ({low:.2f} to {high:.2f})")
    return Measurement(
        min(max(raw, 0.0), 1.0),
        raw=raw,
        chance=0.0,
        reason="; ".join(notes) or None,
        flag=LOST_FLAG if lost else None,
        interval=(low, high),
    )


def by_perturbation(evaluation: Evaluation) -> NDArray[np.float64]:
    """(p,) mean nAP of each perturbation, in the order of its code; empty when there are too few."""
    if evaluation.once(without_replicates_within) is not None:
        return np.empty(0)
    ranking: Ranking
    if evaluation.negative.any():
        ranking, _ = activity_ranking(evaluation, within=True)
    else:
        ranking = replicate_ranking(evaluation, within=True)
    groups: IntArray = evaluation.code("perturbation")[ranking.queries]
    code = np.unique(groups, return_inverse=True)[1]
    mean: Float64Array = np.bincount(code, weights=ranking.normalised) / np.bincount(code)
    return mean


RETENTION = Metric(
    name="within_batch_retention",
    role="biological",
    standing="guard",
    title="Phenotype kept inside batches",
    direction="1: all that the uncorrected features show inside a batch; 0: nothing of it; below 0.9 is flagged",
    function=within_batch_retention,
    absent=nothing_to_keep,
)
