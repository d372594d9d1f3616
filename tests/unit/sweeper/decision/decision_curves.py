"""Trade-off curves with a known answer (Tier A1), and tidy tables made of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.stats import norm

STRENGTHS = (0.0, *(float(v) for v in np.logspace(-3, 2, 12)))
SEED_SD = 0.02
FLOOR = 0.05


def _loss(x, depth, centre, width):
    return depth * norm.cdf((x - centre) / width)


def _gain(x, k):
    weight = 10.0**x
    return weight / (weight + k)


# x = log10 λ; λ = 0 is −∞, where every gain and every loss is 0.
SHAPES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "flat": lambda x: 1.0 + 0.0 * np.where(np.isfinite(x), x, 0.0),
    "improving": lambda x: 0.7 + 0.3 * _gain(x, 0.03),
    "drift": lambda x: 1.0 - _loss(x, 0.03, 0.5, 0.6),
    "plateau_drop": lambda x: 1.0 - _loss(x, 0.6, 1.0, 0.45),
    "umbrella": lambda x: 0.75 + 0.25 * _gain(x, 0.03) - _loss(x, 0.6, 1.0, 0.45),
    "big_gain": lambda x: 0.4 + 0.6 * _gain(x, 0.03) - _loss(x, 0.55, 1.0, 0.45),
    "slow": lambda x: 1.0 - _loss(x, 0.6, 1.0, 1.2),
    "late": lambda x: 1.0 - _loss(x, 0.5, 1.8, 0.25),
}


def truth(shape: str, delta: float) -> float:
    """λ_OC(δ) on 5,001 points; inf where no drawdown reaches δ."""
    x = np.concatenate([[-np.inf], np.linspace(-4, 2, 5001)])
    y = SHAPES[shape](x)
    peak = np.maximum.accumulate(y)
    over = (peak - y) / peak >= delta
    return float(10.0 ** x[np.argmax(over)]) if over.any() else np.inf


def noise_sd(x, sigma):
    """Doubling around λ = 10."""
    return sigma * (1 + 1 / (1 + np.exp(-(np.where(np.isfinite(x), x, -9.0) - 1) / 0.2)))


def technical_curve(x):
    return 0.3 + 0.6 / (1 + np.exp(-(np.where(np.isfinite(x), x, -60.0) + 1) / 0.3))


def sample(curve, rng, *, strengths=STRENGTHS, seeds=5, sigma=0.03):
    """(L, S) values: curve + seed effect + noise."""
    with np.errstate(divide="ignore"):
        x = np.log10(np.array(strengths))
    effect = rng.normal(0, SEED_SD, seeds)
    return curve(x)[:, None] + effect + rng.normal(size=(len(x), seeds)) * noise_sd(x, sigma)[:, None]


def tidy(
    biological,
    technical,
    *,
    strengths=STRENGTHS,
    view="held_out_plates",
    margin=0.3,
    names=("retrieval_map",),
    technical_names=("batch_probe_linear",),
    floor=FLOOR,
    rng=None,
    split_noise=0.0,
    folds=1,
):
    """A tidy table whose composites are the given (L, S) matrices; `split_noise` parts metrics and folds."""
    rng = rng or np.random.default_rng(0)
    rows = []
    for role, matrix, metrics in (("biological", biological, names), ("technical", technical, technical_names)):
        low = floor if role == "biological" else 0.0
        wobble = rng.normal(0, split_noise, (*matrix.shape, len(metrics), folds))
        wobble -= wobble.mean(axis=(2, 3), keepdims=True)
        for i, strength in enumerate(strengths):
            for seed in range(matrix.shape[1]):
                for k, name in enumerate(metrics):
                    for fold in range(folds):
                        anchored = matrix[i, seed] + wobble[i, seed, k, fold]
                        rows.append(
                            {
                                "cell_id": f"{view}-{margin}-{strength}-{seed}-{fold}",
                                "trainer": "abra",
                                "adversarial_weight": strength,
                                "margin": margin,
                                "seed": seed,
                                "split": f"{view}/{fold}",
                                "view": view,
                                "metric": name,
                                "role": role,
                                "value": low + (1 - low) * anchored,
                                "status": "ok",
                                "primary": True,
                                "floor": low,
                                "ceiling": 1.0,
                                "raw": anchored,
                                "chance": low,
                                "reason": None,
                            }
                        )
    return pd.DataFrame(rows)


def controls(view, places, *, names, technical_names, floor=FLOOR, seeds=3, folds=1):
    """Control rows at (biological, technical) places per control name, anchored scale."""
    rows = []
    for control, (bio, tech) in places.items():
        for seed in range(seeds):
            for fold in range(folds):
                for role, place, metrics, low in (
                    ("biological", bio, names, floor),
                    ("technical", tech, technical_names, 0.0),
                ):
                    rows.extend(
                        {
                            "cell_id": f"{control}-{view}-{seed}-{fold}",
                            "trainer": f"control:{control}",
                            "adversarial_weight": np.nan,
                            "margin": np.nan,
                            "seed": seed,
                            "split": f"{view}/{fold}",
                            "view": view,
                            "metric": name,
                            "role": role,
                            "value": low + (1 - low) * place,
                            "status": "ok",
                            "primary": True,
                            "floor": low,
                            "ceiling": 1.0,
                            "raw": place,
                            "chance": low,
                            "reason": None,
                        }
                        for name in metrics
                    )
    return pd.DataFrame(rows)


def exact_curve(shape, *, seeds=5, sigma=0.004, technical=technical_curve):
    """(B, T) with noise so small that every bound is as sharp as the grid."""
    rng = np.random.default_rng(7)
    return sample(SHAPES[shape], rng, seeds=seeds, sigma=sigma), sample(technical, rng, seeds=seeds, sigma=sigma)


def lose(table, strengths, seeds, status="collapsed"):
    hit = table["adversarial_weight"].isin(strengths) & table["seed"].isin(seeds)
    table.loc[hit, "status"] = status
    table.loc[hit, "value"] = np.nan
    return table


def noisy(shape, *, sigma, seeds=3, technical_sigma=0.004):
    rng = np.random.default_rng(3)
    return tidy(
        sample(SHAPES[shape], rng, seeds=seeds, sigma=sigma),
        sample(technical_curve, rng, seeds=seeds, sigma=technical_sigma),
    )


def falling_technical(x):
    return technical_curve(x) - 0.3 * (np.where(np.isfinite(x), x, -9) > 0.5)


def drop_at_once(x):
    return np.where(np.isfinite(x), 0.6, 1.0)
