"""The sham arm: permuted labels, the strengths it takes, and the cells it makes."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sweeper.arms.beside import key_strengths
from sweeper.arms.sham import permuted_batches
from sweeper.decision import JudgedCurve, State
from sweeper.decision.verdict.values import Interval, Level


def test_labels_are_permuted_within_perturbation_among_training_rows_only() -> None:
    rng = np.random.default_rng(0)
    perturbation = pd.Series(rng.integers(0, 6, 300).astype(str))
    batches = rng.integers(0, 4, 300)
    train = np.sort(rng.permutation(300)[:200])
    sham = permuted_batches(batches, perturbation, train, seed=1)
    others = np.setdiff1d(np.arange(300), train)
    np.testing.assert_array_equal(sham[others], batches[others])
    assert (sham[train] != batches[train]).mean() > 0.5
    before, after = (pd.crosstab(perturbation.iloc[train].to_numpy(), b[train]) for b in (batches, sham))
    pd.testing.assert_frame_equal(before, after)
    np.testing.assert_array_equal(sham, permuted_batches(batches, perturbation, train, seed=1))
    assert (sham != permuted_batches(batches, perturbation, train, seed=2)).any()


def test_one_well_a_perturbation_and_batch_can_be_permuted_and_one_batch_cannot() -> None:
    perturbation = pd.Series(np.repeat([f"p{i}" for i in range(20)], 4))
    batches, train = np.tile(np.arange(4), 20), np.arange(80)
    assert (permuted_batches(batches, perturbation, train, seed=0) != batches).any()
    nested = np.repeat(np.arange(4), 20)
    np.testing.assert_array_equal(permuted_batches(nested, perturbation, train, seed=0), nested)


LEVELS = (0.0, 1.0, 3.0, 10.0, 30.0, 100.0)


def curve(
    lower: float | None, upper: float | None, median: float | None = None, *, advised: float = 0.0, best: float = 0.0
) -> JudgedCurve:
    """A curve of which only its levels, the interval of the point and the strengths of its gains are known."""
    estimate: Any = SimpleNamespace(
        interval=Interval(lower, median, upper), advised=SimpleNamespace(weight=advised), lambda_peak=best
    )
    levels = tuple(Level(weight, kept=True, recorded=3, lost=0, collapse_rate=0.0) for weight in LEVELS)
    return JudgedCurve("v", 0.3, "abra", 0.1, 0.95, State.BRACKET_ONLY, (), levels=levels, estimate=estimate)


@pytest.mark.parametrize(
    ("safe", "loss", "count", "expected"),
    [
        (3.0, 30.0, 3, (3.0, 30.0, 100.0)),
        (None, 30.0, 3, (1.0, 30.0, 100.0)),
        (10.0, 100.0, 3, (1.0, 10.0, 100.0)),  # two of the three coincide: the widest gap is filled
        (100.0, None, 1, (100.0,)),
        (3.0, 30.0, 1, (3.0, 30.0, 100.0)),  # fewer than the decision needs is never taken
        (3.0, 30.0, 9, (1.0, 3.0, 10.0, 30.0, 100.0)),
    ],
)
def test_strengths_are_those_at_the_safe_bound_the_loss_and_the_top(
    safe: float | None, loss: float | None, count: int, expected: tuple[float, ...]
) -> None:
    assert key_strengths(curve(safe, loss), count) == expected


def test_the_posterior_point_is_met_by_the_nearest_trained_strength() -> None:
    assert key_strengths(curve(2.0, 70.0, median=12.0), 3) == (3.0, 10.0, 100.0)


def test_gains_are_explained_where_they_are_advised_or_else_where_biology_is_best() -> None:
    assert key_strengths(curve(3.0, 30.0, advised=1.0, best=10.0), 3, gains=True) == (1.0, 3.0, 30.0, 100.0)
    assert key_strengths(curve(3.0, 30.0, best=10.0), 3, gains=True) == (3.0, 10.0, 30.0, 100.0)
    assert key_strengths(curve(3.0, 30.0, best=0.0), 3, gains=True) == (3.0, 30.0, 100.0)
    assert key_strengths(curve(3.0, 30.0, advised=1.0), 3) == (3.0, 30.0, 100.0)


def test_a_strength_that_was_dropped_and_a_curve_without_an_estimate_are_not_taken() -> None:
    found = curve(3.0, 30.0)
    found = replace(found, levels=(*found.levels[:-1], replace(found.levels[-1], kept=False)))
    assert key_strengths(found, 2) == (3.0, 30.0)
    assert key_strengths(replace(found, estimate=None), 3) == ()
