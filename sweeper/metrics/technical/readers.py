"""Readers: classifiers of five kinds, fitted anew, that try to tell the batch of wells they have not seen.

No one reader sees every kind of batch effect. Each of these is the strongest against one of them on simulated screens
(benchmarks/readers.py): a linear one against shifts of the mean, the spread of features against scales, covariances
against correlations, trees and neighbours against the shape of distributions. Discriminants of random Fourier features
and of squares were tried there and add nothing to these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweeper.metrics.arrays import Arrays
from sweeper.metrics.classifier import fit, shrunken_covariance
from sweeper.metrics.evaluation import Evaluation
from sweeper.metrics.layout import Absence, BoolArray, Layout
from sweeper.metrics.neighbours import nearest
from sweeper.metrics.technical.design import Factor, unidentifiable
from sweeper.metrics.technical.stratified_folds import stratified_folds
from trainers.base import IntArray

_ATTEMPTS = 8
_VOTERS = 15
_COMPONENTS = 48
_FITTED = 1500
_TREES, _TREE_ROWS, _ROWS_A_BATCH, _LEAF = 32, 400, 12, 3
_STREAM = 20


@dataclass(frozen=True, eq=False)
class Task:
    """What a reader is set to read, and what it is kept from seeing.

    Attributes:
        rows: (n,) numbers of the test rows.
        labels: (n,) batch (or plate) of each, 0 … B - 1.
        groups: (n,) what a fold holds out as a whole.
        folds: (n,) fold of each row: whole groups, every label in the training rows of every fold.
    """

    rows: IntArray
    labels: IntArray
    groups: IntArray
    folds: IntArray

    def parts(self) -> Iterator[tuple[BoolArray, BoolArray]]:
        """(n,) training rows and held-out rows of each fold."""
        for fold in range(int(self.folds.max()) + 1):
            out = self.folds == fold
            yield ~out, out


def task(layout: Layout, factor: Factor, unit: str, rows: BoolArray | None = None) -> Task | None:
    """Deal some of the test rows (None: all) into folds; None where no split keeps every label in training.

    Args:
        layout: gives the rows, and seed and number of folds.
        factor: the column that is read.
        unit: the column whose values are held out as a whole; negative controls of a perturbation by plate.
        rows: (n_test,) which rows.
    """
    chosen = np.arange(len(layout.test_wells)) if rows is None else np.flatnonzero(rows)
    labels = np.unique(layout.code(factor)[chosen], return_inverse=True)[1]
    groups = np.unique(_held_together(layout, factor, unit)[chosen], return_inverse=True)[1]
    folds = _folds(labels, groups, layout)
    return None if folds is None else Task(chosen, labels, groups, folds)


def held_out(layout: Layout, factor: Factor) -> str:
    """The column whose values a fold holds out: as the options say for batches, perturbations for plates."""
    return layout.options.probe_groups if factor == "batch" else "perturbation"


def _held_together(layout: Layout, factor: Factor, unit: str) -> IntArray:
    """(n_test,) what a fold holds out as a whole: the unit; where batches are read, controls each plate's by itself.

    A perturbation that is met in training is read instead of the batch, as long as batches differ in perturbations.
    Negative controls are the same in all: held out together, they would be read by what treated wells show, and
    features fitted to the latter would pass while every control still tells its batch. Where a batch has controls on
    one plate only they stay together: without any of its controls a reader would learn that controls are of others.
    """
    code, negative = layout.code(unit), layout.negative
    if factor == "plate" or unit != "perturbation" or not negative.any():
        return code
    plates = np.unique(np.stack([layout.code("batch"), layout.code("plate")])[:, negative], axis=1)
    if (np.unique(plates[0], return_counts=True)[1] < 2).any():
        return code
    return np.where(negative, code.max() + 1 + layout.code("plate"), code)


@cache
def shared_task(factor: Factor) -> Callable[[Layout], Task | None]:
    """For `Evaluation.once`: the task of all readers on all test rows.

    It depends on the table of wells alone, so the evaluation's reference keeps it for all embeddings of its rows.
    """

    def of(layout: Layout) -> Task | None:
        reference = layout.reference if isinstance(layout, Evaluation) else None
        if reference is None or not _alike(layout, reference):
            return task(layout, factor, held_out(layout, factor))
        return reference.once(shared_task(factor))

    return of


@cache
def unreadable(factor: Factor) -> Callable[[Layout], Absence | None]:
    """Why no reader can be set to read the batch, or the plate."""

    def of(layout: Layout) -> Absence | None:
        if (absence := unidentifiable(layout, factor)) is not None:
            return absence
        return None if layout.once(shared_task(factor)) is not None else untrainable(factor, held_out(layout, factor))

    return of


def untrainable(factor: Factor, unit: str) -> Absence:
    """No split of the units into folds keeps every label in training."""
    remedy = "hold out more plates, or panel.probe_groups: plate" if unit == "perturbation" else "hold out more plates"
    return Absence(f"not identifiable: holding out a {unit} leaves a {factor} without training wells", remedy)


def _alike(layout: Layout, other: Layout) -> bool:
    """Whether both deal the same rows into the same folds."""
    columns = ["batch", "plate", "perturbation", "control_type"]
    return (layout.seed, layout.options) == (other.seed, other.options) and (
        layout.test_wells is other.test_wells
        or layout.test_wells.loc[:, columns].equals(other.test_wells.loc[:, columns])
    )


@cache
def reading(reader: str, factor: Factor) -> Callable[[Evaluation], IntArray]:
    """For `Evaluation.once`, where `shared_task` is not None: (n_test,) what the reader takes each row's label for."""

    def of(evaluation: Evaluation) -> IntArray:
        given = evaluation.once(shared_task(factor))
        assert given is not None  # noqa: S101 - the caller has looked
        return READERS[reader](evaluation, given)

    return of


