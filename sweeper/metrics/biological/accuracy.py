"""Classification: does a classifier fitted on the training wells still know the perturbation on the test wells?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sweeper.metrics.classifier import LinearClassifier, fit
from sweeper.metrics.evaluation import Evaluation, Float64Array, Measurement, Metric
from sweeper.metrics.layout import Absence, BoolArray, Layout
from sweeper.metrics.ranking import mean_by_group
from sweeper.metrics.units import query_units
from trainers.base import FloatArray, IntArray


def perturbation_accuracy(evaluation: Evaluation) -> Measurement:
    """Chance-corrected balanced accuracy on the test wells of perturbations seen in training; ≤ 1, 1 is best.

    A fresh linear classifier of the C non-negative training perturbations is fitted on the training embeddings. Raw
    is the balanced accuracy, chance 1/C, value (raw - 1/C) / (1 - 1/C), below 0 when the encoder misleads.
    """
    return _corrected(evaluation, evaluation.test, evaluation.test_wells, unlearnt)


def in_distribution_accuracy(evaluation: Evaluation) -> Measurement:
    """As `perturbation_accuracy`, on validation wells: batches seen in training, plates unseen."""
    return _corrected(evaluation, evaluation.validation, evaluation.validation_wells, unlearnt_validation)


def accuracy_gap(evaluation: Evaluation) -> Measurement:
    """-(in-distribution - test balanced accuracy) over the perturbations in both; 0 means that nothing is lost.

    Raw is the drop itself. The floor is the drop from perfect to chance. An embedding at chance has no gap either:
    read it beside `perturbation_accuracy`.
    """
    if (absence := evaluation.once(without_gap)) is not None:
        return Measurement.absent(absence)
    names, classifier = evaluation.once(_classifier)
    wanted = _in_both(evaluation)
    inside, outside = (
        _hits(classifier, names, embeddings, wells, wells["perturbation"].isin(wanted).to_numpy(dtype=bool))
        for embeddings, wells in (
            (evaluation.validation, evaluation.validation_wells),
            (evaluation.test, evaluation.test_wells),
        )
    )
    drop = inside.accuracy - outside.accuracy
    expected = np.bincount(inside.truth, inside.hit) / np.maximum(np.bincount(inside.truth), 1)
    change = outside.hit - expected[outside.truth]
    units = query_units(evaluation.test_wells, outside.rows, change, axes=evaluation.options.units)
    return Measurement(-drop, floor=-(1.0 - 1.0 / len(names)), ceiling=0.0, raw=drop, chance=0.0, units=units)


@dataclass(frozen=True, eq=False)
class _Hits:
    """Of the q predicted wells: row number, code of the perturbation, and 1.0 where it was recognised."""

    rows: IntArray
    truth: IntArray
    hit: Float64Array

    @property
    def accuracy(self) -> float:
        """Balanced accuracy: the mean over the perturbations present of their share of hits."""
        return mean_by_group(self.hit, self.truth)


def unlearnt(layout: Layout) -> Absence | None:
    """Why no test row can be recognised."""
    return _unlearnt(layout, layout.test_wells, "test", "hold out plates or wells of batches that are learnt from")


def unlearnt_validation(layout: Layout) -> Absence | None:
    """Why no validation row can be recognised."""
    return _unlearnt(layout, layout.validation_wells, "validation", VALIDATE)


def without_gap(layout: Layout) -> Absence | None:
    """Why there is nothing to compare."""
    if len(_learnt(layout)) < 2:
        return Absence(_UNTRAINED)
    if not _in_both(layout):
        return Absence("no training perturbation has wells both in validation and in test", VALIDATE)
    return None


_UNTRAINED = "fewer than 2 perturbations besides negative controls among the training rows"
VALIDATE = "set the view's validation_fraction"


def _unlearnt(layout: Layout, wells: pd.DataFrame, part: str, remedy: str) -> Absence | None:
    names = _learnt(layout)
    if len(names) < 2:
        return Absence(_UNTRAINED)
    if not wells["perturbation"].isin(names).any():
        return Absence(f"no {part} row has a perturbation of the training rows", remedy)
    return None


def _treated(layout: Layout) -> BoolArray:
    return np.asarray(layout.train_wells["control_type"] != "negative", dtype=bool)


def _learnt(layout: Layout) -> list[str]:
    """The C non-negative training perturbations, sorted."""
    names = layout.train_wells.loc[_treated(layout), "perturbation"].to_numpy(dtype=str)
    found: list[str] = np.unique(names).tolist()
    return found


def _in_both(layout: Layout) -> frozenset[str]:
    """Training perturbations with wells both in validation and in test."""
    shared = np.intersect1d(layout.test_wells["perturbation"], layout.validation_wells["perturbation"])
    return frozenset(np.intersect1d(shared, _learnt(layout)).tolist())


def _classifier(evaluation: Evaluation) -> tuple[list[str], LinearClassifier]:
    """The C ≥ 2 training perturbations, sorted, and the classifier whose classes are their numbers."""
    treated, names = _treated(evaluation), _learnt(evaluation)
    labels = np.searchsorted(names, evaluation.train_wells.loc[treated, "perturbation"].to_numpy(dtype=str))
    return names, fit(evaluation.train[treated], labels.astype(np.int64))


def _corrected(
    evaluation: Evaluation,
    embeddings: FloatArray,
    wells: pd.DataFrame,
    absent: Callable[[Layout], Absence | None],
) -> Measurement:
    if (absence := evaluation.once(absent)) is not None:
        return Measurement.absent(absence)
    names, classifier = evaluation.once(_classifier)
    known = wells["perturbation"].isin(names).to_numpy(dtype=bool)
    hits, chance = _hits(classifier, names, embeddings, wells, known), 1.0 / len(names)
    units = query_units(wells, hits.rows, hits.hit, chance=chance, axes=evaluation.options.units)
    return Measurement((hits.accuracy - chance) / (1.0 - chance), raw=hits.accuracy, chance=chance, units=units)


def _hits(
    classifier: LinearClassifier, names: list[str], embeddings: FloatArray, wells: pd.DataFrame, rows: BoolArray
) -> _Hits:
    truth = np.searchsorted(names, wells.loc[rows, "perturbation"].to_numpy(dtype=str)).astype(np.int64)
    hit = classifier.predict(embeddings[rows]) == truth
    return _Hits(np.flatnonzero(rows), truth, hit.astype(np.float64))


PERTURBATION = Metric(
    name="perturbation_accuracy",
    role="biological",
    standing="primary",
    title="Perturbation accuracy",
    direction="1: every perturbation is recognised on the test wells; 0: chance",
    function=perturbation_accuracy,
    absent=unlearnt,
)
IN_DISTRIBUTION = Metric(
    name="in_distribution_accuracy",
    role="biological",
    standing="secondary",
    title="Perturbation accuracy in distribution",
    direction="1: every perturbation is recognised on unseen plates of the training batches; 0: chance",
    function=in_distribution_accuracy,
    absent=unlearnt_validation,
)
GAP = Metric(
    name="accuracy_gap",
    role="biological",
    standing="guard",
    title="Accuracy kept on the way to the test wells",
    direction="0: as accurate on the test wells as in distribution; negative: the drop",
    function=accuracy_gap,
    absent=without_gap,
)
