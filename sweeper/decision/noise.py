"""The seed noise of a curve: what differs between seeds at one strength once each seed's own level is removed.

Seeds are blocks: the same seed means the same split, initialisation and order at every strength, so its main effect is
taken out as a fixed effect. What is left gives one variance a level, from few seeds; those are smoothed over
x = log10 λ, because the noise grows towards collapse but does so gradually.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Noise:
    """Noise of the level means of an (L, S) curve.

    Attributes:
        n_seeds: S.
        variance: (L,) smoothed variance of one run about its level, seed effects removed.
        degrees: (L,) effective degrees of freedom of `variance`.
        level_degrees: residual degrees of freedom of one level before smoothing, (S − 1)(L − 1)/L.
        kernel: (L, L) smoothing weights; rows sum to 1.
        seed_variance: variance of the seed means: what blocking removes from a difference of levels, but neither from a
            level itself nor wholly from a *proportional* loss.
    """

    n_seeds: int
    variance: Array
    degrees: Array
    level_degrees: float
    kernel: Array
    seed_variance: float

    @property
    def sigma(self) -> float:
        """Standard deviation of one run about its level, pooled over levels."""
        return float(np.sqrt(self.variance.mean()))


@dataclass(frozen=True, eq=False)
class Draws:
    """Monte Carlo of the level means under a `Noise`.

    Attributes:
        errors: (L, R) errors of the level means.
        seed_errors: (R,) error that a seed set shares over all levels.
        variance: (L, R) the smoothed variance that would have been estimated.
        seed_variance: (R,) the variance of seed means that would have been estimated.
    """

    errors: Array
    seed_errors: Array
    variance: Array
    seed_variance: Array


def positions(strengths: tuple[float, ...]) -> Array:
    """(L,) x = log10 λ; λ = 0 stands one (median) grid step below the smallest λ > 0, a level of its own."""
    positive = np.log10([s for s in strengths if s > 0])
    step = float(np.median(np.diff(positive))) if len(positive) > 1 else 1.0
    return np.array([positive[0] - step if s == 0 else np.log10(s) for s in strengths])


def kernel_weights(x: Array, width: float) -> Array:
    """(L, L) Gaussian weights of standard deviation `width`/2, in decades; rows sum to 1."""
    weights = np.exp(-0.5 * ((x[:, None] - x[None, :]) / (width / 2)) ** 2)
    normalised: Array = weights / weights.sum(axis=1, keepdims=True)
    return normalised


def fit_noise(values: Array, x: Array, width: float) -> Noise:
    """Noise of a complete (L, S) curve, L ≥ 2, S ≥ 2, at positions x (L,).

    The residual of the two-way additive fit has variance σ²(S−1)(L−1)/(S·L) at equal noise, which sets the divisor. The
    smoothed variance is a weighted mean of L independent estimates, hence ν_eff = ν_level / Σ w² (Satterthwaite at
    equal noise).
    """
    levels, seeds = values.shape
    residual = values - values.mean(axis=1, keepdims=True) - values.mean(axis=0) + values.mean()
    level_degrees = (seeds - 1) * (levels - 1) / levels
    kernel = kernel_weights(x, width)
    return Noise(
        n_seeds=seeds,
        variance=kernel @ ((residual**2).sum(axis=1) / level_degrees),
        degrees=level_degrees / (kernel**2).sum(axis=1),
        level_degrees=level_degrees,
        kernel=kernel,
        seed_variance=float(values.mean(axis=0).var(ddof=1)),
    )


def draw(noise: Noise, draws: int, seed: tuple[int, ...]) -> Draws:
    """Level-mean errors and re-estimated variances, `draws` times, from `seed` alone."""
    rng = np.random.default_rng(seed)
    levels = len(noise.variance)
    errors = rng.standard_normal((levels, draws)) * np.sqrt(noise.variance / noise.n_seeds)[:, None]
    scaled = rng.chisquare(noise.level_degrees, (levels, draws)) / noise.level_degrees
    between = noise.n_seeds - 1
    return Draws(
        errors=errors,
        seed_errors=rng.standard_normal(draws) * np.sqrt(noise.seed_variance / noise.n_seeds),
        variance=noise.kernel @ (scaled * noise.variance[:, None]),
        seed_variance=noise.seed_variance * rng.chisquare(between, draws) / between,
    )


def ratio(numerator: Array, error: Array) -> Array:
    """Quotient of the two, 0 where there is no noise at all."""
    return np.divide(numerator, error, out=np.zeros(np.broadcast(numerator, error).shape), where=error > 0)


def level_errors(noise: Noise) -> Array:
    """(L,) standard errors of level means *within* seeds: for reading differences between levels."""
    return np.sqrt(noise.variance / noise.n_seeds)


def signal_lower_bound(means: Array, noise: Noise, draws: Draws, confidence: float) -> float:
    """Lower bound of the highest level's true mean, choice of the level paid for by a max-t quantile.

    Seeds are random here: a level's distance from the floor does not profit from blocking.
    """
    error = np.sqrt((noise.variance + noise.seed_variance) / noise.n_seeds)
    drawn = np.sqrt((draws.variance + draws.seed_variance) / noise.n_seeds)
    highest = ratio(draws.errors + draws.seed_errors, drawn).max(axis=0)
    return float((means - np.quantile(highest, confidence) * error).max())
