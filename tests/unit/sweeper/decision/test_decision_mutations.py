"""Mutations of a sweep that must, or must not, change the decision."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from decision_curves import SHAPES, STRENGTHS, controls, exact_curve, sample, technical_curve, tidy, truth

from sweeper.decision import DecisionSettings, decide_sweep, judge_curve
from sweeper.decision.verdict.json_codec import plain

SETTINGS = DecisionSettings(deciding_view="held_out_plates", draws=500)


USEFUL = {
    "IDENTIFIED",
    "IDENTIFIED_WIDE",
    "CONFLICTING_METRICS",
    "BRACKET_ONLY",
    "BELOW_RANGE",
    "NOT_OVERCORRECTION",
    "UNSTABLE",
}


def judged(table):
    return judge_curve(table, view="held_out_plates", margin=0.3, settings=SETTINGS)


def swept(table):
    return decide_sweep(table, settings=SETTINGS, provenance={}).to_json()


def text(value):
    return json.dumps(value, allow_nan=False)


def curve(rng, shape="umbrella"):
    return sample(SHAPES[shape], rng), sample(technical_curve, rng)


@pytest.fixture(params=["bracket", "posterior"])
def either(request, monkeypatch):
    """The test holds whichever method bounds the point."""
    changed = SETTINGS.model_copy(update={"method": request.param})
    monkeypatch.setattr(request.module, "SETTINGS", changed)


@pytest.fixture
def posterior(request, monkeypatch):
    """The test is about the posterior."""
    monkeypatch.setattr(request.module, "SETTINGS", SETTINGS.model_copy(update={"method": "posterior"}))


@pytest.mark.slow
@pytest.mark.usefixtures("either")
def test_strengths_permuted_within_seeds_leave_nothing_to_find():
    rng = np.random.default_rng(30)
    found = 0
    for _ in range(20):
        shuffled = [rng.permuted(values, axis=0) for values in curve(rng)]
        found += judged(tidy(*shuffled)).state in USEFUL
    assert found <= 1


@pytest.mark.usefixtures("posterior")
def test_swapped_roles_never_locate_a_point():
    rng = np.random.default_rng(31)
    for shape in ("plateau_drop", "umbrella", "slow"):
        biology, technical = curve(rng, shape)
        decision = judged(tidy(technical, biology))
        assert decision.estimate.unsafe_from is None
        assert decision.state not in {"IDENTIFIED", "IDENTIFIED_WIDE", "CONFLICTING_METRICS"}


@pytest.mark.usefixtures("posterior")
def test_a_constant_added_to_a_metric_and_its_anchors_changes_nothing():
    table = tidy(*curve(np.random.default_rng(32)))
    moved = table.copy()
    for column in ("value", "floor", "ceiling"):
        moved.loc[moved["role"] == "biological", column] += 3.0
    before, after = judged(table), judged(moved)
    assert (after.state, after.estimate.window) == (before.state, before.estimate.window)
    assert after.estimate.location.lower == pytest.approx(before.estimate.location.lower, rel=1e-9)
    assert after.estimate.location.upper == pytest.approx(before.estimate.location.upper, rel=1e-9)
    assert after.estimate.sigma == pytest.approx(before.estimate.sigma, rel=1e-9)
    assert after.estimate.detectable_drop == pytest.approx(before.estimate.detectable_drop, rel=1e-9)


@pytest.mark.usefixtures("either")
def test_the_unit_of_biology_does_not_matter():
    table = tidy(*curve(np.random.default_rng(33)))
    wider = table.copy()
    wider.loc[wider["role"] == "biological", "ceiling"] += 1.0  # the composite about halves
    before, after = judged(table), judged(wider)
    assert [e.safe_up_to for e in after.sensitivity] == [e.safe_up_to for e in before.sensitivity]
    assert [e.unsafe_from for e in after.sensitivity] == [e.unsafe_from for e in before.sensitivity]
    assert after.estimate.psi == pytest.approx(before.estimate.psi, rel=1e-9)


@pytest.mark.usefixtures("either")
def test_a_constant_added_without_its_floor_hides_a_loss_and_the_measured_floor_restores_it():
    biology, technical = exact_curve("plateau_drop")
    table = tidy(biology, technical)
    table["value"] += np.where(table["role"] == "biological", 5.0, 0.0)
    table["ceiling"] += np.where(table["role"] == "biological", 5.0, 0.0)
    assert judged(table).estimate.unsafe_from is None  # 60 % of the phenotype is 10 % of the number
    shuffled = controls(
        "held_out_plates",
        {"label_shuffled": (0.0, 0.5)},
        names=("retrieval_map",),
        technical_names=("batch_probe_linear",),
    )
    shuffled["value"] += np.where(shuffled["role"] == "biological", 5.0, 0.0)
    restored = judged(pd.concat([table, shuffled], ignore_index=True)).estimate
    assert restored.unsafe_from == judged(tidy(biology, technical)).estimate.unsafe_from


@pytest.mark.slow
@pytest.mark.usefixtures("posterior")
def test_dropping_the_top_of_the_range_never_moves_the_answer():
    rng = np.random.default_rng(34)
    true = truth("umbrella", 0.10)
    for _ in range(8):
        table = tidy(*curve(rng))
        short = judged(table[table["adversarial_weight"] < STRENGTHS[9]])
        assert short.state in {"NOT_REACHED", "BRACKET_ONLY", "INCONCLUSIVE"}
        assert short.estimate.safe_up_to < true
        assert short.estimate.unsafe_from is None or short.estimate.unsafe_from > true


@pytest.mark.usefixtures("posterior")
def test_dropping_strengths_above_the_point_leaves_it_where_it_is():
    rng = np.random.default_rng(38)
    true = np.log10(truth("umbrella", 0.10))
    for _ in range(5):
        table = tidy(*curve(rng))
        whole, short = (judged(part).estimate for part in (table, table[table["adversarial_weight"] < STRENGTHS[11]]))
        assert short.location.lower < whole.location.upper
        assert whole.location.lower < short.location.upper
        assert np.log10(short.location.median) == pytest.approx(true, abs=0.3)


@pytest.mark.usefixtures("either")
def test_repeated_seeds_are_refused_not_counted():
    table = tidy(*curve(np.random.default_rng(35)))
    same_ids = pd.concat([table, table], ignore_index=True)
    new_ids = pd.concat([table, table.assign(seed=table["seed"] + 10)], ignore_index=True)
    assert judged(same_ids).state == judged(new_ids).state == "INVALID_INPUT"


@pytest.mark.slow
@pytest.mark.usefixtures("either")
def test_the_order_of_rows_and_columns_leaves_the_json_identical():
    rng = np.random.default_rng(36)
    names = {"names": ("a", "b"), "technical_names": ("s", "t")}
    table = pd.concat(
        [
            tidy(*curve(rng), view=view, margin=margin, folds=2, split_noise=0.01, rng=rng, **names)
            for view in ("held_out_plates", "held_out_batches")
            for margin in (0.0, 0.3)
        ]
        + [controls("held_out_plates", {"label_shuffled": (0.01, 0.4), "raw": (0.3, 0.2)}, **names)],
        ignore_index=True,
    )
    shuffled = table.sample(frac=1, random_state=1)[list(reversed(table.columns))]
    assert text(swept(table)) == text(swept(shuffled)) == text(swept(table))


@pytest.mark.usefixtures("either")
def test_another_seed_of_the_draws_moves_no_bound_of_a_clear_curve():
    table = tidy(*exact_curve("plateau_drop"))
    one, other = (
        judge_curve(table, view="held_out_plates", margin=0.3, settings=SETTINGS.model_copy(update={"seed": seed}))
        for seed in (0, 1)
    )
    assert one.estimate.window == other.estimate.window
    assert text(plain(one)) != text(plain(other))


@pytest.mark.slow
@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("shape", ["plateau_drop", "flat"])
def test_scattered_collapses_do_not_move_the_bracket_past_the_truth(shape):
    true = truth(shape, 0.10)
    rng = np.random.default_rng(37)
    wrong = judgeable = 0
    for _ in range(20):
        biology, technical = (sample(c, rng, seeds=9) for c in (SHAPES[shape], technical_curve))
        biology -= 0.4 * (rng.random(biology.shape) < 0.03)
        estimate = judged(tidy(biology, technical)).estimate
        if estimate is not None:
            judgeable += 1
            wrong += (estimate.safe_up_to or 0) >= true or (estimate.unsafe_from or np.inf) < true
    assert judgeable >= 15
    assert wrong <= 1


def test_swapped_roles_never_locate_a_point_by_the_bracket():
    rng = np.random.default_rng(31)
    for shape in ("plateau_drop", "umbrella", "slow"):
        biology, technical = curve(rng, shape)
        assert judged(tidy(technical, biology)).estimate.unsafe_from is None


def test_a_constant_added_to_a_metric_and_its_anchors_changes_nothing_by_the_bracket():
    table = tidy(*curve(np.random.default_rng(32)))
    moved = table.copy()
    for column in ("value", "floor", "ceiling"):
        moved.loc[moved["role"] == "biological", column] += 3.0
    before, after = judged(table), judged(moved)
    assert (after.state, after.estimate.window) == (before.state, before.estimate.window)
    assert after.estimate.sigma == pytest.approx(before.estimate.sigma, rel=1e-9)
    assert after.estimate.detectable_drop == pytest.approx(before.estimate.detectable_drop, rel=1e-9)


def test_dropping_the_top_of_the_range_never_moves_the_answer_by_the_bracket():
    rng = np.random.default_rng(34)
    true = truth("umbrella", 0.10)
    for _ in range(8):
        table = tidy(*curve(rng))
        short = judged(table[table["adversarial_weight"] < STRENGTHS[9]])
        assert short.state in {"NOT_REACHED", "BRACKET_ONLY"}
        assert short.estimate.safe_up_to < true
        assert short.estimate.unsafe_from is None or short.estimate.unsafe_from > true
