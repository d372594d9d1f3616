"""The noise of the perturbations: paired values, and a bootstrap covariance where the truth is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from decision_curves import FLOOR, SHAPES, STRENGTHS, sample, technical_curve
from decision_curves import tidy as results_table

from sweeper.decision import DecisionSettings, decide_sweep, judge_curve
from sweeper.decision.inference.bracket import drawdown_bracket, max_t_quantile
from sweeper.decision.inference.noise import draw, fit_levels, level_errors, positions, signal_lower_bound
from sweeper.decision.inference.perturbations import (
    NoPerturbationsError,
    level_covariance,
    paired_values,
    perturbation_covariances,
    resample,
    resampled_runs,
)
from sweeper.decision.verdict.states import State

LEVELS = (0.0, 0.1, 1.0, 10.0)
SEEDS = (0, 1, 2)
ALL = np.ones((len(LEVELS), len(SEEDS)), dtype=bool)


def tidy(values, *, metric="retrieval_map", folds=1):
    """Units of an (L, S, P) array; NaN where a run has no such perturbation."""
    rows = [
        (LEVELS[level], SEEDS[seed], fold, f"p{unit:03d}", values[level, seed, unit])
        for level, seed, unit in np.argwhere(np.isfinite(values))
        for fold in range(folds)
    ]
    frame = pd.DataFrame(rows, columns=["adversarial_weight", "seed", "fold", "unit", "value"])
    return frame.assign(axis="perturbation", metric=metric)


def screen(rng, covariance, *, perturbations, noise=0.0):
    """(L, S, P): level means 1, a random curve a perturbation, a seed's own level, noise of the runs."""
    levels = len(LEVELS)
    own = rng.multivariate_normal(np.zeros(levels), covariance, perturbations).T
    seed = rng.normal(0, 0.5, len(SEEDS))
    return 1 + own[:, None, :] + seed[:, None] + noise * rng.normal(size=(levels, len(SEEDS), perturbations))


def test_values_are_paired_over_strengths_and_folds_averaged():
    values = np.arange(24, dtype=float).reshape(4, 3, 2)
    frame = tidy(values, folds=2)
    frame["value"] += np.where(frame["fold"] == 0, 0.25, -0.25)
    found = paired_values(frame.sample(frac=1, random_state=0), strengths=LEVELS, seeds=SEEDS, used=ALL)
    assert found.names == ("p000", "p001")
    assert found.dropped == 0
    np.testing.assert_array_equal(found.array, values)


def test_what_some_strength_lacks_is_dropped_and_counted_and_what_no_strength_has_is_absent():
    values = np.zeros((4, 3, 3))
    values[2, 1, 0] = np.nan  # one strength lacks it
    values[:, 0, 2] = np.nan  # not held out with this seed
    found = paired_values(tidy(values), strengths=LEVELS, seeds=SEEDS, used=ALL)
    assert found.dropped == 1
    assert np.isnan(found.array[:, 1, 0]).all()
    assert np.isnan(found.array[:, 0, 2]).all()
    assert np.isfinite(found.array).sum() == 4 * (9 - 2)
    used = ALL.copy()
    used[2, 1] = False  # that run was lost: the others stand
    found = paired_values(tidy(values), strengths=LEVELS, seeds=SEEDS, used=used)
    assert found.dropped == 0
    assert np.isnan(found.array[2, 1]).all()
    assert np.isfinite(found.array[[0, 1, 3], 1, 0]).all()


def test_a_resample_is_a_weighted_mean_over_the_perturbations_of_each_run():
    values = np.array([[[1.0, 3.0, np.nan]], [[2.0, 6.0, np.nan]]])
    weights = np.array([[1.0, 1.0, 1.0], [3.0, 0.0, 0.0], [1.0, 2.0, 0.0], [0.0, 0.0, 3.0]])
    found = resampled_runs(values, weights)[:, :, 0]
    np.testing.assert_allclose(found[:3], [[2, 4], [1, 2], [7 / 3, 14 / 3]])
    assert np.isnan(found[3]).all()
    assert (resample(7, 50, (1,)).sum(axis=1) == 7).all()


def test_covariance_of_a_simulated_screen_is_the_known_one():
    """Perturbations share levels' fate with a known covariance; a seed's own level must not enter."""
    sd = np.array([0.30, 0.30, 0.35, 0.50])
    correlation = 0.9 ** np.abs(np.subtract.outer(np.arange(4), np.arange(4)))
    covariance, perturbations = np.outer(sd, sd) * correlation, 60
    found = []
    for repetition in range(40):
        rng = np.random.default_rng([7, repetition])
        units = tidy(screen(rng, covariance, perturbations=perturbations))
        scales = {"retrieval_map": 0.5}
        one = perturbation_covariances(units, scales, strengths=LEVELS, seeds=SEEDS, used=ALL, seed=(0, repetition))
        np.testing.assert_allclose(one[""], one["retrieval_map"])
        found.append(one[""])
    truth = covariance / perturbations / 0.5**2
    spread = np.std(found, axis=0, ddof=1) / np.sqrt(len(found))
    assert (np.abs(np.mean(found, axis=0) - truth) < 4 * spread).all()
    assert (spread < 0.08 * np.diag(truth).max()).all(), "the comparison would see an error of a third"


