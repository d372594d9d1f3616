"""Batch adversaries: how well the bio-batch can be told from the embedding, as a loss the encoder descends.

Batch predictability must be reported from a fresh probe, never from these: an adversary at chance proves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from trainers.abra.draws import Purpose, generator
from trainers.abra.encoder import encode, encoder_shapes, initial_values
from trainers.abra.stacked import StackedParameters

_ABSENT = -1e9  # a logit whose probability underflows to exactly 0
_SMALLEST_PENALTY = 1e-8  # keeps a fully collapsed embedding solvable


def ridge_r2(unit: Tensor, *, groups: int, penalty: float, adjusted: bool = True) -> Tensor:
    """(K,) share of the bio-batch's variance that a ridge regression on the embedding explains in the mini-batch.

    With Z the centred (B, e) embeddings, Y the centred one-hot bio-batches and α = penalty·tr(ZᵀZ)/e,

        R² = tr(Yᵀ H Y) / tr(Yᵀ Y),   H = Z (ZᵀZ + αI)⁻¹ Zᵀ,

    in [0, 1], and the same for any scaling of Z. It is an in-sample value: with the bio-batches permuted at random it
    is tr(H)/(B − 1) in expectation, exactly. For e near B that is most of it, and descending it lowers the rank of the
    embedding instead of removing the batch. `adjusted` takes it off, (R² − chance)/(1 − chance), as the adjusted R² of
    ordinary regression does (Ezekiel 1930), with tr(H) as the degrees of freedom: in expectation 0, value and gradient,
    for an embedding that knows nothing of the batch; at most 1.

    Args:
        unit: (K, B, e) embeddings; the rows are `groups` bio-batches of B/groups items each, one after the other.
        penalty: ridge penalty in units of the mean variance of an embedding dimension.
    """
    _, rows, width = unit.shape
    z = unit - unit.mean(1, keepdim=True)
    alpha = penalty * z.square().sum((1, 2)) / width + _SMALLEST_PENALTY
    if width <= rows:
        targets = (
            z.view(len(z), groups, rows // groups, width).sum(2).transpose(1, 2)
        )  # ZᵀY; Z is centred, Y need not be
        explained, trace = _inverse_terms(torch.bmm(z.transpose(1, 2), z), alpha, targets)
    else:
        # the dual, H = I − α(ZZᵀ + αI)⁻¹, is the smaller system
        one_hot = torch.eye(groups, dtype=z.dtype, device=z.device).repeat_interleave(rows // groups, dim=0)
        targets = (one_hot - 1.0 / groups).expand(len(z), -1, -1)
        quadratic, trace = _inverse_terms(torch.bmm(z, z.transpose(1, 2)), alpha, targets)
        explained = rows * (1.0 - 1.0 / groups) - alpha * quadratic
    r2 = explained / (rows * (1.0 - 1.0 / groups))
    if not adjusted:
        return r2
    chance = (min(rows, width) - alpha * trace) / (rows - 1)
    return (r2 - chance) / (1.0 - chance)


def _inverse_terms(gram: Tensor, alpha: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """(K,) tr(Tᵀ A⁻¹ T) and tr(A⁻¹) for A = gram + αI, (K, p, p) symmetric, and T = targets (K, p, G).

    Both are maxima of a concave quadratic, tr(TᵀA⁻¹T) = max over V of 2⟨V, T⟩ − ⟨VVᵀ, A⟩ at V = A⁻¹T (T = I for the
    second). By the envelope theorem the gradient may hold V fixed, so nothing is differentiated through the inverse.
    """
    system = gram + torch.diag_embed(alpha[:, None].expand(-1, gram.shape[1]))
    with torch.no_grad():
        # _ex: a non-finite cell gives a non-finite value, not an error for the whole pack
        inverse = torch.cholesky_inverse(torch.linalg.cholesky_ex(system).L)
        solved = torch.bmm(inverse, targets)
        outer = torch.bmm(solved, solved.transpose(1, 2))
        squared = torch.bmm(inverse, inverse)
        trace = inverse.diagonal(dim1=1, dim2=2).sum(-1)
    quadratic = 2.0 * (solved * targets).sum((1, 2)) - (outer * system).sum((1, 2))
    return quadratic, 2.0 * trace - (squared * system).sum((1, 2))


def reverse_gradient(x: Tensor, weight: Tensor) -> Tensor:
    """x, bit for bit, whose gradient comes back times −weight (Ganin & Lempitsky 2015, section 4)."""
    return x.detach() - weight * (x - x.detach())


class MlpCritic:
    """A classifier of the bio-batch per cell: one hidden ReLU layer on the unit embedding, with its own Adam.

    Args:
        seeds: K seeds; each cell's initialisation depends on its seed alone.
        present: (K, B) bool, the bio-batches each cell trains on; the others get probability 0.
    """

    def __init__(
        self, seeds: Sequence[int], present: Tensor, *, embedding_dim: int, width: int, rate: float, clip_norm: float
    ) -> None:
        shapes = encoder_shapes(embedding_dim, (width,), present.shape[1])
        self._parameters = StackedParameters(shapes, len(seeds), present.device)
        for cell, seed in enumerate(seeds):
            self._parameters.fill(cell, initial_values(shapes, generator(seed, Purpose.CRITIC)))
        self._absent = ~present[:, None, :]
        self._share = present / present.sum(1, keepdim=True)
        self._everyone = torch.ones(len(seeds), dtype=torch.bool, device=present.device)
        self._rate = rate
        self._clip_norm = clip_norm
        self._updates = 0

    @property
    def leaves(self) -> list[Tensor]:
        """The parameters, in the order `descend` takes their gradients."""
        return list(self._parameters.views.values())

    def losses(self, unit: Tensor, batches: Tensor) -> tuple[Tensor, Tensor]:
        """(K,) cross-entropy against the true bio-batch, and against the uniform over those present (confusion), nats.

        Args:
            unit: (K, B, e) unit embeddings.
            batches: (K, B) bio-batch indices.
        """
        logits = encode(self._parameters.views, unit).masked_fill(self._absent, _ABSENT)
        log_p = torch.log_softmax(logits, dim=-1)
        true = -log_p.gather(2, batches[..., None]).squeeze(-1).mean(1)
        confusion = -(log_p * self._share[:, None, :]).sum(-1).mean(1)
        return true, confusion

    def descend(self, gradients: Sequence[Tensor], loss: Tensor) -> None:
        """One Adam step on the gradients of the cross-entropy."""
        self._updates += 1
        self._parameters.update(
            gradients,
            count=self._updates,
            rate=self._rate,
            weight_decay=0.0,
            clip_norm=self._clip_norm,
            loss=loss,
            training=self._everyone,
        )

    def fit(self, unit: Tensor, batches: Tensor, *, steps: int) -> None:
        """Some steps on fixed (detached) embeddings."""
        fixed = unit.detach()
        for _ in range(steps):
            loss, _ = self.losses(fixed, batches)
            self.descend(torch.autograd.grad(loss.sum(), self.leaves), loss.detach())

    def state_dict(self) -> dict[str, Any]:
        """Parameters, moments and the number of updates."""
        return {"parameters": self._parameters.state_dict(), "updates": self._updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` copied."""
        self._parameters.load_state_dict(state["parameters"])
        self._updates = state["updates"]


__all__ = ["MlpCritic", "reverse_gradient", "ridge_r2"]
