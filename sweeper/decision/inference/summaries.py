"""What the drawn curves say beyond the point: onset, effective strength, whether batch removal lasts, and power."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtr

from sweeper.decision.inference.noise import Noise, draw
from sweeper.decision.inference.posterior import Posterior, fit_posterior

Array = NDArray[np.float64]
BOOTSTRAPS, POWER_CURVES, POWER_COURSES = 40, 200, 12
LARGEST = 8.0  # times δ: the largest loss that is tried
LEVEL_FAMILIES = ("flat", "hinge", "loss", "two losses")
NEWTON_STEPS, LONGEST, RIDGE = 50, 2.0, 1e-3
RUN_UP = 0.7  # decades below the largest strength at which the loss looked for is half complete
LOSS_WIDTH = 0.35  # decades


@dataclass(frozen=True)
class Span:
    """Median and two-sided interval of a strength; 0 is λ = 0, None lies beyond the range."""

    lower: float | None
    median: float | None
    upper: float | None


def onset(biology: Posterior, confidence: float) -> Span:
    """λ_peak, the strength of the best biology; flat tops make it badly determined, so nothing is decided on it."""
    return _span(biology.x[np.argmax(biology.curves, axis=1)], confidence)


def effective(removal: Posterior, epsilon: float, confidence: float, *, up_to: float) -> Span:
    """λ_E = inf{λ : T(λ) ≥ T(0) + (1 − ε_E)·(max T − T(0))} of each drawn curve, over λ ≤ `up_to`."""
    inside = removal.x <= np.log10(up_to) + 1e-9
    curves = removal.curves[:, inside]
    start, best = curves[:, :1], curves.max(axis=1, keepdims=True)
    reached = curves >= start + (1 - epsilon) * (best - start)
    return _span(removal.x[inside][np.argmax(reached, axis=1)], confidence)


def technical_kept(biology: Posterior, removal: Posterior, delta: float, tolerance: float) -> float | None:
    """P(T(λ_OC) ≥ T(λ_peak) − ε_T) over the drawn curves that lose δ; None where none does.

    Args:
        biology, removal: independent posteriors on the same strengths, paired draw by draw.
        tolerance: ε_T, in units of the peak of `removal`.
    """
    over = biology.drawdown() >= delta
    reached = over.any(axis=1)
    if not reached.any():
        return None
    rows = np.arange(len(over))
    at_loss = removal.curves[rows, np.argmax(over, axis=1)]
    at_peak = removal.curves[rows, np.argmax(biology.curves, axis=1)]
    return float((at_loss >= at_peak - tolerance)[reached].mean())


def locatable_drop(
    strengths: tuple[float, ...],
    noise: Noise,
    *,
    peak: float,
    discrepancy: float,
    delta: float,
    p_identify: float,
    power: float,
    seed: tuple[int, ...],
) -> float:
    """Smallest true loss at the largest strength that the posterior would locate with this power; share of the peak.

    Parametric bootstrap: curves that are level and then lose A, over a range of A, get the fitted noise, and a noise
    estimate of their own; the share located is fitted over log A by a logistic curve. For speed these fits leave out
    the families with a gain, which the curves do not have. 1: not even the loss of everything would be seen.
    """
    x = np.log10(np.maximum(strengths, 1e-300))
    shape = ndtr((x - x[-1] + RUN_UP) / LOSS_WIDTH) / ndtr(RUN_UP / LOSS_WIDTH)
    drawn = draw(noise, BOOTSTRAPS, (*seed, 0))
    drops = np.geomspace(delta, min(1.0, LARGEST * delta), BOOTSTRAPS)
    located = np.zeros(BOOTSTRAPS)
    for n, drop in enumerate(drops):
        posterior = fit_posterior(
            strengths,
            peak * (1 - drop * shape) + drawn.errors[:, n] + drawn.seed_errors[n],
            replace(noise, variance=noise.variance * drawn.factors[:, n]),
            peak=peak,
            discrepancy=discrepancy,
            draws=POWER_CURVES,
            seed=(*seed, n),
            families=LEVEL_FAMILIES,
            noise_draws=POWER_COURSES,
        )
        located[n] = (posterior.drawdown() >= delta).any(axis=1).mean() >= p_identify
    intercept, slope = _logistic(np.log(drops / delta), located)
    at = np.exp((np.log(power / (1 - power)) - intercept) / slope) if slope > 0 else np.inf
    return float(min(delta * max(at, 1.0), 1.0))


def _logistic(x: Array, y: Array) -> tuple[float, float]:
    """Intercept and slope of a logistic regression, with a weak ridge that keeps separable data finite."""
    design = np.column_stack([np.ones(len(x)), x])
    found = np.zeros(2)
    for _ in range(NEWTON_STEPS):
        share = expit(design @ found)
        gradient = design.T @ (y - share) - RIDGE * found
        step = np.linalg.solve((design.T * (share * (1 - share))) @ design + RIDGE * np.eye(2), gradient)
        found = found + step * min(1.0, LONGEST / float(np.abs(step).max()))
    return float(found[0]), float(found[1])


def _span(x: Array, confidence: float) -> Span:
    low, middle, high = np.quantile(x, (1 - confidence, 0.5, confidence), method="inverted_cdf")
    return Span(*(float(10.0**end) for end in (low, middle, high)))  # λ = 0 is at −∞
