"""The loss of every cell of a pack at one mini-batch.

    L = L_arc(clean; m) + λ(t)·[a_wc·L_arc(perturbed; m) + a_batch·L_batch] + w_align·1[λ > 0]·L_align

The adversarial terms are computed for the cells with λ > 0 alone (the *active* cells): a cell with λ = 0 is not part of
that arithmetic, so not even a non-finite adversary could reach it, and its weights are those of a training without one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from trainers.abra.abra_settings import AbraSettings
from trainers.abra.alignment import coral, mmd, symmetric_kl
from trainers.abra.batch_adversary import BatchAdversary
from trainers.abra.encoder import Hook, encode
from trainers.abra.margin import MarginTerms, arc_loss, class_logits, cosines
from trainers.abra.statistics import StyleDraw, StyleDraws, WorstCaseDirections, random_hook

CLASS_VECTORS = "class_vectors"
"""Name of ArcFace's (C, e) class vectors among a cell's parameters."""


@dataclass(frozen=True, eq=False)
class Terms:
    """Per-cell values at one mini-batch: `total` and `arc` (K,), the adversarial ones by name, (active,) each.

    `batch` is the critic's value: R² adjusted for chance, or the MLP critic's cross-entropy in nats.
    """

    total: Tensor
    arc: Tensor
    adversarial: Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class MiniBatch:
    """Standardised features x (K, G·n, d), bio-batch by bio-batch, with class and bio-batch indices (K, G·n)."""

    x: Tensor
    labels: Tensor
    batches: Tensor

    def select(self, cells: Tensor | None) -> MiniBatch:
        """Some cells' mini-batches; None = all."""
        return self if cells is None else MiniBatch(self.x[cells], self.labels[cells], self.batches[cells])


