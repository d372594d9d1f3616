"""Tier A3: a design in which perturbation and batch are confounded to a known degree κ.

2 × 8 classes, pairs (A, i) and (B, i) whose means differ along one direction; batch 1 holds (1 + κ)/2 of its wells in
A classes, batch 2 (1 − κ)/2. The batches also differ by a shift that all classes share. Strength λ shrinks, by
1/(1 + λ·c), the direction of that shift and what is left of the difference of the two batches' means, c being the
squared length of either above that expected of noise, both estimated from the wells; noise is added after it. At κ = 0
nothing is left beyond the shift. At κ > 0 what is left is A against B: then the two batches' embeddings have the same
distribution, and that costs a joint error ε_1 + ε_2 of at least ½·d_JS² (Zhao et al. 2019, Theorem 4.3).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy

from benchmarks.locator.methods import locator
from benchmarks.locator.shapes import Sweep
from benchmarks.locator.tables import measure

Array = NDArray[np.float64]
PAIRS, WELLS, NOISE = 8, 400, 0.7
SHIFT, APART = 3.0, 4.0
STRENGTHS = (0.0, *(float(v) for v in np.logspace(-2, 3, 12)))
CONFOUNDED = (0.0, 0.3, 0.6, 0.9)


def floor(confounding: float) -> float:
    """½·d_JS² of the two batches' class distributions, in bits: the least joint error at full invariance."""
    shares = np.array([1 + confounding, 1 - confounding]) / 2
    return 0.5 * float(1 + xlogy(shares, shares).sum() / np.log(2))


def sweep(confounding: float, seeds: int, rng: np.random.Generator) -> tuple[Sweep, float]:
    """Accuracy above chance at every strength for every seed, and the mean joint error at the largest strength."""
    accuracy = np.empty((len(STRENGTHS), seeds))
    removal = np.zeros(len(STRENGTHS))
    joint = []
    for seed in range(seeds):
        train, test = _wells(confounding, rng), _wells(confounding, rng)
        filters = _directions(*train)
        for level, strength in enumerate(STRENGTHS):
            (a, labels, _), (b, truth, batch) = (_filtered(part, filters, strength, rng) for part in (train, test))
            means = np.array([a[labels == label].mean(axis=0) for label in range(2 * PAIRS)])
            guess = np.argmin(((b[:, None] - means) ** 2).sum(axis=2), axis=1)
            errors = [float((guess != truth)[batch == own].mean()) for own in (0, 1)]
            accuracy[level, seed] = 1 - np.mean(errors) - 1 / (2 * PAIRS)
            removal[level] -= float(np.linalg.norm(b[batch == 0].mean(axis=0) - b[batch == 1].mean(axis=0))) / seeds
        joint.append(sum(errors))
    return Sweep(STRENGTHS, accuracy, removal), float(np.mean(joint))


def summary(repetitions: int, delta: float = 0.10, seeds: int = 5) -> list[dict[str, Any]]:
    """Every κ: the floor, the joint error at the largest strength and what the locator says."""
    found = []
    for confounding in CONFOUNDED:
        rng = np.random.default_rng((14, int(100 * confounding)))
        drawn = [sweep(confounding, seeds, rng) for _ in range(repetitions)]
        rows = [locator(one, delta, n).to_json() for n, (one, _) in enumerate(drawn)]
        found.append(
            {
                "confounding": confounding,
                "floor": floor(confounding),
                "joint_error": float(np.mean([joint for _, joint in drawn])),
                "least_joint_error": float(np.min([joint for _, joint in drawn])),
                "accuracy_kept": float(np.mean([one.biology[-1].mean() / one.biology[0].mean() for one, _ in drawn])),
            }
            | measure(rows, np.inf)
        )
    return found


def _wells(confounding: float, rng: np.random.Generator) -> tuple[Array, NDArray[np.int64], NDArray[np.int64]]:
    """(n, 2 + pairs) features, labels and batches; the first direction is the batch's, the second A against B."""
    batch = np.repeat([0, 1], WELLS)
    in_b = rng.random(len(batch)) < np.where(batch == 0, 1 - confounding, 1 + confounding) / 2
    pair = rng.integers(PAIRS, size=len(batch))
    features = NOISE * rng.standard_normal((len(batch), 2 + PAIRS))
    features[:, 0] += SHIFT * batch
    features[:, 1] += APART * in_b
    features[np.arange(len(batch)), 2 + pair] += APART
    return features, pair + PAIRS * in_b, batch


def _directions(features: Array, labels: NDArray[np.int64], batch: NDArray[np.int64]) -> tuple[Array, Array]:
    """(2, d) orthonormal directions in which the batches differ, and how far, squared, above what noise would."""
    means = [[features[(labels == label) & (batch == own)] for own in (0, 1)] for label in np.unique(labels)]
    by_class = [second.mean(axis=0) - first.mean(axis=0) for first, second in means if len(first) and len(second)]
    shift = np.mean(by_class, axis=0)
    left = features[batch == 1].mean(axis=0) - features[batch == 0].mean(axis=0)
    basis = np.linalg.qr(np.column_stack([shift, left]))[0].T
    chance = 4 * 2 * features.var(axis=0).sum() / WELLS  # four times its mean: a direction must stand out
    return basis, np.maximum(np.array([shift @ shift, (basis[1] @ left) ** 2]) - chance, 0.0)


def _filtered(
    part: tuple[Array, NDArray[np.int64], NDArray[np.int64]],
    filters: tuple[Array, Array],
    strength: float,
    rng: np.random.Generator,
) -> tuple[Array, NDArray[np.int64], NDArray[np.int64]]:
    features, labels, batch = part
    basis, found = filters
    gone = 1 - 1 / (1 + strength * found)
    kept = features - (features @ basis.T * gone) @ basis
    return kept + NOISE * rng.standard_normal(features.shape), labels, batch
