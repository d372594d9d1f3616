"""Folds are those of scikit-learn, row by row: stored scores were read with them."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.model_selection import StratifiedGroupKFold

from sweeper.metrics.technical.stratified_folds import stratified_folds


@pytest.mark.parametrize("seed", range(12))
def test_the_folds_are_those_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, int(rng.integers(2, 12)), 400)
    groups = rng.integers(0, int(rng.integers(12, 90)), 400)
    if seed % 3 == 0:
        labels = groups % (labels.max() + 1)  # a group has one label, as plates have a batch
    labels, groups = (np.unique(codes, return_inverse=True)[1] for codes in (labels, groups))
    count = int(rng.integers(2, 11))
    wanted = np.empty_like(labels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of labels with fewer rows than folds
        for number, (_, out) in enumerate(
            StratifiedGroupKFold(count, shuffle=True, random_state=seed).split(labels, labels, groups)
        ):
            wanted[out] = number
    np.testing.assert_array_equal(stratified_folds(labels, groups, count, seed), wanted)


def test_every_group_is_in_one_fold() -> None:
    groups = np.repeat(np.arange(20), 5)
    folds = stratified_folds(np.tile(np.arange(5), 20), groups, 4, 7)
    assert np.bincount(folds).tolist() == [25, 25, 25, 25]
    assert all(len(set(folds[groups == group])) == 1 for group in range(20))
