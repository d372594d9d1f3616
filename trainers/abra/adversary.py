"""Batch adversaries: how well the bio-batch can be told from the embedding, as a loss the encoder descends.

Batch predictability must be reported from a fresh probe, never from these: an adversary at chance proves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from trainers.abra.draws import Purpose, generator
from trainers.abra.encoder import encode, encoder_shapes, initial_values
from trainers.abra.stacked import StackedParameters

_ABSENT = -1e9


def ridge_r2(embedding: Tensor, *, groups: int, penalty: float, adjusted: bool = True) -> Tensor:
    """EXPERIMENT."""
    cells, rows, width = embedding.shape
    items = rows // groups
    z = embedding - embedding.mean(1, keepdim=True)
    alpha = penalty * z.square().sum((1, 2)) / width + 1e-8
    gram = torch.bmm(z.transpose(1, 2), z)
    eye = torch.eye(width, dtype=z.dtype, device=z.device)
    system = gram + alpha[:, None, None] * eye
    means = z.view(cells, groups, items, width).mean(2)
    right = means.transpose(1, 2)
    if adjusted:
        right = torch.cat([right, eye.expand(cells, -1, -1)], dim=2)
    solved = torch.linalg.solve_ex(system, right).result
    r2 = items / (groups - 1) * (means.transpose(1, 2) * solved[:, :, :groups]).sum((1, 2))
    if not adjusted:
        return r2
    freedom = width - alpha * solved[:, :, groups:].diagonal(dim1=1, dim2=2).sum(-1)
    chance = freedom / (rows - 1)
    return (r2 - chance) / (1.0 - chance)


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

    def state_dict(self) -> dict[str, object]:
        """Parameters, moments and the number of updates."""
        return {"parameters": self._parameters.state_dict(), "updates": self._updates}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Restore what `state_dict` copied."""
        parameters, updates = state["parameters"], state["updates"]
        assert isinstance(parameters, dict)
        assert isinstance(updates, int)
        self._parameters.load_state_dict(parameters)
        self._updates = updates


__all__ = ["MlpCritic", "reverse_gradient", "ridge_r2"]
