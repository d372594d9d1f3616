"""Tier C: the truth of a known curve, sub-sweeps of a reference, and real training small enough for a test."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtr

from benchmarks.tier_c.measures import neighbour_correlation, residuals, summary
from benchmarks.tier_c.reference import cells, table, train
from benchmarks.tier_c.screens import CASES, LEVELS, SHAM_PLACES, STRENGTHS, study
from benchmarks.tier_c.subsweeps import SUB_SEEDS, drawn, judged, part_of
from benchmarks.tier_c.tables import BEGIN, END, README, tables
from benchmarks.tier_c.truth import X, drawdown, reference_curve, smoothed, truth
from sweeper.planning.prepared import load_screen

LOSS = 0.6 * ndtr((X - 1.6) / 0.45)  # 10 % of a peak of 1 at 1.6 + 0.45·Φ⁻¹(1/6) = 1.165


def noisy(curve: np.ndarray, *, seeds: int, sd: float) -> np.ndarray:
    rng = np.random.default_rng(5)
    runs = np.concatenate([[1.0], curve])[:, None] + rng.normal(0, 0.05, seeds)
    return runs + sd * rng.standard_normal(runs.shape)


def test_the_truth_of_a_stated_curve_and_its_error():
    found = truth(noisy(1 - LOSS, seeds=40, sd=0.02), 0.10)
    assert found.point == pytest.approx(1.165, abs=0.03)
    assert 0.0 < found.se < 0.03
    assert found.reached == 1.0
    assert found.largest == pytest.approx(LOSS[-1], abs=0.02)
    flat = truth(noisy(np.ones(LEVELS), seeds=40, sd=0.02), 0.10)
    assert flat.point == np.inf
    assert flat.se is None
    assert flat.reached == 0.0


def test_a_lost_run_moves_no_level_by_its_seed():
    runs = noisy(1 - LOSS, seeds=40, sd=0.0)
    whole = drawdown(*smoothed(runs))
    runs[10, int(np.argmax(runs[0]))] = np.nan
    np.testing.assert_allclose(drawdown(*smoothed(runs)), whole, atol=2e-3)


def test_noise_that_a_seed_shares_between_strengths_is_seen():
    rng = np.random.default_rng(2)
    smooth = np.cumsum(rng.standard_normal((LEVELS, 30)), axis=0)
    assert neighbour_correlation(residuals(smooth), 4) > 0.5
    assert abs(neighbour_correlation(residuals(rng.standard_normal((LEVELS, 30))), 4)) < 0.1


def test_sub_sweeps_are_log_spaced_grids_of_the_reference_with_their_own_seeds():
    one = study("none")
    draws = [drawn(one, repetition, 40) for repetition in range(8)]
    assert len({strengths for strengths, _ in draws}) == 4
    assert {strength for strengths, _ in draws for strength in strengths} == set(STRENGTHS)
    for strengths, seeds in draws:
        assert strengths[0] == 0.0
        assert len(strengths) == 13
        assert np.ptp(np.diff(np.log10(strengths[1:]))) < 1e-3
        assert len(set(seeds)) == SUB_SEEDS
    assert drawn(one, 3, 40) == draws[3]
    assert drawn(study("moderate"), 3, 40)[1] != draws[3][1]


@pytest.mark.parametrize("name", CASES)
def test_every_case_is_a_sweep_that_the_product_accepts(name):
    one = study(name)
    assert len(cells(one, 0)) == LEVELS + 1 + len(SHAM_PLACES) + 1
    assert (one.design_djs > 0.2) == (name == "confounded")


@pytest.mark.slow
def test_real_training_from_the_reference_to_the_decision(tmp_path):
    """Short trainings of one seed more than a sub-sweep has; what was trained is not trained again."""
    one = study("strong")
    less = {
        "abra": one.config.abra.model_copy(update={"steps": 8}),
        "panel": one.config.panel.model_copy(update={"permutations": 1}),
        "simulate": one.config.simulate.model_copy(update={"batches": 3, "perturbations": 16, "targets": 4}),
    }
    config = one.config.model_copy(update=less)
    short = replace(one, config=config, screen=load_screen(config))
    seeds = SUB_SEEDS + 1
    assert not train(tmp_path, short, seeds, until=0.0), "no time: nothing is trained"
    assert train(tmp_path, short, seeds, until=np.inf)
    assert train(tmp_path, short, seeds, until=0.0)
    results = table(tmp_path, short, seeds)
    trained = results[results["trainer"] == "abra"]
    assert trained["cell_id"].nunique() == (LEVELS + 1) * seeds
    assert set(trained["status"]) == {"ok"}
    curve = reference_curve(results, one.case.margin, one.config.decision)
    assert curve.biological.shape == (LEVELS + 1, seeds)
    assert curve.technical[-1].mean() > curve.technical[0].mean() + 0.05, "the adversary removes nothing"

    strengths, chosen = drawn(short, 0, seeds)
    part = part_of(results, strengths, chosen)
    assert set(part["seed"]) == set(chosen)
    assert set(part.loc[part["trainer"] == "abra", "adversarial_weight"]) == set(strengths)
    assert part.loc[part["trainer"] == "sham:abra", "adversarial_weight"].nunique() == len(SHAM_PLACES) + 1
    row = judged(short, results, 0, seeds)
    assert row["seeds"] == list(chosen)
    assert {method: set(row[method]) for method in ("bracket", "posterior")} == {
        "bracket": {"0.05", "0.1"},
        "posterior": {"0.05", "0.1"},
    }
    figures = summary([row], curve, (0.10,))["0.1"]
    assert figures["truth"]["largest"] >= 0.0
    assert set(figures["others"]) == {"score", "kneedle", "broken stick", "unimodal", "gp"}
    assert isinstance(pd.Series(figures["bracket"]["states"]).sum(), np.integer)


def test_the_page_quotes_the_committed_result():
    page = README.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    result = json.loads((README.parent / "tier_c.json").read_text(encoding="utf-8"))
    assert page.strip().splitlines() == "\n".join(tables(result)).strip().splitlines(), (
        "run: python -m benchmarks.tier_c --tables"
    )
