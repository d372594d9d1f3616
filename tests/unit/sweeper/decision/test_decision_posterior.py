"""The posterior: conjugate algebra against brute force, positivity, quantiles, coverage in simulation, speed."""

from __future__ import annotations

import time

import numpy as np
import pytest
from decision_curves import SHAPES, STRENGTHS, sample, truth
from scipy.stats import multivariate_t

from sweeper.decision.inference.evidence import Whitened
from sweeper.decision.inference.families import INTERCEPT_SD, shapes
from sweeper.decision.inference.noise import fit_levels, positions
from sweeper.decision.inference.posterior import Posterior, fit_posterior, locate

X = positions(STRENGTHS)
BANK = shapes(STRENGTHS)


def fitted(values, *, seed=0, draws=2000, peak=1.0, discrepancy=0.0):
    means, noise = fit_levels(values, X, 1.0)
    return fit_posterior(STRENGTHS, means, noise, peak=peak, discrepancy=discrepancy, draws=draws, seed=(seed,))


def located(values, delta=0.10, **options):
    posterior = fitted(values, **options)
    return locate(posterior, posterior.drawdown(), delta)


def whitened(seed=0):
    rng = np.random.default_rng(seed)
    error = np.linspace(0.01, 0.03, len(STRENGTHS))
    means = SHAPES["umbrella"](np.log10(np.maximum(STRENGTHS, 1e-9))) + error * rng.standard_normal(len(error))
    return Whitened.of(BANK, means, np.diag(error**2), 9.0), means, error


def test_every_shape_is_zero_without_correction_and_bounded_above_it():
    assert np.all(BANK.levels[:, 0] == 0)
    assert np.all(BANK.fine[:, 0] == 0)
    assert np.isfinite(BANK.levels).all()
    losses = np.concatenate([BANK.families["loss"].rows.ravel(), BANK.families["hinge"].rows.ravel()])
    assert (np.diff(BANK.fine[losses], axis=1) <= 1e-12).all()
    assert (np.diff(BANK.fine[BANK.families["gain"].rows.ravel()], axis=1) >= 0).all()
    assert list(BANK.families) == [
        "flat",
        "gain",
        "hinge",
        "loss",
        "gain+hinge",
        "gain+loss",
        "two losses",
        "gain+two losses",
    ]
    assert np.diff(BANK.x[1:]).max() <= 0.04 + 1e-9


