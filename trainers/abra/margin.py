"""The additive angular margin (ArcFace, Deng et al., CVPR 2019, arXiv:1801.07698), K cells at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

COS_LIMIT = 1.0 - 1e-6
"""Cosines are clamped to ± this: at ±1 the derivative of sin θ is infinite."""

_ABSENT = -1e9  # exp underflows to exactly 0, as with −inf, but differences of two such logits stay finite


@dataclass(frozen=True, eq=False)
class MarginTerms:
    """The constants of cos(θ + m) for K cells, each (K, 1).

    Attributes:
        cos, sin: cos m and sin m.
        threshold: cos(π − m); below it cos(θ + m) would rise again with θ.
        fallback: m·sin(π − m), what is subtracted from cos θ below the threshold.
    """

    cos: Tensor
    sin: Tensor
    threshold: Tensor
    fallback: Tensor

    @classmethod
    def of(cls, margins: Sequence[float], device: torch.device) -> MarginTerms:
        """From K margins in radians."""
        table = torch.tensor(
            [[math.cos(m), math.sin(m), math.cos(math.pi - m), m * math.sin(math.pi - m)] for m in margins],
            dtype=torch.float32,
            device=device,
        )
        return cls(*table.t().unsqueeze(-1).unbind(0))

    def select(self, cells: Tensor | None) -> MarginTerms:
        """The terms of some cells; None = all."""
        if cells is None:
            return self
        return MarginTerms(self.cos[cells], self.sin[cells], self.threshold[cells], self.fallback[cells])


def cosines(unit: Tensor, class_vectors: Tensor) -> Tensor:
    """(K, B, C) clamped cosines between (K, B, e) unit embeddings and (K, C, e) class vectors of any length."""
    directions = functional.normalize(class_vectors, dim=-1)
    return torch.bmm(unit, directions.transpose(1, 2)).clamp(-COS_LIMIT, COS_LIMIT)


def class_logits(cosine: Tensor, *, scale: float, absent: Tensor | None) -> Tensor:
    """(K, B, C) margin-free logits s·cos; classes the cell never sees, `absent` (K, 1, C), get probability 0."""
    logits = cosine * scale
    return logits if absent is None else logits.masked_fill(absent, _ABSENT)


def arc_losses(cosine: Tensor, labels: Tensor, margin: MarginTerms, *, scale: float, absent: Tensor | None) -> Tensor:
    """(K, B) ArcFace loss of every item (lower is better; ArcFace eq. 3 with the usual fallback).

    The target's logit is s·cos(θ + m) where cos θ > cos(π − m), else s·(cos θ − m·sin(π − m)); m = 0 gives the
    scaled-cosine cross-entropy exactly.

    Args:
        cosine: (K, B, C) from `cosines`.
        labels: (K, B) class indices.
        absent: (K, 1, C) bool or None.
    """
    cells, rows, classes = cosine.shape
    target = cosine.gather(2, labels[..., None]).squeeze(-1)
    sine = torch.sqrt(1.0 - target * target)
    shifted = torch.where(target > margin.threshold, target * margin.cos - sine * margin.sin, target - margin.fallback)
    logits = class_logits(cosine.scatter(2, labels[..., None], shifted[..., None]), scale=scale, absent=absent)
    losses = functional.cross_entropy(logits.view(-1, classes), labels.reshape(-1), reduction="none")
    return losses.view(cells, rows)


def arc_loss(cosine: Tensor, labels: Tensor, margin: MarginTerms, *, scale: float, absent: Tensor | None) -> Tensor:
    """(K,) mean of `arc_losses` over the mini-batch."""
    return arc_losses(cosine, labels, margin, scale=scale, absent=absent).mean(dim=1)


__all__ = ["COS_LIMIT", "MarginTerms", "arc_loss", "arc_losses", "class_logits", "cosines"]
