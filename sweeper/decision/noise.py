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
ROUNDING = 1e-13  # residuals smaller than this share of the largest value are none


@dataclass(frozen=True, eq=False)
class Noise:
    """Noise of the level means of a curve of L levels and S seeds.

    Attributes:
        n_seeds: S.
        variance: (L,) smoothed variance of one run about its level, seed effects removed.
        degrees: (L,) effective degrees of freedom of `variance`.
        level_degrees: (L,) residual degrees of freedom of one level before smoothing; (S − 1)(L − 1)/L without gaps.
        kernel: (L, L) weights of the levels' own estimates in `variance`; rows sum to 1.
        parts: (L, L, L) [k]: covariance of the level means that a run variance of 1 at level k alone would give.
        seed_variance: variance of the seed means: what blocking removes from a difference of levels, but neither from a
            level itself nor wholly from a *proportional* loss.
        extra: (L, L) covariance of the level means from another source than the seeds, taken as known.
    """

    n_seeds: int
    variance: Array
    degrees: Array
    level_degrees: Array
    kernel: Array
    parts: Array
    seed_variance: float
    extra: Array

    @property
    def sigma(self) -> float:
        """Standard deviation of one run about its level, pooled over levels."""
        return float(np.sqrt(self.variance.mean()))

    @property
    def covariance(self) -> Array:
        """(L, L) covariance of the level means *within* seeds: for reading differences between levels."""
        return np.tensordot(self.variance, self.parts, axes=1) + self.extra


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


def run_design(at: NDArray[np.int64], of: NDArray[np.int64], shape: tuple[int, int]) -> Array:
    """(n, L + S − 1) level and seed effects of the n runs at levels `at` of seeds `of`; seed effects sum to 0."""
    levels, seeds = shape
    design = np.zeros((len(at), levels + seeds - 1))
    design[np.arange(len(at)), at] = 1
    design[:, levels:] = _seed_contrast(seeds)[of]
    return design


def _seed_contrast(seeds: int) -> Array:
    return np.vstack([np.eye(seeds - 1), -np.ones(seeds - 1)])


def fit_levels(values: Array, x: Array, width: float, *, extra: Array | None = None) -> tuple[Array, Noise]:
    """Level means and their noise, from (L, S) values at positions x (L,); NaN where a run is missing.

    Level and seed effects are fitted by least squares to the runs there are, the seed effects summing to 0, so that a
    missing run biases no level by its seed's own level. Without gaps that is the mean over seeds. Every level needs at
    least two runs, and any two seeds a level in common.

    A level's residual sum of squares is divided by its residual degrees of freedom at equal noise, Σ (1 − leverage);
    smoothing weighs the levels by kernel × degrees, hence ν_eff = (Σ w·ν)² / Σ w²·ν (Satterthwaite at equal noise).

    `extra` is the (L, L) covariance of the level means from another source, e.g. the choice of perturbations.
    """
    levels, seeds = values.shape
    at, of = np.nonzero(np.isfinite(values))
    y = values[at, of]
    design = run_design(at, of, values.shape)
    solve = np.linalg.pinv(design)
    residual = y - design @ (solve @ y)
    residual[np.abs(residual) < ROUNDING * np.abs(y).max(initial=0.0)] = 0.0
    spare = 1 - (design * solve.T).sum(axis=1)
    member = (np.arange(levels)[:, None] == at).astype(float)
    degrees, squares = member @ spare, member @ residual**2
    kernel = kernel_weights(x, width)
    kernel = kernel / kernel.max(axis=1, keepdims=True)
    total = kernel @ degrees
    means, parts = solve[:levels], np.zeros((levels, levels, levels))
    for level in range(levels):
        own = means[:, at == level]
        parts[level] = own @ own.T
    return means @ y, Noise(
        n_seeds=seeds,
        variance=kernel @ squares / total,
        degrees=total**2 / (kernel**2 @ degrees),
        level_degrees=degrees,
        kernel=kernel * degrees / total[:, None],
        parts=parts,
        seed_variance=float((_seed_contrast(seeds) @ solve[levels:] @ y).var(ddof=1)),
        extra=np.zeros((levels, levels)) if extra is None else extra,
    )


