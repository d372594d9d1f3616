"""Every state, reached through `decide`, and what the decision then holds."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from decision_curves import (
    SHAPES,
    STRENGTHS,
    drop_at_once,
    exact_curve,
    falling_technical,
    lose,
    noisy,
    sample,
    technical_curve,
    tidy,
    truth,
)

from sweeper.decision import STATES, DecisionSettings, judge_curve
from sweeper.decision.inference.bracket import Bracket
from sweeper.decision.inference.posterior import Location
from sweeper.decision.verdict.bounds import contradiction
from sweeper.decision.verdict.certainty import Grounds
from sweeper.decision.verdict.confounded import Nesting
from sweeper.decision.verdict.json_codec import plain
from sweeper.decision.verdict.ruling import rule
from sweeper.decision.verdict.states import State
from sweeper.decision.words.rule_text import sentence

SETTINGS = DecisionSettings(deciding_view="held_out_plates", method="posterior", draws=1000)


TOP = STRENGTHS[-1]


def best_biology_of(decision, weights):
    """λ of the highest level mean among some."""
    means = {level.weight: level.biological.mean for level in decision.levels}
    return max(weights, key=lambda weight: means[weight])


NESTED = Nesting(batches=4, perturbations=20, spanning=0, targets=5, spanning_targets=4)


def judged(table, nesting=None, **changes):
    settings = SETTINGS.model_copy(update=changes)
    return judge_curve(table, view="held_out_plates", margin=0.3, settings=settings, nesting=nesting)


def dip_then_drop(x, dip):
    """No gain and two losses: biology dips at one strength, recovers, then falls."""
    return SHAPES["plateau_drop"](x) - dip * (np.abs(x + 0.727) < 0.1)


def dipping(dip=0.3):
    rng = np.random.default_rng(1)
    return tidy(sample(lambda x: dip_then_drop(x, dip), rng, sigma=0.004), sample(technical_curve, rng, sigma=0.004))


def two_metrics(first, second):
    """The first is 0.3 of the composite's height, so that the composite hides what it loses."""
    rng = np.random.default_rng(5)
    technical = sample(technical_curve, rng, sigma=0.004)
    early = tidy(0.3 * sample(SHAPES[first], rng, sigma=0.004), technical, names=("early",))
    late = tidy(2 + sample(SHAPES[second], rng, sigma=0.004), technical, names=("late",))
    return pd.concat([early, late.query("role == 'biological'")], ignore_index=True)


CASES = {
    State.INVALID_INPUT: lambda: tidy(*exact_curve("flat")).query("role == 'biological'"),
    State.INSUFFICIENT_DATA: lambda: tidy(*exact_curve("flat", seeds=2)),
    State.CONFOUNDED_BY_DESIGN: lambda: tidy(*exact_curve("plateau_drop")),
    State.NO_BASELINE_SIGNAL: lambda: tidy(exact_curve("flat")[0] - 1.0, exact_curve("flat")[1]),
    State.NO_TECHNICAL_EFFECT: lambda: tidy(*exact_curve("plateau_drop", technical=SHAPES["flat"])),
    State.UNSTABLE: lambda: lose(tidy(*exact_curve("flat")), STRENGTHS[9:], (0, 1, 2)),
    State.NOT_OVERCORRECTION: lambda: tidy(*exact_curve("plateau_drop", technical=falling_technical)),
    State.BELOW_RANGE: lambda: tidy(
        sample(drop_at_once, np.random.default_rng(1), sigma=0.004), exact_curve("flat")[1]
    ),
    State.IDENTIFIED: lambda: tidy(*exact_curve("plateau_drop")),
    State.IDENTIFIED_WIDE: lambda: noisy("slow", sigma=0.14),
    State.CONFLICTING_METRICS: lambda: two_metrics("slow", "late"),
    State.CONFLICTING_METHODS: lambda: dipping(0.12),
    State.BRACKET_ONLY: dipping,
    State.NOT_REACHED: lambda: tidy(*exact_curve("improving")),
    State.INCONCLUSIVE: lambda: noisy("flat", sigma=0.25),
}


# So much may a true curve differ from the families that a dip which the tests prove is no lack of fit.
CHANGES = {State.CONFLICTING_METHODS: {"discrepancy": 0.05}, State.CONFOUNDED_BY_DESIGN: {"nesting": NESTED}}