class Objective:
    """The objective with the adversary's state.

    Args:
        strengths: K adversarial weights λ.
        seeds: K seeds, of the adversary's initialisation and draws.
        absent: (K, 1, C) bool, classes a cell does not train on; None = every cell trains on all.
        batches_present: (K, number of bio-batches) bool.
        features: d.
        groups: G, bio-batches in a mini-batch.
    """

    def __init__(
        self,
        settings: AbraSettings,
        *,
        strengths: Sequence[float],
        seeds: Sequence[int],
        absent: Tensor | None,
        batches_present: Tensor,
        features: int,
        groups: int,
    ) -> None:
        self._settings = settings
        self._absent = absent
        self._groups = groups
        device = batches_present.device
        adversary = settings.statistics != "none" or settings.critic != "none"
        active = [cell for cell, strength in enumerate(strengths) if strength > 0.0 and adversary]
        self.active = tuple(active)
        # None means "all of them" and spares the copies
        self._cells = None if len(active) == len(strengths) else torch.tensor(active, dtype=torch.int64, device=device)
        self._strengths = torch.tensor([strengths[cell] for cell in active], dtype=torch.float32, device=device)
        self._draws: StyleDraws | None = None
        self.directions: WorstCaseDirections | None = None
        self._critic: BatchAdversary | None = None
        own_seeds = [seeds[cell] for cell in active]
        if active and settings.statistics != "none":
            all_widths = (features, *settings.hidden_widths)
            widths = {layer: all_widths[layer] for layer in settings.perturbed_layers()}
            self._draws = StyleDraws(
                own_seeds, widths, groups=groups, probability=settings.apply_probability, device=device
            )
            if settings.statistics == "worst_case":
                self.directions = WorstCaseDirections(
                    len(active),
                    widths,
                    groups=groups,
                    radius=settings.radius,
                    ascent_size=settings.ascent_size,
                    device=device,
                )
        if active and settings.critic != "none":
            self._critic = BatchAdversary(
                settings,
                own_seeds,
                batches_present if self._cells is None else batches_present[self._cells],
                embedding_dim=settings.embedding_dim,
                groups=groups,
            )

    @property
    def leaves(self) -> list[Tensor]:
        """The critic's parameters that learn from the encoder's own backward pass (gradient reversal); usually none."""
        return [] if self._critic is None else self._critic.leaves

    def learn(self, gradients: Sequence[Tensor], terms: Terms) -> None:
        """Move `leaves` along their gradients."""
        if self._critic is not None and gradients:
            self._critic.descend(gradients, terms.adversarial["batch"])

    def __call__(
        self,
        parameters: Mapping[str, Tensor],
        batch: MiniBatch,
        *,
        margin: MarginTerms,
        strength_factor: float,
        step: int,
    ) -> Terms:
        """The terms at one mini-batch. Moves the worst-case directions and, with critic steps, the critic.

        Args:
            parameters: name → (K, …), of the encoder and `CLASS_VECTORS`.
            margin: the margins in force at this step.
            strength_factor: λ(t)/λ in [0, 1].
            step: optimiser steps done so far; selects the draws.
        """
        settings = self._settings
        unit = functional.normalize(encode(parameters, batch.x), dim=-1)
        cosine = cosines(unit, parameters[CLASS_VECTORS])
        arc = arc_loss(cosine, batch.labels, margin, scale=settings.scale, absent=self._absent)
        if not self.active:
            return Terms(arc, arc.detach(), {})

        cells = self._cells
        weight = self._strengths * strength_factor
        unit = unit if cells is None else unit.index_select(0, cells)
        extra = torch.zeros_like(weight)
        values: dict[str, Tensor] = {}
        own = batch.select(cells)
        if self._critic is not None:
            loss, values["batch"] = self._critic(unit, labels=own.labels, batches=own.batches, weight=weight, step=step)
            extra = extra + settings.batch_weight * loss
        if self._draws is not None:
            chosen = parameters if cells is None else {n: v.index_select(0, cells) for n, v in parameters.items()}
            clean = cosine if cells is None else cosine.index_select(0, cells)
            perturbed, align = self._perturbed_terms(
                self._draws.at(step), chosen, own, margin.select(cells), unit, clean
            )
            values["perturbed"] = perturbed.detach()
            extra = extra + weight * settings.perturbed_weight * perturbed
            if align is not None:
                values["align"] = align.detach()
                extra = extra + settings.alignment_weight * align
        total = arc + extra if cells is None else arc.index_add(0, cells, extra)
        return Terms(total, arc.detach(), values)

    def _perturbed_terms(
        self,
        draw: StyleDraw,
        parameters: Mapping[str, Tensor],
        batch: MiniBatch,
        margin: MarginTerms,
        unit: Tensor,
        cosine: Tensor,
    ) -> tuple[Tensor, Tensor | None]:
        """(active,) L_arc(perturbed) and L_align; all arguments are of the active cells, `unit` and `cosine` clean."""
        settings = self._settings
        absent = self._absent if self._absent is None or self._cells is None else self._absent[self._cells]

        def view(hook: Hook) -> tuple[Tensor, Tensor, Tensor]:
            other = functional.normalize(encode(parameters, batch.x, hook), dim=-1)
            other_cosine = cosines(other, parameters[CLASS_VECTORS])
            loss = arc_loss(other_cosine, batch.labels, margin, scale=settings.scale, absent=absent)
            return loss, other, other_cosine

        if self.directions is None:
            hook = random_hook(draw, groups=self._groups, radius=settings.radius)
        else:
            for _ in range(settings.ascent_steps):
                self.directions.ascend(lambda trial: view(trial)[0], draw)
            hook = self.directions.hook(draw)
        loss, other, other_cosine = view(hook)
        if settings.alignment == "none" or settings.alignment_weight == 0.0:
            return loss, None
        if settings.alignment == "symmetric_kl":
            clean_logits = class_logits(cosine, scale=settings.scale, absent=absent)
            return loss, symmetric_kl(clean_logits, class_logits(other_cosine, scale=settings.scale, absent=absent))
        return loss, (mmd if settings.alignment == "mmd" else coral)(unit, other)

    def state_dict(self) -> dict[str, Any]:
        """The adversary's state: worst-case directions and critic, where there are such."""
        return {
            "directions": None if self.directions is None else self.directions.state_dict(),
            "critic": None if self._critic is None else self._critic.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` copied."""
        if self.directions is not None:
            self.directions.load_state_dict(state["directions"])
        if self._critic is not None:
            self._critic.load_state_dict(state["critic"])


__all__ = ["CLASS_VECTORS", "MiniBatch", "Objective", "Terms"]
