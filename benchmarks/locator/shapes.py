"""Curves whose over-correction point is known, and noisy sweeps of them.

Tier A1: curves with a stated loss, some inside the fitted families and some outside. Tier A2: linear-Gaussian data in
which strength λ removes every direction with a_j ≤ λ·c_j (biology a_j, batch c_j), so that biology and its
over-correction point follow from the spectrum; with matrices that commute and with rotated ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtr, stdtr

from sweeper.decision.inference.correlation import smooth_correlation

Array = NDArray[np.float64]
Curve = Callable[[Array], Array]  # x = log10 λ, −∞ at λ = 0 → biology above its floor
SEED_SD = 0.02
TECHNICAL_SD = 0.01
COLLAPSE_RATE, COLLAPSE_DEPTH = 0.08, 0.3
SMOOTH_SHARE, SMOOTH_LENGTH = 0.9, 0.6  # of the noise's variance; decades
LOWEST, HIGHEST = -3.0, 2.0  # log10 of the swept range
FINE = np.concatenate([[-np.inf], np.linspace(-4, HIGHEST, 5001)])


@dataclass(frozen=True)
class Setting:
    """A design: K strengths λ > 0 log-spaced over the range and λ = 0, S seeds, noise σ, and the loss δ that counts."""

    strengths: int
    seeds: int
    sigma: float
    delta: float

    @property
    def name(self) -> str:
        """As in `12x5 s0.03 d0.10`."""
        return f"{self.strengths}x{self.seeds} s{self.sigma:g} d{self.delta:.2f}"

    @property
    def psi(self) -> float:
        """δ·√S/σ."""
        return float(self.delta * np.sqrt(self.seeds) / self.sigma)

    @property
    def levels(self) -> tuple[float, ...]:
        """λ, ascending, 0 first."""
        return (0.0, *(float(v) for v in np.logspace(LOWEST, HIGHEST, self.strengths)))


def _gain(x: Array, k: float = 0.03) -> Array:
    return np.asarray(expit(np.log(10) * (x - np.log10(k))))


def _loss(x: Array, centre: float, width: float) -> Array:
    return np.asarray(ndtr((x - centre) / width))


def stated(delta: float) -> dict[str, Curve]:
    """Tier A1. The drops of a multiple of δ reach 0.987 of it at the end of the range, "δ" itself a hair under δ.

    "early": before the noise doubles, so that ψ is there what the setting's name says.
    """
    return {
        "flat": lambda x: np.ones_like(x),
        "improving": lambda x: 0.7 + 0.3 * _gain(x),
        "drift 3 %": lambda x: 1 - 0.03 * _loss(x, 0.5, 0.6),
        "drop 0.8 δ": lambda x: 1 - 0.8 * delta * _loss(x, 1.0, 0.45),
        "drop δ": lambda x: 1 - (delta - 1e-4) / _loss(np.float64(HIGHEST), 1.0, 0.45) * _loss(x, 1.0, 0.45),
        "drop 2 δ": lambda x: 1 - 2 * delta * _loss(x, 1.0, 0.45),
        "drop 2 δ, early": lambda x: 1 - 2 * delta * _loss(x, -1.0, 0.45),
        "drop 3 δ": lambda x: 1 - 3 * delta * _loss(x, 1.0, 0.45),
        "plateau-drop": lambda x: 1 - 0.6 * _loss(x, 1.0, 0.45),
        "umbrella": lambda x: 0.75 + 0.25 * _gain(x) - 0.6 * _loss(x, 1.0, 0.45),
        "big gain": lambda x: 0.4 + 0.6 * _gain(x) - 0.55 * _loss(x, 1.0, 0.45),
        "slow": lambda x: 1 - 0.6 * _loss(x, 1.0, 1.2),
        "abrupt": lambda x: 1 - 0.6 * _loss(x, 1.0, 0.2),
        "late": lambda x: 1 - 0.5 * _loss(x, 1.8, 0.25),
        "heavy tail t3": lambda x: 1 - 0.6 * stdtr(3, (x - 1.0) / 0.35),
        "two-step with gain": lambda x: 0.75 + 0.25 * _gain(x) - 0.13 * _loss(x, -0.4, 0.15) - 0.4 * _loss(x, 1.2, 0.3),
        "linear": lambda x: 1 - 0.1 * np.maximum(x - LOWEST, 0.0),
    }


def linear_gaussian() -> dict[str, Curve]:
    """Tier A2: biology kept by the linear adversarial objective max Tr(P(A − λC)), from its spectrum.

    "formula": of infinitely many directions, B = 1 − π·Φ((x − μ)/τ); that of the first spectrum is "plateau-drop". The
    others are one finite spectrum each, a staircase, and their truth is that staircase's own.
    """
    return {
        "A2 formula π 0.8, μ 0.5, τ 0.9": lambda x: 1 - 0.8 * _loss(x, 0.5, 0.9),
        "A2 formula π 0.3, μ 0, τ 0.3": lambda x: 1 - 0.3 * _loss(x, 0.0, 0.3),
        "A2 π 0.6, μ 1, τ 0.45": _commuting(share=0.6, centre=1.0, width=0.45),
        "A2 π 0.8, μ 0.5, τ 0.9": _commuting(share=0.8, centre=0.5, width=0.9),
        "A2 π 0.3, μ 0, τ 0.3": _commuting(share=0.3, centre=0.0, width=0.3),
        "A2 π 0.04 (none)": _commuting(share=0.04, centre=0.5, width=0.5),
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


def log_strengths(levels: tuple[float, ...]) -> Array:
    """X = log10 λ; −∞ at λ = 0."""
    with np.errstate(divide="ignore"):
        return np.log10(np.array(levels))


def noise_sd(x: Array, sigma: float) -> Array:
    """Doubling around λ = 10."""
    return np.asarray(sigma * (1 + expit((x - 1) / 0.2)))


def technical(x: Array) -> Array:
    """Batch removal, rising around λ = 0.1."""
    return np.asarray(0.3 + 0.6 * expit((x + 1) / 0.3))


@dataclass(frozen=True, eq=False)
class Sweep:
    """One simulated sweep: (L, S) biology above its floor, NaN where a run was lost, and (L,) mean technical values."""

    levels: tuple[float, ...]
    biology: Array
    technical: Array


def on_grid(curve: Curve, setting: Setting, rng: np.random.Generator) -> Sweep:
    """Curve, seed effect and noise at every level of the design."""
    return _measured(curve, setting, setting.levels, rng)


def with_collapses(curve: Curve, setting: Setting, rng: np.random.Generator) -> Sweep:
    """As `on_grid`, and 8 % of the runs fall by 0.3, to be found by the collapse screen."""
    sweep = on_grid(curve, setting, rng)
    fallen = rng.random(sweep.biology.shape) < COLLAPSE_RATE
    return Sweep(sweep.levels, sweep.biology - COLLAPSE_DEPTH * fallen, sweep.technical)


def smooth_noise(curve: Curve, setting: Setting, rng: np.random.Generator) -> Sweep:
    """As `on_grid`, but what is left of a seed is smooth in λ, as real runs have it (tier C)."""
    x = log_strengths(setting.levels)
    at = np.concatenate([[2 * x[1] - x[2]], x[1:]])  # λ = 0 a step below the smallest
    correlation = smooth_correlation(at, SMOOTH_SHARE, SMOOTH_LENGTH)
    noise = np.linalg.cholesky(correlation) @ rng.standard_normal((len(x), setting.seeds))
    biology = curve(x)[:, None] + rng.normal(0, SEED_SD, setting.seeds) + noise_sd(x, setting.sigma)[:, None] * noise
    return Sweep(setting.levels, biology, technical(x) + rng.normal(0, TECHNICAL_SD, len(x)))


def adaptive(curve: Curve, setting: Setting, rng: np.random.Generator) -> Sweep:
    """Half of the strengths on a grid; each further one halves the wider gap beside the best 0.6/0.4 score so far."""
    effect = rng.normal(0, SEED_SD, setting.seeds)
    levels = (0.0, *(float(v) for v in np.logspace(LOWEST, HIGHEST, setting.strengths // 2)))
    rows = [_runs(curve, setting, level, effect, rng) for level in levels]
    removal = [float(technical(log_strengths((level,)))[0] + rng.normal(0, TECHNICAL_SD)) for level in levels]
    while len(levels) < setting.strengths + 1:
        x = log_strengths(levels)
        best = max(1, int(np.argmax(total_score(np.mean(rows, axis=1), np.array(removal)))))
        gaps = [(x[i + 1] - x[i], i) for i in (best - 1, best) if 1 <= i < len(levels) - 1]
        _, left = max(gaps)
        level = float(10 ** ((x[left] + x[left + 1]) / 2))
        levels = (*levels[: left + 1], level, *levels[left + 1 :])
        rows.insert(left + 1, _runs(curve, setting, level, effect, rng))
        removal.insert(left + 1, float(technical(log_strengths((level,)))[0] + rng.normal(0, TECHNICAL_SD)))
    return Sweep(levels, np.array(rows), np.array(removal))


def total_score(biology: Array, removal: Array) -> Array:
    """0.6·biology + 0.4·technical, each scaled to [0, 1] over the compared settings (Luecken et al. 2022)."""
    return np.asarray(0.6 * _unit(biology) + 0.4 * _unit(removal))


def _unit(values: Array) -> Array:
    return np.asarray((values - values.min()) / max(float(np.ptp(values)), 1e-12))


def _measured(curve: Curve, setting: Setting, levels: tuple[float, ...], rng: np.random.Generator) -> Sweep:
    x = log_strengths(levels)
    noise = noise_sd(x, setting.sigma)[:, None] * rng.standard_normal((len(x), setting.seeds))
    biology = curve(x)[:, None] + rng.normal(0, SEED_SD, setting.seeds) + noise
    return Sweep(levels, biology, technical(x) + rng.normal(0, TECHNICAL_SD, len(x)))


def _runs(curve: Curve, setting: Setting, level: float, effect: Array, rng: np.random.Generator) -> Array:
    x = log_strengths((level,))
    noise = noise_sd(x, setting.sigma) * rng.standard_normal(setting.seeds)
    return np.asarray(curve(x)[0] + effect + noise)
