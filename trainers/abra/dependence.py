"""How much of a kernel's variance lies between bio-batches once classes are taken out: one number, with exact chance.

With K a kernel of the rows of a mini-batch, H = I − (projection on classes) and P the projection on bio-batches,

    R² = tr(P·HKH) / tr(HKH)

is the share of the rows' variance *within classes*, in the kernel's feature space, that lies between bio-batches. It is
the conditional HSIC with the delta kernel on bio-batches (Gretton et al. 2005), and as a mini-batch holds equally many
rows of each also the mean squared MMD of a bio-batch from all of them (Gretton et al. 2012).
"""

from __future__ import annotations

import torch
from torch import Tensor

_LEAST_VARIANCE = 1e-6  # per row: below it nothing varies within classes


def between_batches(kernel: Tensor, labels: Tensor, *, groups: int) -> Tensor:
    """(K,) R² with its chance level taken off, (R² − E)/(1 − E): at most 1, 0 in expectation without batch effect.

    E is the mean of R² over all permutations of bio-batches within classes, in closed form: with HKH's diagonal h, n
    rows a bio-batch and p the share of a class's pairs that lie in one, tr(P·HKH) is Σ h·(1 − p)/n on average.

    Exactly 0, gradient included, where no class occurs twice: then nothing varies within classes.

    Args:
        kernel: (K, B, B) symmetric positive semi-definite; rows are `groups` bio-batches of B/groups each, in turn.
        labels: (K, B) class indices.
    """
    rows = kernel.shape[1]
    each = rows // groups
    with torch.no_grad():
        same = (labels[:, :, None] == labels[:, None, :]).to(kernel.dtype)
        count = same.sum(2)
        own = same.view(len(same), rows, groups, each).sum(3)  # of a row's class in each bio-batch
        here = own.view(len(same), groups, each, groups).diagonal(dim1=1, dim2=3).permute(0, 2, 1).reshape(-1, rows)
        classes = same / count[:, :, None]
        paired = (here - 1.0) / (count - 1.0).clamp(min=1.0)
        apart = (1.0 - torch.bmm(classes, paired[:, :, None]).squeeze(2)) / each
        # columns of H·(one-hot bio-batches)/√n, whose outer product weighs K in tr(P·HKH)
        one_hot = torch.eye(groups, dtype=kernel.dtype, device=kernel.device).repeat_interleave(each, dim=0)
        columns = (one_hot - own / count[:, :, None]) / each**0.5
    diagonal = kernel.diagonal(dim1=1, dim2=2)
    within = diagonal - (kernel * classes).sum(2)  # HKH's diagonal, summed right over each class
    between = (torch.bmm(kernel, columns) * columns).sum((1, 2))
    chance = (within * apart).sum(1)
    left = within.sum(1) - chance
    nothing = left <= _LEAST_VARIANCE * diagonal.detach().mean(1) * rows  # a value that is not finite stays one
    return torch.where(nothing, 0.0, (between - chance) / torch.where(nothing, 1.0, left))


def within_classes(rows: Tensor, labels: Tensor) -> Tensor:
    """(K, B, e) rows less the mean of their class's rows in the mini-batch."""
    same = (labels[:, :, None] == labels[:, None, :]).to(rows.dtype)
    return rows - torch.bmm(same / same.sum(2, keepdim=True), rows)


__all__ = ["between_batches", "within_classes"]
