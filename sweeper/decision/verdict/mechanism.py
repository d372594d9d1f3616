"""Over-correction, or damage to the training? The sham arm against its own λ = 0 (docs/explanation/mechanism.md).

The sham arm trains with batch labels permuted within perturbation, so its adversary can only do harm. With B(λ) the
biological composite of its runs (anchored, floor 0),

    D_sham(λ) = [B(0) − B(λ)] / B(0),

paired over the same seeds. D_sham ≥ δ/2 where the contrast (1 − δ/2)·B_s(0) − B_s(λ) has a mean of 0 or more; with a
flat prior its posterior is a t about the observed mean, its standard deviation over seeds pooled over the arm's
strengths. Where more runs are lost than the screen tolerates, the training is damaged whatever the others say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import log10
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from sweeper.arms.arm import Arm, in_arms, stored_name
from sweeper.decision.input.curve import Curve, build_curve
from sweeper.decision.input.decision_settings import DecisionSettings
from sweeper.decision.input.results_table import InvalidTableError, Selection, canonical
from sweeper.decision.verdict.json_codec import under
from sweeper.decision.verdict.states import State
from sweeper.planning.design_index import CONFOUNDED

if TYPE_CHECKING:
    from sweeper.decision.verdict.values import JudgedCurve

Verdict = Literal["overcorrection", "training_damage", "confounded", "no_loss", "unknown"]
CLAIMING = (
    State.IDENTIFIED,
    State.IDENTIFIED_WIDE,
    State.CONFLICTING_METRICS,
    State.BRACKET_ONLY,
    State.BELOW_RANGE,
)
"""States that call a loss over-correction."""
VERDICTS: Mapping[Verdict, str] = {
    "overcorrection": "B: the loss is there with the real batch labels and not with permuted ones",
    "training_damage": "C: the same loss comes with permuted batch labels, so it is damage to the training",
    "confounded": "A or C: the loss comes with permuted labels, which keep the design's imbalance, so training damage "
    "and confounding by design cannot be told apart",
    "no_loss": "no relevant loss was located, so there is nothing to explain",
    "unknown": "no sham arm at the strength of the loss",
}


@dataclass(frozen=True)
class ShamPoint:
    """One strength of the sham arm.

    Attributes:
        weight: λ.
        drawdown: D_sham, share of the arm's own λ = 0; below 0 where biology gains. None where too many runs are lost.
        lower, upper: its two-sided interval, each end a one-sided bound; None likewise.
        probability: P(D_sham ≥ δ/2).
        seeds: seeds with both this strength and λ = 0.
        recorded, lost: runs, and those of them that failed, ran out of memory or collapsed.
    """

    weight: float = field(metadata=under("strength"))
    drawdown: float | None
    lower: float | None
    upper: float | None
    probability: float
    seeds: int
    recorded: int
    lost: int


@dataclass(frozen=True)
class Mechanism:
    """What explains the loss of one trade-off curve.

    Attributes:
        verdict: a key of `VERDICTS`. The arm's strengths up to the one nearest the loss decide; larger ones are only
            told.
        threshold: δ/2.
        loss_at: the arm's strength nearest the loss; None without a loss or an arm.
        probability: the largest P(D_sham ≥ δ/2) among the deciding strengths; None without.
        points: ascending in λ.
    """

    verdict: Verdict
    threshold: float
    loss_at: float | None = None
    probability: float | None = None
    points: tuple[ShamPoint, ...] = ()


def sham_curve(decision: JudgedCurve, table: pd.DataFrame, settings: DecisionSettings) -> Curve | None:
    """The sham arm of a decision's curve, on the same scale; None where there is none that can be read.

    Args:
        decision: the real arm.
        table: `prepare`d tidy table of the whole sweep, sham rows and controls included; only the rows of the curve's
            view, margin and trainer count.
    """
    if decision.margin is None or decision.trainer is None:
        return None
    here = table[table["view"] == decision.view]
    sham = here[here["trainer"] == stored_name(Arm.SHAM, decision.trainer)]
    sham = sham[sham["margin"].map(canonical) == canonical(decision.margin)]
    if sham.empty:
        return None
    controls = here[in_arms(here["trainer"], Arm.CONTROL)]
    try:
        return build_curve(Selection(decision.trainer, sham, controls), settings)
    except InvalidTableError:
        return None


def mechanism(
    decision: JudgedCurve, curve: Curve | None, *, settings: DecisionSettings, design_djs: float | None = None
) -> Mechanism:
    """What explains the loss of `decision`'s curve.

    Args:
        decision: the real arm.
        curve: its `sham_curve`.
        design_djs: the design index of the training wells, if known: above `CONFOUNDED` a sham loss may come from the
            design, whose imbalance permuted labels keep.
    """
    threshold = settings.delta / 2
    loss = _loss(decision, settings)
    if decision.margin is None or decision.trainer is None:
        return Mechanism("unknown", threshold)
    points = () if curve is None else _points(curve, settings, threshold)
    if loss is None or not points:
        return Mechanism("unknown" if loss is not None else "no_loss", threshold, points=points)
    at = min((point.weight for point in points), key=lambda s: (abs(log10(s / loss)), s))
    probability = max(point.probability for point in points if point.weight <= at)
    verdict: Verdict = "overcorrection"
    if probability > 0.5:
        verdict = "confounded" if (design_djs or 0.0) > CONFOUNDED else "training_damage"
    return Mechanism(verdict, threshold, at, probability, points)


def explained(
    decision: JudgedCurve, curve: Curve | None, *, settings: DecisionSettings, design_djs: float | None = None
) -> JudgedCurve:
    """`decision` with its mechanism; a loss that the sham arm shows as well is no over-correction, and so its state."""
    found = mechanism(decision, curve, settings=settings, design_djs=design_djs)
    damaged = found.verdict == "training_damage" and decision.state in CLAIMING
    if not damaged:
        return replace(decision, mechanism=found)
    at = next(point for point in found.points if point.weight == found.loss_at)
    reason = (
        f"With batch labels permuted within perturbation the same training loses biology too (P = "
        f"{found.probability:.2f} for a loss of {found.threshold:.1%} or more at or below λ = {at.weight:g})."
    )
    return replace(decision, mechanism=found, state=State.NOT_OVERCORRECTION, reasons=(reason, *decision.reasons))


def _loss(decision: JudgedCurve, settings: DecisionSettings) -> float | None:
    """Where the loss lies that wants an explanation: λ_OC, or the smallest strength at which one is established."""
    estimate = decision.estimate
    if estimate is None:
        return None
    location = estimate.location
    if location is not None and estimate.fallback is None and location.p_detect >= settings.p_identify:
        return location.median
    return estimate.unsafe_from


def _points(curve: Curve, settings: DecisionSettings, threshold: float) -> tuple[ShamPoint, ...]:
    """Every λ > 0 of the arm, ascending; none without λ = 0 above the floor."""
    if not curve.strengths or curve.strengths[0] != 0.0:
        return ()
    base = curve.biological[0]
    if not np.isfinite(base).any() or np.nanmean(base) <= 0:
        return ()
    paired = [np.isfinite(base) & np.isfinite(row) for row in curve.biological]
    contrasts = [(1 - threshold) * base[both] - row[both] for both, row in zip(paired, curve.biological, strict=True)][
        1:
    ]
    deviation, degrees = _pooled(contrasts)
    points = []
    for strength, both, row, contrast, status in zip(
        curve.strengths[1:], paired[1:], curve.biological[1:], contrasts, curve.status[1:], strict=True
    ):
        recorded, lost = int((status != "absent").sum()), int(np.isin(status, ("collapsed", "failed", "oom")).sum())
        seeds = int(both.sum())
        if lost > settings.max_collapse_rate * recorded:
            points.append(ShamPoint(strength, None, None, None, 1.0, seeds, recorded, lost))
        elif seeds:
            unit, error = float(base[both].mean()), deviation / np.sqrt(seeds)
            drawdown = 1 - float(row[both].mean()) / unit
            half = stdtrit(degrees, settings.confidence) * error / unit if degrees else float("nan")
            lower, upper = (drawdown - half, drawdown + half) if np.isfinite(half) else (None, None)
            chance = _probability(float(contrast.mean()), error, degrees)
            points.append(ShamPoint(strength, drawdown, lower, upper, chance, seeds, recorded, lost))
    return tuple(points)


def _pooled(contrasts: list[NDArray[np.float64]]) -> tuple[float, int]:
    """Standard deviation of one seed's contrast about its strength's mean, and its degrees of freedom."""
    degrees = sum(max(0, len(values) - 1) for values in contrasts)
    squares = sum(float(((values - values.mean()) ** 2).sum()) for values in contrasts if len(values))
    return (float(np.sqrt(squares / degrees)) if degrees else 0.0), degrees


def _probability(mean: float, error: float, degrees: int) -> float:
    """P(true contrast ≥ 0)."""
    if error <= 0 or degrees < 1:
        return float(mean >= 0)
    return float(stdtr(degrees, mean / error))
