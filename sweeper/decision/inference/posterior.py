"""Posterior of the over-correction point: curves drawn from the average over all members of the eight families.

`evidence` fits every member in closed form, except that amplitudes must not be negative: the cut multiplies a member's
evidence by P(a ≥ 0 | ȳ), the posterior share of the positive orthant.

For k ≥ 2 that share has no closed form, and refusing draws outside the orthant fails where the unconstrained fit lies
wholly outside. So members are proposed with the product of the marginal shares in its place, amplitudes are drawn
inside the orthant one after the other (Geweke, Hajivassiliou & Keane), and each draw is weighted by the ratio of the
two. The weights are exact; the proposal only sets how many draws are needed.

Two things that a closed form leaves out are added to the draws. *The noise's course over λ* comes from few seeds, and
the closed form knows it up to one factor only, so draws are weighted by their mean likelihood over `NOISE_COURSES`
courses that the residuals allow (`noise.noise_courses`). *Within a gap between two trained strengths* nothing was
measured, and a smooth family places the crossing too exactly: every curve's time within its gap is shifted by
N(0, `RETIMING`²) in log odds, one shift a curve, which moves no crossing past a trained strength and keeps the crossing
of a greater δ behind that of a smaller one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from sweeper.decision.inference.evidence import SHARE_FLOOR, Members, Whitened
from sweeper.decision.inference.families import Indices, shapes
from sweeper.decision.inference.noise import Noise, noise_courses

Array = NDArray[np.float64]
PROPOSALS = 3  # proposed for each curve kept
NOISE_COURSES = 48
RETIMING = 0.8  # the least tried with which the worst of the tuning shapes and spectra was covered at the nominal 0.90
ACCEPTED = 0.10  # posterior probability from which on a family must vouch for the safe bound by itself
NEGLIGIBLE, SLACK = 20.0, 4.0  # log evidence below the best from which on a member is left out, and its tolerance
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
        trained: (K,) log10 of the strengths λ > 0 that the curves were fitted to; empty: crossings are not re-timed.
        retiming: (R,) shift of each curve's time within a gap between two of them, in log odds.
        family: (R,) place of each curve's family in `families`; empty: the safe bound is the average's alone.
    """

    x: Array
    curves: Array
    families: Mapping[str, float]
    lof_p: float
    effective_draws: float
    trained: Array = field(default_factory=lambda: np.zeros(0))
    retiming: Array = field(default_factory=lambda: np.zeros(0))
    family: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def drawdown(self) -> Array:
        """(R, F) share of the best value at any smaller or equal strength that is lost; 0 where that is not above 0."""
        peak = np.maximum.accumulate(self.curves, axis=1)
        return np.divide(peak - self.curves, peak, out=np.zeros_like(peak), where=peak > 0)


@dataclass(frozen=True)
class Location:
    """The over-correction point at one δ; λ, None where that quantile lies beyond the range.

    Attributes:
        p_detect: probability that a loss of δ is reached within the range.
        lower: the safe bound: the 5 % quantile of λ_OC (at confidence 0.95) among the curves that reach a loss within
            the range, the least of all theirs and of any family's that holds `ACCEPTED` of them; the smallest λ > 0
            stands for that or less. None where a loss within the range is excluded.
        median, upper: 50 % and 95 % quantiles of the average.
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
    noise_draws: int = NOISE_COURSES,
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
        noise_draws: courses of the noise.
    """
    bank = shapes(strengths)
    rng = np.random.default_rng(seed)
    covariance = noise.covariance / peak**2 + max(discrepancy, ROUNDING) ** 2 * np.eye(len(means))
    white = Whitened.of(bank, means / peak, covariance, float(np.median(noise.degrees)))
    names = [name for name in bank.families if families is None or name in families]
    members = [white.members(bank.families[name]) for name in names]
    score = [own.log_evidence - np.log(len(own.log_evidence)) for own in members]  # families weigh the same a priori
    kept, log_proposal = _kept(members, score)
    family, member = np.repeat(np.arange(len(kept)), [len(rows) for rows in kept]), np.concatenate(kept)
    picked = _resample(rng, np.exp(log_proposal - log_proposal.max()), PROPOSALS * draws)
    intercepts, scales, log_weights = (np.empty(len(picked)) for _ in range(3))
    amplitudes = np.zeros((len(picked), 3))
    used = np.zeros((len(picked), 3), dtype=np.int64)
    for number, group in enumerate(members):
        here = np.flatnonzero(family[picked] == number)
        rows, k = member[picked[here]], group.rows.shape[1]
        intercepts[here], amplitudes[here, :k], scales[here], log_weights[here] = group.draw(rows, rng)
        used[here, :k] = group.rows[rows]
    at_levels = intercepts[:, None] + np.einsum("nk,nkl->nl", amplitudes, bank.levels[used])
    residuals = (means / peak - at_levels) / scales[:, None]
    courses = noise_courses(noise, noise_draws, rng)
    log_weights += _over_courses(residuals, covariance, np.diagonal(noise.within) / peak**2, courses)
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
        trained=np.log10(np.array(strengths[1:])),
        retiming=RETIMING * rng.standard_normal(draws),
        family=family[picked][final],
    )


