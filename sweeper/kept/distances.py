"""How far a group of wells lies from others: location, scale and structure of its features, and place of its embedding.

A *unit* is what a new-batch view holds out, a batch unless the sweep says otherwise. Every distance of a new unit is
held against the same distance of each training unit from the rest of them, so no threshold is one of absolute size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

Array = NDArray[np.float64]
STRUCTURED = 128
"""Features whose structure is compared, evenly spaced."""
FEWEST = 8
"""Rows of a unit, below which it is not summarised."""
LEVEL = 0.99
"""One-sided level of a limit on one distance."""
MOST = 3.0
"""A limit lies at most this many times beyond the farthest training unit: few units say little of a tail."""
_FAR = 100.0  # a feature counts no farther than this
_FLAT = 1e-3  # of a feature's usual spread
_RIDGE = 1e-3  # of a scaled feature's variance
_CLIPPED = 10.0  # a value of one row counts no farther than this


@dataclass(frozen=True, eq=False)
class Summary:
    """Moments of each of B units.

    Attributes:
        units: names; rows: (B,) rows of each.
        means, logs: (B, d) mean and log standard deviation of every feature.
    """

    units: tuple[str, ...]
    rows: NDArray[np.int64]
    means: Array
    logs: Array

    def without(self, place: int) -> Summary:
        """All units but one."""
        return self.take(np.delete(np.arange(len(self.units)), place))

    def take(self, places: NDArray[np.int64] | Sequence[int]) -> Summary:
        """Some units."""
        at = np.asarray(places)
        units = tuple(self.units[place] for place in at)
        return Summary(units, self.rows[at], self.means[at], self.logs[at])


@dataclass(frozen=True)
class Distances:
    """Of one unit from others; 0 or more."""

    location: float
    scale: float


def structured(features: int) -> NDArray[np.int64]:
    """(k,) places of the features whose correlations are compared."""
    return np.unique(np.linspace(0, features - 1, min(STRUCTURED, features)).astype(np.int64))


def summarise(features: NDArray[Any], units: NDArray[Any]) -> Summary:
    """Moments of every unit with `FEWEST` rows or more.

    Args:
        features: (n, d), as they came: before any normalisation, which would hide a change of scale.
        units: (n,) the unit of each row.
    """
    spread = np.maximum(features.std(axis=0, dtype=np.float64), np.finfo(np.float64).tiny)
    names, means, logs, rows = [], [], [], []
    for name in sorted(set(units.tolist())):
        own = features[units == name].astype(np.float64)
        if len(own) < FEWEST:
            continue
        deviation = np.maximum(own.std(axis=0), _FLAT * spread)
        names.append(str(name))
        rows.append(len(own))
        means.append(own.mean(axis=0))
        logs.append(np.log(deviation))
    d = features.shape[1]
    return Summary(
        tuple(names),
        np.asarray(rows, np.int64),
        np.asarray(means, np.float64).reshape(-1, d),
        np.asarray(logs, np.float64).reshape(-1, d),
    )


def feature_shifts(own: Summary, others: Summary) -> tuple[Array, Array]:
    """(d,) shifts of location and of log scale of the one unit `own`, in units of how far `others` usually differ."""
    within = np.exp(others.logs.mean(axis=0))
    place = _standardised(own.means[0], others.means, within**2, within**2 / own.rows[0])
    scale = _standardised(own.logs[0], others.logs, np.ones_like(within), np.full_like(within, 0.5 / own.rows[0]))
    return place, scale


def distances(own: Summary, others: Summary) -> Distances:
    """Of the one unit in `own` from one or more `others`: root mean square of `feature_shifts`."""
    place, scale = feature_shifts(own, others)
    return Distances(_root_mean_square(place), _root_mean_square(scale))


@dataclass(frozen=True, eq=False)
class Structure:
    """How features go together in training rows, units counted alike: mean, scale, and what whitens the scaled rows.

    What two features that always move together do not do by themselves, they do where names were exchanged: rows are
    measured by their Mahalanobis distance, as multivariate process control does (Hotelling 1947).

    Attributes:
        mean, scale: (k,) of the features `structured(d)`.
        whitening: (k, k) of the scaled rows.
    """

    mean: Array
    scale: Array
    whitening: Array

    @classmethod
    def of(cls, features: NDArray[Any], units: NDArray[Any]) -> Structure:
        """Of (n, d) training rows."""
        own = features[:, structured(features.shape[1])].astype(np.float64)
        parts = [own[units == name] for name in np.unique(units)]
        mean = np.mean([part.mean(axis=0) for part in parts], axis=0)
        scale = np.sqrt(np.mean([((part - mean) ** 2).mean(axis=0) for part in parts], axis=0))
        scale = np.where(scale > 0, scale, 1.0)
        scaled = [_scaled(part, mean, scale) for part in parts]
        values, vectors = np.linalg.eigh(np.mean([part.T @ part / len(part) for part in scaled], axis=0))
        return cls(mean, scale, vectors / np.sqrt(np.maximum(values, 0.0) + _RIDGE))

    def distance(self, features: NDArray[Any], order: NDArray[np.int64] | None = None) -> float:
        """Geometric mean over (n, d) rows of their mean squared whitened values, with features in (d,) `order`."""
        places = structured(features.shape[1])
        own = features[:, places if order is None else order[places]].astype(np.float64)
        squared = ((_scaled(own, self.mean, self.scale) @ self.whitening) ** 2).mean(axis=1)
        return float(np.exp(np.log(np.maximum(squared, np.finfo(np.float64).tiny)).mean()))


def _scaled(rows: Array, mean: Array, scale: Array) -> Array:
    return np.asarray(np.clip((rows - mean) / scale, -_CLIPPED, _CLIPPED), np.float64)


def embedding_middle(embeddings: NDArray[Any], units: NDArray[Any]) -> tuple[Array, float]:
    """(e,) mean of the units' means, and the mean over units of their total variance."""
    parts = [embeddings[units == name].astype(np.float64) for name in np.unique(units)]
    middle = np.mean([part.mean(axis=0) for part in parts], axis=0)
    return middle, float(np.mean([part.var(axis=0).sum() for part in parts]))


