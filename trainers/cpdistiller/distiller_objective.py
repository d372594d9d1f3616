"""The loss of every cell of a pack at one mini-batch.

    L = L_reconstruction + L_latent + L_category + D/35 · [w·L_triplets + Σ over effects of L_discriminator(R(z))]

R turns the gradient that the encoder feels of the discriminators around, times λ and the share of it in force.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from trainers.abra.adversary import reverse_gradient
from trainers.cpdistiller import distiller_losses as losses
from trainers.cpdistiller.cpdistiller_settings import CpDistillerSettings
from trainers.cpdistiller.discriminators import EffectLevels
from trainers.cpdistiller.mixture_vae import decode, infer, prior, project

Parameters = Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class DistillerBatch:
    """One mini-batch of K cells.

    Attributes:
        x: (K, 3·B, D) standardised features of anchors, positives and negatives, one after the other.
        rows: (K, B) the anchors' row numbers in the screen.
        weights: (K, B) of the anchors; they sum to 1.
        normal, gumbel: (K, 3·B, Z) and (K, 3·B, C) noise.
    """

    x: Tensor
    rows: Tensor
    weights: Tensor
    normal: Tensor
    gumbel: Tensor


@dataclass(frozen=True, eq=False)
class DistillerObjective:
    """The objective of K cells.

    Attributes:
        levels: effect → the levels that its discriminators tell apart.
        triplet_weights: (K,) w, relative to the published one.
    """

    settings: CpDistillerSettings
    levels: Mapping[str, EffectLevels]
    triplet_weights: Tensor

    def terms(
        self,
        vae: Parameters,
        discriminators: Parameters,
        batch: DistillerBatch,
        *,
        temperature: Tensor,
        reversal: Tensor,
    ) -> dict[str, Tensor]:
        """Name → (K,) unweighted mean over the anchors: reconstruction, latent, category, triplets, and each effect.

        Args:
            temperature: (K,) of the category.
            reversal: (K,) λ times its share in force.
        """
        anchors = batch.rows.shape[1]
        inferred = infer(vae, batch.x, gumbel=batch.gumbel, temperature=temperature[:, None, None])
        z = inferred.sample(batch.normal)
        near = project(vae, z)
        own = z[:, :anchors]
        prior_mean, prior_variance = prior(vae, inferred.category[:, :anchors])
        rows = {
            "reconstruction": losses.reconstruction_rows(decode(vae, own), batch.x[:, :anchors]),
            "latent": losses.log_normal(own, inferred.mean[:, :anchors], inferred.variance[:, :anchors])
            - losses.log_normal(own, prior_mean, prior_variance),
            "category": losses.category_rows(inferred.logits[:, :anchors]),
            "triplets": losses.triplet_rows(*near.chunk(3, dim=1), margin=self.settings.triplet_margin),
        }
        hidden = reverse_gradient(own, reversal[:, None, None])
        for effect, levels in self.levels.items():
            rows[effect] = levels.loss(discriminators, effect, hidden, batch.rows, self.settings.smoothing)
        return {name: (values * batch.weights).sum(1) for name, values in rows.items()}

    def total(self, terms: Mapping[str, Tensor], features: int) -> Tensor:
        """(K,) the whole loss from its terms; `features`: D."""
        vae = terms["reconstruction"] + terms["latent"] + terms["category"]
        adversary = torch.stack([terms[effect] for effect in self.levels]).sum(0)
        return vae + features / self.settings.loss_divisor * (self.triplet_weights * terms["triplets"] + adversary)


__all__ = ["DistillerBatch", "DistillerObjective"]
