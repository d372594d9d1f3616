"""The technical side: whether batch removal improves, from which strength on, and whether it falls again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sweeper.decision.inference.noise import Draws, Noise, contrasts, ratio

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Technical:
    """What strength does to batch removal; T on the anchored scale.

    Attributes:
        baseline: T at λ = 0.
        best: highest level mean.
        rise: median-unbiased estimate of max T − T(0): the plain maximum of noisy means is too high.
        rise_lower: lower bound of the same.
        has_effect: `rise` ≥ ε_T.
        saturated: at least two strengths lie above λ_E, so that extending the range would add little.
        lambda_effective: smallest λ > 0 whose mean has all but ε_E of the gain; None without an effect.
        lambda_effective_upper: its upper bound.
    """

    baseline: float
    best: float
    rise: float
    rise_lower: float
    has_effect: bool
    saturated: bool
    lambda_effective: float | None
    lambda_effective_upper: float | None


def assess_technical(
    strengths: tuple[float, ...],
    means: Array,
    noise: Noise,
    draws: Draws,
    *,
    epsilon_technical: float,
    epsilon_effective: float,
    confidence: float,
) -> Technical:
    """Rise, saturation and effective strength from level means with λ = 0 first.

    Of `means` and `draws` only as many levels count as there are strengths: within the safe range an over-corrected
    strength must not set the bar.

    The rise is max over l of (difference to λ = 0 − quantile·SE), with the median of the many-to-one max-t for the
    estimate (half-median-unbiased, Chernozhukov, Lee & Rosen 2013) and its `confidence` quantile for the lower bound.
    The upper bound of λ_E is the `confidence` quantile of λ_E over level means drawn anew with the fitted noise. The
    maximum of noisy means is too high, in the data and again in every draw, which pushes the bound up: it is cautious.
    """
    means, errors = means[: len(strengths)], draws.errors[: len(strengths)]
    rises = contrasts(noise, draws, 1.0, np.arange(1, len(strengths)), 0)
    error, drawn = np.sqrt(rises.variance), np.sqrt(rises.drawn)
    highest = ratio(errors[1:] - errors[0], drawn).max(axis=0)
    gain = means[1:] - means[0]
    rise, lower = (float((gain - np.quantile(highest, q) * error).max()) for q in (0.5, confidence))
    has_effect = rise >= epsilon_technical
    again = means[:, None] + errors
    reached = means[1:] >= _threshold(means, epsilon_effective)
    effective = 1 + int(np.argmax(reached))
    first = 1 + np.argmax(again[1:] >= _threshold(again, epsilon_effective), axis=0)
    upper = max(effective, int(np.quantile(first, confidence, method="inverted_cdf")))
    return Technical(
        baseline=float(means[0]),
        best=float(means.max()),
        rise=rise,
        rise_lower=lower,
        has_effect=has_effect,
        saturated=has_effect and effective + 2 < len(strengths),
        lambda_effective=strengths[effective] if has_effect else None,
        lambda_effective_upper=strengths[upper] if has_effect else None,
    )


def _threshold(means: Array, epsilon: float) -> Array:
    """T(0) + (1 − ε_E)·(max T − T(0)) over the levels, axis 0; at most the maximum, which always reaches it."""
    best = means[1:].max(axis=0)
    return np.asarray(np.minimum(means[0] + (1 - epsilon) * (best - means[0]), best))


def technical_falls(
    means: Array, noise: Noise, draws: Draws, *, at: int, epsilon_technical: float, confidence: float
) -> bool:
    """Whether T at level `at` is shown to lie ε_T or more below some smaller strength's, by a max-t over these.

    All smaller strengths are compared, not only the one of biology's peak: on a flat top the peak is anywhere, also
    where batch removal has not begun.
    """
    falls = contrasts(noise, draws, 1.0, np.arange(at), at)
    error, drawn = np.sqrt(falls.variance), np.sqrt(falls.drawn)
    critical = np.quantile(ratio(draws.errors[:at] - draws.errors[at], drawn).max(axis=0), confidence)
    return bool((means[:at] - means[at] - critical * error >= epsilon_technical).any())
