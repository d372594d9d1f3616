"""Closed-form fits of every member of the eight families to one curve of level means.

Model of the level means ȳ (L,), divided by their peak: ȳ = intercept + Σ a_j·shape_j + error, error ~ N(0, s²·V) with V
known up to the factor s² ~ InvGamma(ν/2, ν/2), intercept ~ N(0, s²), a_j ~ N(0, s²·sd_j²) cut to a_j ≥ 0. Given the
member everything is conjugate: without the cut its marginal likelihood is a multivariate t, and the cut multiplies it
by 2^k·P(a ≥ 0 | ȳ), the posterior share of the positive orthant.

The normal equations of a member have k ≤ 3 unknowns once the intercept is integrated out. They are solved for all
members of a family at once, by L·D·Lᵀ elimination written out over vectors of members: the inner products are needed
only once a pair of distinct shapes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtrc, ndtr, ndtri

from sweeper.decision.inference.families import INTERCEPT_SD, Family, Indices, Shapes

Array = NDArray[np.float64]
CHUNK = 8192  # members at a time: what they need stays in the cache
LEAST = 1e-290  # probability below which a draw would only be rounding, and gets no weight
SHARE_FLOOR = 1e-6  # least proposed share of the positive orthant


@dataclass(frozen=True, eq=False)
class Whitened:
    """The data and the bank in units of standard errors, the intercept integrated out.

    Attributes:
        bank: shapes on the same levels.
        columns: (N, L) the bank's shapes at the levels, whitened.
        y: (L,) level means, whitened.
        one: (L,) the intercept's column, whitened.
        degrees: ν.
    """

    bank: Shapes
    columns: Array
    y: Array
    one: Array
    degrees: float

    @staticmethod
    def of(bank: Shapes, means: Array, covariance: Array, degrees: float) -> Whitened:
        """From level means (L,) and their covariance (L, L), both in units of the peak."""
        root = np.linalg.cholesky(covariance)
        stacked = np.vstack([bank.levels, means, np.ones(len(means))])
        # One small inverse and a product: the bank has thousands of rows for a dozen levels.
        white = stacked @ np.linalg.inv(root).T
        return Whitened(bank, white[:-2], white[-2], white[-1], degrees)

    @property
    def precision(self) -> float:
        """Posterior precision of the intercept at s = 1, amplitudes given."""
        return float(self.one @ self.one + INTERCEPT_SD**-2)

    def members(self, family: Family) -> Members:
        """Conjugate fit of every member of one family."""
        count, k = family.rows.shape
        used = [self.columns[rows] for rows in family.used]
        sd = [self.bank.prior_sd[rows] for rows in family.used]
        gram = {(i, j): self._inner(used[i], used[j]).ravel() for j in range(k) for i in range(j)}
        own = [(u**2).sum(axis=1) - (u @ self.one) ** 2 / self.precision + sd[j] ** -2.0 for j, u in enumerate(used)]
        against = [self._inner(used[j], self.y[None, :])[:, 0] for j in range(k)]
        total = float(self._inner(self.y[None, :], self.y[None, :])[0, 0])
        evidence, misfit = np.empty(count), np.empty(count)
        lower = {(i, j): np.empty(count) for j in range(k) for i in range(j)}
        pivots, reduced = ([np.empty(count) for _ in range(k)] for _ in range(2))
        power, variance = 0.5 * (self.degrees + len(self.y)), [own_sd**2 for own_sd in sd]
        for start in range(0, count, CHUNK):
            cut = slice(start, start + CHUNK)
            at = [place[cut] for place in family.place]
            pairs = {key: places[cut] for key, places in family.pairs.items()}
            rest, determinant = np.full(len(family.rows[cut]), total), 1.0
            for j in range(k):
                pivot, along = own[j].take(at[j]), against[j].take(at[j])
                for i in range(j):
                    value = gram[i, j].take(pairs[i, j])
                    for h in range(i):
                        value = value - lower[h, i][cut] * pivots[h][cut] * lower[h, j][cut]
                    lower[i, j][cut] = factor = value / pivots[i][cut]
                    pivot = pivot - factor * value
                    along = along - factor * reduced[i][cut]
                pivots[j][cut], reduced[j][cut] = pivot, along
                rest = rest - along**2 / pivot
                determinant = determinant * pivot * variance[j].take(at[j])
            misfit[cut] = rest = np.maximum(rest, 0.0)
            evidence[cut] = k * np.log(2) - 0.5 * np.log(determinant) - power * np.log1p(rest / self.degrees)
        return Members(self, family.rows, evidence, misfit, lower, pivots, reduced)

    def _inner(self, first: Array, second: Array) -> Array:
        """(a, b) inner products of rows (a, L) and (b, L) with the intercept integrated out."""
        return np.asarray(first @ second.T - np.outer(first @ self.one, second @ self.one) / self.precision)


@dataclass(frozen=True, eq=False)
class Members:
    """One family's n members of k shapes each, as L·D·Lᵀ of their normal equations.

    Attributes:
        rows: (n, k) shapes.
        log_evidence: (n,) log of 2^k × the marginal likelihood without the cut, up to a constant all families share.
        misfit: (n,) Q in the t density (1 + Q/ν)^−(ν + L)/2.
        lower: (i, j) → (n,) entry of L that couples shape j to shape i < j.
        pivots, reduced: (n,) each of D, and of the right-hand side after elimination.
    """

    white: Whitened
    rows: Indices
    log_evidence: Array
    misfit: Array
    lower: dict[tuple[int, int], Array]
    pivots: list[Array]
    reduced: list[Array]

    def mean(self, picked: Indices) -> list[Array]:
        """Posterior means (R,) of the k amplitudes without the cut."""
        k = self.rows.shape[1]
        solved: list[Array] = [np.zeros(0)] * k
        for j in reversed(range(k)):
            solved[j] = self.reduced[j][picked] / self.pivots[j][picked]
            for i in range(j + 1, k):
                solved[j] = solved[j] - self.lower[j, i][picked] * solved[i]
        return solved

    def root(self, picked: Indices) -> dict[tuple[int, int], Array]:
        """Entries (R,) of the upper triangular U with U·Uᵀ = covariance of the amplitudes at s = 1."""
        root: dict[tuple[int, int], Array] = {}
        for i in range(self.rows.shape[1]):
            root[i, i] = 1 / np.sqrt(self.pivots[i][picked])
            for j in reversed(range(i)):
                terms = [self.lower[j, h][picked] * root[h, i] for h in range(j + 1, i + 1)]
                root[j, i] = -np.sum(terms, axis=0)
        return root

    def log_share(self, picked: Indices) -> Array:
        """(R,) log of the proposed share of the positive orthant: the product of the amplitudes' own shares.

        The normal distribution stands for Student's here; the weights of `draw` correct for that as well.
        """
        k, degrees = self.rows.shape[1], self.white.degrees + len(self.white.y)
        shares = np.ones(len(picked))
        for start in range(0, len(picked) if k else 0, CHUNK):
            some = picked[start : start + CHUNK]
            scale = (self.white.degrees + self.misfit[some]) / degrees
            root = self.root(some)
            for j, mean in enumerate(self.mean(some)):
                variance = root[j, j] ** 2
                for i in range(j + 1, k):
                    variance = variance + root[j, i] ** 2
                shares[start : start + CHUNK] *= ndtr(mean / np.sqrt(variance * scale))
        return np.asarray(np.log(np.maximum(shares, SHARE_FLOOR)))

    def draw(self, picked: Indices, rng: np.random.Generator) -> tuple[Array, Array, Array, Array]:
        """Intercepts (R,), amplitudes (R, k), scales s (R,) and log weights (R,): a draw for each picked member.

        Amplitudes are drawn inside the orthant one after the other, the last first (Geweke, Hajivassiliou & Keane).
        The weight is the probability of having been inside at every step, over the share proposed for the member.
        """
        white, count, k = self.white, len(picked), self.rows.shape[1]
        degrees = white.degrees + len(white.y)
        s = np.sqrt((white.degrees + self.misfit[picked]) / rng.chisquare(degrees, count))
        mean, root = self.mean(picked), self.root(picked)
        z, weight = np.zeros((count, k)), -self.log_share(picked)
        amplitudes = np.zeros((count, k))
        for j in reversed(range(k)):
            centre = mean[j]
            for i in range(j + 1, k):
                centre = centre + s * root[j, i] * z[:, i]
            scale = s * root[j, j]
            inside = np.maximum(ndtr(centre / scale), LEAST)
            z[:, j] = -ndtri(np.maximum((1 - rng.random(count)) * inside, LEAST))
            amplitudes[:, j] = np.maximum(centre + scale * z[:, j], 0.0)
            weight += np.where(inside > LEAST, np.log(inside), -np.inf)
        fitted = np.einsum("nk,nkl->nl", amplitudes, white.columns[self.rows[picked]])
        intercept = ((white.y - fitted) @ white.one) / white.precision
        return intercept + s * rng.standard_normal(count) / np.sqrt(white.precision), amplitudes, s, weight

    def lack_of_fit(self, member: int) -> float:
        """Returns p of the F test of this member's posterior mean curve; 1 where no degrees of freedom are left.

        The denominator has the degrees of the *smoothed* variances: with those of a pooled one, noise that differs
        between levels would pass for a lack of fit.
        """
        white = self.white
        amplitudes = np.maximum(np.concatenate([np.zeros(0), *self.mean(np.array([member]))]), 0.0)
        used = self.rows[member]
        residual = white.y - amplitudes @ white.columns[used]
        residual = residual - white.one * (residual @ white.one) / (white.one @ white.one)
        left = len(white.y) - 1 - int(white.bank.parameters[used].sum())
        if left < 1:
            return 1.0
        return float(fdtrc(left, white.degrees, (residual @ residual) / left))
