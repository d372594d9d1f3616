"""A critic of moments: do means and covariances differ between bio-batches, classes taken out (CORAL, with means).

Deep CORAL (Sun & Saenko 2016, arXiv:1607.01719) compares two domains' covariances; here all bio-batches at once, as a
share of what varies, so that there is a chance level and shrinking the embedding gains nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor

from trainers.abra.dependence import between_batches, within_classes


def moment_share(unit: Tensor, labels: Tensor, *, groups: int) -> Tensor:
    """(K,) mean of two `between_batches`: of rows x less their class mean (means) and of xxᵀ (second moments).

    Second moments are about the class means of all bio-batches, so that a shift is in both.

    Args:
        unit: (K, B, e) embeddings, bio-batch after bio-batch.
        labels: (K, B) class indices.
    """
    x = within_classes(unit, labels)
    gram = torch.bmm(x, x.transpose(1, 2))
    means = between_batches(gram, labels, groups=groups)
    return 0.5 * (means + between_batches(gram.square(), labels, groups=groups))


__all__ = ["moment_share"]
