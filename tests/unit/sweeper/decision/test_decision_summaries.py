"""What the drawn curves say beyond the point, on curves where it is known."""

from __future__ import annotations

import numpy as np
import pytest
from decision_curves import SHAPES, STRENGTHS, sample, technical_curve

from sweeper.decision.inference.noise import fit_levels, positions
from sweeper.decision.inference.posterior import Posterior, fit_posterior
from sweeper.decision.inference.summaries import Span, effective, locatable_drop, onset, technical_kept

X = np.concatenate([[-np.inf], np.linspace(-3, 2, 126)])


def same(curve, draws=20):
    return Posterior(X, np.tile(curve, (draws, 1)), {}, 1.0, 1.0)


def fitted(curve, *, seed=0, sigma=0.01):
    means, noise = fit_levels(sample(curve, np.random.default_rng(seed), sigma=sigma), positions(STRENGTHS), 1.0)
    return fit_posterior(STRENGTHS, means, noise, peak=1.0, discrepancy=0.005, draws=1000, seed=(seed,))


def test_the_onset_is_where_the_best_biology_is_and_may_be_at_zero():
    peaked = 1 - np.abs(np.where(np.isfinite(X), X, -9) - 0.6) / 10
    assert onset(same(peaked), 0.95).median == pytest.approx(10**0.6, rel=1e-6)
    assert onset(same(np.linspace(1, 0, 127)), 0.95) == Span(0.0, 0.0, 0.0)
    found = onset(fitted(SHAPES["umbrella"]), 0.95)  # true peak near λ = 0.9
    assert found.lower < 0.9 < found.upper


def test_the_effective_strength_has_all_but_a_share_of_the_gain():
    rising = np.clip((np.where(np.isfinite(X), X, -9) + 1) / 2, 0, 1)
    assert effective(same(rising), 0.10, 0.95, up_to=100.0).median == pytest.approx(10**0.8, rel=0.1)
    assert effective(same(rising), 0.10, 0.95, up_to=1.0).median < 10**0.1, "what lies beyond sets no bar"
    found = effective(fitted(technical_curve), 0.10, 0.95, up_to=100.0)
    true = 10 ** (-1 + 0.3 * np.log(9))  # 0.3 + 0.6·logistic((x + 1)/0.3) has 90 % of its gain
    assert found.lower < true < found.upper
    assert found.upper / found.lower < 10


def test_batch_removal_is_compared_between_the_loss_and_the_peak():
    place = np.where(np.isfinite(X), X, -9)
    biology, steady, falling = same(1 - 0.5 * (place > 0)), same(0.0 * place + 0.8), same(0.8 - 0.3 * (place > -0.5))
    assert technical_kept(biology, steady, 0.10, 0.05) == 1.0
    assert technical_kept(biology, falling, 0.10, 0.05) == 0.0
    assert technical_kept(biology, falling, 0.10, 0.40) == 1.0
    assert technical_kept(same(0 * place + 1), steady, 0.10, 0.05) is None


@pytest.mark.slow
def test_the_locatable_drop_is_located_about_as_often_as_stated():
    with np.errstate(divide="ignore"):
        x = np.log10(np.array(STRENGTHS))
    noise = fit_levels(sample(SHAPES["flat"], np.random.default_rng(1)), positions(STRENGTHS), 1.0)[1]
    asked = {"peak": 1.0, "discrepancy": 0.005, "delta": 0.10, "p_identify": 0.975, "power": 0.80}
    drop = locatable_drop(STRENGTHS, noise, **asked, seed=(0,))
    assert drop == locatable_drop(STRENGTHS, noise, **asked, seed=(0,))
    assert 0.12 < drop < 0.25
    rng, hits = np.random.default_rng(2), 0
    for n in range(40):
        level = np.where(np.isfinite(x), 1 / (1 + np.exp(-(x - 1.3) / 0.2)), 0.0)
        errors = np.sqrt(np.diag(noise.covariance)) * rng.standard_normal(len(x))
        means = 1 - drop * level / level[-1] + errors
        found = fit_posterior(STRENGTHS, means, noise, peak=1.0, discrepancy=0.005, draws=300, seed=(n,))
        hits += (found.drawdown() >= 0.10).any(axis=1).mean() >= 0.975
    assert 0.6 <= hits / 40 <= 0.975  # P(outside) < 2 % at a power between 0.75 and 0.9


def test_more_noise_needs_a_larger_drop():
    values = sample(SHAPES["flat"], np.random.default_rng(3))
    centred = values - values.mean()
    asked = {"peak": 1.0, "discrepancy": 0.005, "delta": 0.10, "p_identify": 0.975, "power": 0.80, "seed": (0,)}
    drops = [
        locatable_drop(STRENGTHS, fit_levels(1 + scale * centred, positions(STRENGTHS), 1.0)[1], **asked)
        for scale in (0.3, 1.0, 3.0)
    ]
    assert 0.10 < drops[0] < drops[1] < drops[2] <= 1.0