@pytest.mark.parametrize("state", CASES)
def test_state(state):
    decision = judged(CASES[state](), **CHANGES.get(state, {}))
    assert decision.state == state
    assert decision.reasons
    assert all(reason.endswith(".") and "\n" not in reason for reason in decision.reasons)
    json.dumps(plain(decision), allow_nan=False)


def test_every_state_has_a_case():
    assert set(CASES) == set(State)
    assert set(STATES) == set(State)


def test_identified_holds_the_truth_and_recommends_a_trained_strength_in_the_window():
    decision = judged(CASES[State.IDENTIFIED]())
    estimate, true = decision.estimate, truth("plateau_drop", 0.10)
    assert estimate.location.lower < true * 1.02
    assert np.log10(estimate.location.median) == pytest.approx(np.log10(true), abs=0.02)
    assert estimate.safe_up_to < true < estimate.unsafe_from
    assert estimate.safe_up_to < estimate.location.lower <= estimate.location.upper <= estimate.unsafe_from
    assert (estimate.safe_up_to, estimate.unsafe_from) == (estimate.bracket.safe_up_to, estimate.bracket.unsafe_from)
    assert estimate.window == (estimate.advised.kept[0], estimate.safe_up_to)
    assert estimate.recommended == best_biology_of(decision, estimate.advised.kept)
    assert estimate.recommended in STRENGTHS
    assert [entry.delta for entry in decision.sensitivity] == [0.05, 0.10, 0.20]
    for ends in (
        [entry.safe_up_to for entry in decision.sensitivity],
        [entry.unsafe_from for entry in decision.sensitivity],
        [entry.location.median for entry in decision.sensitivity],
    ):
        assert ends == sorted(ends)
    assert estimate.psi == pytest.approx(0.10 * np.sqrt(5) / estimate.sigma)
    assert 0.10 < estimate.detectable_drop < 0.15
    assert sum(estimate.families.values()) == pytest.approx(1)
    assert estimate.fallback is None
    assert estimate.lof_p > 0.05


def test_a_poor_fit_hands_the_decision_to_the_bracket():
    estimate = judged(dipping()).estimate
    assert estimate.fallback == "poor_fit"
    assert estimate.lof_p < 0.01
    assert (estimate.safe_up_to, estimate.unsafe_from) == (estimate.bracket.safe_up_to, estimate.bracket.unsafe_from)
    assert estimate.safe_up_to < 10**-0.727 == pytest.approx(estimate.unsafe_from, rel=0.01)
    assert judged(dipping(), lack_of_fit=1e-99).estimate.fallback is None


def test_tests_and_fitted_curves_that_exclude_each_other_are_told_and_the_lower_bound_holds():
    decision = judged(CASES[State.CONFLICTING_METHODS](), **CHANGES[State.CONFLICTING_METHODS])
    estimate = decision.estimate
    assert (estimate.contradiction, estimate.fallback) == ("loss_below", None)
    assert estimate.bracket.unsafe_from < estimate.location.lower
    assert (estimate.safe_up_to, estimate.unsafe_from) == (estimate.bracket.safe_up_to, estimate.bracket.unsafe_from)
    assert estimate.recommended <= estimate.safe_up_to
    assert decision.reasons[0].startswith(
        "The tests prove a loss at λ = 0.187, which the fitted curves call safe up to"
    )


def test_when_tests_and_fitted_curves_exclude_each_other():
    strengths = (0.0, 0.1, 1.0, 10.0)
    high, low = Location(0.1, 1.0, 5.0, 6.0, 7.0), Location(0.1, 1.0, 0.1, 0.1, 0.1)

    def because(location, *, safe=None, unsafe=None, same=True):
        return contradiction(strengths, Bracket(0.1, safe, unsafe), location, same=same, p_identify=0.975)

    assert because(high, unsafe=1.0) == "loss_below"
    assert because(high, unsafe=10.0) is None
    assert because(high) is None
    assert because(Location(0.1, 0.0, None, None, None), unsafe=10.0) == "loss_below"
    assert because(low, unsafe=0.1) is None  # at the smallest strength the bound stands for "here or below": they agree
    assert because(high, safe=10.0) == "safe_above"
    assert because(high, safe=1.0) is None
    assert because(high, safe=10.0, same=False) is None  # the composite may be safe where a metric is lost
    assert because(Location(0.1, 0.5, 5.0, 6.0, 7.0), safe=10.0) is None  # not located