def test_what_all_strengths_share_cancels_in_their_differences():
    shared = np.full((4, 4), 0.25)
    units = tidy(screen(np.random.default_rng(3), shared, perturbations=40))
    found = perturbation_covariances(units, {"retrieval_map": 1.0}, strengths=LEVELS, seeds=SEEDS, used=ALL, seed=(0,))
    assert found[""][0, 0] == pytest.approx(0.25 / 40, rel=0.6)
    contrast = np.array([1.0, 0.0, 0.0, -1.0])
    assert contrast @ found[""] @ contrast < 1e-12


def test_perturbations_that_differ_by_seed_are_weighed_where_they_are():
    """Held out by seed: 30 of 90 each, disjoint. Level means then rest on all 90."""
    rng = np.random.default_rng(4)
    own = rng.multivariate_normal(np.zeros(4), 0.04 * np.eye(4), 90).T
    values = np.repeat(own[:, None, :], 3, axis=1)
    for seed in range(3):
        values[:, seed, np.arange(90) % 3 != seed] = np.nan
    found = perturbation_covariances(
        tidy(values), {"retrieval_map": 1.0}, strengths=LEVELS, seeds=SEEDS, used=ALL, seed=(0,), resamples=2000
    )
    truth = np.cov(own) / 90
    np.testing.assert_allclose(np.diag(found[""]), np.diag(truth), rtol=0.2)


def test_the_composite_is_the_mean_of_the_anchored_metrics_under_one_resample():
    rng = np.random.default_rng(5)
    values = screen(rng, 0.04 * np.eye(4), perturbations=50)
    opposite = tidy(2 - values, metric="activity_map")
    units = pd.concat([tidy(values), opposite], ignore_index=True)
    scales = {"retrieval_map": 1.0, "activity_map": 1.0}
    found = perturbation_covariances(units, scales, strengths=LEVELS, seeds=SEEDS, used=ALL, seed=(0,))
    np.testing.assert_allclose(found["activity_map"], found["retrieval_map"], atol=1e-12)
    np.testing.assert_allclose(found[""], 0, atol=1e-12)


def test_a_lost_run_moves_no_level_by_its_seeds_own_level():
    rng = np.random.default_rng(6)
    values = screen(rng, 0.04 * np.ones((4, 4)), perturbations=40)
    values[:, 0] += 9 * rng.normal(size=40)  # what this seed makes of each perturbation, at every strength
    used = ALL.copy()
    used[3, 0] = False
    paired = paired_values(tidy(values), strengths=LEVELS, seeds=SEEDS, used=used)
    runs = resampled_runs(paired.array, resample(40, 500, (1,)))
    contrast = np.array([1.0, 0.0, 0.0, -1.0])
    assert contrast @ level_covariance(runs, used) @ contrast < 1e-12


@pytest.mark.parametrize(
    ("values", "why"),
    [(np.zeros((4, 3, 9)), "9 perturbations in some runs and 10 are needed"), (np.zeros((4, 3, 0)), "no values")],
)
def test_too_few_perturbations_are_refused(values, why):
    with pytest.raises(NoPerturbationsError, match=f"retrieval_map has {why}"):
        perturbation_covariances(
            tidy(values), {"retrieval_map": 1.0}, strengths=LEVELS, seeds=SEEDS, used=ALL, seed=(0,)
        )


X = positions(STRENGTHS)


def test_extra_covariance_widens_what_it_must():
    values = sample(SHAPES["flat"], np.random.default_rng(8))
    means, plain = fit_levels(values, X, 1.0)
    same, wide = fit_levels(values, X, 1.0, extra=0.01 * np.eye(len(X)))
    np.testing.assert_array_equal(means, same)
    np.testing.assert_allclose(level_errors(wide) ** 2, level_errors(plain) ** 2 + 0.01)
    bounds = [signal_lower_bound(means, noise, draw(noise, 4000, (0,)), 0.95) for noise in (plain, wide)]
    assert bounds[1] < bounds[0] - 0.1


def test_a_shared_extra_covariance_only_touches_the_share_of_a_loss():
    """What moves every level alike leaves δ of itself in a proportional loss."""
    means, noise = fit_levels(sample(SHAPES["plateau_drop"], np.random.default_rng(9)), X, 1.0)
    _, shared = fit_levels(
        sample(SHAPES["plateau_drop"], np.random.default_rng(9)), X, 1.0, extra=np.full((len(X), len(X)), 1e-4)
    )
    brackets = [
        drawdown_bracket(
            STRENGTHS, means, item, max_t_quantile(item, draw(item, 4000, (0,)), delta=0.1, confidence=0.95),
            delta=0.1, confidence=0.95,
        )
        for item in (noise, shared)
    ]  # fmt: skip
    assert brackets[0] == brackets[1]


