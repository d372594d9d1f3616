"""The sham arm as evidence: the same loss with permuted batch labels is damage, its absence over-correction."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from decision_curves import SHAPES, STRENGTHS, exact_curve, lose, sample, technical_curve, tidy

from sweeper.decision import DecisionSettings, decide_sweep
from sweeper.decision.verdict.mechanism import _pooled, _probability

SETTINGS = DecisionSettings(deciding_view="held_out_plates", draws=2000)
ARM = (0.0, STRENGTHS[9], STRENGTHS[10], STRENGTHS[12])


def real(shape: str = "plateau_drop") -> pd.DataFrame:
    return tidy(*exact_curve(shape))


def sham(loss: float, *, at: float = 0.0, sigma: float = 0.01, seeds: int = 5, seed: int = 11) -> pd.DataFrame:
    """An arm that loses `loss` of its λ = 0 from strength `at` on."""
    rng = np.random.default_rng(seed)

    def curve(x: np.ndarray) -> np.ndarray:
        return 0.8 * (1 - loss * ((10.0**x >= at) & np.isfinite(x)))

    made = sample(curve, rng, strengths=ARM, seeds=seeds, sigma=sigma)
    technical = sample(technical_curve, rng, strengths=ARM, seeds=seeds, sigma=0.01)
    return tidy(made, technical, strengths=ARM).assign(trainer="sham:abra")


def judged(*tables: pd.DataFrame, **provenance: object) -> dict:
    return decide_sweep(
        pd.concat(tables, ignore_index=True), settings=SETTINGS, provenance={"trainer": "abra", **provenance}
    ).to_json()


def curve_of(document: dict) -> dict:
    return document["views"]["held_out_plates"]["margins"][0]


def test_without_an_arm_the_mechanism_is_unknown_and_costs_certainty() -> None:
    document = judged(real())
    assert curve_of(document)["mechanism"]["verdict"] == "unknown"
    assert "risk_of_bias:no_sham_arm" in document["rule"]["downgrades"]


def test_a_loss_that_the_sham_arm_does_not_share_is_overcorrection() -> None:
    without, document = judged(real()), judged(real(), sham(0.0))
    found = curve_of(document)["mechanism"]
    assert found["verdict"] == "overcorrection"
    assert found["probability"] < 0.05
    assert document["rule"]["mechanism"]["label"] == "B_subspace"
    assert document["rule"]["mechanism"]["sham_drawdown"] == pytest.approx(0.0, abs=0.02)
    assert "risk_of_bias:no_sham_arm" not in document["rule"]["downgrades"]
    assert document["rule"]["state"] == without["rule"]["state"]
    assert document["rule"]["estimate"] == without["rule"]["estimate"], "the arm is part of no curve"


def test_a_loss_that_the_sham_arm_shares_is_damage_and_its_state_says_so() -> None:
    assert judged(real())["rule"]["state"] == "IDENTIFIED"
    document = judged(real(), sham(0.2))
    found = curve_of(document)["mechanism"]
    assert found["verdict"] == "training_damage"
    assert found["probability"] > 0.95
    at = next(point for point in found["points"] if point["strength"] == found["loss_at"])
    assert at["drawdown"] == pytest.approx(0.2, abs=0.02)
    assert at["lower"] < 0.2 < at["upper"]
    assert document["rule"]["state"] == "NOT_OVERCORRECTION"
    assert document["rule"]["mechanism"]["label"] == "C_optimiser"
    assert "permuted batch labels" in document["sentence"]
    assert "Batch removal is lost" not in document["sentence"]


def test_damage_beyond_the_loss_is_told_and_does_not_explain_it() -> None:
    found = curve_of(judged(real(), sham(0.3, at=ARM[-1])))["mechanism"]
    assert found["loss_at"] < ARM[-1]
    assert found["points"][-1]["probability"] > 0.95
    assert found["verdict"] == "overcorrection"


def test_an_unbalanced_design_cannot_be_told_from_damage() -> None:
    document = judged(real(), sham(0.2), design_djs=0.4)
    assert curve_of(document)["mechanism"]["verdict"] == "confounded"
    assert document["rule"]["state"] == "IDENTIFIED"
    assert document["rule"]["mechanism"]["label"] == "A_or_C"
    assert "confounding:design" in document["rule"]["downgrades"]


def test_an_arm_that_collapses_at_the_loss_is_damage_whatever_the_survivors_say() -> None:
    document = judged(real(), lose(sham(0.0), [ARM[1], ARM[2]], [0, 1, 2]))
    point = curve_of(document)["mechanism"]["points"][0]
    assert (point["lost"], point["recorded"], point["probability"], point["drawdown"]) == (3, 5, 1.0, None)
    assert document["rule"]["state"] == "NOT_OVERCORRECTION"


def test_an_arm_at_another_margin_or_view_says_nothing() -> None:
    for change in ({"margin": 0.1}, {"view": "held_out_batches"}):
        assert curve_of(judged(real(), sham(0.2).assign(**change)))["mechanism"]["verdict"] == "unknown"


def test_without_a_loss_there_is_nothing_to_explain() -> None:
    document = judged(real("flat"), sham(0.2))
    found = curve_of(document)["mechanism"]
    assert found["verdict"] == "no_loss"
    assert [point["probability"] > 0.9 for point in found["points"]] == [True, True, True]
    assert document["rule"]["state"] == judged(real("flat"))["rule"]["state"]


def test_an_arm_without_its_own_zero_is_no_arm() -> None:
    arm = sham(0.2)
    document = judged(real(), arm[arm["adversarial_weight"] > 0])
    assert curve_of(document)["mechanism"]["verdict"] == "unknown"
    assert "risk_of_bias:no_sham_arm" in document["rule"]["downgrades"]


@pytest.mark.slow
def test_a_relevant_damage_is_rarely_taken_for_overcorrection() -> None:
    """Mechanism C called over-correction in at most 5 %, damage as large as δ."""
    table = real()
    verdicts = [
        curve_of(judged(table, sham(0.10, sigma=0.03, seeds=3, seed=n)))["mechanism"]["verdict"] for n in range(12)
    ]
    assert verdicts.count("training_damage") == 12


def test_probability_is_the_t_posterior_of_the_paired_contrast() -> None:
    contrasts = [np.array([0.1, 0.2, 0.3]), np.array([0.0, 0.2])]
    deviation, degrees = _pooled(contrasts)
    assert degrees == 3
    assert deviation == pytest.approx(np.sqrt((0.02 + 0.02) / 3))
    assert _probability(0.0, 1.0, 3) == pytest.approx(0.5)
    # P(T ≤ 1) of Student's t with 3 degrees of freedom
    assert _probability(0.3, 0.3, 3) == pytest.approx(0.5 + (np.arctan(1 / np.sqrt(3)) + np.sqrt(3) / 4) / np.pi)
    assert _probability(-0.1, 0.0, 3) == 0.0


def test_shapes_of_the_study_have_the_loss_the_tests_assume() -> None:
    x = np.log10(np.array([ARM[1], ARM[2]]))
    assert SHAPES["plateau_drop"](x)[1] < 0.9
