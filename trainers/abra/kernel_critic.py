"""A kernel critic: conditional HSIC, or MMD, between bio-batches; any difference of distributions counts."""

from __future__ import annotations

import torch
from torch import Tensor

from trainers.abra.dependence import between_batches

_SMALLEST_DISTANCE = 1e-8


def kernel_share(unit: Tensor, labels: Tensor, *, groups: int) -> Tensor:
    """(K,) `between_batches` of the kernel 1/(1 + d²/m), m the mean squared distance d² in the mini-batch.

    A mixture of Gaussian kernels of all widths about √m (rational quadratic), so none has to be chosen; m is
    differentiated through, and the value is the same for any scaling of the embedding.

    Args:
        unit: (K, B, e) embeddings, bio-batch after bio-batch.
        labels: (K, B) class indices.
    """
    length = unit.square().sum(2)
    squared = length[:, :, None] + length[:, None, :] - 2.0 * torch.bmm(unit, unit.transpose(1, 2))
    squared = squared.clamp(min=0.0)
    mean = squared.mean((1, 2), keepdim=True) + _SMALLEST_DISTANCE
    return between_batches(mean / (mean + squared), labels, groups=groups)


__all__ = ["kernel_share"]
