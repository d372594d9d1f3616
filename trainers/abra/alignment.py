"""Alignment of the clean and the perturbed view: keeps the adversarial search from collapsing the representation.

That ABRA has such a term is known; its form here is a reconstruction, hence three to choose from. Each returns (K,)
values ≥ 0, 0 when the two views agree.
"""

from __future__ import annotations

import torch
from torch import Tensor

_SQUARED_WIDTHS = (0.125, 0.5, 2.0)  # on the unit sphere squared distances lie in [0, 4]


def symmetric_kl(clean_logits: Tensor, perturbed_logits: Tensor) -> Tensor:
    """(K,) mean over rows of ½[KL(p‖q) + KL(q‖p)] between the class posteriors of (K, B, C) logits, in nats."""
    log_p = torch.log_softmax(clean_logits, dim=-1)
    log_q = torch.log_softmax(perturbed_logits, dim=-1)
    return 0.5 * ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum(-1).mean(-1)


def mmd(clean: Tensor, perturbed: Tensor) -> Tensor:
    """(K,) squared maximum mean discrepancy (biased estimate) of (K, B, e) unit embeddings, in [0, 2].

    The mean of Gaussian kernels exp(−d²/2w²) of three widths (Gretton et al. 2012, JMLR 13:723).
    """

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        squared = 2.0 - 2.0 * torch.bmm(a, b.transpose(1, 2))
        return torch.stack([torch.exp(-squared / (2.0 * width)) for width in _SQUARED_WIDTHS]).mean((0, 2, 3))

    return kernel(clean, clean) + kernel(perturbed, perturbed) - 2.0 * kernel(clean, perturbed)


def coral(clean: Tensor, perturbed: Tensor) -> Tensor:
    """(K,) squared distance of means plus squared Frobenius distance of covariances of (K, B, e) unit embeddings.

    Deep CORAL (Sun & Saenko 2016, arXiv:1607.01719) with the mean term its domain-generalisation form has; sums, not
    means over entries, so that the value does not fade with e.
    """

    def moments(x: Tensor) -> tuple[Tensor, Tensor]:
        mean = x.mean(1, keepdim=True)
        centred = x - mean
        return mean.squeeze(1), torch.bmm(centred.transpose(1, 2), centred) / (x.shape[1] - 1)

    clean_mean, clean_covariance = moments(clean)
    other_mean, other_covariance = moments(perturbed)
    return (clean_mean - other_mean).square().sum(-1) + (clean_covariance - other_covariance).square().sum((1, 2))


__all__ = ["coral", "mmd", "symmetric_kl"]
