"""The bounds on fresh seeds: what they confirm, what they refute, and that they take no part in the curve."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from decision_curves import SHAPES, STRENGTHS, exact_curve, sample, technical_curve, tidy

from sweeper.decision import DecisionSettings, decide_sweep
from sweeper.decision.verdict.confirmation import _chance

SETTINGS = DecisionSettings(deciding_view="held_out_plates", draws=2000)
FRESH = (100, 101, 102)
Curve = Callable[[np.ndarray], np.ndarray]


def judged(*tables: pd.DataFrame, **provenance: object) -> dict:
    whole = pd.concat(tables, ignore_index=True)
    return decide_sweep(
        whole, settings=SETTINGS, provenance={"trainer": "abra", "confirm_seeds": FRESH, **provenance}
    ).to_json()


def fresh(curve: Curve, strengths: tuple[float, ...], *, sigma: float = 0.01) -> pd.DataFrame:
    rng = np.random.default_rng(8)
    made = [sample(one, rng, strengths=strengths, seeds=3, sigma=sigma) for one in (curve, technical_curve)]
    table = tidy(*made, strengths=strengths)
    return table.assign(seed=table["seed"] + FRESH[0])


@pytest.fixture(scope="module")
def real() -> pd.DataFrame:
    return tidy(*exact_curve("plateau_drop"))


@pytest.fixture(scope="module")
def strengths(real: pd.DataFrame) -> tuple[float, ...]:
    estimate = judged(real)["rule"]["estimate"]
    return (0.0, estimate["safe_up_to"], estimate["unsafe_from"], STRENGTHS[-1])


def test_fresh_seeds_that_agree_make_up_for_strengths_chosen_adaptively(
    real: pd.DataFrame, strengths: tuple[float, ...]
) -> None:
    without = judged(real, adaptive=True)
    document = judged(real, fresh(SHAPES["plateau_drop"], strengths), adaptive=True)
    (curve,) = document["views"]["held_out_plates"]["margins"]
    found = {point["role"]: point for point in curve["confirmation"]["points"]}
    assert curve["confirmation"]["agrees"] is True
    assert found["safe"]["strength"] == strengths[1]
    assert found["safe"]["probability"] < 0.2
    assert found["loss"]["strength"] == strengths[2]
    assert found["loss"]["probability"] > 0.8
    assert found["safe"]["seeds"] == 3
    assert "risk_of_bias:adaptive_points" in without["rule"]["downgrades"]
    assert "risk_of_bias:adaptive_points" not in document["rule"]["downgrades"]
    assert document["rule"]["estimate"] == without["rule"]["estimate"], "the fresh seeds are part of no curve"
    assert document["rule"]["design"]["runs"] == without["rule"]["design"]["runs"]


@pytest.mark.parametrize(
    ("shape", "wrong"),
    [
        (lambda x: 1.0 - 0.4 * (x > -1), "safe"),  # lost already where it was called safe
        (lambda x: np.ones_like(x), "loss"),  # never lost
    ],
)
def test_fresh_seeds_that_disagree_cost_certainty(
    real: pd.DataFrame, strengths: tuple[float, ...], shape: Curve, wrong: str
) -> None:
    document = judged(real, fresh(shape, strengths), adaptive=True)
    (curve,) = document["views"]["held_out_plates"]["margins"]
    assert curve["confirmation"]["agrees"] is False
    point = next(point for point in curve["confirmation"]["points"] if point["role"] == wrong)
    assert (point["probability"] > 0.5) is (wrong == "safe")
    assert {"risk_of_bias:adaptive_points", "inconsistency:fresh_seeds"} <= set(document["rule"]["downgrades"])


def test_a_gain_before_the_loss_is_the_level_that_fresh_seeds_are_compared_with(
    real: pd.DataFrame, strengths: tuple[float, ...]
) -> None:
    def gains_then_falls_back(x: np.ndarray) -> np.ndarray:
        return np.where(x < np.log10(strengths[1]) - 0.1, 1.0, np.where(x < np.log10(strengths[2]) - 0.1, 1.5, 1.0))

    document = judged(real, fresh(gains_then_falls_back, strengths))
    points = document["views"]["held_out_plates"]["margins"][0]["confirmation"]["points"]
    assert [point["probability"] > 0.9 for point in points] == [False, True]


def test_without_fresh_seeds_nothing_is_said(real: pd.DataFrame) -> None:
    assert judged(real)["views"]["held_out_plates"]["margins"][0]["confirmation"] is None


def test_one_fresh_seed_says_nothing(real: pd.DataFrame, strengths: tuple[float, ...]) -> None:
    one = fresh(SHAPES["plateau_drop"], strengths)
    document = judged(real, one[one["seed"] == FRESH[0]])
    found = document["views"]["held_out_plates"]["margins"][0]["confirmation"]
    assert found == {"agrees": None, "points": []}
    assert _chance(np.array([0.1])) is None
    assert _chance(np.array([0.1, 0.1])) == 1.0