def embedding_distance(own: NDArray[Any], middle: Array, within: float) -> float:
    """How far the mean of (n, e) rows lies from `middle`, in standard deviations within a unit; 0 or more.

    Above what the number of rows gives by itself.
    """
    rows = own.astype(np.float64)
    squared = float(((rows.mean(axis=0) - middle) ** 2).sum()) - float(rows.var(axis=0).sum()) / len(rows)
    return math.sqrt(max(0.0, squared) / max(within, np.finfo(np.float64).tiny))


def limit(known: Sequence[float]) -> float | None:
    """Largest distance of a new unit that those of B training units allow for; None with fewer than two.

    The prediction limit of log distances (Student, B − 1 degrees of freedom), not below the farthest training unit and
    not above `MOST` times it.
    """
    found = np.asarray(known, np.float64)
    if len(found) < 2:
        return None
    logs = np.log(np.maximum(found, 0.1 * max(float(found.max()), np.finfo(np.float64).tiny)))
    reach = float(stdtrit(len(found) - 1, LEVEL)) * float(logs.std(ddof=1)) * math.sqrt(1 + 1 / len(found))
    farthest = float(found.max())
    predicted = math.exp(min(float(logs.mean()) + reach, 700.0))
    return min(max(predicted, farthest), MOST * farthest)


def _standardised(own: Array, others: Array, usual: Array, noise: Array) -> Array:
    """Difference from the mean of others, in standard deviations of a single one of them.

    A feature's own variance between units is shrunk halfway to `usual` times what is typical of all features.
    """
    if len(others) > 1:
        between = others.var(axis=0, ddof=1)
        between = 0.5 * (between + usual * float(np.median(between / np.maximum(usual, np.finfo(np.float64).tiny))))
    else:
        between = usual
    spread = np.sqrt(np.maximum(between + noise, np.finfo(np.float64).tiny))
    return np.asarray(np.clip((own - others.mean(axis=0)) / spread, -_FAR, _FAR), np.float64)


def _root_mean_square(values: Array) -> float:
    return float(np.sqrt(np.mean(values**2)))


__all__ = [
    "FEWEST",
    "Distances",
    "Structure",
    "Summary",
    "distances",
    "embedding_distance",
    "embedding_middle",
    "feature_shifts",
    "limit",
    "structured",
    "summarise",
]