@pytest.mark.parametrize("family", ["flat", "loss", "gain+loss", "gain+two losses"])
def test_the_evidence_is_the_multivariate_t_density(family):
    white, means, error = whitened()
    rows = BANK.families[family].rows
    picked = np.arange(0, len(rows), max(len(rows) // 5, 1))
    evidence = white.members(BANK.families[family]).log_evidence[picked]
    expected = []
    for row in rows[picked]:
        spread = np.diag(error**2) + INTERCEPT_SD**2
        for j in row:
            spread = spread + BANK.prior_sd[j] ** 2 * np.outer(BANK.levels[j], BANK.levels[j])
        density = multivariate_t(np.zeros(len(means)), spread, df=9).logpdf(means)
        expected.append(density + len(row) * np.log(2))
    flat = white.members(BANK.families["flat"])
    spread = np.diag(error**2) + INTERCEPT_SD**2
    offset = multivariate_t(np.zeros(len(means)), spread, df=9).logpdf(means) - flat.log_evidence[0]
    np.testing.assert_allclose(evidence + offset, expected, rtol=1e-6, atol=1e-6)


def test_weights_correct_the_proposed_share_to_that_of_the_orthant():
    """E[weight] × proposed share = P(all amplitudes ≥ 0), the latter by plain Monte Carlo of the multivariate t."""
    white, _, _ = whitened()
    members = white.members(BANK.families["gain+two losses"])
    rng = np.random.default_rng(1)
    degrees = white.degrees + len(white.y)
    for place in (5000, 12000, 20000):
        picked = np.full(20_000, place)
        intercepts, amplitudes, _, log_weight = members.draw(picked, rng)
        assert (amplitudes >= 0).all()
        assert np.isfinite(intercepts).all()
        share = np.exp(log_weight + members.log_share(picked)).mean()
        one = np.array([place])
        mean, root = np.concatenate(members.mean(one)), np.zeros((3, 3))
        for (row, column), value in members.root(one).items():
            root[row, column] = value[0]
        columns = white.columns[members.rows[place]]
        sd = BANK.prior_sd[members.rows[place]]
        gram = columns @ columns.T - np.outer(columns @ white.one, columns @ white.one) / white.precision
        covariance = np.linalg.inv(gram + np.diag(sd**-2.0))
        np.testing.assert_allclose(root @ root.T, covariance, rtol=1e-8)
        scale = covariance * (white.degrees + members.misfit[place]) / degrees
        plain = multivariate_t(mean, scale, df=degrees, seed=2).rvs(200_000)
        assert share == pytest.approx((plain > 0).all(axis=1).mean(), rel=0.05, abs=0.002)


def test_curves_only_gain_and_lose():
    posterior = fitted(sample(SHAPES["flat"], np.random.default_rng(2), sigma=0.1))
    turns = np.sign(np.diff(posterior.curves[:, 1:], axis=1).round(9))
    first_fall = np.where((turns < 0).any(axis=1), np.argmax(turns < 0, axis=1), turns.shape[1])
    assert posterior.curves.shape == (2000, len(BANK.x))
    assert (first_fall > 0).any()
    assert sum(posterior.families.values()) == pytest.approx(1)


def test_the_point_of_known_curves_by_interpolation():
    x = np.concatenate([[-np.inf], np.linspace(-3, 2, 126)])
    falling = 1 - 0.1 * np.maximum(x[1:], 0)
    curves = np.array([np.r_[1.0, falling], np.r_[1.0, np.ones(126)], np.r_[1.0, np.full(126, 0.5)]])
    posterior = Posterior(x, np.repeat(curves, [96, 2, 2], axis=0), {}, 1.0, 100.0)
    found = locate(posterior, posterior.drawdown(), 0.1)
    assert found.p_detect == pytest.approx(0.98)
    assert found.median == pytest.approx(10.0, rel=1e-6)  # 1 decade above λ = 1 at 0.1 a decade
    assert locate(posterior, posterior.drawdown(), 0.4).lower is None or found.lower == pytest.approx(10.0)
    at_once = Posterior(x, curves[2:], {}, 1.0, 1.0)
    assert locate(at_once, at_once.drawdown(), 0.1).upper == pytest.approx(1e-3)
    never = Posterior(x, curves[1:2], {}, 1.0, 1.0)
    nothing = locate(never, never.drawdown(), 0.1)
    assert (nothing.p_detect, nothing.lower, nothing.width) == (0.0, None, float("inf"))


def test_without_noise_the_truth_is_found_at_every_delta():
    values = sample(SHAPES["umbrella"], np.random.default_rng(3), sigma=0.001)
    posterior = fitted(values)
    lost = posterior.drawdown()
    found = [locate(posterior, lost, delta) for delta in (0.05, 0.10, 0.20)]
    for item in found:
        assert np.log10(item.median) == pytest.approx(np.log10(truth("umbrella", item.delta)), abs=0.06)
        assert item.lower <= item.median <= item.upper
    assert found[0].median < found[1].median < found[2].median


@pytest.mark.parametrize("shape", ["plateau_drop", "umbrella", "slow", "late"])
def test_the_safe_bound_is_rarely_above_the_truth(shape):
    true, rng = truth(shape, 0.10), np.random.default_rng(4)
    found = [located(sample(SHAPES[shape], rng), draws=500, seed=n) for n in range(20)]
    assert all(item.p_detect >= 0.975 for item in found)
    assert sum(item.lower > true for item in found) <= 4  # P(> 4 of 20 at 8 %) = 2 %
    assert sum(item.lower <= true <= item.upper for item in found) >= 15  # P(< 15 of 20 at 0.9) = 1 %


@pytest.mark.parametrize("shape", ["flat", "improving", "drift"])
def test_nothing_is_located_where_nothing_is_lost(shape):
    rng = np.random.default_rng(5)
    found = [located(sample(SHAPES[shape], rng), draws=500, seed=n) for n in range(10)]
    assert max(item.p_detect for item in found) < 0.975
    assert sum(item.p_detect <= 0.05 for item in found) >= 7


def test_the_fit_is_tested():
    rng = np.random.default_rng(6)

    def comb(x):  # neither gain-then-loss nor two losses
        return 1.0 - 0.3 * (np.arange(len(x)) % 2)

    assert fitted(sample(comb, rng)).lof_p < 0.01
    fine = [fitted(sample(SHAPES["plateau_drop"], rng), draws=100, seed=n).lof_p for n in range(20)]
    assert sum(p < 0.05 for p in fine) <= 3


def test_a_misfit_that_does_not_matter_is_no_lack_of_fit():
    rng = np.random.default_rng(9)

    def rippled(x):
        return SHAPES["plateau_drop"](x) + 0.004 * (-1.0) ** np.arange(len(x))

    values = sample(rippled, rng, sigma=0.001)
    assert fitted(values).lof_p < 0.01
    tolerant = fitted(values, discrepancy=0.005)
    assert tolerant.lof_p > 0.05
    found = locate(tolerant, tolerant.drawdown(), 0.10)
    assert found.lower < truth("plateau_drop", 0.10) < found.upper


def test_the_unit_cancels_and_the_seed_decides_the_draws():
    values = sample(SHAPES["umbrella"], np.random.default_rng(7))
    one, same, doubled = located(values), located(values), located(2 * values, peak=2.0)
    assert one == same
    assert doubled.lower == pytest.approx(one.lower, rel=1e-9)
    assert located(values, seed=1) != one


def test_no_noise_at_all_is_not_infinite_evidence():
    assert located(np.full((len(STRENGTHS), 4), 0.5), peak=0.5).p_detect == 0.0


def test_a_curve_takes_less_than_half_a_second():
    values = sample(SHAPES["umbrella"], np.random.default_rng(8))
    fitted(values)
    took = []
    for _ in range(3):
        began = time.process_time()
        located(values)
        took.append(time.process_time() - began)
    assert min(took) < 0.5
