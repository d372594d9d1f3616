"""Noise: block-centred, smoothed, with degrees of freedom that match what is drawn."""

from __future__ import annotations

import numpy as np
import pytest
from decision_curves import SHAPES, STRENGTHS, noise_sd, sample

from sweeper.decision.inference.noise import draw, fit_levels, kernel_weights, positions, signal_lower_bound

X = positions(STRENGTHS)


@pytest.fixture
def independent(monkeypatch):
    """Runs of a seed taken as independent, for what has a closed form then."""
    monkeypatch.setattr("sweeper.decision.inference.noise.seed_correlation", lambda *_: np.eye(len(X)))


def test_lambda_zero_stands_one_step_below_the_smallest():
    np.testing.assert_allclose(positions((0.0, 0.01, 0.1, 1.0)), [-3, -2, -1, 0], atol=1e-12)
    np.testing.assert_allclose(positions((0.0, 10.0)), [0, 1], atol=1e-12)


def test_kernel_rows_sum_to_one_and_halve_with_distance():
    weights = kernel_weights(np.array([0.0, 0.5, 3.0]), 1.0)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    assert weights[0, 1] / weights[0, 0] == pytest.approx(np.exp(-0.5))


def test_a_very_wide_kernel_gives_the_two_way_residual_mean_square(independent):
    values = sample(SHAPES["umbrella"], np.random.default_rng(1), seeds=4)
    noise = fit_levels(values, X, 1e6)[1]
    levels, seeds = values.shape
    design = np.column_stack([np.repeat(np.eye(levels), seeds, axis=0), np.tile(np.eye(seeds)[:, 1:], (levels, 1))])
    rest = np.linalg.lstsq(design, values.ravel(), rcond=None)[1][0]
    np.testing.assert_allclose(noise.variance, rest / ((levels - 1) * (seeds - 1)))
    np.testing.assert_allclose(noise.degrees, (levels - 1) * (seeds - 1))


def test_seed_effects_do_not_enter_the_noise_of_levels():
    values = sample(SHAPES["flat"], np.random.default_rng(2))
    moved = fit_levels(values + np.array([0.0, 5.0, -3.0, 1.0, 2.0]), X, 1.0)[1]
    np.testing.assert_allclose(moved.variance, fit_levels(values, X, 1.0)[1].variance)
    assert moved.seed_variance > 1


def test_without_gaps_levels_are_means_over_seeds(independent):
    values = sample(SHAPES["umbrella"], np.random.default_rng(6), seeds=4)
    means, noise = fit_levels(values, X, 1.0)
    levels, seeds = values.shape
    residual = values - values.mean(axis=1, keepdims=True) - values.mean(axis=0) + values.mean()
    expected, kernel = (seeds - 1) * (levels - 1) / levels, kernel_weights(X, 1.0)
    centred = np.eye(levels) - 1 / levels
    np.testing.assert_allclose(means, values.mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(noise.variance, kernel @ ((residual**2).sum(axis=1) / expected), rtol=1e-10)
    spread = np.diagonal(kernel @ centred**2 @ kernel.T) / (1 - 1 / levels) ** 2
    np.testing.assert_allclose(noise.degrees, (seeds - 1) / spread, rtol=1e-10)
    np.testing.assert_allclose(noise.covariance, np.diag(noise.variance / seeds), rtol=1e-10, atol=1e-18)
    assert noise.seed_variance == pytest.approx(values.mean(axis=0).var(ddof=1), rel=1e-10)


def test_with_gaps_no_level_is_moved_by_who_is_missing():
    rng = np.random.default_rng(7)
    gaps = rng.random((len(STRENGTHS), 5)) < 0.15
    values = SHAPES["umbrella"](np.log10(np.maximum(STRENGTHS, 1e-12)))[:, None] + rng.normal(0, 0.5, 5)
    means, noise = fit_levels(np.where(gaps, np.nan, values), X, 1.0)
    assert gaps.any()
    np.testing.assert_allclose(means, values.mean(axis=1), atol=1e-12)
    assert noise.sigma < 1e-12


def test_with_gaps_the_covariance_and_the_variance_are_those_of_the_estimates(independent):
    rng = np.random.default_rng(8)
    gaps = rng.random((len(STRENGTHS), 5)) < 0.2
    with np.errstate(divide="ignore"):
        sd = noise_sd(np.log10(np.array(STRENGTHS)), 0.03)
    fitted = [
        fit_levels(np.where(gaps, np.nan, rng.normal(size=gaps.shape) * sd[:, None] + rng.normal(size=5)), X, 0.2)
        for _ in range(1500)
    ]
    observed = np.cov(np.array([means for means, _ in fitted]).T)
    expected = fitted[0][1].shape * np.outer(sd, sd)
    centre = np.eye(len(sd)) - 1 / len(sd)  # what all levels share is the seeds' own level
    np.testing.assert_allclose(centre @ observed @ centre, centre @ expected @ centre, atol=0.12 * expected.max())
    variance = np.array([noise.variance for _, noise in fitted])
    np.testing.assert_allclose(variance.mean(axis=0), sd**2, rtol=0.12)
    np.testing.assert_allclose(2 * variance.mean(axis=0) ** 2 / variance.var(axis=0), fitted[0][1].degrees, rtol=0.25)


@pytest.mark.slow
def test_the_smoothed_variance_follows_the_true_one():
    rng = np.random.default_rng(3)
    fitted = [fit_levels(sample(SHAPES["flat"], rng), X, 1.0)[1].variance for _ in range(400)]
    with np.errstate(divide="ignore"):
        true = noise_sd(np.log10(np.array(STRENGTHS)), 0.03) ** 2
    mean = np.mean(fitted, axis=0)
    np.testing.assert_allclose(mean[:6], true[:6], rtol=0.1)
    assert 0.85 < mean[-1] / true[-1] < 1.0  # the kernel reaches down into the quieter levels


def test_draws_have_the_fitted_spread_and_degrees():
    noise = fit_levels(sample(SHAPES["flat"], np.random.default_rng(4)), X, 1.0)[1]
    drawn = draw(noise, 20_000, (0, 1))
    np.testing.assert_allclose(drawn.errors.var(axis=1), noise.variance / 5, rtol=0.05)
    middle = drawn.factors[6]
    assert 2 * middle.mean() ** 2 / middle.var() == pytest.approx(noise.degrees[6], rel=0.15)  # Satterthwaite
    np.testing.assert_array_equal(draw(noise, 50, (0, 1)).errors, draw(noise, 50, (0, 1)).errors)
    assert not np.array_equal(draw(noise, 50, (0, 1)).errors, draw(noise, 50, (0, 2)).errors)


def test_the_signal_bound_rarely_exceeds_the_truth_and_counts_the_seed_effect():
    rng = np.random.default_rng(5)
    wrong = 0
    for repetition in range(300):
        values = 0.05 * rng.normal(size=3) + 0.01 * rng.normal(size=(13, 3))  # true level 0 everywhere
        noise = fit_levels(values, X, 1.0)[1]
        wrong += signal_lower_bound(values.mean(axis=1), noise, draw(noise, 500, (repetition,)), 0.95) > 0
    assert wrong / 300 <= 0.09
