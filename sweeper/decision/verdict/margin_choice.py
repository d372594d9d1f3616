"""The choice of a view's margin: both dials together, by the strength that is advised among all margins' safe ranges.

Where no margin has a strength to advise, the margin whose state says most is shown, and of equal ones the smallest.
Accuracy out of distribution at each margin's advised strength, tested over the margins with Holm's correction (1979),
is told beside the choice; it does not make it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
from scipy.special import stdtr

from sweeper.decision.input.decision_settings import DecisionSettings
from sweeper.decision.verdict.advised import advise
from sweeper.decision.verdict.states import State
from sweeper.decision.verdict.values import JudgedCurve

# For curves without a recommendation: how much they still say, most first.
INFORMATIVE = (
    State.IDENTIFIED,
    State.IDENTIFIED_WIDE,
    State.CONFLICTING_METRICS,
    State.CONFLICTING_METHODS,
    State.NOT_REACHED,
    State.BRACKET_ONLY,
    State.UNSTABLE,
    State.NOT_OVERCORRECTION,
    State.BELOW_RANGE,
    State.INCONCLUSIVE,
    State.NO_TECHNICAL_EFFECT,
    State.NO_BASELINE_SIGNAL,
    State.CONFOUNDED_BY_DESIGN,
    State.INSUFFICIENT_DATA,
    State.INVALID_INPUT,
)
By = Literal["only", "advice", "rule", "accuracy", "biology", "state", "smallest"]
MIN_PAIRS = 3


@dataclass(frozen=True)
class Compared:
    """One margin's accuracy out of distribution at its advised strength, against the reference margin.

    Attributes:
        effective: λ advised at this margin alone.
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
    """The chosen margin of a view, and what told it from another one.

    Attributes:
        by: "advice" (the strength advised among all margins is one of its), "state" or "smallest"; "only" where there
            is one margin. Older files also have "rule", "accuracy" and "biology".
        metric: of `compared`.
    """

    margin: float | None
    by: By
    metric: str
    compared: tuple[Compared, ...]


def choose(
    decisions: Sequence[JudgedCurve], table: pd.DataFrame, settings: DecisionSettings
) -> tuple[list[JudgedCurve], Choice]:
    """The curves of one view, the chosen margin's with the advice of all margins together, and the choice.

    Args:
        decisions: the curves, each with its own advice.
        table: `prepare`d rows of the trainer.
    """
    compared = _compared(decisions, table, settings)
    ranges = [item.estimate.range for item in decisions if item.estimate and item.estimate.range]
    found = advise(
        ranges, epsilon_technical=settings.epsilon_technical, confidence=settings.confidence, seed=settings.seed
    )
    by: By = "only" if len(decisions) == 1 else "advice"
    if found is None:
        left = list(decisions)
        first = min(INFORMATIVE.index(item.state) for item in left)
        told = [item for item in left if INFORMATIVE.index(item.state) == first]
        by = by if by == "only" else "state" if len(told) < len(left) else "smallest"
        margin = min(told, key=lambda item: item.margin or 0.0).margin
        return left, Choice(margin, by, settings.margin_metric, compared)
    chosen = [
        replace(item, estimate=replace(item.estimate, advised=found, recommended=found.weight))
        if item.margin == found.margin and item.estimate
        else item
        for item in decisions
    ]
    return chosen, Choice(found.margin, by, settings.margin_metric, compared)


def _compared(
    decisions: Sequence[JudgedCurve], table: pd.DataFrame, settings: DecisionSettings
) -> tuple[Compared, ...]:
    """Every margin with an advised strength, ascending, against the smallest that was measured."""
    rows = table[(table["metric"] == settings.margin_metric) & (table["status"] == "ok")]
    found: list[tuple[float, float, pd.Series]] = []
    for item in sorted(decisions, key=lambda item: item.margin or 0.0):
        effective = item.estimate.recommended if item.estimate else None
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
