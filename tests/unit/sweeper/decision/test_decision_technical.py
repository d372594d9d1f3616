"""The technical side: an effect only when there is one, an upper bound of λ_E that holds, a fall that is shown."""

from __future__ import annotations

import numpy as np
import pytest
from decision_curves import SHAPES, STRENGTHS, sample, technical_curve

from sweeper.decision.inference.noise import draw, fit_levels, positions
from sweeper.decision.inference.technical import assess_technical, technical_falls

X = positions(STRENGTHS)
with np.errstate(divide="ignore"):
    LOG = np.log10(np.array(STRENGTHS))


def assess(values, *, seed=0):
    noise = fit_levels(values, X, 1.0)[1]
    return assess_technical(
        STRENGTHS,
        values.mean(axis=1),
        noise,
        draw(noise, 500, (seed,)),
        epsilon_technical=0.05,
        epsilon_effective=0.10,
        confidence=0.95,
    )


def test_the_effective_strength_without_noise():
    means = technical_curve(LOG)
    reached = means >= means[0] + 0.9 * (means.max() - means[0])
    found = assess(sample(technical_curve, np.random.default_rng(0), sigma=1e-5))
    assert found.lambda_effective == found.lambda_effective_upper == STRENGTHS[int(np.argmax(reached))]
    assert found.rise == pytest.approx(0.6, abs=1e-3)
    assert found.saturated
    assert found.baseline == pytest.approx(0.3, abs=0.05)


@pytest.mark.parametrize("centre", [-1.0, 0.5])
def test_the_upper_bound_covers_the_true_effective_strength(centre):
    def curve(x):
        return technical_curve(x - centre - 1)

    means = curve(LOG)
    true = STRENGTHS[int(np.argmax(means >= means[0] + 0.9 * (means.max() - means[0])))]
    rng = np.random.default_rng(1)
    covered = sum(assess(sample(curve, rng), seed=r).lambda_effective_upper >= true for r in range(60))
    assert covered >= 57


def test_no_effect_is_rarely_called_one():
    rng = np.random.default_rng(2)
    called = [assess(sample(SHAPES["flat"], rng, seeds=3), seed=r) for r in range(60)]
    assert sum(found.has_effect for found in called) <= 4
    assert all(found.lambda_effective is None for found in called if not found.has_effect)
    assert sum(found.rise_lower > 0 for found in called) <= 8


def test_still_rising_is_not_saturated():
    found = assess(
        sample(lambda x: 0.2 + 0.1 * np.where(np.isfinite(x), x + 3, 0), np.random.default_rng(3), sigma=1e-4)
    )
    assert found.has_effect
    assert not found.saturated
    assert found.lambda_effective == STRENGTHS[-2]


def test_a_fall_must_be_shown_and_be_relevant():
    def falls(drop, sigma):
        values = sample(lambda x: np.where(x > 1, 0.9 - drop, 0.9), np.random.default_rng(4), sigma=sigma)
        noise = fit_levels(values, X, 1.0)[1]
        drawn = draw(noise, 500, (0,))
        return technical_falls(values.mean(axis=1), noise, drawn, at=12, epsilon_technical=0.05, confidence=0.95)

    assert falls(0.3, 0.01)
    assert not falls(0.3, 0.5)
    assert not falls(0.03, 0.001)


def test_a_level_technical_side_rarely_falls():
    rng = np.random.default_rng(6)
    called = 0
    for repetition in range(60):
        values = sample(technical_curve, rng, seeds=3)
        noise = fit_levels(values, X, 1.0)[1]
        called += technical_falls(
            values.mean(axis=1), noise, draw(noise, 300, (repetition,)), at=12, epsilon_technical=0.05, confidence=0.95
        )
    assert called <= 1
