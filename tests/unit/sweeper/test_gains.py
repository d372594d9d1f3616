"""Gains by held-out batch and by perturbation: tables small enough to compute by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from sweeper.decision import JudgedCurve, State
from sweeper.decision.input.curve import MetricUse
from sweeper.findings.unit_gains import (
    CURVE,
    SUMMARY_COLUMNS,
    UNIT_COLUMNS,
    Gains,
    gains,
    headline,
    pointed,
    summarise,
    unit_gains,
    unit_values,
    wilson,
)

CELL = ["trainer", "adversarial_weight", "margin", "seed", "fold", "unit", "value"]


def table(rows: list[tuple[object, ...]], *, axis: str = "batch") -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=CELL)
    texts = {"view": "held_out_plates", "metric": "activity_map", "axis": axis}
    frame = frame.assign(**texts, cell_id="c", split="s", wells=4)
    return frame.astype({"unit": "category", "trainer": "category", **dict.fromkeys(texts, "category")})


ROWS: list[tuple[object, ...]] = [
    ("abra", 0.0, 0.3, 0, 0, "b1", 0.50), ("abra", 0.0, 0.3, 1, 0, "b1", 0.40),
    ("abra", 0.0, 0.3, 0, 0, "b2", 0.20), ("abra", 0.0, 0.3, 1, 0, "b2", 0.30),
    ("abra", 1.0, 0.3, 0, 0, "b1", 0.60), ("abra", 1.0, 0.3, 1, 0, "b1", 0.60),
    ("abra", 1.0, 0.3, 0, 0, "b2", 0.10), ("abra", 1.0, 0.3, 1, 0, "b2", 0.25),
    ("abra", 9.0, 0.3, 0, 0, "b1", 0.30), ("abra", 9.0, 0.3, 0, 0, "b2", 0.00),
    ("control:raw", math.nan, math.nan, 0, 0, "b1", 0.10), ("control:raw", math.nan, math.nan, 1, 0, "b1", 0.20),
    ("control:raw", math.nan, math.nan, 0, 0, "b2", 0.30), ("control:raw", math.nan, math.nan, 1, 0, "b2", 0.30),
    ("control:random", math.nan, math.nan, 0, 0, "b1", 9.0), ("sham:abra", 1.0, 0.3, 0, 0, "b1", 9.0),
]  # fmt: skip
RANGES = pd.Series([1.0], index=pd.MultiIndex.from_tuples([("held_out_plates", "activity_map")]))


def at(frame: pd.DataFrame, baseline: str, weight: float, unit: str | None = None) -> pd.Series:
    rows = frame[(frame["baseline"] == baseline) & (frame["adversarial_weight"] == weight)]
    rows = rows if unit is None else rows[rows["unit"] == unit]
    assert len(rows) == 1
    return rows.iloc[0]


def test_gain_is_the_mean_over_runs_of_the_paired_difference() -> None:
    found = unit_gains(table(ROWS), trainer="abra")
    assert tuple(found.columns) == UNIT_COLUMNS
    one = at(found, "uncorrected", 1.0, "b1")
    assert one["gain"] == pytest.approx((0.10 + 0.20) / 2)
    assert one["error"] == pytest.approx(np.std([0.10, 0.20], ddof=1) / math.sqrt(2))
    assert one["runs"] == 2
    assert at(found, "uncorrected", 1.0, "b2")["gain"] == pytest.approx((-0.10 - 0.05) / 2)
    assert at(found, "raw", 0.0, "b1")["gain"] == pytest.approx((0.40 + 0.20) / 2)
    assert set(found.loc[found["baseline"] == "uncorrected", "adversarial_weight"]) == {1.0, 9.0}


def test_a_lost_run_is_left_out_of_the_pair_and_counted() -> None:
    found = unit_gains(table(ROWS), trainer="abra")
    lost = at(found, "uncorrected", 9.0, "b1")
    assert lost["gain"] == pytest.approx(0.30 - 0.50), "seed 1 was lost at λ = 9, so λ = 0 counts with seed 0 alone"
    assert lost["runs"] == 1
    assert math.isnan(lost["error"])
    summary = summarise(found, ranges=RANGES, delta=0.1)
    assert at(summary, "uncorrected", 9.0)["lost_runs"] == 1
    assert at(summary, "uncorrected", 1.0)["lost_runs"] == 0


def test_distribution_failure_rate_and_the_worst_unit() -> None:
    found = summarise(unit_gains(table(ROWS), trainer="abra"), ranges=RANGES, delta=0.07)
    assert tuple(found.columns) == SUMMARY_COLUMNS
    one = at(found, "uncorrected", 1.0)
    assert (one["units"], one["losses"], one["failure_rate"]) == (2, 1, 0.5)
    assert (one["worst_unit"], one["worst_gain"]) == ("b2", pytest.approx(-0.075))
    assert one["q50"] == pytest.approx((0.15 - 0.075) / 2)
    assert one["q05"] == pytest.approx(-0.075 + 0.05 * 0.225)
    assert one["large_losses"] == 1
    assert (one["failure_lower"], one["failure_upper"]) == pytest.approx(wilson(1, 2, 0.95))
    assert at(found, "uncorrected", 9.0)["large_losses"] == 2


def test_a_large_loss_is_a_share_of_the_metrics_range() -> None:
    found = unit_gains(table(ROWS), trainer="abra")
    assert at(summarise(found, ranges=RANGES, delta=0.08), "uncorrected", 1.0)["large_losses"] == 0
    assert at(summarise(found, ranges=RANGES / 2, delta=0.08), "uncorrected", 1.0)["large_losses"] == 1
    assert at(summarise(found, ranges=RANGES * np.nan, delta=0.08), "uncorrected", 1.0)["large_losses"] == 0


def test_a_clear_loss_is_one_beyond_the_seed_noise() -> None:
    rng = np.random.default_rng(0)
    rows = []
    for seed in range(5):
        for unit, gain, noise in (("clear", -0.2, 0.01), ("noisy", -0.01, 0.2), ("won", 0.2, 0.01)):
            rows.append(("abra", 0.0, 0.0, seed, 0, unit, 0.5))
            rows.append(("abra", 1.0, 0.0, seed, 0, unit, 0.5 + gain + noise * (seed - 2) + 1e-4 * rng.normal()))
    found = at(summarise(unit_gains(table(rows), trainer="abra"), ranges=RANGES, delta=0.1), "uncorrected", 1.0)
    assert found["losses"] == 2
    assert found["clear_losses"] == 1


def test_units_held_out_in_some_runs_only_are_compared_in_those() -> None:
    """Held-out perturbations are drawn by seed: what one run lacks is missing, not zero."""
    rows: list[tuple[object, ...]] = [
        ("abra", weight, 0.0, seed, 0, unit, value + 0.1 * weight)
        for seed, unit, value in ((0, "p1", 0.5), (0, "p2", 0.1), (1, "p2", 0.3), (1, "p3", 0.9))
        for weight in (0.0, 1.0)
    ]
    found = unit_gains(table(rows, axis="perturbation"), trainer="abra").set_index("unit")
    assert found["gain"].to_numpy() == pytest.approx(0.1)
    assert found["runs"].to_dict() == {"p1": 1, "p2": 2, "p3": 1}
    assert set(found["baseline"]) == {"uncorrected"}, "no raw features were measured"
    assert summarise(found.reset_index(), ranges=RANGES, delta=0.1)["lost_runs"].tolist() == [0]


def test_values_by_unit_are_means_over_runs_with_raw_features_first() -> None:
    found = unit_values(table(ROWS, axis="cell_type"), trainer="abra")
    first = found.iloc[0]
    assert (first["unit"], first["mean"], first["runs"]) == ("b1", pytest.approx(0.15), 2)
    assert math.isnan(first["adversarial_weight"])
    corrected = found[(found["unit"] == "b2") & (found["adversarial_weight"] == 1.0)].iloc[0]
    assert (corrected["mean"], corrected["sd"]) == (pytest.approx(0.175), pytest.approx(np.std([0.1, 0.25], ddof=1)))
    alone = found[(found["unit"] == "b2") & (found["adversarial_weight"] == 9.0)].iloc[0]
    assert math.isnan(alone["sd"])
    assert unit_values(table(ROWS, axis="perturbation"), trainer="abra").empty


def test_wilson_is_the_textbook_interval() -> None:
    assert wilson(0, 10, 0.95) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson(1, 10, 0.95) == pytest.approx((0.0179, 0.4042), abs=1e-4)
    assert wilson(10, 10, 0.95) == pytest.approx((0.7225, 1.0), abs=1e-4)


def test_order_of_rows_does_not_matter_and_nothing_gives_nothing() -> None:
    frame = table(ROWS)
    shuffled = frame.sample(frac=1.0, random_state=3)
    pd.testing.assert_frame_equal(unit_gains(frame, trainer="abra"), unit_gains(shuffled, trainer="abra"))
    empty = unit_gains(frame, trainer="another")
    assert empty.empty
    assert summarise(empty, ranges=RANGES, delta=0.1).empty
    results = pd.DataFrame({"view": ["held_out_plates"], "metric": ["activity_map"], "value": [0.1]})
    results = results.assign(trainer="abra", floor=0.0, ceiling=0.5)
    found = gains(frame, results, trainer="abra", delta=0.14)
    assert at(found.summary, "uncorrected", 1.0)["large_losses"] == 1, "a loss of 0.075 is 15 % of the range"
    assert list(found.by_unit.columns[: len(CURVE)]) == list(CURVE)


def test_the_headline_is_of_the_deciding_curve_at_its_recommended_strength() -> None:
    frame = table(ROWS)
    by_unit = unit_gains(frame, trainer="abra")
    found = Gains(by_unit, summarise(by_unit, ranges=RANGES, delta=0.1), unit_values(table(ROWS), trainer="abra"))
    metrics = (
        MetricUse("activity_map", "biological", 0.0, "stated", 1.0),
        MetricUse("batch_probe_linear", "technical", 0.0, "stated", 1.0),
    )
    curve = JudgedCurve("held_out_plates", 0.3, "abra", 0.1, 0.95, State.BRACKET_ONLY, (), metrics=metrics)
    pointed_at, nowhere = (
        SimpleNamespace(curve=replace(curve, estimate=estimate))
        for estimate in (SimpleNamespace(recommended=1.0), None)
    )
    assert headline(found, pointed_at) == {
        "gain/activity_map.batch_failure_rate": 0.5,
        "gain/activity_map.worst_batch": pytest.approx(-0.075),
    }
    assert headline(found, nowhere) == {}
    assert headline(found, SimpleNamespace(curve=None)) == {}


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ({"recommended": 1.0, "safe_up_to": 3.0, "best": 0.3}, ("recommended", 1.0)),
        ({"recommended": None, "safe_up_to": 5.0, "best": 0.3}, ("safe bound", 3.0)),
        ({"recommended": None, "safe_up_to": 0.1, "best": 0.3}, ("best biology", 0.3)),
        ({"recommended": None, "safe_up_to": None, "best": 0.0}, ("largest", 9.0)),
        ({"recommended": None, "safe_up_to": None, "best": None}, ("largest", 9.0)),
    ],
)
def test_where_a_decision_points(bounds: dict[str, float | None], expected: tuple[str, float]) -> None:
    assert pointed([0.0, 0.3, 1.0, 3.0, 9.0], **bounds) == expected
    assert pointed([0.0], **bounds) is None