Predict = Callable[[NDArray[Any], IntArray, NDArray[Any]], IntArray]
"""Training rows, their labels and further rows to the labels of the latter."""


def by_fold(evaluation: Evaluation, given: Task, *, predict: Predict) -> IntArray:
    """(n,) labels that a reader fitted on the other folds takes the rows for."""
    embeddings = evaluation.test[given.rows]
    found = np.empty_like(given.labels)
    for inside, out in given.parts():
        found[out] = predict(embeddings[inside], given.labels[inside], embeddings[out])
    return found


def linear(rows: NDArray[Any], labels: IntArray, further: NDArray[Any]) -> IntArray:
    """Linear discriminant analysis, see `sweeper.metrics.classifier`."""
    return fit(rows, labels).predict(further)


def by_neighbours(rows: NDArray[Any], labels: IntArray, further: NDArray[Any], *, arrays: Arrays) -> IntArray:
    """Votes of the 15 nearest training rows, features standardised by these; a vote counts 1 / (rows of its label)."""
    std = rows.std(axis=0, dtype=np.float64)
    std[std == 0] = 1.0
    voters, _ = nearest(further / std, rows / std, min(_VOTERS, len(rows)), arrays)
    count = np.bincount(labels)
    votes = (labels[voters][:, :, None] == np.arange(len(count))).sum(axis=1) / np.maximum(count, 1)
    winner: IntArray = votes.argmax(axis=1)
    return winner


def by_spread(rows: NDArray[Any], labels: IntArray, further: NDArray[Any]) -> IntArray:
    """Linear discriminant analysis of the features and of their distances to the training mean, |x - x̄| each."""
    mean = rows.mean(axis=0, dtype=np.float64)
    some = _some(labels)
    both = (np.hstack([of - mean, np.abs(of - mean)]) for of in (rows[some], further))
    return linear(next(both), labels[some], next(both))


def by_covariance(rows: NDArray[Any], labels: IntArray, further: NDArray[Any]) -> IntArray:
    """Quadratic discriminant analysis on at most 48 principal components of the standardised training rows.

    A label's covariance is (n S + e S₀) / (n + e), with S that of its n rows and S₀ the shrunken pooled one: the
    estimate under an inverse Wishart prior worth as many rows as there are dimensions (regularised discriminant
    analysis, Friedman, JASA 1989, doi:10.1080/01621459.1989.10478752).
    """
    some = _some(labels)
    rows, labels = rows[some].astype(np.float64), labels[some]
    mean, std = rows.mean(axis=0), rows.std(axis=0)
    std[std == 0] = 1.0
    rows, further = (rows - mean) / std, (further - mean) / std
    if rows.shape[1] > _COMPONENTS:
        axes = np.linalg.eigh(rows.T @ rows)[1][:, -_COMPONENTS:]
        rows, further = rows @ axes, further @ axes
    count, e = np.bincount(labels), rows.shape[1]
    centres = np.stack([np.bincount(labels, weights=column) for column in rows.T], axis=1) / count[:, None]
    pooled = shrunken_covariance(rows - centres[labels])
    scores = np.empty((len(further), len(count)))
    for label, centre in enumerate(centres):
        own = rows[labels == label] - centre
        factor = np.linalg.cholesky((own.T @ own + e * pooled) / (count[label] + e))
        scores[:, label] = -0.5 * np.sum(np.linalg.solve(factor, (further - centre).T) ** 2, axis=0)
        scores[:, label] -= np.log(np.diag(factor)).sum()
    winner: IntArray = scores.argmax(axis=1)
    return winner


