"""What widens the posterior beyond its closed form: noise known from few seeds, gaps between strengths, families."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from sweeper.decision.inference.noise import Noise, fit_levels, noise_courses, positions
from sweeper.decision.inference.posterior import RETIMING, Posterior, _over_courses, crossings, fit_posterior, locate

LEVELS = (0.0, *(float(value) for value in np.logspace(-3, 2, 12)))
TRAINED = np.log10(np.array(LEVELS[1:]))
FINE = np.concatenate([[-np.inf], np.linspace(-3, 2, 126)])


def fitted(curve: np.ndarray, seeds: int = 5, sigma: float = 0.03, seed: int = 0) -> tuple[np.ndarray, Noise]:
    rng = np.random.default_rng(seed)
    return fit_levels(curve[:, None] + sigma * rng.standard_normal((len(curve), seeds)), positions(LEVELS), 1.0)


def falling(seed: int = 0) -> Posterior:
    x = np.concatenate([[-np.inf], TRAINED])
    means, noise = fitted(1 - 0.6 / (1 + np.exp(-(x - 1.0) / 0.3)), seed=seed)
    return fit_posterior(LEVELS, means, noise, peak=1.0, discrepancy=0.005, draws=2000, seed=(seed,))


def test_courses_of_the_noise_are_centred_and_closer_the_more_seeds_there_are() -> None:
    spread = {}
    for seeds in (3, 12):
        _, noise = fitted(np.ones(13), seeds=seeds)
        courses = noise_courses(noise, 4000, np.random.default_rng(1))
        assert courses.shape == (13, 4000)
        assert np.log(courses).mean(axis=0) == pytest.approx(np.zeros(4000), abs=1e-12)
        spread[seeds] = float(np.log(courses).std(axis=1).mean())
    assert spread[3] / spread[12] == pytest.approx(np.sqrt(11 / 2), rel=0.35)


def test_noise_that_is_none_has_one_course() -> None:
    _, noise = fitted(np.ones(13), sigma=0.0)
    assert noise_courses(noise, 5, np.random.default_rng(1)) == pytest.approx(np.ones((13, 5)))


@pytest.mark.parametrize("correlation", [0.0, 0.3])
def test_the_weight_is_the_mean_likelihood_over_the_courses(correlation: float) -> None:
    rng = np.random.default_rng(2)
    within, other = np.array([0.4, 0.9, 1.6]), 0.1
    scale = np.sqrt(within + other)
    covariance = np.outer(scale, scale) * (correlation + (1 - correlation) * np.eye(3))
    residuals, courses = rng.standard_normal((4, 3)), rng.uniform(0.3, 3.0, (3, 6))
    expected = []
    for row in residuals:
        each = []
        for course in courses.T:
            own = np.sqrt(within * course + other) / scale
            each.append(multivariate_normal.pdf(row, cov=np.outer(own, own) * covariance))
        expected.append(np.log(np.mean(each)) - multivariate_normal.logpdf(row, cov=covariance))
    assert _over_courses(residuals, covariance, within, courses) == pytest.approx(np.array(expected))


def test_draws_that_are_rounding_only_get_no_weight() -> None:
    """Curves that only improve, with noise that seems to grow: members far outside their orthant once took it all."""
    x = np.concatenate([[-np.inf], TRAINED])
    improving = 0.7 + 0.3 / (1 + np.exp(-np.log(10) * (x - np.log10(0.03))))
    rng = np.random.default_rng(9)
    for _ in range(25):
        values = improving[:, None] + 0.02 * (1 + (x > 0.5))[:, None] * rng.standard_normal((13, 5))
        means, noise = fit_levels(values, positions(LEVELS), 1.0)
        posterior = fit_posterior(LEVELS, means, noise, peak=1.0, discrepancy=0.005, draws=500, seed=(3,))
        assert posterior.effective_draws > 100
        assert locate(posterior, posterior.drawdown(), 0.10).p_detect < 0.5


def test_a_crossing_is_moved_within_its_gap_only_and_the_same_way_at_every_loss() -> None:
    posterior = falling()
    still = replace(posterior, retiming=np.zeros(len(posterior.curves)))
    drawdown = posterior.drawdown()
    before = crossings(still, drawdown, 0.10)
    after = crossings(posterior, drawdown, 0.10)
    gap = np.searchsorted(TRAINED, before, side="right")
    assert (np.searchsorted(TRAINED, after, side="right") == gap).all()
    share = (before - TRAINED[gap - 1]) / (TRAINED[gap] - TRAINED[gap - 1])
    inside = (share > 0.01) & (share < 0.99)
    moved = (after[inside] - TRAINED[gap - 1][inside]) / np.diff(TRAINED)[0]
    shift = np.log(moved / (1 - moved)) - np.log(share[inside] / (1 - share[inside]))
    assert shift.mean() == pytest.approx(0, abs=0.08)
    assert shift.std() == pytest.approx(RETIMING, rel=0.08)
    assert (crossings(posterior, drawdown, 0.12) >= after).all()


def test_denser_strengths_leave_less_room_for_it() -> None:
    posterior = falling()
    dense = replace(posterior, trained=np.linspace(-3, 2, 101))
    coarse, fine = (crossings(own, own.drawdown(), 0.10).std() for own in (posterior, dense))
    still = crossings(replace(posterior, retiming=0 * posterior.retiming), posterior.drawdown(), 0.10).std()
    assert coarse > 1.15 * still
    assert fine < 1.06 * still


def test_the_safe_bound_holds_in_every_family_that_is_left_standing() -> None:
    early, late = (1 - 0.6 / (1 + np.exp(-(FINE - at) / 0.1)) for at in (0.0, 1.5))
    for share, outvoted in ((0.04, False), (0.15, True)):
        first = int(1000 * share)
        family = np.concatenate([np.zeros(first, dtype=np.int64), np.ones(1000 - first, dtype=np.int64)])
        curves = np.concatenate([np.tile(early, (first, 1)), np.tile(late, (1000 - first, 1))])
        posterior = Posterior(FINE, curves, {}, 1.0, 1000.0, family=family)
        bound = locate(posterior, posterior.drawdown(), 0.10, 0.80).lower
        assert bound is not None
        alone = locate(replace(posterior, family=family[:0]), posterior.drawdown(), 0.10, 0.80).lower
        assert alone is not None
        assert alone > 10
        assert (bound < 1) is outvoted


def test_a_family_adds_no_bound_where_the_average_excludes_the_loss() -> None:
    falls, stays = 1 - 0.6 / (1 + np.exp(-(FINE - 1.0) / 0.1)), np.ones(len(FINE))
    curves = np.concatenate([np.tile(falls, (20, 1)), np.tile(stays, (980, 1))])
    family = np.repeat([0, 1], [100, 900])
    posterior = Posterior(FINE, curves, {}, 1.0, 1000.0, family=family)
    assert locate(posterior, posterior.drawdown(), 0.10).lower is None


def test_curves_without_a_loss_do_not_move_the_bound_of_those_that_have_one() -> None:
    """A few noisy seeds leave "nothing is lost" much of its prior probability: no reason to call more safe."""
    falls = [1 - 0.6 / (1 + np.exp(-(FINE - at) / 0.1)) for at in np.linspace(0.0, 1.5, 100)]
    bounds = []
    for without in (0, 100, 1500):
        curves = np.concatenate([falls, np.ones((without, len(FINE)))])
        family = np.repeat([0, 1], [100, without])
        posterior = Posterior(FINE, curves, {}, 1.0, 1000.0, family=family)
        found = locate(posterior, posterior.drawdown(), 0.10)
        assert found.p_detect == pytest.approx(100 / (100 + without))
        bounds.append(found.lower)
    assert bounds[0] is not None
    assert bounds[1:] == bounds[:1] * 2
