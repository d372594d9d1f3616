"""How alike what is left of a seed is at two strengths: its noise is smooth in λ.

Training with λ and with 1.2 λ from the same initialisation, in the same order, errs in nearly the same way. What is
left of a run once its seed's own level is removed is therefore correlated between neighbouring strengths (about .8 over
a quarter of a decade on simulated screens, benchmarks/README.md), and a wiggle that all levels of a neighbourhood share
is no evidence of the curve's shape. The correlation of a run with one of the same seed at a distance of d decades is

    ρ·exp(−d²/2ℓ²)   for d > 0,   1 for d = 0

and both ρ and ℓ are uncertain with a few seeds, so the matrix is averaged over a grid of them, weighed by their
restricted likelihood (Patterson & Thompson 1971, doi:10.1093/biomet/58.3.545; the scale integrated out).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
SHARES = (0.25, 0.5, 0.75, 0.9, 0.97)
"""ρ: how much of a run's variance is smooth in λ."""
LENGTHS = (0.2, 0.4, 0.8)
"""ℓ, decades."""
NONE = 0.5
"""Prior probability of no correlation; the rest is spread evenly over the grid."""


def smooth_correlation(x: Array, share: float, length: float) -> Array:
    """(L, L) correlation of runs of a seed at positions x (L,), in decades."""
    matrix = share * np.exp(-0.5 * ((x[:, None] - x[None, :]) / length) ** 2)
    np.fill_diagonal(matrix, 1.0)
    return np.asarray(matrix)


def run_covariance(correlation: Array, at: Indices, of: Indices) -> Array:
    """(n, n) covariance of runs of variance 1 at levels `at` of seeds `of`; seeds are independent."""
    return np.asarray(correlation[np.ix_(at, at)] * (of[:, None] == of))


def seed_correlation(y: Array, design: Array, sd: Array, x: Array, at: Indices, of: Indices) -> Array:
    """(L, L) correlation of a seed's runs between levels, averaged over the grid.

    Args:
        y: (n,) values of the runs.
        design: (n, p) level and seed effects, full column rank.
        sd: (n,) standard deviation of each run up to a common factor.
        x: (L,) positions of the levels, decades.
        at, of: (n,) level and seed of each run.
    """
    from scipy.linalg import null_space, solve_triangular

    independent = np.eye(len(x))
    contrasts = null_space((design / sd[:, None]).T)
    rest = contrasts.T @ (y / sd)
    if not len(rest) or not rest.any():
        return independent
    grid = [smooth_correlation(x, share, length) for share in SHARES for length in LENGTHS]
    prior = [NONE, *([(1 - NONE) / len(grid)] * len(grid))]
    logs = np.log(prior)
    for place, correlation in enumerate([independent, *grid]):
        root = np.linalg.cholesky(contrasts.T @ run_covariance(correlation, at, of) @ contrasts)
        white = solve_triangular(root, rest, lower=True)
        logs[place] -= np.log(np.diagonal(root)).sum() + 0.5 * len(rest) * np.log(white @ white)
    weights = np.exp(logs - logs.max())
    return np.tensordot(weights / weights.sum(), np.stack([independent, *grid]), axes=1)
