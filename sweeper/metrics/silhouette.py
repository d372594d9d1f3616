"""Silhouettes of many labellings of the same rows at once.

s = (b - a) / max(a, b), with a the mean distance to the other rows of the own label and b that to the nearest other
label; 0 for a row alone in its label (Rousseeuw, J Comput Appl Math 1987, doi:10.1016/0377-0427(87)90125-7).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sweeper.metrics.arrays import NUMPY, Arrays
from sweeper.metrics.evaluation import Evaluation, Float64Array
from sweeper.metrics.layout import Layout
from sweeper.metrics.neighbours import CHUNK, Cloud, pairwise, squared_block
from sweeper.metrics.technical.design import permuted_within
from sweeper.metrics.technical.position import positions
from trainers.base import IntArray


def silhouettes(
    rows: NDArray[Any],
    labellings: Sequence[IntArray],
    arrays: Arrays = NUMPY,
    queries: IntArray | None = None,
) -> Float64Array:
    """(c, q) Euclidean silhouettes in [-1, 1] of (n, e) rows under c labellings, each (n,) of ≥ 2 labels.

    Rows with a negative label are left out of that labelling, and have 0. `queries` are the rows whose silhouettes are
    wanted, among all of them; None for all.
    """
    from scipy.sparse import csr_array

    cloud, n = Cloud(rows, arrays), len(rows)
    asked = np.arange(n) if queries is None else queries
    inside = [np.flatnonzero(labels >= 0) for labels in labellings]
    codes = [np.full(n, -1) for _ in labellings]
    for code, labels, own in zip(codes, labellings, inside, strict=True):
        code[own] = np.unique(labels[own], return_inverse=True)[1]
    sizes = [np.bincount(code[own]) for code, own in zip(codes, inside, strict=True)]
    starts = np.cumsum([0, *(len(size) for size in sizes)])
    # One sparse product sums the distances to every label of every labelling.
    column = np.concatenate(inside)
    row = np.concatenate([code[own] + start for code, own, start in zip(codes, inside, starts, strict=False)])
    members = arrays.put_members(csr_array((np.ones(len(column)), (row, column)), shape=(int(starts[-1]), n)))
    found = np.empty((len(codes), len(asked)))
    step = max(1, arrays.block // max(n, int(starts[-1])))
    for at in range(0, len(asked), step):
        some = asked[at : at + step]
        block = squared_block(cloud, cloud, some, arrays)
        sums, here = arrays.label_sums(block, members), np.arange(len(some))
        for number, (code, size) in enumerate(zip(codes, sizes, strict=True)):
            own = code[some]
            means = sums[starts[number] : starts[number + 1]].astype(np.float64)
            a = means[own, here] / np.maximum(size[own] - 1, 1)
            means /= size[:, None]
            means[own, here] = np.inf
            b = means.min(axis=0)
            largest = np.maximum(a, b)
            defined = (own >= 0) & (size[own] > 1) & (largest > 0)
            found[number, at : at + step] = np.where(defined, (b - a) / np.where(defined, largest, 1.0), 0.0)
    return found


def grouped_silhouettes(rows: NDArray[Any], labellings: IntArray) -> Float64Array:
    """(c, g, m) silhouettes in g groups of m rows (g, m, e), each by itself, under c labellings (c, g, m).

    Labels 0, 1, … need not all occur in every group. Memory grows with g · m².
    """
    groups, m, _ = rows.shape
    if m**2 > 4 * CHUNK:
        return np.stack([silhouettes(own, list(labellings[:, at])) for at, own in enumerate(rows)], axis=1)
    distance = pairwise(rows)
    found = np.empty(labellings.shape)
    for labels, silhouette in zip(labellings, found, strict=True):
        member = np.equal.outer(labels, np.arange(labellings.max() + 1)).astype(np.float64)
        size = member.sum(axis=1)[:, None, :]
        sums = distance @ member
        own = member == 1
        own_size = np.broadcast_to(size, sums.shape)[own].reshape(groups, m)
        a = sums[own].reshape(groups, m) / np.maximum(own_size - 1, 1)
        b = np.where(own | (size == 0), np.inf, sums / np.maximum(size, 1)).min(axis=2)
        largest = np.maximum(a, b)
        defined = (own_size > 1) & (largest > 0)
        silhouette[:] = np.where(defined, (b - a) / np.where(defined, largest, 1.0), 0.0)
    return found


class LabelSilhouettes(NamedTuple):
    """Silhouettes of one label.

    Attributes:
        wells: (w,) of every well that has the label.
        mean: over them.
        chance: the mean under permuted labels.
    """

    wells: Float64Array
    mean: float
    chance: float


def label_silhouettes(evaluation: Evaluation) -> dict[str, LabelSilhouettes]:
    """Silhouettes of the labels and of their permutations; for `Evaluation.once`.

    "batch" (permuted inside each perturbation), "row" and "column" of all test wells, "perturbation" of the scored
    ones: four metrics share one round of distances. What has one label only, or one well in each, is absent. Chance
    is the mean over at most 2000 wells, evenly taken: it hardly varies between wells or permutations.
    """
    count = min(SHUFFLES, evaluation.options.permutations)
    perturbation, labels = evaluation.code("perturbation"), silhouette_labels(evaluation)
    n, scored = len(perturbation), np.flatnonzero(evaluation.scored)
    if not labels:
        return {}
    inside = {name: scored if name == "perturbation" else np.arange(n) for name in labels}
    shuffled = [
        _everywhere(shuffle, inside[name], n)
        for name, own in labels.items()
        for shuffle in permuted_within(
            own,
            perturbation if name == "batch" else np.zeros_like(own),
            count=count,
            seed=(evaluation.seed, _STREAMS[name]),
        )
    ]
    rows, arrays = evaluation.test, evaluation.arrays
    real = silhouettes(rows, [_everywhere(own, inside[name], n) for name, own in labels.items()], arrays)
    sample = np.arange(0, n, -(-n // _SAMPLE))
    at_chance = silhouettes(rows, shuffled, arrays, sample).reshape(len(labels), count, -1)
    found = {}
    for (name, own), all_, chance in zip(inside.items(), real, at_chance, strict=True):
        sampled = np.isin(sample, own)
        found[name] = LabelSilhouettes(
            all_[own], float(all_[own].mean()), float(chance[:, sampled].mean()) if sampled.any() else 0.0
        )
    return found


def silhouette_labels(layout: Layout) -> dict[str, IntArray]:
    """The labels that can have silhouettes, those of perturbations on the scored rows alone."""
    place = positions(layout)
    labels = {"batch": layout.code("batch"), "perturbation": layout.code("perturbation")[layout.scored]}
    if place is not None:
        labels |= {
            name: np.unique(place[:, axis], return_inverse=True)[1] for axis, name in enumerate(("row", "column"))
        }
    return {name: own for name, own in labels.items() if 1 < len(np.unique(own)) < len(own)}


def _everywhere(labels: IntArray, inside: IntArray, n: int) -> IntArray:
    whole = np.full(n, -1)
    whole[inside] = labels
    return whole


SHUFFLES = 5  # a mean over all wells hardly varies between shuffles
_SAMPLE = 2000
_STREAMS = {"batch": 6, "row": 7, "column": 8, "perturbation": 13}

__all__ = [
    "SHUFFLES",
    "LabelSilhouettes",
    "grouped_silhouettes",
    "label_silhouettes",
    "silhouette_labels",
    "silhouettes",
]
