"""What changes over a training: learning rate, margin and adversarial weight, each a function of the step."""

from __future__ import annotations

import math
from typing import Protocol


class Timeline(Protocol):
    """The settings that schedules read (documented in trainers.abra.abra_settings)."""

    @property
    def steps(self) -> int:
        """T, optimiser steps of a whole training."""

    @property
    def learning_rate(self) -> float:
        """Peak step size."""

    @property
    def learning_rate_warmup(self) -> float:
        """Share of the steps of linear warm-up, [0, 1)."""

    @property
    def margin_warmup(self) -> float:
        """Share of the steps over which the margin rises, [0, 1]."""

    @property
    def strength_schedule(self) -> str:
        """'constant' or 'ganin'."""


def learning_rate(step: int, settings: Timeline) -> float:
    """Linear warm-up to the peak, then cosine to 0 (SGDR without restarts, arXiv:1608.03983); `step` counts from 0."""
    warmup = round(settings.learning_rate_warmup * settings.steps)
    if step < warmup:
        return settings.learning_rate * (step + 1) / (warmup + 1)
    progress = (step - warmup) / max(1, settings.steps - warmup)
    return settings.learning_rate * 0.5 * (1.0 + math.cos(math.pi * progress))


def margin_factor(step: int, settings: Timeline) -> float:
    """Share of the margin m in force at `step`: linear from 0 to 1 over the warm-up, then 1."""
    warmup = settings.margin_warmup * settings.steps
    return 1.0 if step >= warmup else step / warmup


def strength_factor(step: int, settings: Timeline) -> float:
    """Share of λ in force at `step`: 1, or Ganin's ramp 2/(1 + exp(−10 p)) − 1 with p = step/steps."""
    if settings.strength_schedule == "constant":
        return 1.0
    return 2.0 / (1.0 + math.exp(-10.0 * step / settings.steps)) - 1.0


__all__ = ["Timeline", "learning_rate", "margin_factor", "strength_factor"]