def draw(noise: Noise, draws: int, seed: tuple[int, ...]) -> Draws:
    """Level-mean errors and re-estimated variances, `draws` times, from `seed` alone."""
    rng = np.random.default_rng(seed)
    levels = len(noise.variance)
    # A singular covariance (no noise at all) has no Cholesky factor; its symmetric root serves as well.
    values, vectors = np.linalg.eigh(noise.covariance)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    errors = root @ rng.standard_normal((levels, draws))
    scaled = rng.chisquare(noise.level_degrees[:, None], (levels, draws)) / noise.level_degrees[:, None]
    between = noise.n_seeds - 1
    return Draws(
        errors=errors,
        seed_errors=rng.standard_normal(draws) * np.sqrt(noise.seed_variance / noise.n_seeds),
        variance=noise.kernel @ (scaled * noise.variance[:, None]),
        seed_variance=noise.seed_variance * rng.chisquare(between, draws) / between,
    )


def noise_courses(noise: Noise, count: int, rng: np.random.Generator) -> Array:
    """(L, count) courses of the run variance over the levels, as factors of `variance`, that the residuals allow.

    Each is the fitted variance over one that its own χ² would have given (a fiducial draw); neighbours share the
    levels they were smoothed from. Divided by their geometric mean: the common scale is the closed form's own s².
    """
    scaled = rng.chisquare(noise.level_degrees[:, None], (len(noise.variance), count)) / noise.level_degrees[:, None]
    courses = noise.variance[:, None] / np.maximum(noise.kernel @ (scaled * noise.variance[:, None]), 1e-300)
    courses[noise.variance == 0] = 1.0
    return np.asarray(courses / np.exp(np.log(courses).mean(axis=0)))


def contrast_parts(noise: Noise, share: float, others: NDArray[np.int64], level: int) -> Array:
    """(n, L) variance of share·(mean of each other level) − (mean of `level`) for a run variance of 1 at each level."""
    own, cross = noise.parts[:, level, level], noise.parts[:, others, level]
    return np.asarray((share**2 * noise.parts[:, others, others] - 2 * share * cross + own[:, None]).T)


def contrast_extra(noise: Noise, share: float, others: NDArray[np.int64], level: int) -> Array:
    """(n,) what `extra` adds to the variances of the contrasts of `contrast_parts`."""
    own, cross = noise.extra[level, level], noise.extra[others, level]
    return np.asarray(share**2 * noise.extra[others, others] - 2 * share * cross + own)


def ratio(numerator: Array, error: Array) -> Array:
    """Quotient of the two, 0 where there is no noise at all."""
    return np.divide(numerator, error, out=np.zeros(np.broadcast(numerator, error).shape), where=error > 0)


def level_errors(noise: Noise) -> Array:
    """(L,) standard errors of level means *within* seeds: for reading differences between levels."""
    return np.sqrt(np.diagonal(noise.covariance))


def signal_lower_bound(means: Array, noise: Noise, draws: Draws, confidence: float) -> float:
    """Lower bound of the highest level's true mean, choice of the level paid for by a max-t quantile.

    Seeds are random here: a level's distance from the floor does not profit from blocking.
    """
    own = np.diagonal(noise.parts, axis1=1, axis2=2).T  # (L, L): what each level's variance adds to a level's mean
    extra = np.diagonal(noise.extra)
    error = np.sqrt(own @ noise.variance + extra + noise.seed_variance / noise.n_seeds)
    drawn = np.sqrt(own @ draws.variance + extra[:, None] + draws.seed_variance / noise.n_seeds)
    highest = ratio(draws.errors + draws.seed_errors, drawn).max(axis=0)
    return float((means - np.quantile(highest, confidence) * error).max())
