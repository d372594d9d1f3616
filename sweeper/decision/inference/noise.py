"""The seed noise of a curve: what differs between seeds at one strength once each seed's own level is removed.

Seeds are blocks: the same seed means the same split, initialisation and order at every strength, so its main effect is
taken out as a fixed effect. What is left gives one variance a level, from few seeds; those are smoothed over
x = log10 λ, because the noise grows towards collapse but does so gradually. It is correlated between neighbouring
strengths (`correlation`), which the variances allow for: taking out a seed's level also takes out what is smooth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sweeper.decision.inference.correlation import run_covariance, seed_correlation

Array = NDArray[np.float64]
ROUNDING = 1e-13  # residuals smaller than this share of the largest value are none


@dataclass(frozen=True, eq=False)
class Noise:
    """Noise of the level means of a curve of L levels and S seeds.

    Attributes:
        n_seeds: S.
        variance: (L,) smoothed variance of one run about its level, seed effects removed.
        degrees: (L,) effective degrees of freedom of `variance`.
        kernel: (L, L) weights of the levels' own estimates in `variance`; rows sum to 1.
        correlation: (L, L) of what is left of a seed, between levels.
        shape: (L, L) covariance of the level means where each level's own run variance is 1.
        rest: (n, n) root of the covariance of the n runs' residuals at run variance 1; `at` (n,) their levels.
        seed_variance: variance of the seed means: what blocking removes from a difference of levels, but neither from a
            level itself nor wholly from a *proportional* loss.
        extra: (L, L) covariance of the level means from another source than the seeds, taken as known.
    """

    n_seeds: int
    variance: Array
    degrees: Array
    kernel: Array
    correlation: Array
    shape: Array
    rest: Array
    at: NDArray[np.int64]
    seed_variance: float
    extra: Array

    @property
    def sigma(self) -> float:
        """Standard deviation of one run about its level, pooled over levels."""
        return float(np.sqrt(self.variance.mean()))

    @property
    def within(self) -> Array:
        """(L, L) covariance of the level means that the runs' own noise gives."""
        sd = np.sqrt(self.variance)
        return np.asarray(self.shape * np.outer(sd, sd))

    @property
    def covariance(self) -> Array:
        """(L, L) covariance of the level means *within* seeds: for reading differences between levels."""
        return self.within + self.extra


