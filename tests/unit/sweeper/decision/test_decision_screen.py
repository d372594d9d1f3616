"""The collapse screen and the counts it leaves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from decision_curves import SHAPES, STRENGTHS, exact_curve, sample, tidy

from sweeper.decision import DecisionSettings
from sweeper.decision.input.collapse_screen import screen
from sweeper.decision.input.curve import build_curve
from sweeper.decision.input.results_table import prepare, select

SETTINGS = DecisionSettings(deciding_view="held_out_plates")
WHICH = {"view": "held_out_plates", "margin": 0.3}


def screened(table):
    curve = build_curve(select(prepare(table), **WHICH), SETTINGS)
    return screen(curve, SETTINGS)


def spoil(table, strength, seed, status="collapsed"):
    hit = (table["adversarial_weight"] == STRENGTHS[strength]) & (table["seed"] == seed)
    table.loc[hit, "status"] = status
    table.loc[hit, "value"] = np.nan


@pytest.mark.parametrize("seeds", [3, 5])
def test_normal_noise_is_left_alone(seeds):
    curve = build_curve(select(prepare(tidy(*exact_curve("flat", seeds=seeds))), **WHICH), SETTINGS)
    rng = np.random.default_rng(8)
    drawn = [replace(curve, biological=sample(SHAPES["umbrella"], rng, seeds=seeds)) for _ in range(200)]
    flagged = sum(int(screen(item, SETTINGS).lost.sum()) for item in drawn)
    assert flagged <= 0.002 * 200 * len(STRENGTHS) * seeds


@pytest.mark.parametrize("seeds", [3, 5])
def test_a_run_far_below_its_level_is_collapsed_though_its_seed_is_low_everywhere(seeds):
    rng = np.random.default_rng(9)
    biology = sample(SHAPES["plateau_drop"], rng, seeds=seeds)
    biology[:, 0] -= 0.4  # a poor seed is not a collapse
    biology[4, 1] -= 0.3
    result = screened(tidy(biology, sample(SHAPES["flat"], rng, seeds=seeds)))
    assert np.argwhere(result.status == "screened").tolist() == [[4, 1]]
    assert result.rates[4] == pytest.approx(1 / seeds)
    assert np.argwhere(~result.usable()).tolist() == [[4, 1]]


def test_once_collapses_stand_out_a_shallow_one_in_greater_noise_is_seen():
    """A fall of 0.3 is 5 deviations of a run at the largest strengths, where the limit by itself hides half of them."""
    curve = build_curve(select(prepare(tidy(*exact_curve("flat", seeds=5))), **WHICH), SETTINGS)
    rng, seen = np.random.default_rng(10), np.zeros(2)
    for _ in range(60):
        noise = np.where(np.arange(len(STRENGTHS)) > 8, 0.06, 0.03)[:, None]
        biology = 1 + noise * rng.standard_normal((len(STRENGTHS), 5))
        biology[11, 2] -= 0.3
        for place, others in enumerate(((), ((2, 0), (4, 3), (6, 1)))):
            values = biology.copy()
            for run in others:
                values[run] -= 0.3
            status = screen(replace(curve, biological=values), SETTINGS).status
            seen[place] += status[11, 2] == "screened"
    assert seen[0] < 36  # nothing else tells that collapses occur
    assert seen[1] > 45


def test_a_level_is_dropped_above_the_tolerated_rate_only():
    table = tidy(*exact_curve("plateau_drop", seeds=5))
    spoil(table, 11, 0)
    assert screened(table).kept.all()
    spoil(table, 11, 1, "oom")
    result = screened(table)
    assert result.rates[11] == pytest.approx(0.4)
    assert np.flatnonzero(~result.kept).tolist() == [11]
    assert result.lambda_unstable == pytest.approx(STRENGTHS[11])
    assert result.usable()[:11].all()  # the dropped level asks nothing of the seeds
    assert not result.usable()[11].any()


def test_a_seed_that_is_missing_at_half_of_the_levels_is_left_out():
    table = tidy(*exact_curve("plateau_drop", seeds=5))
    for place in range(6):
        spoil(table, place, 3, "failed")
    assert screened(table).usable().sum(axis=0).tolist() == [13, 13, 13, 7, 13]
    spoil(table, 6, 3, "failed")
    assert screened(table).usable().sum(axis=0).tolist() == [13, 13, 13, 0, 13]


def test_without_noise_nothing_is_screened():
    rng = np.random.default_rng(10)
    constant = np.full((len(STRENGTHS), 3), 0.5)
    assert not screened(tidy(constant, sample(SHAPES["flat"], rng, seeds=3))).lost.any()


def test_all_lost():
    table = tidy(*exact_curve("flat"))
    table["status"], table["value"] = "failed", np.nan
    result = screened(table)
    assert not result.kept.any()
    assert result.lambda_unstable == 0.0
