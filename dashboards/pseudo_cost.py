"""The pseudo-batch arm: what a correction for a batch that does not exist costs, strength by strength."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from sweeper.arms.arm import Arm

_CONFIDENCE = 0.975


@dataclass(frozen=True)
class PseudoRow:
    """One strength λ of the arm.

    Attributes:
        biology: B, the mean of the anchored primary biological metrics, over seeds.
        technical: likewise.
        loss: 1 - B(λ) / B(0), the mean over seeds paired, of the arm's own λ = 0; above 0 is over-correction.
        interval: its 95 % t interval over seeds; None with fewer than 2.
        seeds: with both this strength and λ = 0.
        lost: cells that failed or collapsed.
    """

    adversarial_weight: float
    biology: float | None
    technical: float | None
    loss: float | None
    interval: tuple[float, float] | None
    seeds: int
    lost: int


def pseudo_rows(frame: pd.DataFrame, *, view: str) -> tuple[PseudoRow, ...]:
    """Every strength of the arm in a view, ascending; from the checked table."""
    rows = frame[(frame["view"] == view) & (frame["arm"] == Arm.PSEUDO)]
    if rows.empty:
        return ()
    usable = rows[(rows["status"] == "ok") & rows["primary"] & rows["value"].notna()]
    anchored = (usable["value"] - usable["floor"]) / (usable["ceiling"] - usable["floor"])
    keys = ["adversarial_weight", "role", "seed"]
    by_metric = usable.assign(anchored=anchored).groupby([*keys, "metric"], sort=True)["anchored"].mean()
    seeds = by_metric.groupby(keys, sort=True).mean()
    lost = rows[rows["status"] != "ok"].groupby("adversarial_weight")["cell_id"].nunique()

    def of(weight: float, role: str) -> pd.Series:
        here = seeds[seeds.index.get_level_values("adversarial_weight") == weight]
        return here[here.index.get_level_values("role") == role].droplevel(["adversarial_weight", "role"])

    base = of(0.0, "biological")
    found = []
    for weight in sorted(rows["adversarial_weight"].unique().tolist()):
        biology, technical = of(weight, "biological"), of(weight, "technical")
        both = biology.index.intersection(base[base > 0].index)
        losses = (1.0 - biology[both] / base[both]).to_numpy()
        found.append(
            PseudoRow(
                adversarial_weight=weight,
                biology=float(biology.mean()) if len(biology) else None,
                technical=float(technical.mean()) if len(technical) else None,
                loss=float(losses.mean()) if len(losses) and weight > 0 else None,
                interval=_interval(losses) if len(losses) > 1 and weight > 0 else None,
                seeds=len(both),
                lost=int(lost.get(weight, 0)),
            )
        )
    return tuple(found)


def _interval(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> tuple[float, float]:
    half = float(stdtrit(len(values) - 1, _CONFIDENCE) * values.std(ddof=1) / np.sqrt(len(values)))
    return float(values.mean()) - half, float(values.mean()) + half


__all__ = ["PseudoRow", "pseudo_rows"]
