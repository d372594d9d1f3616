import numpy as np
import pandas as pd
import pytest

from sweeper.arms.observed import strength_composites
from sweeper.arms.optuna_rounds import propose_strengths as propose
from sweeper.config.sections import OptunaSearch


def composites(weights: list[float], margins: list[float]) -> pd.DataFrame:
    rows = [
        {"adversarial_weight": w, "margin": m, "technical": min(1.0, w / 30), "biological": 1 / (1 + (w / 50) ** 2)}
        for w in weights
        for m in margins
    ]
    return pd.DataFrame(rows)


KNOWN = composites([0.0, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0], [0.0, 0.3])
OPTIONS = OptunaSearch(rounds=1, strengths_per_round=5, low=0.1, high=1000, seed=3)


def test_proposals_are_new_in_bounds_and_repeatable() -> None:
    arguments = {"options": OPTIONS, "margins": (0.0, 0.3), "round_number": 1, "study_name": "s"}
    first = propose(KNOWN, **arguments)
    assert len(first) == 5
    assert len(set(first)) == 5
    known = set(zip(KNOWN["adversarial_weight"], KNOWN["margin"], strict=True))
    for weight, margin in first:
        assert (weight, margin) not in known
        assert 0.1 <= weight <= 1000
        assert margin in (0.0, 0.3)
    assert propose(KNOWN, **arguments) == first
    assert propose(KNOWN, **{**arguments, "round_number": 2}) != first


def test_a_strength_that_only_failed_is_told_as_failed_not_as_a_number() -> None:
    failed = KNOWN.copy()
    failed.loc[failed["adversarial_weight"] == 100.0, ["technical", "biological"]] = np.nan
    assert len(propose(failed, options=OPTIONS, margins=(0.0, 0.3), round_number=1, study_name="s")) == 5


def test_composites_average_splits_then_metrics_and_ignore_controls_and_other_views() -> None:
    def row(metric: str, role: str, value: float, **more: object) -> dict[str, object]:
        shared = {"trainer": "abra", "view": "v", "adversarial_weight": 1.0, "margin": 0.0, "primary": True}
        return {**shared, "metric": metric, "role": role, "value": value, "floor": 0.0, "ceiling": 0.5, **more}

    table = pd.DataFrame(
        [
            row("a", "biological", 0.1),
            row("a", "biological", 0.3),
            row("b", "biological", 0.5),
            row("t", "technical", 0.25),
            row("a", "biological", 9.0, view="w"),
            row("a", "biological", 9.0, trainer="control:raw"),
            row("n", "biological", 9.0, primary=False),
            row("t", "technical", np.nan, adversarial_weight=2.0),
        ]
    )
    found = strength_composites(table, view="v", trainer="abra").set_index("adversarial_weight")
    assert found.loc[1.0, "biological"] == pytest.approx((0.4 + 1.0) / 2)
    assert found.loc[1.0, "technical"] == pytest.approx(0.5)
    assert np.isnan(found.loc[2.0, "technical"])
