"""Planted signal: how much of a known dose, added to control wells before the embedding, can be read after it?

The wells are their own controls: nothing differs between doses but the signal, so that what cannot be read afterwards
was lost on the way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sweeper.metrics.classifier import fit
from sweeper.metrics.evaluation import Float64Array
from trainers.base import FloatArray, IntArray

DOSES = (0.0, 0.25, 0.5, 1.0)
MIN_WELLS = 8
Encode = Callable[[FloatArray], NDArray[np.floating]]


@dataclass(frozen=True)
class PlantedSignal:
    """Slopes of the reading against the dose, in standard deviations of unplanted wells per unit dose.

    Attributes:
        before: in the features.
        after: in the embedding.
    """

    before: float
    after: float

    @property
    def retention(self) -> float:
        """Ratio of the slopes: 1 when the dose is as readable as in the features, 0 when it is gone; may exceed 1."""
        return self.after / self.before


def planted_signal(
    encode: Encode, features: FloatArray, plates: IntArray, directions: FloatArray, *, seed: int
) -> PlantedSignal | None:
    """Plant each direction at doses 0, 0.25, 0.5 and 1 in control wells, embed them, and read the dose back.

    The reading is a linear discriminant (shrunken covariance) of dose 1 against dose 0, fitted on a random half of the
    wells and applied to the other half, both ways round; its slope against the dose is divided by its standard
    deviation between unplanted wells of a plate. A slope is the mean over directions.

    Args:
        encode: (k, d) features to (k, e) embeddings.
        features: (n ≥ 8, d) control wells that the encoder has not seen.
        plates: (n,) integer plate of each.
        directions: (c ≥ 1, d) what dose 1 adds, such as positive-control mean less negative-control mean.
        seed: of the halves.

    Returns:
        None where the features themselves show no dose: nothing could be lost.
    """
    order = np.random.default_rng([seed, 15]).permutation(len(features))
    halves = np.zeros(len(features), dtype=bool)
    halves[order[: len(order) // 2]] = True
    before, after = [], []
    for direction in directions:
        planted = [(features + dose * direction).astype(np.float32) for dose in DOSES]
        encoded = np.split(np.asarray(encode(np.concatenate(planted))), len(DOSES))
        before.append(_slope(planted, halves, plates))
        after.append(_slope(encoded, halves, plates))
    slope = float(np.mean(before))
    return PlantedSignal(slope, float(np.mean(after))) if slope > 0 else None


def _slope(doses: list[NDArray[np.floating]], first: NDArray[np.bool_], plates: IntArray) -> float:
    """Mean over both halves of the standardised slope that the other half's axis reads."""
    found = []
    for half in (first, ~first):
        fitted = np.concatenate([doses[0][~half], doses[-1][~half]])
        number = int((~half).sum())
        weights = fit(fitted, np.repeat(np.arange(2), number)).weights
        axis = weights[:, 1] - weights[:, 0]
        reading = np.stack([dose[half].astype(np.float64) @ axis for dose in doses])
        noise = _within(reading[0], plates[half])
        found.append(float(np.polyfit(DOSES, reading.mean(axis=1), 1)[0]) / noise if noise > 0 else 0.0)
    return float(np.mean(found))


def _within(values: Float64Array, plates: IntArray) -> float:
    """Standard deviation inside plates, or of all values where no plate has two."""
    groups = np.unique(plates, return_inverse=True)[1]
    count = np.bincount(groups)
    if len(values) == len(count):
        return float(values.std(ddof=1))
    centred = values - (np.bincount(groups, weights=values) / count)[groups]
    return float(np.sqrt(np.sum(centred**2) / (len(values) - len(count))))


__all__ = ["DOSES", "MIN_WELLS", "PlantedSignal", "planted_signal"]
