"""The choice of a view's margin, which comes before the choice of λ (docs/explanation/decision.md).

In this order: the firmness of the rule, since a margin without a rule is of no use; accuracy out of distribution at
each margin's λ_E, a secondary endpoint tested over the margins with Holm's correction (1979); biology at λ_E; for
curves without a recommendation how much their state says; the smallest margin.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from scipy.special import stdtr

from sweeper.decision.input.decision_settings import DecisionSettings
from sweeper.decision.verdict.rule import Firmness
from sweeper.decision.verdict.states import State
from sweeper.decision.verdict.values import JudgedCurve

# For curves without a recommendation: how much they still say, most first.
INFORMATIVE = (
    State.IDENTIFIED,
    State.IDENTIFIED_WIDE,
    State.CONFLICTING_METRICS,
    State.NOT_REACHED,
    State.BRACKET_ONLY,
    State.UNSTABLE,
    State.NOT_OVERCORRECTION,
    State.BELOW_RANGE,
    State.INCONCLUSIVE,
    State.NO_TECHNICAL_EFFECT,
    State.NO_BASELINE_SIGNAL,
    State.INSUFFICIENT_DATA,
    State.INVALID_INPUT,
)
By = Literal["only", "rule", "accuracy", "biology", "state", "smallest"]
FIRMEST_FIRST: tuple[Firmness, ...] = ("recommend", "suggest", "none")
MIN_PAIRS = 3


@dataclass(frozen=True)
class Compared:
    """One margin's accuracy out of distribution at its λ_E, against the reference margin.

    Attributes:
        effective: λ_E.
        value: mean over seeds (folds averaged first); None where it was not measured.
        difference: mean of the paired differences to the reference, and `seeds` their number.
        p, p_holm: two-sided, paired t; None for the reference and where fewer than 3 pairs exist.
    """

    margin: float
    effective: float
    value: float | None
    difference: float | None
    seeds: int
    p: float | None
    p_holm: float | None


@dataclass(frozen=True)
class Choice:
    """The chosen margin of a view, and the last criterion that told it from another one.

    Attributes:
        by: "rule" (its firmness), "accuracy", "biology", "state" or "smallest"; "only" where there is one margin.
        metric: of `compared`, the margins with the firmest rule.
    """

    margin: float | None
    by: By
    metric: str
    compared: tuple[Compared, ...]


def choose(
    curves: Sequence[JudgedCurve], firmness: Sequence[Firmness], table: pd.DataFrame, settings: DecisionSettings
) -> tuple[JudgedCurve, Choice]:
    """The curve of the chosen margin, and why.

    Args:
        curves: those of one view.
        firmness: of each curve's rule.
        table: `prepare`d rows of the trainer.
    """
    firmest = min(firmness, key=FIRMEST_FIRST.index)
    left = [item for item, one in zip(curves, firmness, strict=True) if one == firmest]
    compared: tuple[Compared, ...] = ()
    by: By = "only" if len(curves) == 1 else "rule"
    steps: list[tuple[By, Callable[[JudgedCurve], float]]] = [("state", lambda item: INFORMATIVE.index(item.state))]
    if firmest != "none":
        compared = _compared(left, table, settings)
        preferred = _preferred(compared, 1 - settings.confidence)
        steps = [("accuracy", lambda item: item.margin not in preferred), ("biology", lambda item: -_biology(item))]
    for name, key in (*steps, ("smallest", lambda item: item.margin or 0.0)):
        first = min(map(key, left))
        if any(key(item) > first for item in left):
            left, by = [item for item in left if key(item) == first], name
    return left[0], Choice(left[0].margin, by, settings.margin_metric, compared)


def _biology(decision: JudgedCurve) -> float:
    return (decision.estimate.biology_at_effective if decision.estimate else None) or 0.0


def _compared(
    decisions: Sequence[JudgedCurve], table: pd.DataFrame, settings: DecisionSettings
) -> tuple[Compared, ...]:
    """Every margin with a λ_E, ascending, against the smallest that was measured."""
    rows = table[(table["metric"] == settings.margin_metric) & (table["status"] == "ok")]
    found: list[tuple[float, float, pd.Series]] = []
    for item in sorted(decisions, key=lambda item: item.margin or 0.0):
        effective = item.estimate.technical.lambda_effective if item.estimate else None
        if effective is None or item.margin is None:
            continue
        here = rows[(rows["view"] == item.view) & (rows["margin"] == item.margin)]
        here = here[(here["adversarial_weight"] == effective) & (here["trainer"] == item.trainer)]
        found.append((item.margin, effective, here.groupby("seed")["value"].mean().dropna()))
    reference = next((values for _, _, values in found if len(values)), None)
    if reference is None:
        return ()
    tests = [(0.0, 0, None) if values is reference else _paired(values - reference) for _, _, values in found]
    adjusted = iter(holm([p for _, _, p in tests if p is not None]))
    return tuple(
        Compared(
            margin=margin,
            effective=effective,
            value=float(values.mean()) if len(values) else None,
            difference=None if values is reference else difference,
            seeds=seeds,
            p=p,
            p_holm=None if p is None else next(adjusted),
        )
        for (margin, effective, values), (difference, seeds, p) in zip(found, tests, strict=True)
    )


def _paired(differences: pd.Series) -> tuple[float | None, int, float | None]:
    """Mean, number and two-sided p of paired differences."""
    values = differences.dropna().to_numpy(dtype=float)
    if len(values) < MIN_PAIRS:
        return (float(values.mean()) if len(values) else None), len(values), None
    mean, error = float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))
    if error == 0:
        return mean, len(values), float(mean == 0)
    return mean, len(values), float(2 * stdtr(len(values) - 1, -abs(mean) / error))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment (1979), in the order given; controls the family-wise error."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = highest
    return adjusted


def _preferred(compared: Sequence[Compared], level: float) -> frozenset[float]:
    """The most accurate of the margins shown to be better than the reference; without one, those not shown worse."""
    shown = [item for item in compared if item.p_holm is not None and item.p_holm <= level]
    better = [item for item in shown if item.difference is not None and item.difference > 0]
    if better:
        return frozenset({max(better, key=lambda item: (item.value or 0.0, -item.margin)).margin})
    worse = {item.margin for item in shown}
    return frozenset(item.margin for item in compared if item.margin not in worse)
