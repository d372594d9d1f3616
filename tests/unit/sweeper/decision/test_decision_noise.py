"""Noise: block-centred, smoothed, with degrees of freedom that match what is drawn."""

from __future__ import annotations

import numpy as np
import pytest
from decision_curves import SHAPES, STRENGTHS, noise_sd, sample

from sweeper.decision.noise import draw, fit_noise, kernel_weights, positions, signal_lower_bound

X = positions(STRENGTHS)


def test_lambda_zero_stands_one_step_below_the_smallest():
    np.testing.assert_allclose(positions((0.0, 0.01, 0.1, 1.0)), [-3, -2, -1, 0], atol=1e-12)
    np.testing.assert_allclose(positions((0.0, 10.0)), [0, 1], atol=1e-12)


def test_kernel_rows_sum_to_one_and_halve_with_distance():
    weights = kernel_weights(np.array([0.0, 0.5, 3.0]), 1.0)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    assert weights[0, 1] / weights[0, 0] == pytest.approx(np.exp(-0.5))


def test_a_very_wide_kernel_gives_the_two_way_residual_mean_square():
    values = sample(SHAPES["umbrella"], np.random.default_rng(1), seeds=4)
    noise = fit_noise(values, X, 1e6)
    levels, seeds = values.shape
    design = np.column_stack([np.repeat(np.eye(levels), seeds, axis=0), np.tile(np.eye(seeds)[:, 1:], (levels, 1))])
    rest = np.linalg.lstsq(design, values.ravel(), rcond=None)[1][0]
    np.testing.assert_allclose(noise.variance, rest / ((levels - 1) * (seeds - 1)))
    np.testing.assert_allclose(noise.degrees, (levels - 1) * (seeds - 1))


def test_seed_effects_do_not_enter_the_noise_of_levels():
    values = sample(SHAPES["flat"], np.random.default_rng(2))
    moved = fit_noise(values + np.array([0.0, 5.0, -3.0, 1.0, 2.0]), X, 1.0)
    np.testing.assert_allclose(moved.variance, fit_noise(values, X, 1.0).variance)
    assert moved.seed_variance > 1


def test_the_smoothed_variance_follows_the_true_one():
    rng = np.random.default_rng(3)
    fitted = [fit_noise(sample(SHAPES["flat"], rng), X, 1.0).variance for _ in range(400)]
    with np.errstate(divide="ignore"):
        true = noise_sd(np.log10(np.array(STRENGTHS)), 0.03) ** 2
    mean = np.mean(fitted, axis=0)
    np.testing.assert_allclose(mean[:6], true[:6], rtol=0.1)
    assert 0.85 < mean[-1] / true[-1] < 1.0  # the kernel reaches down into the quieter levels


def test_draws_have_the_fitted_spread_and_degrees():
    noise = fit_noise(sample(SHAPES["flat"], np.random.default_rng(4)), X, 1.0)
    drawn = draw(noise, 20_000, (0, 1))
    np.testing.assert_allclose(drawn.errors.var(axis=1), noise.variance / 5, rtol=0.05)
    middle = drawn.variance[6]
    assert 2 * middle.mean() ** 2 / middle.var() == pytest.approx(noise.degrees[6], rel=0.15)  # Satterthwaite
    np.testing.assert_array_equal(draw(noise, 50, (0, 1)).errors, draw(noise, 50, (0, 1)).errors)
    assert not np.array_equal(draw(noise, 50, (0, 1)).errors, draw(noise, 50, (0, 2)).errors)


def test_the_signal_bound_rarely_exceeds_the_truth_and_counts_the_seed_effect():
    rng = np.random.default_rng(5)
    wrong = 0
    for repetition in range(300):
        values = 0.05 * rng.normal(size=3) + 0.01 * rng.normal(size=(13, 3))  # true level 0 everywhere
        noise = fit_noise(values, X, 1.0)
        wrong += signal_lower_bound(values.mean(axis=1), noise, draw(noise, 500, (repetition,)), 0.95) > 0
    assert wrong / 300 <= 0.09
