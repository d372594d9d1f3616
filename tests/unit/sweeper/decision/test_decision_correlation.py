"""Seeds whose noise is smooth in λ: found, allowed for, and not imagined."""

from __future__ import annotations

import numpy as np
import pytest
from decision_curves import SEED_SD, SHAPES, STRENGTHS

from sweeper.decision.inference.bracket import drawdown_bracket, max_t_quantile
from sweeper.decision.inference.correlation import smooth_correlation
from sweeper.decision.inference.noise import draw, fit_levels, noise_courses, positions
from sweeper.decision.inference.posterior import fit_posterior, locate

X = positions(STRENGTHS)
SIGMA = 0.03
NEIGHBOURS = (np.arange(len(X) - 1), np.arange(1, len(X)))


def runs(rng, *, share, length=0.6, seeds=5, curve=None):
    root = np.linalg.cholesky(smooth_correlation(X, share, length) + 1e-12 * np.eye(len(X)))
    rest = root @ rng.standard_normal((len(X), seeds))
    level = np.zeros(len(X)) if curve is None else curve
    return level[:, None] + rng.normal(0, SEED_SD, seeds) + SIGMA * rest


def test_the_correlation_falls_with_distance_from_below_one():
    matrix = smooth_correlation(np.array([0.0, 0.5, 2.0]), 0.9, 0.5)
    np.testing.assert_allclose(np.diagonal(matrix), 1)
    assert matrix[0, 1] == pytest.approx(0.9 * np.exp(-0.5))
    assert matrix[0, 2] < 0.001


@pytest.mark.parametrize(("share", "low", "high"), [(0.0, 0.0, 0.1), (0.9, 0.5, 0.8)])
def test_it_is_estimated_from_a_few_seeds(share, low, high):
    """Of neighbours .45 decades apart at ℓ = .6 the true one is .9·exp(−.28) = .68."""
    rng = np.random.default_rng(1)
    found = [fit_levels(runs(rng, share=share), X, 1.0)[1].correlation[NEIGHBOURS].mean() for _ in range(60)]
    assert low <= np.mean(found) <= high


def test_lost_runs_and_no_noise_are_no_obstacle():
    rng = np.random.default_rng(2)
    values = runs(rng, share=0.9)
    values[rng.random(values.shape) < 0.1] = np.nan
    assert fit_levels(values, X, 1.0)[1].correlation[NEIGHBOURS].mean() > 0.3
    constant = fit_levels(np.ones((len(X), 5)) + np.arange(5), X, 1.0)[1]
    np.testing.assert_array_equal(constant.correlation, np.eye(len(X)))
    np.testing.assert_array_equal(constant.covariance, 0)
    np.testing.assert_array_equal(noise_courses(constant, 4, rng), 1)


@pytest.mark.slow
def test_the_variance_of_a_contrast_is_what_repetition_shows():
    """Taking out a seed's level takes out smooth noise, too: distant levels differ by more than residuals show."""
    rng = np.random.default_rng(3)
    near, far = (np.zeros(len(X)) for _ in range(2))
    near[[5, 6]], far[[1, 11]] = (1, -1), (1, -1)
    fitted = [fit_levels(runs(rng, share=0.95, length=0.8), X, 1.0) for _ in range(400)]
    for contrast in (near, far):
        seen = np.var([contrast @ means for means, _ in fitted])
        told = np.mean([contrast @ noise.covariance @ contrast for _, noise in fitted])
        assert told == pytest.approx(seen, rel=0.2)


def test_drawn_variances_have_the_spread_of_the_estimates():
    rng = np.random.default_rng(4)
    fitted = [fit_levels(runs(rng, share=0.9), X, 1.0)[1] for _ in range(400)]
    middle = np.array([noise.variance[6] for noise in fitted])
    degrees = np.mean([noise.degrees[6] for noise in fitted])
    assert 2 * middle.mean() ** 2 / middle.var() == pytest.approx(degrees, rel=0.35)
    drawn = draw(fitted[0], 10_000, (0,)).factors[6]
    assert 2 * drawn.mean() ** 2 / drawn.var() == pytest.approx(fitted[0].degrees[6], rel=0.1)


@pytest.mark.slow
def test_smooth_noise_is_no_evidence_of_the_curve():
    """Where the noise is smooth the posterior covers the truth; with runs taken as independent it does not."""
    with np.errstate(divide="ignore"):
        x = np.log10(np.array(STRENGTHS))
    curve, rng = SHAPES["slow"](x), np.random.default_rng(5)
    true = 10 ** np.interp(0.10, 1 - SHAPES["slow"](fine := np.linspace(-4, 2, 5001)), fine)
    inside = {"estimated": 0, "independent": 0}
    repetitions = 100
    for repetition in range(repetitions):
        means, noise = fit_levels(runs(rng, share=0.9, curve=curve), X, 1.0)
        naive = np.diag(noise.variance / noise.n_seeds)
        for name, extra in (("estimated", noise.extra), ("independent", naive - noise.within)):
            posterior = fit_posterior(
                STRENGTHS,
                means,
                type(noise)(**{**vars(noise), "extra": extra}),
                peak=1.0,
                discrepancy=0.005,
                draws=500,
                seed=(repetition,),
            )
            point = locate(posterior, posterior.drawdown(), 0.10)
            inside[name] += point.lower is not None and point.upper is not None and point.lower <= true <= point.upper
    assert inside["estimated"] / repetitions >= 0.83  # nominal .90
    assert inside["independent"] / repetitions < inside["estimated"] / repetitions - 0.05


def test_the_bracket_keeps_its_level_under_smooth_noise():
    """A curve that loses just δ = 0.10 at its end: the end is called safe at most about 5 % of the time."""
    rng, curve = np.random.default_rng(6), np.where(X > 1.9, 0.9, 1.0)
    wrong, repetitions = 0, 200
    for repetition in range(repetitions):
        means, noise = fit_levels(runs(rng, share=0.95, length=0.8, curve=curve), X, 1.0)
        critical = max_t_quantile(noise, draw(noise, 300, (repetition,)), delta=0.10, confidence=0.95)
        found = drawdown_bracket(STRENGTHS, means, noise, critical, delta=0.10, confidence=0.95)
        wrong += found.safe_up_to == STRENGTHS[-1]
    assert wrong / repetitions <= 0.09
