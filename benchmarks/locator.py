"""Does the located over-correction point hold its promises where the truth is known?

    make benchmark-locator      (writes benchmarks/locator.json; --repetitions sets the precision)

Tier A1: curves with a stated loss, some inside the fitted families and some outside. Tier A2: linear-Gaussian data in
which strength λ removes every direction with a_j ≤ λ·c_j (biology a_j, batch c_j), so that biology and its
over-correction point follow exactly; with commuting matrices and with rotated ones. Both get a seed effect and noise
that doubles near λ = 10. Every figure is printed with its Monte Carlo standard error.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtr, stdtr

from sweeper.decision.bracket import Bracket, drawdown_bracket, max_t_quantile
from sweeper.decision.noise import draw, fit_levels, positions
from sweeper.decision.posterior import Location, fit_posterior, locate

Array = NDArray[np.float64]
Curve = Callable[[Array], Array]  # x = log10 λ, −∞ at λ = 0 → biology above its floor
SEED_SD = 0.02
P_IDENTIFY, LACK_OF_FIT = 0.975, 0.05
FINE = np.concatenate([[-np.inf], np.linspace(-4, 2, 5001)])


@dataclass(frozen=True)
class Setting:
    """A design: K strengths λ > 0 log-spaced over [0.001, 100] and λ = 0, S seeds, noise, and the loss that counts."""

    strengths: int
    seeds: int
    sigma: float
    delta: float

    @property
    def name(self) -> str:
        """As in `12x5 s0.03 d0.10`."""
        return f"{self.strengths}x{self.seeds} s{self.sigma:g} d{self.delta:.2f}"

    @property
    def levels(self) -> tuple[float, ...]:
        """λ, ascending, 0 first."""
        return (0.0, *(float(v) for v in np.logspace(-3, 2, self.strengths)))


SETTINGS = (Setting(12, 5, 0.03, 0.10), Setting(12, 3, 0.03, 0.05))


def _gain(x: Array, k: float = 0.03) -> Array:
    return np.asarray(expit(np.log(10) * (x - np.log10(k))))


def _loss(x: Array, centre: float, width: float) -> Array:
    return np.asarray(ndtr((x - centre) / width))


def stated(delta: float) -> dict[str, Curve]:
    """Tier A1."""
    return {
        "flat": lambda x: np.ones_like(x),
        "improving": lambda x: 0.7 + 0.3 * _gain(x),
        "drift 3 %": lambda x: 1 - 0.03 * _loss(x, 0.5, 0.6),
        "drop 0.8 δ": lambda x: 1 - 0.8 * delta * _loss(x, 1.0, 0.45),
        "drop 0.1 % under δ": lambda x: 1 - (delta - 0.001) * _loss(x, 1.0, 0.45),
        "plateau-drop": lambda x: 1 - 0.6 * _loss(x, 1.0, 0.45),
        "umbrella": lambda x: 0.75 + 0.25 * _gain(x) - 0.6 * _loss(x, 1.0, 0.45),
        "big gain": lambda x: 0.4 + 0.6 * _gain(x) - 0.55 * _loss(x, 1.0, 0.45),
        "slow": lambda x: 1 - 0.6 * _loss(x, 1.0, 1.2),
        "abrupt": lambda x: 1 - 0.6 * _loss(x, 1.0, 0.2),
        "late": lambda x: 1 - 0.5 * _loss(x, 1.8, 0.25),
        "heavy tail t3": lambda x: 1 - 0.6 * stdtr(3, (x - 1.0) / 0.35),
        "two-step with gain": lambda x: 0.75 + 0.25 * _gain(x) - 0.13 * _loss(x, -0.4, 0.15) - 0.4 * _loss(x, 1.2, 0.3),
        "linear": lambda x: 1 - 0.1 * np.maximum(x + 3, 0.0),
        "2 δ drop": lambda x: 1 - 2 * delta * _loss(x, 1.0, 0.45),
        "3 δ drop": lambda x: 1 - 3 * delta * _loss(x, 1.0, 0.45),
    }


def linear_gaussian() -> dict[str, Curve]:
    """Tier A2: biology kept by the linear adversarial objective max Tr(P(A − λC)), from its spectrum."""
    return {
        "A2 commuting": _commuting(share=0.6, centre=1.0, width=0.45),
        "A2 commuting, early and slow": _commuting(share=0.8, centre=0.5, width=0.9),
        "A2 balanced (no truth)": _commuting(share=0.04, centre=0.5, width=0.5),
        "A2 rotated": _rotated(),
    }


def _commuting(*, share: float, centre: float, width: float, directions: int = 400, seed: int = 0) -> Curve:
    """B(λ) = Σ a_j·1{a_j > λ·c_j} / Σ a_j; `share` of the biology lies in directions with log10(a/c) ~ N(μ, τ²)."""
    rng = np.random.default_rng(seed)
    biology = rng.gamma(4.0, size=directions)
    biology *= share / biology.sum()
    order = np.argsort(limits := rng.normal(centre, width, directions))
    lost, limits = np.cumsum(biology[order]), limits[order]

    def curve(x: Array) -> Array:
        return np.asarray(1 - np.concatenate([[0.0], lost])[np.searchsorted(limits, x, side="right")])

    return curve


def _rotated(*, dimension: int = 40, seed: int = 1) -> Curve:
    """As `_commuting`, but A and C share no eigenvectors: P projects on the positive eigenspace of A − λC."""
    rng = np.random.default_rng(seed)
    strength = rng.gamma(4.0, size=dimension)
    batch = strength * 10.0 ** -rng.normal(1.0, 0.45, dimension)
    batch[dimension // 2 :] = 0
    turn = np.linalg.qr(np.eye(dimension) + 0.05 * rng.standard_normal((dimension, dimension)))[0]
    a, c = np.diag(strength), turn @ np.diag(batch) @ turn.T
    x = np.linspace(-4, 2, 601)
    values, vectors = np.linalg.eigh(a - 10.0 ** x[:, None, None] * c)
    kept = np.einsum("nij,ik,nkj->nj", vectors, a, vectors, optimize=True) * (values > 0)
    biology = kept.sum(axis=1) / np.trace(a)
    return lambda at: np.where(np.isfinite(at), np.interp(at, x, biology), 1.0)


def truth(curve: Curve, delta: float) -> float:
    """log10 λ_OC(δ), from the drawdown on 5,001 points; infinite where it is reached nowhere."""
    biology = curve(FINE)
    peak = np.maximum.accumulate(biology)
    over = (peak - biology) / peak >= delta
    return float(FINE[np.argmax(over)]) if over.any() else np.inf


def sample(curve: Curve, setting: Setting, rng: np.random.Generator) -> Array:
    """(L, S) biology: curve, seed effect, noise."""
    with np.errstate(divide="ignore"):
        x = np.log10(np.array(setting.levels))
    noise = setting.sigma * (1 + expit((x - 1) / 0.2))
    shape = (len(x), setting.seeds)
    return curve(x)[:, None] + rng.normal(0, SEED_SD, setting.seeds) + rng.standard_normal(shape) * noise[:, None]


@dataclass(frozen=True)
class Outcome:
    """One repetition; `conflict`: the bracket proves a loss at or below the safe bound."""

    location: Location
    bracket: Bracket
    lof_p: float
    conflict: bool

    @property
    def trusted(self) -> bool:
        """The posterior decides."""
        return self.lof_p >= LACK_OF_FIT and not self.conflict


def judge(values: Array, setting: Setting, seed: int) -> Outcome:
    """Locate the point on one simulated curve."""
    means, noise = fit_levels(values, positions(setting.levels), 1.0)
    peak = float(np.median(np.sort(means)[-3:]))
    posterior = fit_posterior(setting.levels, means, noise, peak=peak, discrepancy=0.005, draws=2000, seed=(seed,))
    location = locate(posterior, posterior.drawdown(), setting.delta)
    critical = max_t_quantile(noise, draw(noise, 2000, (seed, 1)), delta=setting.delta, confidence=0.95)
    bracket = drawdown_bracket(setting.levels, means, noise, critical, delta=setting.delta, confidence=0.95)
    proven, safe = bracket.unsafe_from or np.inf, location.lower or np.inf
    return Outcome(location, bracket, posterior.lof_p, np.isfinite(proven) and setting.levels[1] < safe >= proven)


def score(outcomes: list[Outcome], true: float) -> dict[str, float | None]:
    """Figures of one cell; those of the interval over the repetitions in which the posterior located a point.

    `unsafe` is the share in which the posterior's safe bound lies above the truth, whether or not it decides;
    `unsafe_decided` in which the bound of the method that decides does.
    """
    found = [o.location for o in outcomes if o.trusted and o.location.p_detect >= P_IDENTIFY]
    low, middle, high = (
        np.array([np.log10(getattr(item, end)) for item in found]) for end in ("lower", "median", "upper")
    )
    at_all = len(found) / len(outcomes)
    safe = np.array([np.inf if o.location.lower is None else np.log10(o.location.lower) for o in outcomes])
    figures: dict[str, float | None] = {
        "true_log10": true if np.isfinite(true) else None,
        "identified": at_all,
        "not_reached": float(np.mean([o.trusted and o.location.p_detect <= 0.05 for o in outcomes])),
        "poor_fit": float(np.mean([o.lof_p < LACK_OF_FIT for o in outcomes])),
        "conflict": float(np.mean([o.conflict for o in outcomes])),
    }
    if np.isfinite(true):
        figures["unsafe"] = float((safe > true + 1e-9).mean())
        figures["unsafe_decided"] = float(np.mean([_bound(o) > 10.0**true for o in outcomes]))
    if np.isfinite(true) and found:
        covered = (low <= true + 1e-9) & (true <= high + 1e-9)
        error = middle - true
        figures |= {
            "coverage": float(covered.mean()),
            "coverage_se": float(np.sqrt(covered.mean() * (1 - covered.mean()) / len(found))),
            "bias": float(error.mean()),
            "rmse": float(np.sqrt((error**2).mean())),
            "width": float(np.median(high - low)),
        }
    return figures


def _bound(outcome: Outcome) -> float:
    """The safe bound as `decide` takes it: the posterior's where it has located a point or found none, else tested."""
    point = outcome.location
    if outcome.trusted and (point.lower is None or point.p_detect >= P_IDENTIFY):
        return np.inf if point.lower is None else point.lower
    return outcome.bracket.safe_up_to or 0.0


def main() -> None:
    """Run every cell and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=1000)
    parser.add_argument("--only", nargs="*", help="shapes, by name")
    parser.add_argument("--settings", nargs="*", type=int, default=range(len(SETTINGS)), help="by number")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    given = parser.parse_args()
    began = time.perf_counter()
    cells: dict[str, Mapping[str, Mapping[str, float | None]]] = {}
    for setting in [SETTINGS[number] for number in given.settings]:
        made: dict[str, Mapping[str, float | None]] = {}
        for place, (name, curve) in enumerate((stated(setting.delta) | linear_gaussian()).items()):
            if given.only and name not in given.only:
                continue
            rng = np.random.default_rng([place, setting.seeds])
            outcomes = [judge(sample(curve, setting, rng), setting, n) for n in range(given.repetitions)]
            made[name] = score(outcomes, truth(curve, setting.delta))
            shown = ", ".join(f"{key} {value:.3g}" for key, value in made[name].items() if value is not None)
            print(f"{setting.name}  {name}: {shown}", flush=True)
        cells[setting.name] = made
        seconds = time.perf_counter() - began
        document = {"repetitions": given.repetitions, "seconds": round(seconds, 1), "cells": cells}
        given.out.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
