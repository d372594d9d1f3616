"""The brackets: critical values against known ones, validity in simulation, power as promised."""

from __future__ import annotations

import numpy as np
import pytest
from decision_curves import SHAPES, STRENGTHS, noise_sd, sample, truth
from scipy.stats import t as student

from sweeper.decision.inference.bracket import baseline_bracket, detectable_drop, drawdown_bracket, max_t_quantile
from sweeper.decision.inference.noise import draw, fit_levels, positions

X = positions(STRENGTHS)
REPETITIONS = 80


def bracket(values, *, delta=0.10, seed=0, draws=400):
    noise = fit_levels(values, X, 1.0)[1]
    drawn = draw(noise, draws, (seed,))
    critical = max_t_quantile(noise, drawn, delta=delta, confidence=0.95)
    return drawdown_bracket(STRENGTHS, values.mean(axis=1), noise, critical, delta=delta, confidence=0.95)


def test_the_quantile_of_one_pair_is_students():
    values = np.random.default_rng(0).normal(size=(2, 6))
    noise = fit_levels(values, np.array([0.0, 1.0]), 1e6)[1]  # one pooled variance with 2 · (6 − 1)(2 − 1)/2 degrees
    quantile = max_t_quantile(noise, draw(noise, 200_000, (1,)), delta=1e-9, confidence=0.95)
    assert quantile == pytest.approx(student.ppf(0.95, 5), rel=0.02)


def test_the_quantile_grows_with_the_number_of_pairs():
    values = sample(SHAPES["flat"], np.random.default_rng(1))
    few, many = (
        max_t_quantile(noise, draw(noise, 4000, (2,)), delta=0.1, confidence=0.95)
        for noise in (fit_levels(values[:3], X[:3], 1.0)[1], fit_levels(values, X, 1.0)[1])
    )
    assert 1.7 < few < many < 4.5


@pytest.mark.parametrize("shape", ["plateau_drop", "umbrella", "late", "flat", "improving", "drift"])
def test_brackets_are_valid_and_do_not_cry_wolf(shape):
    true = truth(shape, 0.10)
    rng = np.random.default_rng(20)
    unsafe_side = other_side = both = 0
    for repetition in range(REPETITIONS):
        found = bracket(sample(SHAPES[shape], rng), seed=repetition)
        unsafe_side += found.safe_up_to is not None and found.safe_up_to >= true
        other_side += found.unsafe_from is not None and found.unsafe_from < true
        both += found.safe_up_to is not None and found.unsafe_from is not None
    assert (unsafe_side + other_side) / REPETITIONS <= 0.05
    if np.isfinite(true):
        assert both / REPETITIONS >= 0.95  # informative at ψ = 7


@pytest.mark.slow
def test_a_loss_of_exactly_delta_is_called_safe_no_more_often_than_stated():
    """The hardest case: one level is the only peak and only the last level lies δ below it; noise doubles there."""
    mean = np.full(len(STRENGTHS), 0.95)
    mean[5], mean[-1] = 1.0, 0.90
    with np.errstate(divide="ignore"):
        sd = noise_sd(np.log10(np.array(STRENGTHS)), 0.01)
    rng = np.random.default_rng(21)
    wrong = sum(
        bracket(mean[:, None] + rng.normal(size=(len(mean), 5)) * sd[:, None], seed=r, draws=100).safe_up_to
        == STRENGTHS[-1]
        for r in range(600)
    )
    assert wrong / 600 <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 600)


def test_without_noise_the_bracket_is_as_narrow_as_the_grid():
    levels = np.array([0.8, 0.9, 1.0, 1.0, 1.0, 0.95, 0.89, 0.95, 0.5, 1.0, 0.3, 0.3, 0.3])
    found = bracket(levels[:, None] + 1e-6 * np.random.default_rng(2).normal(size=(13, 4)))
    assert found.safe_up_to == STRENGTHS[5]  # the chain stops at the first loss, whatever follows
    assert found.unsafe_from == STRENGTHS[6]


def test_nothing_at_or_beyond_a_dropped_level_is_called_safe():
    values = sample(SHAPES["flat"], np.random.default_rng(3), sigma=0.001)
    noise = fit_levels(values, X, 1.0)[1]
    found = drawdown_bracket(
        STRENGTHS, values.mean(axis=1), noise, 3.0, delta=0.1, confidence=0.95, below=(STRENGTHS[6] + STRENGTHS[7]) / 2
    )
    assert found.safe_up_to == STRENGTHS[6]
    beside = baseline_bracket(STRENGTHS, values.mean(axis=1), noise, delta=0.1, confidence=0.95, below=STRENGTHS[4])
    assert beside.safe_up_to == STRENGTHS[3]


def test_the_baseline_bracket_answers_another_question():
    values = sample(SHAPES["big_gain"], np.random.default_rng(4), sigma=0.002)  # 0.4 → ~1 → 0.45
    noise = fit_levels(values, X, 1.0)[1]
    against_zero = baseline_bracket(STRENGTHS, values.mean(axis=1), noise, delta=0.10, confidence=0.95)
    assert against_zero.safe_up_to == STRENGTHS[-1]
    assert bracket(values).unsafe_from < 30
    dropping = sample(SHAPES["plateau_drop"], np.random.default_rng(4), sigma=0.002)
    noise = fit_levels(dropping, X, 1.0)[1]
    lower = baseline_bracket(STRENGTHS, dropping.mean(axis=1), noise, delta=0.10, confidence=0.95)
    assert lower.safe_up_to < truth("plateau_drop", 0.10) < lower.unsafe_from


@pytest.mark.slow
def test_the_detectable_drop_is_detected_with_the_stated_power():
    rng = np.random.default_rng(22)
    plateau = np.ones(len(STRENGTHS))
    promised, seen = [], 0
    for repetition in range(60):
        values = 1 + 0.03 * rng.normal(size=(len(STRENGTHS), 5))
        noise = fit_levels(values, X, 1.0)[1]
        drawn = draw(noise, 1000, (repetition,))
        critical = max_t_quantile(noise, drawn, delta=0.10, confidence=0.95)
        promised.append(detectable_drop(noise, drawn, critical, peak=1.0, delta=0.10, power=0.80))
    drop = plateau.copy()
    drop[-1] -= float(np.mean(promised))
    for repetition in range(150):
        values = drop[:, None] + 0.03 * rng.normal(size=(len(STRENGTHS), 5))
        seen += bracket(values, seed=repetition).unsafe_from is not None
    assert 0.10 < np.mean(promised) < 0.20
    assert seen / 150 == pytest.approx(0.80, abs=0.10)


def test_no_peak_means_nothing_detectable():
    noise = fit_levels(sample(SHAPES["flat"], np.random.default_rng(5)), X, 1.0)[1]
    assert detectable_drop(noise, draw(noise, 100, (0,)), 3.0, peak=0.0, delta=0.1, power=0.8) == np.inf


def test_more_noise_never_narrows_the_bracket():
    values = sample(SHAPES["umbrella"], np.random.default_rng(6), sigma=0.01)
    means = values.mean(axis=1, keepdims=True)
    calm, wild = bracket(values), bracket(means + 6 * (values - means))
    assert (wild.safe_up_to or 0) <= calm.safe_up_to
    assert (wild.unsafe_from or np.inf) >= calm.unsafe_from
