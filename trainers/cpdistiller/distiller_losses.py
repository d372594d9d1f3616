"""The losses of cpDistiller, a value a row."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_VARIANCE_FLOOR = 1e-8
_APART = 1e-6  # added to every difference, as torch's pairwise distance does


def reconstruction_rows(decoded: Tensor, x: Tensor) -> Tensor:
    """(K, B) squared error, summed over the D features."""
    return (decoded - x).square().sum(-1)


def log_normal(z: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """(K, B) log density of a diagonal normal."""
    spread = variance + _VARIANCE_FLOOR
    return -0.5 * (math.log(2.0 * math.pi) + torch.log(spread) + (z - mean).square() / spread).sum(-1)


def category_rows(logits: Tensor) -> Tensor:
    """(K, B) Kullback–Leibler divergence of q(y|x) from the uniform one, nats: 0 … log C."""
    log_q = torch.log_softmax(logits, dim=-1)
    return (log_q.exp() * log_q).sum(-1) + math.log(logits.shape[-1])


def triplet_rows(anchor: Tensor, positive: Tensor, negative: Tensor, *, margin: float) -> Tensor:
    """(K, B) max(0, ‖a − p‖ − ‖a − n‖ + margin), Euclidean."""
    near = torch.linalg.vector_norm(anchor - positive + _APART, dim=-1)
    far = torch.linalg.vector_norm(anchor - negative + _APART, dim=-1)
    return torch.relu(near - far + margin)


def smoothed_rows(logits: Tensor, levels: Tensor, soft: Tensor, smoothing: float) -> Tensor:
    """(K, B) cross-entropy, nats: 1 − smoothing against the true level, smoothing against the soft label.

    Args:
        logits: (K, B, L).
        levels: (K, B) true levels.
        soft: (K, B, L) their soft labels.
    """
    log_p = torch.log_softmax(logits, dim=-1)
    true = -log_p.gather(2, levels[..., None]).squeeze(-1)
    return (1.0 - smoothing) * true - smoothing * (soft * log_p).sum(-1)


__all__ = ["category_rows", "log_normal", "reconstruction_rows", "smoothed_rows", "triplet_rows"]
