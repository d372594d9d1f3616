"""Silhouettes of many labellings of the same rows at once.

s = (b - a) / max(a, b), with a the mean distance to the other rows of the own label and b that to the nearest other
label; 0 for a row alone in its label (Rousseeuw, J Comput Appl Math 1987, doi:10.1016/0377-0427(87)90125-7).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from sweeper.metrics.evaluation import Evaluation, Float64Array
from sweeper.metrics.neighbours import CHUNK, distances, pairwise
from sweeper.metrics.technical.design import permuted_within
from sweeper.metrics.technical.position import positions
from trainers.base import IntArray


def silhouettes(rows: NDArray[Any], labellings: Sequence[IntArray]) -> Float64Array:
    """(c, n) Euclidean silhouettes in [-1, 1] of the (n, e) rows under c labellings, each (n,) of ≥ 2 labels.

    Rows with a negative label are left out of that labelling, and have 0.
    """
    centred = rows - rows.mean(axis=0, dtype=np.float64)
    inside = [np.flatnonzero(labels >= 0) for labels in labellings]
    codes = [np.full(len(centred), -1) for _ in labellings]
    for code, labels, own in zip(codes, labellings, inside, strict=True):
        code[own] = np.unique(labels[own], return_inverse=True)[1]
    sizes = [np.bincount(code[own]) for code, own in zip(codes, inside, strict=True)]
    starts = np.cumsum([0, *(len(size) for size in sizes)])
    n = len(centred)
    # One sparse product sums the distances to every label of every labelling.
    column = np.concatenate(inside)
    row = np.concatenate([code[own] + start for code, own, start in zip(codes, inside, starts, strict=False)])
    members = csr_array((np.ones(len(column)), (row, column)), shape=(int(starts[-1]), n))
    found = np.empty((len(codes), n))
    step = max(1, CHUNK // max(n, int(starts[-1])))
    for at in range(0, n, step):
        some = distances(centred, centred[at : at + step])
        here = np.arange(some.shape[1])
        some[at + here, here] = 0.0
        sums = np.asarray(members @ some)
        for number, (code, size) in enumerate(zip(codes, sizes, strict=True)):
            own = code[at : at + step]
            means = sums[starts[number] : starts[number + 1]]
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


def label_silhouettes(evaluation: Evaluation) -> dict[str, Float64Array]:
    """(1 + shuffles, wells) silhouettes of the labels and of their permutations; for `Evaluation.once`.

    "batch" (permuted inside each perturbation), "row" and "column" of all test wells, "perturbation" of the scored
    ones: four metrics share one round of distances. What has one label only, or one well in each, is absent.
    """
    count = min(SHUFFLES, evaluation.options.permutations)
    perturbation, place = evaluation.code("perturbation"), positions(evaluation)
    everywhere = np.zeros_like(perturbation)
    labels = {"batch": evaluation.code("batch"), "perturbation": perturbation[evaluation.scored]}
    if place is not None:
        labels |= {
            name: np.unique(place[:, axis], return_inverse=True)[1] for axis, name in enumerate(("row", "column"))
        }
    labellings = {}
    for name, own in labels.items():
        if not 1 < len(np.unique(own)) < len(own):
            continue
        groups = perturbation if name == "batch" else everywhere[: len(own)]
        shuffles = permuted_within(own, groups, count=count, seed=(evaluation.seed, _STREAMS[name]))
        labellings[name] = np.stack([own, *shuffles])
    rows = {name: evaluation.scored if name == "perturbation" else everywhere == 0 for name in labellings}
    whole = [np.full((len(own), len(everywhere)), -1) for own in labellings.values()]
    for all_, own, inside in zip(whole, labellings.values(), rows.values(), strict=True):
        all_[:, inside] = own
    if not whole:
        return {}
    parts = np.split(
        silhouettes(evaluation.test, list(np.concatenate(whole))), np.cumsum([len(own) for own in whole])[:-1]
    )
    return {name: part[:, inside] for (name, inside), part in zip(rows.items(), parts, strict=True)}


SHUFFLES = 5  # a mean over all wells hardly varies between shuffles
_STREAMS = {"batch": 6, "row": 7, "column": 8, "perturbation": 13}

__all__ = ["SHUFFLES", "grouped_silhouettes", "label_silhouettes", "silhouettes"]
