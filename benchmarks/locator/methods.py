"""The locator and the five methods that it is compared with, each as a function from a sweep to what it found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtri

from benchmarks.locator.shapes import Sweep, total_score
from sweeper.decision.inference.bracket import drawdown_bracket, max_t_quantile
from sweeper.decision.inference.noise import draw, fit_levels, positions
from sweeper.decision.inference.posterior import Posterior, fit_posterior, locate
from sweeper.decision.input.collapse_screen import screen
from sweeper.decision.input.curve import Curve
from sweeper.decision.input.decision_settings import DecisionSettings
from sweeper.decision.verdict.bounds import contradiction, lowest

Array = NDArray[np.float64]
SETTINGS = DecisionSettings(deciding_view="study")
BRACKET_DRAWS = 2000
BOOTSTRAPS, GP_CURVES = 200, 400


@dataclass(frozen=True)
class Found:
    """One repetition by one method; log10 λ, None where there is none.

    Attributes:
        reported: the method says that biology is over-corrected within the range.
        lower, middle, upper: its 90 % interval and its estimate; without an interval only `middle`.
        not_reached: it excludes a loss of δ within the range.
        trusted: locator only: fit and cross-check let the posterior decide.
        p_detect: locator only: probability that a loss of δ is reached within the range.
        lof_p: locator only.
        bound: largest trained λ that the decision calls safe; None: none.
        bracket_safe, bracket_unsafe: the drawdown bracket.
        default_bound: largest trained λ below which the default method (`combined`) advises: the lower of `bound` and
            `bracket_safe`; None: none.
        contradicts: fit and tests exclude each other, in the default method a state of its own.
    """

    reported: bool
    lower: float | None = None
    middle: float | None = None
    upper: float | None = None
    not_reached: bool = False
    trusted: bool = True
    p_detect: float | None = None
    lof_p: float | None = None
    bound: float | None = None
    bracket_safe: float | None = None
    bracket_unsafe: float | None = None
    default_bound: float | None = None
    contradicts: bool = False

    def to_json(self) -> dict[str, Any]:
        """What is not its default."""
        return {key: value for key, value in asdict(self).items() if value != Found.__dataclass_fields__[key].default}


def locator(sweep: Sweep, delta: float, seed: int) -> Found:
    """The posterior as `decide` uses it: collapse screen, noise, posterior, fit check, cross-check by the bracket."""
    sweep = screened(sweep)
    means, noise = fit_levels(sweep.biology, positions(sweep.levels), SETTINGS.kernel_width)
    peak = float(np.median(np.sort(means)[-3:]))
    posterior = fit_posterior(
        sweep.levels,
        means,
        noise,
        peak=peak,
        discrepancy=SETTINGS.discrepancy,
        draws=SETTINGS.curves,
        seed=(seed,),
    )
    point = locate(posterior, posterior.drawdown(), delta, SETTINGS.confidence)
    critical = max_t_quantile(noise, draw(noise, BRACKET_DRAWS, (seed, 1)), delta=delta, confidence=SETTINGS.confidence)
    bracket = drawdown_bracket(sweep.levels, means, noise, critical, delta=delta, confidence=SETTINGS.confidence)
    lower = np.inf if point.lower is None else point.lower
    clash = contradiction(sweep.levels, bracket, point, same=True, p_identify=SETTINGS.p_identify)
    fits = posterior.lof_p >= SETTINGS.lack_of_fit
    trusted = fits and clash is None
    located = point.p_detect >= SETTINGS.p_identify
    if trusted and (located or point.lower is None):
        safe = [level for level in sweep.levels[1:] if level < lower]
        bound = safe[-1] if safe else None
    else:
        bound = bracket.safe_up_to
    return Found(
        reported=bool(trusted and located),
        lower=_log(point.lower),
        middle=_log(point.median),
        upper=_log(point.upper),
        not_reached=bool(trusted and point.p_detect <= SETTINGS.p_not_reached),
        trusted=bool(trusted),
        p_detect=round(point.p_detect, 4),
        lof_p=posterior.lof_p,
        bound=_log(bound),
        bracket_safe=_log(bracket.safe_up_to),
        bracket_unsafe=_log(bracket.unsafe_from),
        default_bound=_log(lowest(bound, bracket.safe_up_to)),
        contradicts=fits and clash is not None,
    )


def screened(sweep: Sweep) -> Sweep:
    """The sweep as the collapse screen leaves it: runs lost to NaN, unstable levels gone."""
    values = sweep.biology
    curve = Curve(
        strengths=sweep.levels,
        seeds=tuple(range(values.shape[1])),
        status=np.full(values.shape, "ok", dtype="U10"),
        biological=values,
        technical=values,
        by_metric={},
        metrics=(),
        left_out=(),
        controls={},
        control_runs={},
    )
    found = screen(curve, SETTINGS)
    usable = found.usable()
    rows = usable.sum(axis=1) >= 2
    levels = tuple(level for level, keep in zip(sweep.levels, rows, strict=True) if keep)
    return Sweep(levels, np.where(usable, values, np.nan)[rows][:, usable.any(axis=0)], sweep.technical[rows])


def score(sweep: Sweep, delta: float, seed: int) -> Found:
    """Arg-max of the 0.6/0.4 total of level means; it always reports."""
    del delta, seed
    best = int(np.argmax(total_score(np.nanmean(sweep.biology, axis=1), sweep.technical)))
    return Found(True, middle=float(positions(sweep.levels)[best]))


def kneedle(sweep: Sweep, delta: float, seed: int) -> Found:
    """Knee of the falling biology curve: Satopää et al. 2011, sensitivity 1, concave and decreasing, no smoothing."""
    del delta, seed
    x, y = positions(sweep.levels), np.nanmean(sweep.biology, axis=1)
    unit = (x - x[0]) / (x[-1] - x[0])
    height = (y - y.min()) / max(float(np.ptp(y)), 1e-12)
    difference = (height[::-1] - unit)[::-1]  # a falling concave curve, mirrored in x, rises above the diagonal
    mirrored = difference[::-1]
    threshold = float(np.diff(unit).mean())
    for at in range(1, len(x) - 1):
        if mirrored[at] < mirrored[at - 1] or mirrored[at] < mirrored[at + 1]:
            continue
        for after in range(at + 1, len(x)):
            if mirrored[after] < mirrored[at] - threshold:
                return Found(True, middle=float(x[len(x) - 1 - at]))
            if mirrored[after] > mirrored[at]:
                break
    return Found(False)


def broken_stick(sweep: Sweep, delta: float, seed: int) -> Found:
    """Plateau, then a straight line; interval from the profile of its breakpoint (Muggeo 2003 in spirit).

    It reports where the line falls significantly (F test at 5 %) and by δ or more within the range.
    """
    del seed
    x, y = positions(sweep.levels), np.nanmean(sweep.biology, axis=1)
    breaks = np.linspace(x[0], x[-1] - 0.05, 240)
    ramp = np.maximum(x - breaks[:, None], 0.0)
    centred = ramp - ramp.mean(axis=1, keepdims=True)
    slope = -(centred @ (y - y.mean())) / (centred**2).sum(axis=1)
    rest = ((y - y.mean()) ** 2).sum() - slope**2 * (centred**2).sum(axis=1)
    rest[slope <= 0] = ((y - y.mean()) ** 2).sum()
    best, spare = int(np.argmin(rest)), len(x) - 3
    flat = ((y - y.mean()) ** 2).sum()
    significant = (flat - rest[best]) / 2 > fdtri(2, spare, 0.95) * rest[best] / spare
    level = y.mean() + slope * ramp.mean(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        at = np.where(slope > 0, breaks + delta * level / slope, np.inf)
    if not significant or at[best] > x[-1]:
        return Found(False)
    inside = at[rest <= rest[best] * (1 + fdtri(1, spare, 0.90) / spare)]
    ends = float(inside.min()), float(min(inside.max(), x[-1]))
    return Found(True, lower=ends[0], middle=float(at[best]), upper=ends[1])


def unimodal(sweep: Sweep, delta: float, seed: int) -> Found:
    """Least squares under "rises, then falls", level means drawn anew with the fitted noise, quantiles of the point."""
    x = positions(sweep.levels)
    means, noise = fit_levels(sweep.biology, x, SETTINGS.kernel_width)
    drawn = means + draw(noise, BOOTSTRAPS, (seed, 2)).errors.T
    curves = _unimodal(np.vstack([means, drawn]))
    return _quantiles(x, curves[1:], delta, float(_points(x, curves[:1], delta)[0]))


def _unimodal(y: Array) -> Array:
    """(R, L) unimodal fits by the min-max formula of isotonic regression, the best of all places of the peak."""
    count, size = y.shape
    best, fitted = np.full(count, np.inf), np.zeros_like(y)
    up, down = _isotonic(y), _isotonic(y[:, ::-1])
    for peak in range(size):
        rising, falling = up[peak], down[size - 1 - peak - 1][:, ::-1] if peak < size - 1 else y[:, :0]
        curve = np.hstack([rising, falling])
        rest = ((y - curve) ** 2).sum(axis=1)
        better = rest < best
        best[better], fitted[better] = rest[better], curve[better]
    return fitted


def _isotonic(y: Array) -> list[Array]:
    """Increasing fits of y[:, : p + 1] for every p: max over s ≤ i of min over i ≤ t ≤ p of the mean of y[s..t]."""
    count, size = y.shape
    total = np.hstack([np.zeros((count, 1)), np.cumsum(y, axis=1)])
    mean = np.full((count, size, size), np.inf)  # [s, t]
    for s in range(size):
        mean[:, s, s:] = (total[:, s + 1 :] - total[:, s : s + 1]) / np.arange(1, size - s + 1)
    fits = []
    for p in range(size):
        least = np.minimum.accumulate(mean[:, : p + 1, p::-1], axis=2)[:, :, ::-1]  # [s, i]: min over t from i to p
        valid = np.triu(np.ones((p + 1, p + 1), dtype=bool))
        fits.append(np.where(valid, least, -np.inf).max(axis=1))
    return fits


def gaussian_process(sweep: Sweep, delta: float, seed: int) -> Found:
    """Matérn-5/2 with the fitted noise, length and amplitude integrated over a grid, the point of each drawn curve."""
    x = positions(sweep.levels)
    means, noise = fit_levels(sweep.biology, x, SETTINGS.kernel_width)
    centre, unit = means.mean(), float(np.median(np.sort(means)[-3:]))
    y = (means - centre) / unit
    covariance = noise.covariance / unit**2 + 1e-8 * np.eye(len(x))
    at = np.concatenate([[x[0]], np.linspace(x[1], x[-1], 126)])
    priors = _priors(tuple(float(v) for v in x), tuple(float(v) for v in at))
    evidence, solved = [], []
    for kernel, _ in priors:
        root = np.linalg.cholesky(kernel[: len(x), : len(x)] + covariance)
        half = np.linalg.solve(root, y)
        evidence.append(-0.5 * half @ half - np.log(np.diag(root)).sum())
        solved.append(np.linalg.solve(root.T, np.linalg.solve(root, kernel[: len(x), len(x) :])))
    weights = np.exp(np.array(evidence) - max(evidence))
    rng = np.random.default_rng((seed, 3))
    counts = rng.multinomial(GP_CURVES, weights / weights.sum())
    error = np.linalg.cholesky(covariance)
    curves = []
    for (_, root), projector, count in zip(priors, solved, counts, strict=True):
        prior = root @ rng.standard_normal((len(root), count))
        seen = prior[: len(x)] + error @ rng.standard_normal((len(x), count))
        curves.append((prior[len(x) :] + projector.T @ (y[:, None] - seen)).T)  # Matheron's rule
    return _quantiles(at, np.vstack(curves) * unit + centre, delta, None)


@lru_cache(maxsize=8)
def _priors(x: tuple[float, ...], at: tuple[float, ...]) -> list[tuple[Array, Array]]:
    """Prior covariance over levels and grid, and its root, for every length and amplitude."""
    place = np.array(x + at)
    apart = np.abs(place[:, None] - place[None, :])
    made = []
    for length in (0.5, 1.0, 2.0, 4.0):
        z = np.sqrt(5) * apart / length
        shape = (1 + z + z**2 / 3) * np.exp(-z)
        values, vectors = np.linalg.eigh(shape)
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        made += [(amplitude**2 * shape, amplitude * root) for amplitude in (0.05, 0.15, 0.4, 1.0)]
    return made


def _points(x: Array, curves: Array, delta: float) -> Array:
    """(R,) log10 λ_OC(δ) of each curve, infinite where not reached."""
    return _crossing(Posterior(x, curves, {}, 1.0, 1.0).drawdown(), x, delta)


def _crossing(lost: Array, x: Array, delta: float) -> Array:
    over = lost >= delta
    first = np.argmax(over, axis=1)
    rows = np.arange(len(lost))
    before = np.maximum(first - 1, 0)
    rise = np.maximum(lost[rows, first] - lost[rows, before], 1e-12)
    inside = x[before] + (x[first] - x[before]) * (delta - lost[rows, before]) / rise
    return np.where(over[rows, first], inside, np.inf)


def _quantiles(x: Array, curves: Array, delta: float, middle: float | None) -> Found:
    points = _points(x, curves, delta)
    lower, median, upper = np.quantile(points, (0.05, 0.5, 0.95), method="inverted_cdf")
    share = float(np.isfinite(points).mean())
    estimate = median if middle is None else middle
    return Found(
        reported=share >= SETTINGS.p_identify and bool(np.isfinite(estimate)),
        lower=_finite(lower),
        middle=_finite(estimate),
        upper=_finite(upper),
        not_reached=share <= SETTINGS.p_not_reached,
    )


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _log(strength: float | None) -> float | None:
    return None if strength is None else float(np.log10(strength))


METHODS: Mapping[str, Callable[[Sweep, float, int], Found]] = MappingProxyType(
    {
        "locator": locator,
        "score": score,
        "kneedle": kneedle,
        "broken stick": broken_stick,
        "unimodal": unimodal,
        "gp": gaussian_process,
    }
)
