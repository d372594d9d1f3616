"""Which perturbations are lost first as the strength grows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from sweeper.findings.unit_gains import UNCORRECTED, Gains
from sweeper.metrics.unit_axes import PERTURBATION

CONFIDENCE = 0.95
MOST = 12
"""Perturbations shown."""


@dataclass(frozen=True)
class Loss:
    """One perturbation: gains by ascending λ, and the λ from which on every gain is a loss, the first beyond noise.

    Attributes:
        gains: None where no run has it.
        clear: whether the loss is beyond the noise of its runs, one-sided 95 %.
        lost_from: None where it is not lost.
    """

    unit: str
    gains: tuple[float | None, ...]
    clear: tuple[bool, ...]
    lost_from: float | None


@dataclass(frozen=True)
class LostFirst:
    """One metric over one view.

    Attributes:
        strengths: λ > 0, ascending.
        shown: those that are lost at the smallest λ, then by the gain at the largest.
        lost, of: perturbations that are lost somewhere, of all.
    """

    metric: str
    strengths: tuple[float, ...]
    shown: tuple[Loss, ...]
    lost: int
    of: int


def lost_first(gains: Gains | None, *, view: str, margin: float | None, metric: str | None) -> LostFirst | None:
    """Perturbations in the order in which `metric` loses them against λ = 0; None without values by perturbation."""
    if gains is None or margin is None or metric is None:
        return None
    rows = gains.by_unit
    rows = rows[
        (rows["view"] == view)
        & np.isclose(rows["margin"], margin, rtol=1e-9)
        & (rows["metric"] == metric)
        & (rows["axis"] == PERTURBATION)
        & (rows["baseline"] == UNCORRECTED)
    ]
    if rows.empty:
        return None
    bound = rows["gain"] + stdtrit(np.maximum(rows["runs"] - 1, 1), CONFIDENCE) * rows["error"]
    table = rows.assign(clear=(bound < 0).fillna(False))
    strengths = tuple(float(f"{weight:.12g}") for weight in sorted(table["adversarial_weight"].unique()))
    losses = [_loss(str(unit), of, len(strengths)) for unit, of in _by_unit(table)]
    found = [Loss(unit, values, clear, _lost_from(strengths, values, clear)) for unit, values, clear in losses]
    lost = [item for item in found if item.lost_from is not None]
    ordered = sorted(
        lost, key=lambda item: (item.lost_from, item.gains[-1] if item.gains[-1] is not None else 0.0, item.unit)
    )
    return LostFirst(metric, strengths, tuple(ordered[:MOST]), len(lost), len(found))


def _by_unit(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    level = table["adversarial_weight"].rank(method="dense").astype(int) - 1
    return [(str(unit), of) for unit, of in table.assign(level=level).groupby("unit", sort=True)]


def _loss(unit: str, of: pd.DataFrame, count: int) -> tuple[str, tuple[float | None, ...], tuple[bool, ...]]:
    gains: list[float | None] = [None] * count
    clear = [False] * count
    for level, gain, beyond in zip(of["level"], of["gain"], of["clear"], strict=True):
        gains[level], clear[level] = float(gain), bool(beyond)
    return unit, tuple(gains), tuple(clear)


def _lost_from(strengths: tuple[float, ...], gains: tuple[float | None, ...], clear: tuple[bool, ...]) -> float | None:
    """The smallest λ with a clear loss after which nothing is gained again."""
    start = len(strengths)
    while start and (gains[start - 1] is None or (gains[start - 1] or 0.0) < 0):
        start -= 1
    return next((strengths[at] for at in range(start, len(strengths)) if clear[at]), None)


__all__ = ["Loss", "LostFirst", "lost_first"]
