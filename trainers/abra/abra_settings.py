"""Every choice of the ABRA reconstruction that is fixed over a sweep; the swept dials (λ, m) belong to the cells."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class AdversarialSettings(BaseModel):
    """What trainings of every kind of encoder share: margin, adversary, alignment, mini-batches and schedules.

    The objective of a cell with adversarial weight λ and margin m is, at optimiser step t,

        L = L_arc(clean; m) + λ(t)·[a_wc·L_arc(perturbed; m) + a_batch·L_batch] + w_align·1[λ > 0]·L_align

    The paper's single choice "adversary" is the pair (`statistics`, `critic`): worst-case only, batch only or both are
    which of the two are not "none". Both "none" is ERM + margin, which λ = 0 equals bit for bit.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    scale: float = Field(
        default=30.0, gt=0.0, description="s, the factor of the cosines in the softmax (ArcFace eq. 3)."
    )
    margin_warmup: float = Field(
        default=0.2, ge=0.0, le=1.0, description="Share of the steps over which the margin rises linearly from 0 to m."
    )

    statistics: Literal["none", "worst_case", "random"] = Field(
        default="none",
        description="Perturbed view: none; worst_case (learned bounded direction, after AdvStyle, arXiv:2301.12643); "
        "random (uncertain statistics, DSU, ICLR 2022).",
    )
    perturbed_weight: float = Field(
        default=1.0, ge=0.0, description="a_wc, the weight of L_arc(perturbed) inside λ·[…]."
    )
    radius: float = Field(
        default=1.0,
        ge=0.0,
        description="Size of a perturbation in units of the statistics' spread over bio-batches; for images, over the "
        "mini-batch's images.",
    )
    apply_probability: float = Field(
        default=0.5,
        ge=0.0,
        le=1.0,
        description="Probability that a point is perturbed in a mini-batch, a draw a point.",
    )
    ascent_steps: int = Field(default=1, ge=1, description="Steps of the worst-case direction per mini-batch.")
    ascent_size: float = Field(
        default=0.2, gt=0.0, description="Length of an ascent step relative to the unit direction; λ does not scale it."
    )

    critic: Literal["none", "ridge", "fourier", "kernel", "moments", "mlp"] = Field(
        default="ridge",
        description="Batch adversary: none; ridge (R² of the bio-batch regressed on the embedding, in closed form); "
        "fourier (the same on random Fourier features beside the embedding: sees what is not linear); kernel (share of "
        "a kernel's variance within classes that lies between bio-batches: conditional HSIC or MMD); moments (the same "
        "of means and covariances: CORAL); mlp (a trained classifier of the bio-batch; DANN, Ganin & Lempitsky 2015).",
    )
    batch_weight: float = Field(default=1.0, ge=0.0, description="a_batch, the weight of L_batch inside λ·[…].")
    ridge_penalty: float = Field(
        default=1.0,
        gt=0.0,
        description="ridge, fourier: the ridge penalty, in units of the mean variance of what is regressed on. Large "
        "ones read less of the mini-batch's noise and leave more of the batch; from about 100 on the R² is the share "
        "of variance between bio-batches, and λ only scales with the penalty.",
    )
    ridge_adjusted: bool = Field(
        default=True,
        description="ridge, fourier: take off the R² that permuted bio-batches would have. False = the plain in-sample "
        "R²; it also penalises the embedding's rank: it removes more of the batch, and collapses at high λ.",
    )
    critic_steps: int = Field(
        default=3,
        ge=0,
        description="mlp: critic updates per mini-batch, the encoder then takes the confusion loss (cross-entropy to "
        "uniform); 0 = gradient reversal, one shared backward pass.",
    )
    critic_width: int = Field(default=64, ge=1, description="mlp: hidden width of the critic.")
    critic_learning_rate: float = Field(
        default=3e-3, gt=0.0, description="mlp: Adam step size of the critic (constant)."
    )

    alignment: Literal["none", "symmetric_kl", "mmd", "coral"] = Field(
        default="symmetric_kl",
        description="Alignment of the clean and the perturbed view: symmetric_kl between margin-free class posteriors; "
        "mmd or coral between embeddings. Without a perturbed view (statistics = none) there is nothing to align.",
    )
    alignment_weight: float = Field(default=0.1, ge=0.0, description="w_align; applies wherever λ > 0, unscaled by λ.")

    strength_schedule: Literal["constant", "ganin"] = Field(
        default="constant",
        description="λ(t): constant, or λ·(2/(1+exp(−10·t/T)) − 1) (Ganin & Lempitsky 2015, section 5.2); the "
        "swept λ is the plateau.",
    )

    groups: int = Field(
        default=9, ge=2, description="G, bio-batches in a mini-batch; a cell with fewer training batches uses them all."
    )
    items: int = Field(default=8, ge=2, description="n, items per bio-batch in a mini-batch.")

    learning_rate_warmup: float = Field(
        default=0.05, ge=0.0, lt=1.0, description="Share of the steps of linear warm-up before the cosine decay to 0."
    )
    clip_norm: float = Field(
        default=5.0, gt=0.0, description="Largest gradient norm of a cell; larger ones are scaled."
    )

    curve_every: int = Field(default=25, ge=1, description="Steps between two records of the training curve.")


class AbraSettings(AdversarialSettings):
    """Settings of one training on feature vectors, the same for every cell of a pack."""

    items: int = Field(
        default=32,
        ge=2,
        description="n, items per bio-batch in a mini-batch. With few, much of the adversary's gradient is noise, "
        "which costs biology whatever the batch labels are.",
    )

    hidden_widths: tuple[int, ...] = Field(
        default=(128,), description="Width of each hidden layer (ReLU) of the encoder; () is a linear encoder."
    )
    embedding_dim: int = Field(default=64, ge=2, description="Dimension e of the embedding.")

    points: tuple[str, ...] = Field(
        default=("input", "hidden1"),
        description="Where statistics are perturbed: 'input' and 'hidden<i>', the output of hidden layer i (from 1).",
    )

    steps: int = Field(default=500, ge=1, description="T, optimiser steps of a whole training.")
    learning_rate: float = Field(default=5e-3, gt=0.0, description="Peak Adam step size of encoder and class vectors.")
    weight_decay: float = Field(default=1e-4, ge=0.0, description="Decoupled weight decay (AdamW).")

    early_stopping: int = Field(
        default=0,
        ge=0,
        description="Patience in evaluations without a lower validation loss; the best weights are kept. 0 = off.",
    )
    evaluate_every: int = Field(default=25, ge=1, description="Steps between evaluations for early stopping.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if any(width < 1 for width in self.hidden_widths):
            raise ValueError(f"hidden_widths must be positive, but got {self.hidden_widths}")
        if not self.points:
            raise ValueError("points must name at least one point; to perturb nothing set statistics = none")
        if len(set(self.points)) != len(self.points):
            raise ValueError(f"points must not repeat, but got {self.points}")
        if self.statistics != "none":
            self.perturbed_layers()
        return self

    def perturbed_layers(self) -> tuple[int, ...]:
        """The points as layer numbers in forward order: 0 is the input, i the output of hidden layer i."""
        known = {"input": 0, **{f"hidden{i}": i for i in range(1, len(self.hidden_widths) + 1)}}
        for point in self.points:
            if point not in known:
                raise ValueError(f"points: no '{point}' in an encoder with {', '.join(known)}")
        return tuple(sorted(known[point] for point in self.points))


__all__ = ["AbraSettings"]