def test_a_point_neither_located_nor_out_of_reach_gives_no_bound_of_its_own():
    estimate = judged(CASES[State.INCONCLUSIVE]()).estimate
    assert 0.05 < estimate.location.p_detect < 0.975
    assert (estimate.safe_up_to, estimate.unsafe_from) == (estimate.bracket.safe_up_to, estimate.bracket.unsafe_from)


def test_metrics_that_conflict_make_the_rule_follow_the_earliest():
    decision = judged(CASES[State.CONFLICTING_METRICS]())
    estimate = decision.estimate
    early, late = (estimate.metric_locations[name] for name in ("early", "late"))
    assert estimate.earliest_metric == "early"
    assert np.log10(late.lower / early.upper) > 0.5
    assert estimate.location == early
    assert estimate.safe_up_to < early.lower
    assert decision.reasons[0].startswith("early loses 10 % at about λ = ")


@pytest.fixture(params=["bracket", "posterior"])
def either(request, monkeypatch):
    """The test holds whichever method bounds the point."""
    changed = SETTINGS.model_copy(update={"method": request.param})
    monkeypatch.setattr(request.module, "SETTINGS", changed)


@pytest.mark.usefixtures("either")
def test_levels_and_runs_are_what_was_measured():
    biology, technical = exact_curve("plateau_drop")
    decision = judged(tidy(biology, technical))
    np.testing.assert_allclose([level.biological.mean for level in decision.levels], biology.mean(axis=1))
    assert all(level.technical.lower < level.technical.mean < level.technical.upper for level in decision.levels)
    np.testing.assert_allclose([run.biological for run in decision.runs], biology.ravel())
    assert all(run.used for run in decision.runs)
    assert decision.seeds == (0, 1, 2, 3, 4)


def test_batch_removal_that_only_comes_beyond_what_is_safe_advises_no_correction():
    late = tidy(*exact_curve("plateau_drop", technical=lambda x: technical_curve(x - 2)))
    decision = judged(late)
    assert decision.state == State.IDENTIFIED
    estimate = decision.estimate
    assert estimate.technical.has_effect
    assert estimate.technical.lambda_effective is None, "an over-corrected strength sets no bar"
    assert (estimate.advised.basis, estimate.recommended) == ("biology", 0.0)


def test_safe_to_the_end_without_saturation_is_not_not_reached():
    decision = judged(tidy(*exact_curve("improving", technical=lambda x: technical_curve(x - 3))))
    assert decision.state == State.INCONCLUSIVE
    assert decision.estimate.safe_up_to == TOP
    assert decision.estimate.recommended is None
    assert any("sweep larger λ" in reason for reason in decision.reasons)


def test_too_little_was_run():
    table = CASES[State.IDENTIFIED]()
    without_zero = judged(table[table["adversarial_weight"] > 0])
    assert (without_zero.state, "λ = 0 was not run" in without_zero.reasons[0]) == (State.INSUFFICIENT_DATA, True)
    few = judged(table[table["adversarial_weight"].isin(STRENGTHS[:5])])
    assert "4 strengths λ > 0 were run and 6 are needed: add 2" in few.reasons[0]
    one_seed = judged(table[table["seed"] == 2])
    assert "1 seed was run and 3 are needed" in one_seed.reasons[0]
    thin = judged(table[table["seed"] < 2], min_seeds=2, min_degrees_of_freedom=13)
    assert "12 residual degrees of freedom, 13 needed" in thin.reasons[0]
    assert {item.state for item in (few, one_seed, thin)} == {State.INSUFFICIENT_DATA}


def test_scattered_gaps_cost_only_the_runs_that_are_missing():
    table = CASES[State.IDENTIFIED]()
    whole = judged(table)
    for place, seed in ((3, 0), (5, 1), (7, 2), (9, 3)):  # one seed of five is whole
        lose(table, [STRENGTHS[place]], [seed], "failed")
    decision = judged(table)
    assert (decision.state, decision.seeds) == (whole.state, (0, 1, 2, 3, 4))
    assert decision.estimate.safe_up_to == whole.estimate.safe_up_to
    assert decision.estimate.unsafe_from == whole.estimate.unsafe_from
    assert [run.used for run in decision.runs].count(False) == 4


