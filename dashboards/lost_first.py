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
    """One perturbation.

    Attributes:
        gains: by ascending λ; None where no run has it.
        clear: whether a loss is beyond the noise of its runs, one-sided 95 %; never for one run.
        lost_from: the λ from which on it loses more than counts; None where it does not.
    """

    unit: str
    gains: tuple[float | None, ...]
    clear: tuple[bool, ...]
    lost_from: float | None


@dataclass(frozen=True)
class LostFirst:
    """One metric over one view.

    Attributes:
        limit: loss that counts, on the metric's scale.
        strengths: λ > 0, ascending.
        shown: those that are lost at the smallest λ, then by the gain at the largest; none that gains there.
        lost, of: perturbations that are lost somewhere, of all.
    """

    metric: str
    limit: float
    strengths: tuple[float, ...]
    shown: tuple[Loss, ...]
    lost: int
    of: int


def lost_first(gains: Gains, *, view: str, margin: float, metric: str, limit: float) -> LostFirst | None:
    """Perturbations in the order in which `metric` loses them against λ = 0; None without values by perturbation."""
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
    found = [_loss(unit, of, strengths, limit) for unit, of in _by_unit(table)]
    losing = [item for item in found if (item.gains[-1] or 0.0) < 0 or item.lost_from is not None]
    ordered = sorted(losing, key=lambda item: (item.lost_from or np.inf, item.gains[-1] or 0.0, item.unit))
    lost = sum(item.lost_from is not None for item in found)
    return LostFirst(metric, limit, strengths, tuple(ordered[:MOST]), lost, len(found))


def _by_unit(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    level = table["adversarial_weight"].rank(method="dense").astype(int) - 1
    return [(str(unit), of) for unit, of in table.assign(level=level).groupby("unit", sort=True)]


def _loss(unit: str, of: pd.DataFrame, strengths: tuple[float, ...], limit: float) -> Loss:
    gains: list[float | None] = [None] * len(strengths)
    clear = [False] * len(strengths)
    for level, gain, beyond in zip(of["level"], of["gain"], of["clear"], strict=True):
        gains[level], clear[level] = float(gain), bool(beyond)
    start = len(strengths)  # from the largest λ down, as long as it is lost; what no run has interrupts nothing
    while start and ((gain := gains[start - 1]) is None or gain < -limit):
        start -= 1
    lost = next((strengths[at] for at in range(start, len(strengths)) if gains[at] is not None), None)
    return Loss(unit, tuple(gains), tuple(clear), lost)


__all__ = ["Loss", "LostFirst", "lost_first"]
