"""Gains and the sham arm: only what the real labels do beyond permuted ones counts as correction."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from decision_curves import STRENGTHS, sample, technical_curve, tidy

from sweeper.decision import Decision, DecisionSettings, decide_sweep
from sweeper.decision.verdict.attribution import ArmRuns, attribute

SETTINGS = DecisionSettings(deciding_view="held_out_plates", draws=2000)
Curve = Callable[[np.ndarray], np.ndarray]


def hump(x: np.ndarray) -> np.ndarray:
    """Biology gains 10 % and stays: a term that regularises the encoder."""
    return 0.7 + 0.08 * (10.0**x / (10.0**x + 0.05))


def level(x: np.ndarray) -> np.ndarray:
    return 0.7 + 0.0 * np.where(np.isfinite(x), x, 0.0)


def batchy(x: np.ndarray) -> np.ndarray:
    """Batch removal that no strength moves, far from chance."""
    return level(x) - 0.2


def table(biology: Curve, removal: Curve, *, trainer: str = "abra", seed: int = 1, sigma: float = 0.01) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    strengths = STRENGTHS if trainer == "abra" else (0.0, *STRENGTHS[5::2], STRENGTHS[-1])
    made = [sample(curve, rng, strengths=strengths, sigma=sigma) for curve in (biology, removal)]
    return tidy(*made, strengths=strengths).assign(trainer=trainer)


def judged(*tables: pd.DataFrame) -> Decision:
    return decide_sweep(pd.concat(tables, ignore_index=True), settings=SETTINGS, provenance={"trainer": "abra"})


def sham(biology: Curve, removal: Curve) -> pd.DataFrame:
    return table(biology, removal, trainer="sham:abra", seed=7)


def test_a_gain_that_permuted_labels_share_is_an_effect_of_training_and_nothing_is_advised() -> None:
    decision = judged(table(hump, batchy), sham(hump, batchy))
    remarks = decision.rule.remarks
    assert remarks.attribution.verdict == "training"
    assert remarks.attribution.biology.permuted.lower > 0
    assert decision.rule.advice.recommended is None
    assert decision.rule.firmness == "none"
    assert remarks.advised.weight > 0
    assert decision.sentence.startswith("Weight λ = ")
    for words in (
        "helps this encoder, and not by removing batch",
        "the same happens with permuted labels",
        "another critic",
    ):
        assert words in decision.sentence


def test_a_gain_of_the_real_labels_alone_is_advised() -> None:
    decision = judged(table(hump, batchy), sham(level, batchy))
    remarks = decision.rule.remarks
    assert remarks.attribution.verdict == "correction"
    assert remarks.attribution.biology.beyond.lower > 0
    assert decision.rule.state == "NO_TECHNICAL_EFFECT"
    assert decision.rule.advice.recommended == remarks.advised.weight > 0
    assert "Correction improves biology" in decision.sentence


def test_batch_removal_is_attributed_as_biology_is() -> None:
    for permuted, verdict, advises in ((technical_curve, "training", False), (batchy, "correction", True)):
        decision = judged(table(level, technical_curve), sham(level, permuted))
        assert decision.rule.remarks.attribution.verdict == verdict
        assert (decision.rule.advice.recommended is not None) == advises
        assert ("not by removing batch" in decision.sentence) == (not advises)


def test_a_shared_gain_of_biology_does_not_take_batch_removal_away() -> None:
    decision = judged(table(hump, technical_curve), sham(hump, batchy))
    assert decision.rule.remarks.attribution.verdict == "correction"
    assert decision.rule.advice.recommended > 0
    assert "That part is an effect of training" in decision.sentence


def test_without_an_arm_near_the_strength_the_gain_is_not_attributed_and_only_suggested() -> None:
    decision = judged(table(level, technical_curve))
    assert "GAIN_NOT_ATTRIBUTED" in decision.rule.remarks.codes
    assert decision.rule.firmness == "suggest"
    assert "no sham arm was trained near it" in decision.sentence


def arm(
    gain: list[float], *, strengths: tuple[float, ...] = (0.0, 1.0, 10.0), seeds: int = 4, sd: float = 0.0
) -> ArmRuns:
    rng = np.random.default_rng(len(gain))
    values = np.array([0.0, *gain])[:, None] + rng.normal(0, sd, (len(strengths), seeds)) + np.linspace(0, 0.1, seeds)
    return ArmRuns(strengths, tuple(range(seeds)), values, np.zeros_like(values))


def whose(real: ArmRuns, permuted: ArmRuns, weight: float = 1.0, counts: float = 0.0) -> tuple[str, str | None]:
    found = attribute(real, permuted, weight=weight, confidence=0.95, counts_biology=counts, counts_removal=0.05)
    return found.verdict, found.biology.whose if found.biology else None


def test_whose_a_gain_is() -> None:
    assert whose(arm([0.1, 0.2]), arm([0.0, 0.0])) == ("correction", "correction")
    assert whose(arm([0.1, 0.2]), arm([0.1, 0.2])) == ("training", "training")
    assert whose(arm([0.1, 0.2]), arm([0.08, 0.2]), counts=0.05) == ("training", "training"), "too small to count"
    assert whose(arm([0.0, 0.0]), arm([0.1, 0.2])) == ("undecided", "none")
    assert whose(arm([-0.1, -0.2]), arm([0.0, 0.0])) == ("undecided", "none")


def test_the_arms_are_compared_where_both_have_a_strength_near_the_advised() -> None:
    real, permuted = arm([0.1, 0.2]), arm([0.0, 0.0])
    assert attribute(real, permuted, weight=8.0, confidence=0.95, counts_biology=0, counts_removal=0).weight == 10.0
    assert whose(real, permuted, weight=100.0) == ("unknown", None)
    assert whose(real, arm([0.0, 0.0], strengths=(0.5, 1.0, 10.0))) == ("unknown", None), "an arm needs its own λ = 0"
    assert whose(real, arm([0.0, 0.0], seeds=1)) == ("unknown", None)


def test_differences_are_paired_over_seeds() -> None:
    """Seeds differ by 0.1, and that cancels: the interval is that of the differences."""
    found = attribute(
        arm([0.1, 0.2], sd=1e-3),
        arm([0.0, 0.0], sd=1e-3),
        weight=1.0,
        confidence=0.95,
        counts_biology=0,
        counts_removal=0,
    )
    assert found.seeds == 4
    assert found.biology.beyond.mean == pytest.approx(0.1, abs=5e-3)
    assert found.biology.beyond.upper - found.biology.beyond.lower < 0.01


def test_where_there_is_no_batch_to_remove_no_gain_is_correction() -> None:
    """Whatever the sham arm shows: a difference between the arms would pass for correction in one of 20 sweeps."""

    def at_chance(x: np.ndarray) -> np.ndarray:
        return level(x) + 0.28

    for further in ([], [sham(level, at_chance)]):
        decision = judged(table(hump, at_chance), *further)
        remarks = decision.rule.remarks
        assert remarks.attribution.verdict == "training"
        assert remarks.advised.weight > 0
        assert decision.rule.advice.recommended is None
        assert "There is nothing to remove" in decision.sentence
        assert "is an effect of training: take it as a regulariser" in decision.sentence
        assert "Correction improves biology" not in decision.sentence
        assert "Run the sham arm" not in decision.sentence
        assert "we suggest" not in decision.sentence
