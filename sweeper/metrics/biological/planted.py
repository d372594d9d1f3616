"""The planted signal as a guard of the panel: positive-control directions added to held-out negative controls."""

from __future__ import annotations

import numpy as np

from sweeper.metrics.evaluation import Evaluation, Measurement, Metric
from sweeper.metrics.layout import Absence, BoolArray, Layout
from sweeper.metrics.probes.planted_signal import MIN_WELLS, planted_signal
from trainers.base import FloatArray

_MOST_DIRECTIONS = 4


def planted_signal_retention(evaluation: Evaluation) -> Measurement:
    """How well a dose of phenotype planted in negative controls is read after the encoder, over before it.

    Each positive control's mean less the negative controls' mean is added at growing doses to the negative controls of
    the test rows; see `probes.planted_signal`. Without positive controls the 4 scored perturbations farthest from the
    negative controls serve, and the reason says so. Raw is slope after / slope before, value raw within [0, 1], higher
    is better; chance 0. Below 0.9 is flagged. Phenotypes that the encoder was trained on flatter it.
    """
    if (absence := evaluation.once(unplantable)) is not None:
        return Measurement.absent(absence)
    source, negative, positive = evaluation.source, evaluation.negative, _positive(evaluation)
    assert source is not None  # noqa: S101 - or it would be absent
    directions = _directions(evaluation, source.features, positive if positive.any() else evaluation.scored)
    note = None if positive.any() else f"no positive controls: planted along {len(directions)} scored perturbations"
    found = planted_signal(
        source.encode,
        source.features[negative],
        evaluation.code("plate")[negative],
        directions,
        seed=evaluation.seed,
    )
    if found is None:
        return Measurement(None, reason="what would be planted does not stand out of the negative controls' features")
    raw = found.retention
    return Measurement(min(max(raw, 0.0), 1.0), raw=raw, chance=0.0, reason=note)


def unplantable(layout: Layout) -> Absence | None:
    """Why nothing can be planted."""
    if not layout.has("source"):
        return Absence("the embedding cannot be made anew from changed features here")
    if layout.negative.sum() < MIN_WELLS:
        return Absence(f"fewer than {MIN_WELLS} negative controls among the test rows")
    if not (_positive(layout) | layout.scored).any():
        return Absence("no positive controls and no scored perturbations among the test rows")
    return None


def _positive(layout: Layout) -> BoolArray:
    return np.asarray(layout.test_wells["control_type"] == "positive", dtype=bool)


def _directions(evaluation: Evaluation, features: FloatArray, rows: BoolArray) -> FloatArray:
    """(c ≤ 4, d) means of the rows' perturbations less the negative controls' mean, the farthest of them.

    Far in standard deviations of the negative controls.
    """
    control = features[evaluation.negative].astype(np.float64)
    spread = np.where((std := control.std(axis=0)) > 0, std, 1.0)
    perturbation = evaluation.code("perturbation")
    shifts = np.array(
        [
            features[rows & (perturbation == code)].mean(axis=0, dtype=np.float64) - control.mean(axis=0)
            for code in np.unique(perturbation[rows])
        ]
    ).reshape(-1, features.shape[1])
    farthest = np.argsort(-np.sum((shifts / spread) ** 2, axis=1), kind="stable")[:_MOST_DIRECTIONS]
    return shifts[farthest].astype(np.float32)


PLANTED = Metric(
    name="planted_signal_retention",
    role="biological",
    standing="guard",
    title="Planted phenotype kept",
    direction="1: a dose planted in negative controls is as readable as in the features; 0: gone",
    function=planted_signal_retention,
    absent=unplantable,
)
