"""Brackets of the over-correction point by test inversion: what is shown safe, what is shown unsafe, nothing between.

With level means B̄ above the floor, the drawdown from an earlier level u to l reaches δ when (1 − δ)·B̄_u − B̄_l ≥ 0.
Testing that contrast over all ordered pairs needs neither monotone decline nor a curve family.

*Unsafe* is a union of such statements (some u), so its multiplicity is paid by a max-t quantile over all pairs. *Safe*
is an intersection (every u, every level so far), so no adjustment is needed: to be passed wrongly, one wrong pair must
pass at the nominal level (Berger 1982; Hsu & Berger 1999).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from sweeper.decision.inference.noise import Draws, Noise, contrasts, ratio

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Bracket:
    """Bounds on a strength, both trained levels; None where the data give none.

    Attributes:
        delta: the loss, as a share of the reference level above the floor.
        safe_up_to: largest λ > 0 up to which, at every level, a loss of δ is excluded.
        unsafe_from: smallest λ at which a loss of δ is established.
    """

    delta: float
    safe_up_to: float | None
    unsafe_from: float | None


def drawdown_bracket(
    strengths: tuple[float, ...],
    means: Array,
    noise: Noise,
    critical: float,
    *,
    delta: float,
    confidence: float,
    below: float | None = None,
) -> Bracket:
    """Bracket of λ_OC(δ), the smallest λ whose biology is δ below the best of any smaller or equal λ.

    Args:
        strengths: (L,) λ, ascending, 0 first.
        means: (L,) level means of biology, floor at 0; any unit.
        critical: `max_t_quantile` at the same δ.
        below: only levels under this λ can be shown safe (a level between was dropped as unstable).
    """
    excess, error, degrees = _contrasts(means, noise, delta)
    above = np.triu(np.ones(excess.shape, dtype=bool), k=1)  # [u, l], u < l
    unsafe = ((excess - critical * error >= 0) & above).any(axis=0)
    safe = ((excess + stdtrit(degrees, confidence) * error < 0) | ~above).all(axis=0)
    if below is not None:
        safe &= np.array(strengths) < below
    chain = int(np.logical_and.accumulate(safe).sum())  # levels shown safe without a gap, λ = 0 included
    return Bracket(
        delta=delta,
        safe_up_to=strengths[chain - 1] if chain > 1 else None,
        unsafe_from=strengths[int(np.argmax(unsafe))] if unsafe.any() else None,
    )


def baseline_bracket(
    strengths: tuple[float, ...],
    means: Array,
    noise: Noise,
    *,
    delta: float,
    confidence: float,
    below: float | None = None,
) -> Bracket:
    """Bracket of λ_NI(δ), the largest λ whose biology is no worse than uncorrected (λ = 0) by δ; secondary.

    Fixed sequences of unadjusted tests: upwards from the smallest λ while safe, downwards from the largest while
    unsafe. Blind to a loss that follows a gain: at such curves λ_NI lies above λ_OC.
    """
    excess, error, degrees = (matrix[0] for matrix in _contrasts(means, noise, delta))
    bound = stdtrit(degrees, confidence) * error
    up = down = None
    for level in range(1, len(strengths)):
        if excess[level] + bound[level] >= 0 or (below is not None and strengths[level] >= below):
            break
        up = strengths[level]
    for level in range(len(strengths) - 1, 0, -1):
        if excess[level] - bound[level] < 0:
            break
        down = strengths[level]
    return Bracket(delta=delta, safe_up_to=up, unsafe_from=down)


def max_t_quantile(noise: Noise, draws: Draws, *, delta: float, confidence: float) -> float:
    """Quantile of max over u < l of the studentised contrast when every contrast is exactly 0."""
    highest = np.full(draws.errors.shape[1], -np.inf)
    for level in range(1, len(draws.errors)):
        contrast = _drawn_excess(draws, delta, level)
        np.maximum(highest, ratio(contrast, _drawn_error(noise, draws, delta, level)).max(axis=0), out=highest)
    return float(np.quantile(highest, confidence))


def detectable_drop(noise: Noise, draws: Draws, critical: float, *, peak: float, delta: float, power: float) -> float:
    """Smallest true loss at the largest strength that would be established with this power, as a share of the peak.

    Approximate: all smaller strengths are taken to lie at the peak, and the noise to be as fitted. For each draw the
    loss that just makes some pair significant is known in closed form, so the answer is one quantile. May exceed 1: not
    even the loss of everything would be seen; infinite without a peak above the floor.
    """
    if peak <= 0:
        return float("inf")
    last = len(draws.errors) - 1
    shortfall = critical * _drawn_error(noise, draws, delta, last) - _drawn_excess(draws, delta, last)
    return float(delta + np.quantile(shortfall.min(axis=0), power) / peak)


def _contrasts(means: Array, noise: Noise, delta: float) -> tuple[Array, Array, Array]:
    """(L, L) matrices [u, l] of (1 − δ)·B̄_u − B̄_l, its standard error, and its degrees of freedom.

    The seed effect leaves a share δ of itself in a proportional loss. The degrees are the smaller of the two levels',
    because smoothed variances of neighbours are not independent and Welch–Satterthwaite would add them up.
    """
    excess = (1 - delta) * means[:, None] - means[None, :]
    covariance = noise.covariance
    own = np.diagonal(covariance)
    spread = (1 - delta) ** 2 * own[:, None] + own[None, :] - 2 * (1 - delta) * covariance
    spread = np.maximum(spread, 0.0) + delta**2 * noise.seed_variance / noise.n_seeds
    return excess, np.sqrt(spread), np.minimum(noise.degrees[:, None], noise.degrees[None, :])


def _drawn_excess(draws: Draws, delta: float, level: int) -> Array:
    """(level, R) drawn errors of the contrasts of all u < level with it."""
    return np.asarray((1 - delta) * draws.errors[:level] - (draws.errors[level] + delta * draws.seed_errors))


def _drawn_error(noise: Noise, draws: Draws, delta: float, level: int) -> Array:
    """(level, R) standard errors that would have been estimated for those contrasts."""
    within = contrasts(noise, draws, 1 - delta, np.arange(level), level).drawn
    return np.asarray(np.sqrt(within + delta**2 * draws.seed_variance / noise.n_seeds))
