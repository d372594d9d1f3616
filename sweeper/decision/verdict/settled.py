"""What follows once a curve's advice is known: whose its gains are, what needs no training, what to say first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sweeper.decision.input.curve import Curve
from sweeper.decision.input.decision_settings import DecisionSettings
from sweeper.decision.verdict.attribution import ArmRuns, Attribution, attribute
from sweeper.decision.verdict.baselines import compare_baselines
from sweeper.decision.verdict.remarks import remarks
from sweeper.decision.verdict.values import JudgedCurve

Array = NDArray[np.float64]


def settled(decision: JudgedCurve, sham: Curve | None, settings: DecisionSettings) -> JudgedCurve:
    """`decision` with what must be said first; what permuted labels do as well is not advised as correction, nor is a
    gain where no batch is left to remove.

    Args:
        decision: with the advice of its view.
        sham: its sham arm, on the same scale.
    """
    estimate = decision.estimate
    if estimate is None:
        return decision
    arm, advised = _arm(decision), estimate.advised
    found: Attribution | None = None
    if advised is not None and advised.weight > 0:
        found = Attribution("unknown")
        if sham is not None:
            found = attribute(
                arm,
                ArmRuns(sham.strengths, sham.seeds, sham.biological, sham.technical),
                weight=advised.weight,
                confidence=settings.confidence,
                counts_biology=0.0,
                counts_removal=settings.epsilon_technical,
            )
        if estimate.at_chance:  # where there is no batch to remove, no gain is one of removing it
            found = replace(found, verdict="training")
        if found.verdict == "training":
            estimate = replace(estimate, recommended=None)
    pointed = estimate.recommended if estimate.recommended is not None else estimate.lambda_peak
    baselines = compare_baselines(
        decision.control_runs,
        _by_weight(arm),
        weight=pointed,
        delta=settings.delta,
        confidence=settings.confidence,
    )
    said = remarks(
        estimate,
        {level.weight: level.technical for level in decision.levels if level.technical is not None},
        attribution=found,
        baselines=baselines,
        epsilon_technical=settings.epsilon_technical,
    )
    return replace(decision, estimate=estimate, remarks=said)


def _arm(decision: JudgedCurve) -> ArmRuns:
    """The real arm's used runs."""
    strengths = tuple(level.weight for level in decision.levels if level.kept)
    shape = (len(strengths), len(decision.seeds))
    biology, removal = np.full(shape, np.nan), np.full(shape, np.nan)
    for run in decision.runs:
        if run.used and run.biological is not None and run.technical is not None:
            at = strengths.index(run.weight), decision.seeds.index(run.seed)
            biology[at], removal[at] = run.biological, run.technical
    return ArmRuns(strengths, decision.seeds, biology, removal)


def _by_weight(arm: ArmRuns) -> Mapping[float, Mapping[str, Array]]:
    return {
        strength: {"biological": arm.biology[at], "technical": arm.removal[at]}
        for at, strength in enumerate(arm.strengths)
    }
