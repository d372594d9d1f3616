"""Posterior of the over-correction point: curves drawn from the average over all members of the eight families.

`evidence` fits every member in closed form, except that amplitudes must not be negative: the cut multiplies a member's
evidence by P(a ≥ 0 | ȳ), the posterior share of the positive orthant.

For k ≥ 2 that share has no closed form, and refusing draws outside the orthant fails where the unconstrained fit lies
wholly outside. So members are proposed with the product of the marginal shares in its place, amplitudes are drawn
inside the orthant one after the other (Geweke, Hajivassiliou & Keane), and each draw is weighted by the ratio of the
two. The weights are exact; the proposal only sets how many draws are needed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sweeper.decision.evidence import Whitened
from sweeper.decision.families import shapes
from sweeper.decision.noise import Noise

Array = NDArray[np.float64]
PROPOSALS = 3  # proposed for each curve kept
NEGLIGIBLE = 30.0  # log evidence below the best from which on a member is left out
ROUNDING = 1e-4  # least standard error of a level mean, in units of the peak: rounding is not evidence


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
    strengths: tuple[float, ...],
    means: Array,
    noise: Noise,
    *,
    peak: float,
    discrepancy: float,
    draws: int,
    seed: tuple[int, ...],
    families: Collection[str] | None = None,
) -> Posterior:
    """Curves drawn from the posterior, from `seed` alone.

    Args:
        strengths: (L,) λ, ascending, 0 first.
        means: (L,) level means, floor at 0.
        noise: their noise, in the same unit.
        peak: the unit, above 0.
        discrepancy: s.d., in units of the peak, by which a true curve may differ from the nearest family at each level.
        draws: R.
        families: those to average over; None: all eight.
    """
    bank = shapes(strengths)
    rng = np.random.default_rng(seed)
    covariance = noise.covariance / peak**2 + max(discrepancy, ROUNDING) ** 2 * np.eye(len(means))
    white = Whitened.of(bank, means / peak, covariance, float(np.median(noise.degrees)))
    names = [name for name in bank.families if families is None or name in families]
    members = [white.members(bank.families[name]) for name in names]
    score = [own.log_evidence - np.log(len(own.log_evidence)) for own in members]  # families weigh the same a priori
    least = max(float(own.max()) for own in score) - NEGLIGIBLE
    kept = [np.flatnonzero(own > least) for own in score]
    log_proposal = np.concatenate(
        [own[rows] + group.log_share(rows) for own, group, rows in zip(score, members, kept, strict=True)]
    )
    family, member = np.repeat(np.arange(len(kept)), [len(rows) for rows in kept]), np.concatenate(kept)
    picked = _resample(rng, np.exp(log_proposal - log_proposal.max()), PROPOSALS * draws)
    intercepts, log_weights = np.empty(len(picked)), np.empty(len(picked))
    amplitudes = np.zeros((len(picked), 3))
    used = np.zeros((len(picked), 3), dtype=np.int64)
    for number, group in enumerate(members):
        here = np.flatnonzero(family[picked] == number)
        rows, k = member[picked[here]], group.rows.shape[1]
        intercepts[here], amplitudes[here, :k], log_weights[here] = group.draw(rows, rng)
        used[here, :k] = group.rows[rows]
    weights = np.exp(log_weights - log_weights.max())
    weights /= weights.sum()
    final = _resample(rng, weights, draws)
    # A seed's own level cancels in a difference of levels, but not in the peak that the loss is a share of.
    shift = rng.standard_normal(draws) * np.sqrt(noise.seed_variance / noise.n_seeds) / peak
    curves = (intercepts[final] + shift)[:, None]
    for j in range(3):
        curves = curves + amplitudes[final, j, None] * bank.fine[used[final, j]]
    best = int(np.argmax(log_proposal))
    return Posterior(
        x=bank.x,
        curves=curves,
        families={name: float(weights[family[picked] == number].sum()) for number, name in enumerate(names)},
        lof_p=members[family[best]].lack_of_fit(int(member[best])),
        effective_draws=float(1 / (weights**2).sum()),
    )


def locate(posterior: Posterior, drawdown: Array, delta: float, confidence: float = 0.95) -> Location:
    """λ_OC(δ) of every curve by linear interpolation of its drawdown over x, and the quantiles of that.

    Args:
        drawdown: `posterior.drawdown()`, shared by every δ.
        confidence: one-sided level of each end of the interval.
    """
    x = crossings(posterior, drawdown, delta)
    low, middle, high = np.quantile(x, (1 - confidence, 0.50, confidence), method="inverted_cdf")
    return Location(delta, float(np.isfinite(x).mean()), _strength(low), _strength(middle), _strength(high))


def crossings(posterior: Posterior, drawdown: Array, delta: float) -> Array:
    """(R,) log10 λ_OC(δ) of every curve, +∞ where a loss of δ is not reached within the range."""
    over = drawdown >= delta
    first = np.argmax(over, axis=1)
    reached = over[np.arange(len(over)), first]
    rows, right = np.flatnonzero(reached), first[reached]
    before, after = drawdown[rows, right - 1], drawdown[rows, right]
    x = np.full(len(over), np.inf)
    left = np.where(right > 1, posterior.x[right - 1], posterior.x[1])  # from λ = 0 there is no distance to interpolate
    x[rows] = left + (posterior.x[right] - left) * (delta - before) / np.maximum(after - before, 1e-300)
    return x


def _strength(x: float) -> float | None:
    return float(10.0**x) if np.isfinite(x) else None


def _resample(rng: np.random.Generator, weights: Array, count: int) -> NDArray[np.int64]:
    """(count,) places drawn by weight, one in each of `count` equal parts: less scatter than independent draws."""
    total = np.cumsum(weights)
    strata = (np.arange(count) + rng.random(count)) / count * total[-1]
    return np.asarray(np.minimum(np.searchsorted(total, strata, side="right"), len(weights) - 1))
