"""Posterior of the over-correction point: curves drawn from the average over all members of the eight families.

Model of the level means ȳ (L,), divided by their peak: ȳ = intercept + Σ a_j·shape_j + error, error ~ N(0, s²·V) with
V = diag(σ²(x)/S) known up to the factor s² ~ InvGamma(ν/2, ν/2), intercept ~ N(0, s²), a_j ~ N(0, s²·sd_j²) cut to
a_j ≥ 0. Given the member everything is conjugate: without the cut its marginal likelihood is a multivariate t, and the
cut multiplies it by 2^k·P(a ≥ 0 | ȳ), the posterior share of the positive orthant.

For k ≥ 2 that share has no closed form, and refusing draws outside the orthant fails where the unconstrained fit lies
wholly outside. So members are proposed with the product of the marginal shares in its place, amplitudes are drawn
inside the orthant one after the other (Geweke, Hajivassiliou & Keane), and each draw is weighted by the ratio of the
two. The weights are exact; the proposal only sets how many draws are needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtrc, ndtr, ndtri, stdtr

from sweeper.decision.families import INTERCEPT_SD, Family, Indices, Shapes, shapes
from sweeper.decision.noise import Noise

Array = NDArray[np.float64]
PROPOSALS = 3  # proposed for each curve kept
NOISE_FLOOR = 1e-4  # least standard error of a level mean, in units of the peak: rounding is not evidence
SHARE_FLOOR = 1e-6  # least proposed share of the positive orthant


@dataclass(frozen=True, eq=False)
class Posterior:
    """Equally weighted curves of one composite.

    Attributes:
        x: (F,) log10 λ; the first is −∞, which is λ = 0.
        curves: (R, F) in units of the peak, floor 0.
        families: family → posterior probability.
        lof_p: probability of a lack of fit this large if the best member were true (F test against seed noise).
        effective_draws: draws that the weighted proposals are worth.
    """

    x: Array
    curves: Array
    families: Mapping[str, float]
    lof_p: float
    effective_draws: float

    def drawdown(self) -> Array:
        """(R, F) share of the best value at any smaller or equal strength that is lost; 0 where that is not above 0."""
        peak = np.maximum.accumulate(self.curves, axis=1)
        return np.divide(peak - self.curves, peak, out=np.zeros_like(peak), where=peak > 0)


@dataclass(frozen=True)
class Location:
    """The over-correction point at one δ; λ, None where that quantile lies beyond the range.

    Attributes:
        p_detect: probability that a loss of δ is reached within the range.
        lower: 5 % quantile of λ_OC (at confidence 0.95), the safe bound; the smallest λ > 0 stands for that or less.
        median, upper: 50 % and 95 % quantiles.
    """

    delta: float
    p_detect: float
    lower: float | None
    median: float | None
    upper: float | None

    @property
    def width(self) -> float:
        """log10 of upper/lower; infinite where an end is missing."""
        if self.lower is None or self.upper is None:
            return float("inf")
        return float(np.log10(self.upper / self.lower))


def fit_posterior(
    strengths: tuple[float, ...], means: Array, noise: Noise, *, peak: float, draws: int, seed: tuple[int, ...]
) -> Posterior:
    """Curves drawn from the posterior, from `seed` alone.

    Args:
        strengths: (L,) λ, ascending, 0 first.
        means: (L,) level means, floor at 0.
        noise: their noise, in the same unit.
        peak: the unit, above 0.
        draws: R.
    """
    bank = shapes(strengths)
    rng = np.random.default_rng(seed)
    error = np.maximum(np.sqrt(noise.variance / noise.n_seeds) / peak, NOISE_FLOOR)
    white = _Whitened(bank, means / (peak * error), 1 / error, float(np.median(noise.degrees)))
    members = {name: white.members(family) for name, family in bank.families.items()}
    places, log_proposal = _stack(members)
    proposal = np.exp(log_proposal - log_proposal.max())
    proposal /= proposal.sum()
    picked = np.searchsorted(np.cumsum(proposal), _strata(rng, PROPOSALS * draws), side="right")
    picked = np.minimum(picked, len(proposal) - 1)
    curves = np.empty((len(picked), len(bank.x)))
    weights = np.empty(len(picked))
    for name, (start, stop) in places.items():
        here = np.flatnonzero((picked >= start) & (picked < stop))
        if len(here):
            curves[here], weights[here] = members[name].draw(picked[here] - start, rng)
    weights /= weights.sum()
    kept = np.minimum(np.searchsorted(np.cumsum(weights), _strata(rng, draws), side="right"), len(weights) - 1)
    # A seed's own level cancels in a difference of levels, but not in the peak that the loss is a share of.
    shift = rng.standard_normal(draws) * np.sqrt(noise.seed_variance / noise.n_seeds) / peak
    best = int(np.argmax(log_proposal))
    best_name = next(name for name, (start, stop) in places.items() if start <= best < stop)
    return Posterior(
        x=bank.x,
        curves=curves[kept] + shift[:, None],
        families={
            name: float(weights[(picked >= start) & (picked < stop)].sum()) for name, (start, stop) in places.items()
        },
        lof_p=members[best_name].lack_of_fit(best - places[best_name][0]),
        effective_draws=float(1 / (weights**2).sum()),
    )


def locate(posterior: Posterior, drawdown: Array, delta: float, confidence: float = 0.95) -> Location:
    """λ_OC(δ) of every curve by linear interpolation of its drawdown over x, and the quantiles of that.

    Args:
        drawdown: `posterior.drawdown()`, shared by every δ.
        confidence: one-sided level of each end of the interval.
    """
    over = drawdown >= delta
    first = np.argmax(over, axis=1)
    reached = over[np.arange(len(over)), first]
    rows, right = np.flatnonzero(reached), first[reached]
    before, after = drawdown[rows, right - 1], drawdown[rows, right]
    x = np.full(len(over), np.inf)
    left = np.where(right > 1, posterior.x[right - 1], posterior.x[1])  # from λ = 0 there is no distance to interpolate
    x[rows] = left + (posterior.x[right] - left) * (delta - before) / np.maximum(after - before, 1e-300)
    low, middle, high = np.quantile(x, (1 - confidence, 0.50, confidence), method="inverted_cdf")
    return Location(delta, float(reached.mean()), _strength(low), _strength(middle), _strength(high))


def _strength(x: float) -> float | None:
    return float(10.0**x) if np.isfinite(x) else None


def _strata(rng: np.random.Generator, count: int) -> Array:
    """(count,) one uniform number in each of `count` equal parts of [0, 1): less scatter than independent ones."""
    return np.asarray((np.arange(count) + rng.random(count)) / count)


def _stack(members: Mapping[str, _Members]) -> tuple[dict[str, tuple[int, int]], Array]:
    """Place of each family in one list of members, and the log proposal weights; families weigh the same a priori."""
    places, start = {}, 0
    for name, family in members.items():
        places[name] = (start, start + len(family.log_evidence))
        start += len(family.log_evidence)
    weights = [family.log_evidence + family.log_share - np.log(len(family.log_evidence)) for family in members.values()]
    return places, np.concatenate(weights)


@dataclass(frozen=True, eq=False)
class _Whitened:
    """The data and the bank in units of standard errors, the intercept integrated out.

    Attributes:
        y: (L,) level means over their standard errors.
        one: (L,) the intercept's column.
        degrees: ν.
    """

    bank: Shapes
    y: Array
    one: Array
    degrees: float

    @property
    def precision(self) -> float:
        """Posterior precision of the intercept at s = 1, amplitudes given."""
        return float(self.one @ self.one + INTERCEPT_SD**-2)

    def members(self, family: Family) -> _Members:
        """Conjugate fit of every member of one family."""
        count, k = family.rows.shape
        degrees = self.degrees + len(self.y)
        inverse, log_determinant = np.zeros((count, 0, 0)), np.zeros(count)
        columns = [self.bank.levels[used] * self.one for used in family.used]
        along = np.zeros((count, k))
        for j in range(k):
            along[:, j] = self._inner(columns[j], self.y[None, :])[:, 0][family.place[j]]
            border = np.zeros((count, j))
            for i in range(j):
                border[:, i] = self._inner(columns[i], columns[j])[family.place[i], family.place[j]]
            used = columns[j]
            length = (used**2).sum(axis=1) - (used @ self.one) ** 2 / self.precision
            corner = (length + self.bank.prior_sd[family.used[j]] ** -2.0)[family.place[j]]
            inverse, pivot = _bordered(inverse, border, corner)
            log_determinant += np.log(pivot * self.bank.prior_sd[family.rows[:, j]] ** 2)
        mean = np.einsum("nij,nj->ni", inverse, along)
        total = float(self._inner(self.y[None, :], self.y[None, :])[0, 0])
        misfit = np.maximum(total - (mean * along).sum(axis=1), 0.0)
        evidence = k * np.log(2) - 0.5 * log_determinant - 0.5 * degrees * np.log1p(misfit / self.degrees)
        deviation = np.sqrt(np.diagonal(inverse, axis1=1, axis2=2) * ((self.degrees + misfit) / degrees)[:, None])
        share = stdtr(degrees, mean / deviation).prod(axis=1)
        return _Members(self, family.rows, evidence, np.log(np.maximum(share, SHARE_FLOOR)), mean, inverse, misfit)

    def _inner(self, first: Array, second: Array) -> Array:
        """(a, b) inner products of rows (a, L) and (b, L) with the intercept integrated out."""
        return np.asarray(first @ second.T - np.outer(first @ self.one, second @ self.one) / self.precision)


def _bordered(inverse: Array, border: Array, corner: Array) -> tuple[Array, Array]:
    """Inverses (n, j + 1, j + 1) of symmetric matrices grown by one row, and the pivots (n,) of the growth."""
    count, j = border.shape
    moved = np.einsum("nij,nj->ni", inverse, border)
    pivot = corner - (moved * border).sum(axis=1)
    grown = np.empty((count, j + 1, j + 1))
    grown[:, :j, :j] = inverse + moved[:, :, None] * (moved / pivot[:, None])[:, None, :]
    grown[:, :j, j] = grown[:, j, :j] = -moved / pivot[:, None]
    grown[:, j, j] = 1 / pivot
    return grown, pivot


@dataclass(frozen=True, eq=False)
class _Members:
    """One family's n members of k shapes each.

    Attributes:
        log_evidence: (n,) log of 2^k × the marginal likelihood without the cut, up to a constant all families share.
        log_share: (n,) log of the proposed share of the positive orthant.
        mean: (n, k) posterior means of the amplitudes without the cut.
        inverse: (n, k, k) their covariance at s = 1.
        misfit: (n,) Q in the t density (1 + Q/ν)^−(ν + L)/2.
    """

    white: _Whitened
    rows: Indices
    log_evidence: Array
    log_share: Array
    mean: Array
    inverse: Array
    misfit: Array

    def draw(self, picked: Indices, rng: np.random.Generator) -> tuple[Array, Array]:
        """One curve (R, F) for each picked member, and its weight (R,)."""
        white, count, k = self.white, len(picked), self.rows.shape[1]
        degrees = white.degrees + len(white.y)
        s = np.sqrt((white.degrees + self.misfit[picked]) / rng.chisquare(degrees, count))
        root = np.linalg.cholesky(self.inverse[picked]) if k else np.zeros((count, 0, 0))
        z, weight = np.zeros((count, k)), np.exp(-self.log_share[picked])
        for j in range(k):
            centre = self.mean[picked, j] + s * np.einsum("ni,ni->n", root[:, j, :j], z[:, :j])
            scale = s * root[:, j, j]
            inside = ndtr(centre / scale)
            z[:, j] = -ndtri(np.maximum((1 - rng.random(count)) * inside, 1e-300))
            weight *= inside
        amplitudes = np.maximum(self.mean[picked] + s[:, None] * np.einsum("nij,nj->ni", root, z), 0.0)
        used = self.rows[picked]
        fitted = np.einsum("nk,nkl->nl", amplitudes, white.bank.levels[used]) * white.one
        intercept = ((white.y - fitted) @ white.one) / white.precision
        intercept = intercept + s * rng.standard_normal(count) / np.sqrt(white.precision)
        return intercept[:, None] + np.einsum("nk,nkf->nf", amplitudes, white.bank.fine[used]), weight

    def lack_of_fit(self, member: int) -> float:
        """Returns p of the F test of this member's posterior mean curve; 1 where no degrees of freedom are left.

        The denominator has the degrees of the *smoothed* variances: with those of a pooled one, noise that differs
        between levels would pass for a lack of fit.
        """
        white = self.white
        amplitudes = np.maximum(self.mean[member], 0.0)
        used = self.rows[member]
        fitted = (amplitudes @ white.bank.levels[used]) * white.one
        residual = white.y - fitted
        residual = residual - white.one * (residual @ white.one) / (white.one @ white.one)
        left = len(white.y) - 1 - int(white.bank.parameters[used].sum())
        if left < 1:
            return 1.0
        return float(fdtrc(left, white.degrees, (residual @ residual) / left))
