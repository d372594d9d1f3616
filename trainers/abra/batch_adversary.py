"""The batch adversary of a training, whichever critic it is: what the encoder's loss gets of it, and its state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from trainers.abra.abra_settings import AdversarialSettings
from trainers.abra.adversary import MlpCritic, reverse_gradient, ridge_r2
from trainers.abra.fourier_critic import fourier_draws, fourier_r2
from trainers.abra.kernel_critic import kernel_share
from trainers.abra.moments_critic import moment_share


class BatchAdversary:
    """Of K cells with λ > 0; settings.critic is not "none".

    Args:
        seeds: K seeds, of a critic's initialisation and draws.
        present: (K, number of bio-batches) bool, those a cell trains on.
        groups: G, bio-batches in a mini-batch.
    """

    def __init__(
        self, settings: AdversarialSettings, seeds: Sequence[int], present: Tensor, *, embedding_dim: int, groups: int
    ) -> None:
        self._settings = settings
        self._seeds = tuple(seeds)
        self._groups = groups
        self._mlp: MlpCritic | None = None
        if settings.critic == "mlp":
            self._mlp = MlpCritic(
                seeds,
                present,
                embedding_dim=embedding_dim,
                width=settings.critic_width,
                rate=settings.critic_learning_rate,
                clip_norm=settings.clip_norm,
            )

    @property
    def leaves(self) -> list[Tensor]:
        """Parameters that learn from the encoder's own backward pass (gradient reversal); usually none."""
        return self._mlp.leaves if self._mlp is not None and self._settings.critic_steps == 0 else []

    def descend(self, gradients: Sequence[Tensor], value: Tensor) -> None:
        """Move `leaves` along the gradients of the critic's loss, whose value is given."""
        if self._mlp is not None and gradients:
            self._mlp.descend(gradients, value)

    def __call__(
        self, unit: Tensor, *, labels: Tensor, batches: Tensor, weight: Tensor, step: int
    ) -> tuple[Tensor, Tensor]:
        """(K,) what is added to the loss before a_batch, λ included, and the value to report.

        Args:
            unit: (K, B, e) unit embeddings of a mini-batch, bio-batch after bio-batch.
            labels, batches: (K, B) class and bio-batch indices.
            weight: (K,) λ(t).
            step: optimiser steps done so far; selects the draws.
        """
        settings = self._settings
        if self._mlp is None:
            score = self._score(unit, labels, step)
            return weight * score, score.detach()
        if settings.critic_steps == 0:
            true, _ = self._mlp.losses(reverse_gradient(unit, weight[:, None, None]), batches)
            return true, true.detach()
        self._mlp.fit(unit, batches, steps=settings.critic_steps)
        true, confusion = self._mlp.losses(unit, batches)
        return weight * confusion, true.detach()

    def _score(self, unit: Tensor, labels: Tensor, step: int) -> Tensor:
        """(K,) of a critic in closed form."""
        settings, groups = self._settings, self._groups
        if settings.critic == "kernel":
            return kernel_share(unit, labels, groups=groups)
        if settings.critic == "moments":
            return moment_share(unit, labels, groups=groups)
        penalty, adjusted = settings.ridge_penalty, settings.ridge_adjusted
        if settings.critic == "fourier":
            axes, phases = fourier_draws(self._seeds, step, width=unit.shape[2], like=unit)
            return fourier_r2(unit, axes, phases, groups=groups, penalty=penalty, adjusted=adjusted)
        return ridge_r2(unit, groups=groups, penalty=penalty, adjusted=adjusted)

    def state_dict(self) -> dict[str, Any] | None:
        """The trained critic's state; None where there is none."""
        return None if self._mlp is None else self._mlp.state_dict()

    def load_state_dict(self, state: Mapping[str, Any] | None) -> None:
        """Restore what `state_dict` copied."""
        if self._mlp is not None and state is not None:
            self._mlp.load_state_dict(state)


__all__ = ["BatchAdversary"]
