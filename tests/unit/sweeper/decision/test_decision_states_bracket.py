"""Every state the bracket can return, reached through `decide`, and what the decision then holds."""

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
from sweeper.decision.verdict.confounded import Nesting
from sweeper.decision.verdict.json_codec import plain
from sweeper.decision.verdict.states import State

# Bounds, not a point: some states need an interval of the point itself.
OF_A_POINT = {State.IDENTIFIED, State.IDENTIFIED_WIDE, State.CONFLICTING_METRICS, State.CONFLICTING_METHODS}
BRACKET_STATES = tuple(state for state in State if state not in OF_A_POINT)


SETTINGS = DecisionSettings(deciding_view="held_out_plates", method="bracket", draws=1000)


TOP = STRENGTHS[-1]


NESTED = Nesting(batches=4, perturbations=20, spanning=0, targets=5, spanning_targets=4)


def judged(table, nesting=None, **changes):
    settings = SETTINGS.model_copy(update=changes)
    return judge_curve(table, view="held_out_plates", margin=0.3, settings=settings, nesting=nesting)


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
    State.BRACKET_ONLY: lambda: tidy(*exact_curve("plateau_drop")),
    State.NOT_REACHED: lambda: tidy(*exact_curve("improving")),
    State.INCONCLUSIVE: lambda: noisy("flat", sigma=0.25),
}


@pytest.mark.parametrize("state", CASES)
def test_state(state):
    decision = judged(CASES[state](), nesting=NESTED if state == State.CONFOUNDED_BY_DESIGN else None)
    assert decision.state == state
    assert decision.reasons
    assert all(reason.endswith(".") and "\n" not in reason for reason in decision.reasons)
    json.dumps(plain(decision), allow_nan=False)


def test_the_cases_are_all_states_that_the_bracket_returns():
    assert set(CASES) == set(BRACKET_STATES)
    assert set(STATES) == set(State)
    assert set(State) - set(BRACKET_STATES) == OF_A_POINT


def test_bracket_only_holds_the_truth_and_recommends_a_trained_strength_in_the_window():
    decision = judged(CASES[State.BRACKET_ONLY]())
    estimate = decision.estimate
    assert estimate.safe_up_to < truth("plateau_drop", 0.10) < estimate.unsafe_from
    assert estimate.window == (estimate.advised.kept[0], estimate.safe_up_to)
    assert estimate.window[0] <= estimate.recommended <= estimate.window[1]
    assert estimate.recommended in STRENGTHS
    assert [entry.delta for entry in decision.sensitivity] == [0.05, 0.10, 0.20]
    safe = [entry.safe_up_to for entry in decision.sensitivity]
    unsafe = [entry.unsafe_from for entry in decision.sensitivity]
    assert safe == sorted(safe)
    assert unsafe == sorted(unsafe)
    assert estimate.psi == pytest.approx(0.10 * np.sqrt(5) / estimate.sigma)
    assert 0.10 < estimate.detectable_drop < 0.15


def test_batch_removal_that_only_comes_beyond_what_is_safe_advises_no_correction():
    late = tidy(*exact_curve("plateau_drop", technical=lambda x: technical_curve(x - 2)))
    decision = judged(late)
    assert decision.state == State.BRACKET_ONLY
    assert (decision.estimate.advised.basis, decision.estimate.recommended) == ("biology", 0.0)


def test_safe_to_the_end_without_saturation_is_not_not_reached():
    decision = judged(tidy(*exact_curve("improving", technical=lambda x: technical_curve(x - 3))))
    assert decision.state == State.BRACKET_ONLY
    assert decision.estimate.safe_up_to == TOP
    assert any("sweep larger λ" in reason for reason in decision.reasons)


def test_too_little_was_run():
    table = CASES[State.BRACKET_ONLY]()
    without_zero = judged(table[table["adversarial_weight"] > 0])
    assert (without_zero.state, "λ = 0 was not run" in without_zero.reasons[0]) == (State.INSUFFICIENT_DATA, True)
    few = judged(table[table["adversarial_weight"].isin(STRENGTHS[:5])])
    assert "4 strengths λ > 0 were run and 6 are needed: add 2" in few.reasons[0]
    one_seed = judged(table[table["seed"] == 2])
    assert "1 seed was run and 3 are needed" in one_seed.reasons[0]
    thin = judged(table[table["seed"] < 2], min_seeds=2, min_degrees_of_freedom=13)
    assert "12 residual degrees of freedom, 13 needed" in thin.reasons[0]
    assert {item.state for item in (few, one_seed, thin)} == {State.INSUFFICIENT_DATA}


def test_unstable_limits_the_safe_bound_but_a_loss_before_it_decides():
    stable_loss = judged(lose(tidy(*exact_curve("plateau_drop")), [TOP], (0, 1)))
    assert stable_loss.state == State.BRACKET_ONLY
    assert stable_loss.lambda_unstable == TOP
    limited = judged(CASES[State.UNSTABLE]())
    assert limited.estimate.safe_up_to == STRENGTHS[8]
    assert limited.estimate.recommended is not None


def test_one_metric_may_lose_while_the_composite_is_safe():
    rng = np.random.default_rng(5)
    lossy = sample(SHAPES["plateau_drop"], rng, sigma=0.004)
    firm = 2.0 + sample(SHAPES["improving"], rng, sigma=0.004)
    technical = sample(technical_curve, rng, sigma=0.004)
    table = pd.concat(
        [
            tidy(lossy * 0.3, technical, names=("lossy",)),
            tidy(firm, technical, names=("firm",)).query("role == 'biological'"),
        ],
        ignore_index=True,
    )
    decision = judged(table)
    estimate = decision.estimate
    assert estimate.earliest_metric == "lossy"
    assert estimate.metric_brackets["lossy"].unsafe_from <= estimate.safe_up_to
    assert any(reason.startswith("lossy by itself loses 10 %") for reason in decision.reasons)