@dataclass(frozen=True, eq=False)
class Draws:
    """Monte Carlo of the level means under a `Noise`.

    Attributes:
        errors: (L, R) errors of the level means.
        seed_errors: (R,) error that a seed set shares over all levels.
        factors: (L, R) the smoothed variance that would have been estimated, over the fitted one; 1 without any noise.
        seed_variance: (R,) the variance of seed means that would have been estimated.
    """

    errors: Array
    seed_errors: Array
    factors: Array
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

    A level's residual sum of squares is divided by what it is expected to be at a run variance of 1, and smoothing
    weighs the levels by kernel × expectation (`_smoothed`): once with independent runs, from which their correlation is
    estimated, and again with that.

    `extra` is the (L, L) covariance of the level means from another source, e.g. the choice of perturbations.
    """
    levels, seeds = values.shape
    at, of = np.nonzero(np.isfinite(values))
    y = values[at, of]
    design = run_design(at, of, values.shape)
    solve = np.linalg.pinv(design)
    residual = y - design @ (solve @ y)
    residual[np.abs(residual) < ROUNDING * np.abs(y).max(initial=0.0)] = 0.0
    maker = np.eye(len(y)) - design @ solve
    member = (np.arange(levels)[:, None] == at).astype(float)
    kernel = kernel_weights(x, width)
    kernel = kernel / kernel.max(axis=1, keepdims=True)
    squares = member @ residual**2
    variance = _smoothed(kernel, squares, member, maker)[0]
    sd = np.sqrt(variance[at]) if residual.any() else np.ones(len(y))
    correlation = seed_correlation(residual, design, sd, x, at, of)
    runs = run_covariance(correlation, at, of)
    left = maker @ runs @ maker
    variance, degrees, weights = _smoothed(kernel, squares, member, left)
    sd = np.sqrt(variance) if residual.any() else np.ones(levels)
    means = solve[:levels]
    scaled = means * sd[at]
    return means @ y, Noise(
        n_seeds=seeds,
        variance=variance,
        degrees=degrees,
        kernel=weights,
        correlation=correlation,
        shape=scaled @ runs @ scaled.T / np.outer(sd, sd),
        rest=_root(left),
        at=at,
        seed_variance=float((_seed_contrast(seeds) @ solve[levels:] @ y).var(ddof=1)),
        extra=np.zeros((levels, levels)) if extra is None else extra,
    )


def _smoothed(kernel: Array, squares: Array, member: Array, left: Array) -> tuple[Array, Array, Array]:
    """(L,) smoothed variance, (L,) its degrees of freedom and (L, L) the levels' weights in it.

    With residual covariance C at run variance 1 a level's sum of squares has mean d_k = Σ C_ii over its runs, and two
    levels' sums have covariance 2·q_kl, q_kl = Σ C_ij²; hence ν_eff = (Σ w·d)² / Σ w_k·w_l·q_kl (Satterthwaite).

    Args:
        kernel: (L, L) weights.
        squares: (L,) residual sums of squares.
        member: (L, n) 1 where a run is of a level.
        left: (n, n) C.
    """
    expected = member @ np.diagonal(left)
    shared = member @ left**2 @ member.T
    total = kernel @ expected
    degrees = total**2 / np.einsum("ik,kl,il->i", kernel, shared, kernel)
    return kernel @ squares / total, degrees, kernel * expected / total[:, None]


def draw(noise: Noise, draws: int, seed: tuple[int, ...]) -> Draws:
    """Level-mean errors and re-estimated variances, `draws` times, from `seed` alone."""
    rng = np.random.default_rng(seed)
    between, variance = noise.n_seeds - 1, noise.variance[:, None]
    errors = _root(noise.covariance) @ rng.standard_normal((len(variance), draws))
    seed_errors = rng.standard_normal(draws) * np.sqrt(noise.seed_variance / noise.n_seeds)
    drawn = noise.kernel @ (_drawn_shares(noise, draws, rng) * variance)
    return Draws(
        errors=errors,
        seed_errors=seed_errors,
        factors=np.divide(drawn, variance, out=np.ones_like(drawn), where=variance > 0),
        seed_variance=noise.seed_variance * rng.chisquare(between, draws) / between,
    )


def _root(covariance: Array) -> Array:
    """Symmetric root: a singular covariance has no Cholesky factor, and it hangs on no choice of eigenvectors."""
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T)


def _drawn_shares(noise: Noise, count: int, rng: np.random.Generator) -> Array:
    """(L, count) sums of squares of the levels' residuals, drawn, over what is expected of them."""
    member = (np.arange(len(noise.variance))[:, None] == noise.at).astype(float)
    squares = member @ (noise.rest @ rng.standard_normal((noise.rest.shape[1], count))) ** 2
    return np.asarray(squares / (member @ (noise.rest**2).sum(axis=1))[:, None])


def noise_courses(noise: Noise, count: int, rng: np.random.Generator) -> Array:
    """(L, count) courses of the run variance over the levels, as factors of `variance`, that the residuals allow.

    Each is the fitted variance over one that its own residuals would have given (a fiducial draw); neighbours share the
    levels they were smoothed from. Divided by their geometric mean: the common scale is the closed form's own s².
    """
    drawn = noise.kernel @ (_drawn_shares(noise, count, rng) * noise.variance[:, None])
    courses = noise.variance[:, None] / np.maximum(drawn, 1e-300)
    courses[noise.variance == 0] = 1.0
    return np.asarray(courses / np.exp(np.log(courses).mean(axis=0)))


@dataclass(frozen=True, eq=False)
class Contrasts:
    """share·(mean of each of n other levels) − (mean of one level).

    Attributes:
        variance: (n,) within seeds, fitted.
        drawn: (n, R) as it would have been estimated in each draw.
    """

    variance: Array
    drawn: Array


def contrasts(noise: Noise, draws: Draws, share: float, others: NDArray[np.int64], level: int) -> Contrasts:
    """Variances of contrasts with one level.

    A drawn variance scales a contrast by the mean of the two levels' own factors, weighed by what each adds.
    """
    within, factors = noise.within, draws.factors
    first, second = share**2 * within[others, others], within[level, level]
    own = first + second - 2 * share * within[others, level]
    extra = share**2 * noise.extra[others, others] + noise.extra[level, level] - 2 * share * noise.extra[others, level]
    part = ratio(first, first + second)[:, None]
    drawn = own[:, None] * (part * factors[others] + (1 - part) * factors[level])
    return Contrasts(np.maximum(own + extra, 0.0), np.maximum(drawn + extra[:, None], 0.0))


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
    own, extra = np.diagonal(noise.within), np.diagonal(noise.extra)
    error = np.sqrt(own + extra + noise.seed_variance / noise.n_seeds)
    drawn = own[:, None] * draws.factors + extra[:, None]
    drawn = np.sqrt(drawn + draws.seed_variance / noise.n_seeds)
    highest = ratio(draws.errors + draws.seed_errors, drawn).max(axis=0)
    return float((means - np.quantile(highest, confidence) * error).max())
