"""Confirmation on fresh seeds: do the bounds of a curve hold on runs that had no part in finding them?

Strengths or seeds that were chosen by looking at results bias what is then read from them. A few fixed strengths with
seeds of their own do not share that bias (docs/explanation/inference.md). At a strength λ with biology B and any
smaller confirmed strength u, a loss of δ or more is (1 − δ)·B_s(u) − B_s(λ) ≥ 0 in the mean over seeds s; with a flat
prior its posterior is a t. The probability of a loss is the largest over u: drawdown is from the best level before.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import log10
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from scipy.special import stdtr

from sweeper.arms.arm import Arm, in_arms
from sweeper.decision.input.curve import Curve, build_curve
from sweeper.decision.input.decision_settings import DecisionSettings
from sweeper.decision.input.results_table import InvalidTableError, Selection, canonical
from sweeper.decision.verdict.json_codec import under

if TYPE_CHECKING:
    from collections.abc import Collection

    from sweeper.decision.verdict.values import JudgedCurve

LIKELY = 0.8
"""Probability from which on the fresh seeds count as saying so."""


@dataclass(frozen=True)
class ConfirmedPoint:
    """One bound on fresh seeds.

    Attributes:
        role: "safe" (no loss of δ expected) or "loss" (one expected).
        weight: λ, the confirmed one nearest the bound.
        probability: of a loss of δ or more there.
        seeds: fresh seeds it rests on.
    """

    role: Literal["safe", "loss"]
    weight: float = field(metadata=under("strength"))
    probability: float
    seeds: int


@dataclass(frozen=True)
class Confirmation:
    """Fresh seeds and the bounds; `agrees`: every bound that could be looked at holds, None where none could be."""

    agrees: bool | None
    points: tuple[ConfirmedPoint, ...]


def confirmed(
    decision: JudgedCurve, table: pd.DataFrame, *, seeds: Collection[int], settings: DecisionSettings
) -> JudgedCurve:
    """`decision` with what the fresh seeds say of it.

    Args:
        decision: made without the fresh seeds.
        table: `prepare`d tidy table of the whole sweep.
        seeds: the fresh seeds; none: nothing is confirmed.
    """
    if not seeds or decision.margin is None or decision.trainer is None:
        return decision
    here = table[table["view"] == decision.view]
    fresh = here[(here["trainer"] == decision.trainer) & here["seed"].isin(list(seeds))]
    fresh = fresh[fresh["margin"].map(canonical) == canonical(decision.margin)]
    if fresh.empty:
        return decision
    try:
        controls = here[in_arms(here["trainer"], Arm.CONTROL)]
        curve = build_curve(Selection(decision.trainer, fresh, controls), settings)
    except InvalidTableError:
        return replace(decision, confirmation=Confirmation(None, ()))
    estimate = decision.estimate
    claimed = (("safe", estimate.safe_up_to), ("loss", estimate.unsafe_from)) if estimate else ()
    points = [
        point
        for role, bound in claimed
        if bound is not None and (point := _point(curve, role, bound, settings.delta)) is not None  # type: ignore[arg-type]
    ]
    agrees = [
        point.probability <= 1 - LIKELY if point.role == "safe" else point.probability >= LIKELY for point in points
    ]
    return replace(decision, confirmation=Confirmation(all(agrees) if agrees else None, tuple(points)))


def _point(curve: Curve, role: Literal["safe", "loss"], bound: float, delta: float) -> ConfirmedPoint | None:
    """Probability of a loss at the confirmed strength nearest the bound; None where it cannot be compared."""
    positive = [strength for strength in curve.strengths if strength > 0]
    if not positive:
        return None
    strength = min(positive, key=lambda s: (abs(log10(s / bound)), s))
    at = curve.strengths.index(strength)
    found = [_chance((1 - delta) * curve.biological[u] - curve.biological[at]) for u in range(at)]
    usable = [chance for chance in found if chance is not None]
    if not usable:
        return None
    return ConfirmedPoint(role, strength, max(usable), int(np.isfinite(curve.biological[at]).sum()))


def _chance(contrast: np.ndarray) -> float | None:
    """P(mean contrast ≥ 0); None with fewer than two seeds."""
    values = contrast[np.isfinite(contrast)]
    if len(values) < 2:
        return None
    error = float(values.std(ddof=1)) / np.sqrt(len(values))
    return float(stdtr(len(values) - 1, values.mean() / error)) if error > 0 else float(values.mean() >= 0)