def test_too_many_gaps_are_named():
    table = CASES[State.IDENTIFIED]()
    thin = judged(lose(table.copy(), STRENGTHS[:7], (0, 1, 2), "failed"), max_collapse_rate=0.9)
    assert thin.state == State.INSUFFICIENT_DATA
    assert "2 seeds are ok at more than half of the strengths and 3 are needed" in thin.reasons[0]
    assert "λ = 0 seed 0 (failed)" in thin.reasons[0]
    assert thin.seeds == (3, 4)
    at_top = judged(table[~((table["adversarial_weight"] == TOP) & (table["seed"] > 0))])
    assert at_top.state == State.INSUFFICIENT_DATA
    assert f"λ = {TOP:.3g} has 1 usable run, 2 needed" in at_top.reasons[0]
    assert "(absent)" in at_top.reasons[0]


@pytest.mark.usefixtures("either")
def test_lost_runs_are_counted_and_never_imputed():
    biology, technical = exact_curve("plateau_drop")
    table = lose(tidy(biology, technical), [STRENGTHS[8]], [4], "oom")
    decision = judged(table)
    assert decision.levels[8].collapse_rate == pytest.approx(0.2)
    assert decision.seeds == (0, 1, 2, 3, 4)
    assert decision.levels[0].biological.mean == pytest.approx(biology[0].mean())
    assert [(run.weight, run.seed, run.status) for run in decision.runs if not run.used] == [(STRENGTHS[8], 4, "oom")]
    others = np.delete(biology, 8, axis=0)
    own_level = others[:, 4].mean() - others.mean()  # what seed 4 would have added to the mean of level 8
    without = biology[8, :4].mean() + own_level / 4
    assert decision.levels[8].biological.mean == pytest.approx(without)


@pytest.mark.usefixtures("either")
def test_collapse_can_dominate():
    dominated = judged(lose(tidy(*exact_curve("flat")), STRENGTHS[5:], (0, 1)))
    assert dominated.state == State.UNSTABLE
    assert dominated.estimate is None
    assert "at 8 of 12 strengths" in dominated.reasons[0]
    at_zero = judged(lose(tidy(*exact_curve("flat")), [0.0], (0, 1)))
    assert (at_zero.state, "already at λ = 0" in at_zero.reasons[0]) == (State.UNSTABLE, True)
    everything = judged(lose(tidy(*exact_curve("flat")), STRENGTHS, range(5)))
    assert everything.state == State.UNSTABLE
    assert [level.collapse_rate for level in everything.levels] == [1.0] * 13


def test_unstable_limits_the_safe_bound_but_a_loss_before_it_decides():
    stable_loss = judged(lose(tidy(*exact_curve("plateau_drop")), [TOP], (0, 1)))
    assert stable_loss.state == State.IDENTIFIED
    assert stable_loss.lambda_unstable == TOP
    limited = judged(CASES[State.UNSTABLE]())
    assert limited.estimate.safe_up_to == STRENGTHS[8]
    assert limited.estimate.recommended is not None


def test_a_metric_that_loses_what_the_composite_hides_makes_the_rule():
    decision = judged(two_metrics("plateau_drop", "improving"))
    estimate = decision.estimate
    assert decision.state == State.CONFLICTING_METRICS
    assert estimate.metric_locations["late"].lower is None
    assert estimate.metric_brackets["late"].unsafe_from is None
    assert estimate.safe_up_to < truth("plateau_drop", 0.10) < estimate.unsafe_from
    assert "late not within the range" in decision.reasons[0]


def test_one_metric_may_lose_while_the_composite_is_safe():
    """Where the fits cannot be compared (here: none is trusted) the brackets of the metrics still warn."""
    decision = judged(two_metrics("plateau_drop", "improving"), lack_of_fit=0.999)
    estimate = decision.estimate
    assert estimate.fallback == "poor_fit"
    assert estimate.earliest_metric == "early"
    assert estimate.metric_brackets["early"].unsafe_from <= estimate.safe_up_to
    assert any(reason.startswith("early by itself loses 10 %") for reason in decision.reasons)


@pytest.mark.usefixtures("either")
def test_a_constant_metric_measures_nothing():
    flat = np.full((13, 5), 0.5)
    constant = judged(tidy(flat, exact_curve("flat")[1]))
    assert constant.state == State.NO_BASELINE_SIGNAL
    assert constant.reasons == ("Biology is the same number in every run: a constant metric measures nothing.",)
    assert "biology is the same number in every run" in sentence(rule(constant, Grounds()))
    assert judged(tidy(0 * flat, exact_curve("flat")[1])).state == State.NO_BASELINE_SIGNAL
    assert judged(tidy(exact_curve("flat")[0], flat)).state == State.NO_TECHNICAL_EFFECT