def _kept(members: list[Members], score: list[Array]) -> tuple[list[Indices], Array]:
    """Rows of every family that are proposed from, and the log proposal weight of all of them, family after family.

    Those within `NEGLIGIBLE` of the best; where the best lie outside their orthant, of the best that lies inside.
    """
    least = max(float(own.max()) for own in score) - NEGLIGIBLE
    while True:
        kept = [np.flatnonzero(own >= least) for own in score]
        shares = [group.log_share(rows) for group, rows in zip(members, kept, strict=True)]
        log_proposal = np.concatenate([own[rows] + share for own, rows, share in zip(score, kept, shares, strict=True)])
        inside = log_proposal[np.concatenate(shares) > np.log(2 * SHARE_FLOOR)]
        needed = float(inside.max()) - NEGLIGIBLE if len(inside) else -np.inf
        if least <= needed + SLACK:
            return kept, log_proposal
        least = needed


def _over_courses(residuals: Array, covariance: Array, within: Array, courses: Array) -> Array:
    """(R,) log of the mean likelihood over courses of the noise, against that of the fitted noise.

    Args:
        residuals: (R, L) level means less the curve, divided by the draw's scale.
        covariance: (L, L) of the level means as fitted.
        within: (L,) the part of its diagonal that is seed noise, which alone a course changes.
        courses: (L, M) factors of the seed noise. Correlations between levels are kept as fitted.
    """
    total = np.diagonal(covariance)
    factors = 1 + (courses - 1) * (within / total)[:, None]
    # rᵀ·F^−½·V⁻¹·F^−½·r over all pairs of levels, so that all courses F are one product.
    inverse, scale = np.linalg.inv(covariance), 1 / np.sqrt(factors)
    pairs = (residuals[:, :, None] * residuals[:, None, :]).reshape(len(residuals), -1)
    weights = (inverse[:, :, None] * scale[:, None] * scale[None, :]).reshape(len(total) ** 2, -1)
    misfits, fitted = pairs @ weights, pairs @ inverse.ravel()
    logs = -0.5 * (misfits + np.log(factors).sum(axis=0))
    highest = logs.max(axis=1)
    return np.asarray(highest + np.log(np.exp(logs - highest[:, None]).mean(axis=1)) + 0.5 * fitted)


def locate(posterior: Posterior, drawdown: Array, delta: float, confidence: float = 0.95) -> Location:
    """λ_OC(δ) of every curve by linear interpolation of its drawdown over x, and the quantiles of that.

    An average lets a likely family outvote a less likely one, and where a loss barely passes δ the families disagree
    most. The harmful error is a bound above the truth, so none of the families that the data leave standing may be
    outvoted on the *lower* end, as the lowest bound of all acceptable models is taken in benchmark-dose analysis (EFSA
    2009, doi:10.2903/j.efsa.2009.1150). Nor may curves without a loss, to which a few noisy seeds leave much of their
    prior probability (Lindley): unless they exclude a loss within the range, in which case there is no bound, the bound
    is that of the curves that have one.

    Args:
        drawdown: `posterior.drawdown()`, shared by every δ.
        confidence: one-sided level of each end of the interval.
    """
    x = crossings(posterior, drawdown, delta)
    low, middle, high = np.quantile(x, (1 - confidence, 0.50, confidence), method="inverted_cdf")
    if np.isfinite(low):
        reached = np.isfinite(x)
        families = [x[reached & (posterior.family == number)] for number in np.unique(posterior.family)]
        accepted = [x[reached], *(own for own in families if len(own) >= ACCEPTED * reached.sum())]
        low = min(np.quantile(own, 1 - confidence, method="inverted_cdf") for own in accepted)
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
    if len(posterior.trained) > 1:
        x[rows] = _retimed(x[rows], posterior.trained, posterior.retiming[rows])
    return x


def _retimed(x: Array, trained: Array, shift: Array) -> Array:
    """Places x (n,) moved within their gaps of `trained` (K,) by `shift` (n,) in log odds; the gaps' ends stay."""
    gap = np.clip(np.searchsorted(trained, x, side="right") - 1, 0, len(trained) - 2)
    start, width = trained[gap], (trained[gap + 1] - trained[gap])
    share = np.clip((x - start) / width, 0.0, 1.0)
    inside = (share > 0) & (share < 1)
    moved = expit(logit(np.where(inside, share, 0.5)) + shift)
    return np.where(inside, start + moved * width, x)


def _strength(x: float) -> float | None:
    return float(10.0**x) if np.isfinite(x) else None


def _resample(rng: np.random.Generator, weights: Array, count: int) -> NDArray[np.int64]:
    """(count,) places drawn by weight, one in each of `count` equal parts: less scatter than independent draws."""
    total = np.cumsum(weights)
    strata = (np.arange(count) + rng.random(count)) / count * total[-1]
    return np.asarray(np.minimum(np.searchsorted(total, strata, side="right"), len(weights) - 1))