def _neighbours(evaluation: Evaluation, given: Task) -> IntArray:
    return by_fold(evaluation, given, predict=partial(by_neighbours, arrays=evaluation.arrays))


def by_trees(evaluation: Evaluation, given: Task) -> IntArray:
    """Votes of 32 extremely randomised trees (Geurts et al., Mach Learn 2006, doi:10.1007/s10994-006-6226-1).

    Few rows and no fold twice: a tree is fitted on 400 rows (12 a label, if those are more), equally many of each
    label, outside two folds drawn for it, and votes on the rows of these two. So every row is judged by 2/5 of the
    trees, none of which has seen its group, at the cost of one small forest instead of one a fold.
    """
    from sklearn import config_context
    from sklearn.tree import ExtraTreeClassifier

    rng = np.random.default_rng([evaluation.seed, _STREAM])
    rows = np.ascontiguousarray(evaluation.test[given.rows], dtype=np.float32)
    count, folds = int(given.labels.max()) + 1, int(given.folds.max()) + 1
    each = max(-(-_TREE_ROWS // count), _ROWS_A_BATCH)
    cells = [
        [np.flatnonzero((given.labels == label) & (given.folds == fold)) for fold in range(folds)]
        for label in range(count)
    ]
    votes = np.zeros((len(rows), count))
    for held in _pairs(np.array([[len(cell) for cell in of] for of in cells]), rng):
        inside = [np.concatenate([cell for fold, cell in enumerate(of) if fold not in held]) for of in cells]
        taken = np.concatenate([rng.choice(own, each, replace=len(own) < each) for own in inside])
        tree = ExtraTreeClassifier(
            max_features="sqrt", min_samples_leaf=_LEAF, random_state=int(rng.integers(np.iinfo(np.int32).max))
        )
        out = np.flatnonzero(np.isin(given.folds, held))
        with config_context(assume_finite=True, skip_parameter_validation=True):  # half the time of so small a tree
            tree.fit(rows[taken], given.labels[taken].astype(np.float64), check_input=False)
            votes[out] += tree.predict_proba(rows[out], check_input=False)
    winner: IntArray = votes.argmax(axis=1)
    return winner


def _pairs(table: IntArray, rng: np.random.Generator) -> Iterator[tuple[int, ...]]:
    """Folds that each tree leaves out: two in turn, or one where two would leave a label without rows.

    Args:
        table: (B, folds) rows of each label in each fold.
        rng: draws the order.
    """
    folds = table.shape[1]
    pairs = [(one, other) for one in range(folds) for other in range(one)]
    held: list[tuple[int, ...]] = [
        pair for pair in pairs if (table.sum(axis=1) > table[:, list(pair)].sum(axis=1)).all()
    ]
    if {fold for pair in held for fold in pair} != set(range(folds)):
        held = [(fold,) for fold in range(folds)]
    order = rng.permutation(len(held))
    for number in range(max(_TREES, len(held))):
        yield held[order[number % len(held)]]


def _some(labels: IntArray) -> IntArray:
    """At most 1,500 rows to fit on, evenly taken of every label's."""
    if len(labels) <= _FITTED:
        return np.arange(len(labels))
    order = np.argsort(labels, kind="stable")
    return order[np.linspace(0, len(order) - 1, _FITTED).astype(np.int64)]


READERS: Mapping[str, Callable[[Evaluation, Task], IntArray]] = MappingProxyType(
    {
        "linear": partial(by_fold, predict=linear),
        "neighbours": _neighbours,
        "spread": partial(by_fold, predict=by_spread),
        "covariance": partial(by_fold, predict=by_covariance),
        "trees": by_trees,
    }
)
"""The set, fixed: evaluation and task → (n,) label that each row is taken for, by a fit that has not seen its group."""


def _folds(labels: IntArray, groups: IntArray, layout: Layout) -> IntArray | None:
    """(n,) fold of each row: whole groups, labels balanced, each label in every training set; else None."""
    count = min(layout.options.probe_folds, int(groups.max()) + 1, int(np.bincount(labels).min()))
    if count < 2:
        return None
    for attempt in range(_ATTEMPTS):
        folds = stratified_folds(labels, groups, count, (layout.seed + attempt) % 2**32)
        table = np.zeros((labels.max() + 1, count), dtype=np.int64)
        np.add.at(table, (labels, folds), 1)
        if (table.sum(axis=1) > table.max(axis=1)).all():
            return folds
    return None


__all__ = [
    "READERS",
    "Predict",
    "Task",
    "by_covariance",
    "by_fold",
    "by_neighbours",
    "by_spread",
    "by_trees",
    "held_out",
    "linear",
    "reading",
    "shared_task",
    "task",
    "unreadable",
    "untrainable",
]
