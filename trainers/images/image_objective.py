"""The loss of one cell at one mini-batch of images; the same objective as for profiles (trainers.abra.objective).

    L = L_arc(clean; m) + λ(t)·[a_wc·L_arc(perturbed; m) + a_batch·L_batch] + w_align·1[λ > 0]·L_align

At λ = 0 none of the adversarial terms is computed, no direction moves and no critic exists: the training is that
without an adversary bit for bit. The statistics are those of each image's feature map over its positions, and their
spread S that over the mini-batch (DSU, Li et al., ICLR 2022; AdvStyle, arXiv:2301.12643): `trainers.abra.statistics`
with the images of the mini-batch in the place of its bio-batches.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from trainers.abra.alignment import coral, mmd, symmetric_kl
from trainers.abra.batch_adversary import BatchAdversary
from trainers.abra.encoder import Hook
from trainers.abra.margin import MarginTerms, arc_losses, class_logits, cosines
from trainers.abra.statistics import StyleDraw, WorstCaseDirections, random_hook
from trainers.images.image_settings import ImageAbraSettings
from trainers.images.map_draws import MapDraws
from trainers.images.network import ImageNetwork, running_statistics_kept
from trainers.images.points import PointHooks, find_points


@dataclass(frozen=True, eq=False)
class ImageBatch:
    """A mini-batch on the device, bio-batch by bio-batch (G bio-batches × n).

    Attributes:
        x: (B, channels, s, s) standardised images, fp32.
        labels, batches: (B,) class and bio-batch indices.
        partner: (B,) class of the image that CutMix pasted in; None = not mixed.
        share: (B,) share of the area that is the image's own, (0, 1]; None = not mixed.
    """

    x: Tensor
    labels: Tensor
    batches: Tensor
    partner: Tensor | None = None
    share: Tensor | None = None


@dataclass(frozen=True, eq=False)
class ImageTerms:
    """Scalars at one mini-batch: `total` to descend, the clean `arc`, and the adversarial values by name."""

    total: Tensor
    arc: Tensor
    adversarial: Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class _View:
    """Unit embeddings (1, B, e) and class scores (1, B, C): cosines of ArcFace, logits of a linear head."""

    unit: Tensor
    scores: Tensor


class ImageObjective:
    """The objective of one cell, with its adversary's state.

    Args:
        strength: λ.
        absent: (C,) bool, classes the cell does not train on.
        present: (number of bio-batches,) bool, those it trains on.
        groups, items: G and n of a mini-batch.
    """

    def __init__(
        self,
        settings: ImageAbraSettings,
        network: ImageNetwork,
        *,
        strength: float,
        seed: int,
        absent: Tensor,
        present: Tensor,
        groups: int,
        items: int,
        channels: int,
        image_size: int,
    ) -> None:
        self._settings = settings
        self._network = network
        self._strength = strength
        self._groups = groups
        self._device = present.device
        self._absent = absent[None, None] if bool(absent.any()) else None
        self._draws: MapDraws | None = None
        self._critic: BatchAdversary | None = None
        self.directions: WorstCaseDirections | None = None
        self._ascent: tuple[dict[int, Tensor], StyleDraw] | None = None
        if strength > 0.0 and settings.statistics != "none":
            points = find_points(network.backbone, settings.points, channels=channels, image_size=image_size)
            widths = [point.channels for point in points]
            self._hooks = PointHooks(network.backbone, points, opaque=settings.compile)
            self._draws = MapDraws(
                seed, widths, images=groups * items, probability=settings.apply_probability, device=self._device
            )
            if settings.statistics == "worst_case":
                self.directions = WorstCaseDirections(
                    1,
                    dict(enumerate(widths)),
                    groups=groups * items,
                    radius=settings.radius,
                    ascent_size=settings.ascent_size,
                    device=self._device,
                )
        if strength > 0.0 and settings.critic != "none":
            self._critic = BatchAdversary(
                settings, [seed], present[None], embedding_dim=network.class_vectors.shape[1], groups=groups
            )

    def __call__(self, batch: ImageBatch, *, margin: float, strength_factor: float, number: int) -> ImageTerms:
        """The terms at mini-batch `number`. Moves the worst-case directions and, with critic steps, the critic.

        Args:
            margin: the margin in force, radians.
            strength_factor: λ(t)/λ in [0, 1].
        """
        settings = self._settings
        clean = self._view(batch)
        arc = self._loss(clean, batch, margin)
        weight = self._strength * strength_factor
        total = arc
        values: dict[str, Tensor] = {}
        if self._critic is not None:
            loss, value = self._critic(
                clean.unit,
                labels=batch.labels[None],
                batches=batch.batches[None],
                weight=torch.full((1,), weight, device=self._device),
                step=number,
            )
            values["batch"] = value[0]
            total = total + settings.batch_weight * loss[0]
        if self._draws is not None:
            perturbed, align = self._perturbed_terms(self._draws.at(number), clean, arc, batch, margin)
            values["perturbed"] = perturbed.detach()
            total = total + weight * settings.perturbed_weight * perturbed
            if align is not None:
                values["align"] = align.detach()
                total = total + settings.alignment_weight * align
        return ImageTerms(total, arc.detach(), values)

    def after_backward(self, terms: ImageTerms) -> None:
        """Move what learns from the weights' own backward pass: a reversed critic, directions without ascent steps."""
        if self._critic is not None and self._critic.leaves:
            gradients = [leaf.grad for leaf in self._critic.leaves if leaf.grad is not None]
            self._critic.descend(gradients, terms.adversarial["batch"])
            for leaf in self._critic.leaves:
                leaf.grad = None
        if self.directions is not None and self._ascent is not None:
            leaves, draw = self._ascent
            moved = {index: (leaf.detach(), leaf.grad) for index, leaf in leaves.items() if leaf.grad is not None}
            self.directions.move(moved, draw)
            self._ascent = None

    def _view(self, batch: ImageBatch, hook: Hook | None = None, chosen: Iterable[int] = ()) -> _View:
        network = self._network
        with nullcontext() if hook is None else self._hooks.perturbed(hook, chosen):
            embedding = network(batch.x)
        unit = functional.normalize(embedding, dim=-1)[None]
        if network.class_bias is None:
            return _View(unit, cosines(unit, network.class_vectors[None]))
        return _View(unit, functional.linear(embedding, network.class_vectors, network.class_bias)[None])

    def _loss(self, view: _View, batch: ImageBatch, margin: float) -> Tensor:
        """Mean class loss; a mixed image's is its two classes', each by its share of the area (CutMix, eq. 1)."""
        own = self._losses(view, batch.labels, margin)
        if batch.partner is None or batch.share is None:
            return own.mean()
        return (batch.share * own + (1.0 - batch.share) * self._losses(view, batch.partner, margin)).mean()

    def _losses(self, view: _View, labels: Tensor, margin: float) -> Tensor:
        if self._network.class_bias is None:
            terms = MarginTerms.of([margin], self._device)
            scale = self._settings.scale
            return arc_losses(view.scores, labels[None], terms, scale=scale, absent=self._absent)[0]
        return functional.cross_entropy(self._logits(view)[0], labels, reduction="none")

    def _logits(self, view: _View) -> Tensor:
        """(1, B, C) margin-free logits."""
        scale = self._settings.scale if self._network.class_bias is None else 1.0
        return class_logits(view.scores, scale=scale, absent=self._absent)

    def _perturbed_terms(
        self, draw: StyleDraw, clean: _View, arc: Tensor, batch: ImageBatch, margin: float
    ) -> tuple[Tensor, Tensor | None]:
        """L_arc(perturbed) and L_align."""
        settings = self._settings
        if not draw.epsilon:
            return arc, None  # no point's coin fell: the perturbed view is the clean one
        if self.directions is None:
            hook = random_hook(draw, groups=len(batch.x), radius=settings.radius)
        else:
            with running_statistics_kept(self._network):
                for _ in range(settings.ascent_steps):
                    self.directions.ascend(
                        lambda trial: self._loss(self._view(batch, trial, draw.epsilon), batch, margin), draw
                    )
            leaves: dict[int, Tensor] | None = {} if settings.ascent_steps == 0 else None
            hook = self.directions.hook(draw, leaves)
            self._ascent = None if leaves is None else (leaves, draw)
        keep = settings.running_statistics == "clean"
        with running_statistics_kept(self._network) if keep else nullcontext():
            other = self._view(batch, hook, draw.epsilon)
        loss = self._loss(other, batch, margin)
        if settings.alignment == "none" or settings.alignment_weight == 0.0:
            return loss, None
        if settings.alignment == "symmetric_kl":
            return loss, symmetric_kl(self._logits(clean), self._logits(other))[0]
        return loss, (mmd if settings.alignment == "mmd" else coral)(clean.unit, other.unit)[0]

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


__all__ = ["ImageBatch", "ImageObjective", "ImageTerms"]