@pytest.mark.slow
def test_bounds_hold_for_new_perturbations_only_with_their_noise():
    """A loss of exactly δ at every λ > 0, perturbation noise half as large again as the seeds': ≤ 5 % false alarms."""
    extra = np.diag(np.full(len(X), 0.03**2))
    alarms = {"this_screen": 0, "new_perturbations": 0}
    for repetition in range(120):
        rng = np.random.default_rng([10, repetition])
        moved = rng.multivariate_normal(np.zeros(len(X)), extra)[:, None]
        loss = np.where(np.arange(len(X)) > 0, 0.9, 1.0)
        values = loss[:, None] + moved + rng.normal(0, 0.02, (len(X), 5))
        for target, added in (("this_screen", None), ("new_perturbations", extra)):
            means, noise = fit_levels(values, X, 1.0, extra=added)
            critical = max_t_quantile(noise, draw(noise, 500, (repetition,)), delta=0.1, confidence=0.95)
            found = drawdown_bracket(STRENGTHS, means, noise, critical, delta=0.1, confidence=0.95)
            alarms[target] += found.unsafe_from is not None
    assert alarms["new_perturbations"] <= 13, "more than 5 % by 3 standard errors"
    assert alarms["this_screen"] > 40, "the seeds' noise alone is far too small for this claim"


VIEW = "held_out_plates"


def sweep_with_units(spread, *, perturbations=40):
    """A plateau and a drop; perturbations differ by `spread` in how they respond, at each strength for itself."""
    rng = np.random.default_rng(11)
    curve = sample(SHAPES["plateau_drop"], rng, sigma=0.005)
    responses = spread * rng.normal(size=(len(STRENGTHS), 1, perturbations))
    responses -= responses.mean(axis=2, keepdims=True)  # the metric's value is their mean
    technical = sample(technical_curve, rng, sigma=0.01)
    values = FLOOR + (1 - FLOOR) * (curve[:, :, None] + responses)
    rows = [
        (STRENGTHS[level], seed, 0, f"p{unit:02d}", values[level, seed, unit])
        for level, seed, unit in np.ndindex(*values.shape)
    ]
    units = pd.DataFrame(rows, columns=["adversarial_weight", "seed", "fold", "unit", "value"])
    units = units.assign(axis="perturbation", metric="retrieval_map", trainer="abra", view=VIEW, margin=0.3)
    return results_table(curve, technical), units


def test_a_claim_about_new_perturbations_pays_for_how_much_they_differ():
    settings = DecisionSettings(deciding_view=VIEW, draws=2000, delta=0.2)
    wider = settings.model_copy(update={"target": "new_perturbations"})
    bounds = {}
    for spread in (1e-6, 0.4):
        table, units = sweep_with_units(spread)
        for chosen in (settings, wider):
            found = judge_curve(table, view=VIEW, margin=0.3, settings=chosen, units=units)
            level = found.levels[3].biological
            bounds[spread, chosen.target] = (found.estimate.bracket, level.upper - level.lower)
            assert any("new perturbations" in reason for reason in found.reasons) == (chosen is wider)
    assert bounds[1e-6, "this_screen"][0] == bounds[1e-6, "new_perturbations"][0], "they all respond alike"
    plain, paid = bounds[0.4, "this_screen"], bounds[0.4, "new_perturbations"]
    assert paid[1] > 3 * plain[1]
    assert plain[0].safe_up_to is not None
    assert paid[0].safe_up_to is None or paid[0].safe_up_to < plain[0].safe_up_to
    assert paid[0].unsafe_from is None or paid[0].unsafe_from >= plain[0].unsafe_from


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda _: None, "no values by perturbation are at hand"),
        (lambda units: units[units["seed"] > 0], "retrieval_map has no values by perturbation in some runs"),
        (lambda units: units[units["unit"] < "p07"], "7 perturbations in some runs and 10 are needed"),
        (lambda units: units.assign(trainer="sham:abra"), "retrieval_map has no values"),
    ],
)
def test_without_values_by_perturbation_nothing_is_claimed_about_new_ones(change, why):
    table, units = sweep_with_units(0.1)
    settings = DecisionSettings(deciding_view=VIEW, draws=200, target="new_perturbations")
    found = judge_curve(table, view=VIEW, margin=0.3, settings=settings, units=change(units))
    assert found.state is State.INSUFFICIENT_DATA
    assert found.estimate is None
    assert why in found.reasons[0]


@pytest.mark.parametrize("target", ["this_screen", "new_perturbations"])
def test_the_document_says_whom_it_is_about(target):
    table, units = sweep_with_units(0.1)
    settings = DecisionSettings(deciding_view=VIEW, draws=200, target=target)
    found = decide_sweep(table, settings=settings, provenance={"trainer": "abra"}, units=units).to_json()
    assert found["rule"]["design"]["target"] == target
    assert ("A8" in found["rule"]["assumptions"]) == (target == "new_perturbations")
    said = found["sentence"]
    assert ("This holds for the perturbations of this screen." in said) == (target == "this_screen")
    assert ("This holds for new perturbations of the same kind" in said) == (target == "new_perturbations")
    assert ("change the set of perturbations" in said) == (target == "this_screen")
    assert ("perturbations of another kind" in said) == (target == "new_perturbations")
