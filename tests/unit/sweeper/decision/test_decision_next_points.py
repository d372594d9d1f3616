"""What to train next: inside the interval, beyond the range, or more seeds; nothing where it is settled."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from math import log10

import numpy as np
import pandas as pd
import pytest
from decision_curves import SHAPES, STRENGTHS, noisy, sample, technical_curve, tidy

from sweeper.decision import DecisionSettings, decide_sweep
from sweeper.decision.inference.posterior import Location
from sweeper.decision.verdict.certainty import Grounds
from sweeper.decision.verdict.judge import judge_curve
from sweeper.decision.verdict.next_points import APART, NextOptions, NextPoints, next_points
from sweeper.decision.verdict.ruling import rule
from sweeper.decision.verdict.states import State
from sweeper.decision.verdict.values import Interval, JudgedCurve
from sweeper.decision.words.printed import printed
from sweeper.decision.words.rule_text import sentence

SETTINGS = DecisionSettings(deciding_view="held_out_plates", draws=2000, curves=500)
OPTIONS = NextOptions()


def judged(table: pd.DataFrame, method: str = "posterior") -> JudgedCurve:
    settings = SETTINGS.model_copy(update={"method": method})
    return judge_curve(table, view="held_out_plates", margin=0.3, settings=settings)


def coarse(shape: str, *, low: float = -3, high: float = 2, count: int = 6, sigma: float = 0.004) -> pd.DataFrame:
    rng = np.random.default_rng(5)
    strengths = (0.0, *(float(value) for value in np.logspace(low, high, count)))
    biology = sample(SHAPES[shape], rng, strengths=strengths, seeds=3, sigma=sigma)
    technical = sample(technical_curve, rng, strengths=strengths, seeds=3, sigma=0.004)
    return tidy(biology, technical, strengths=strengths)


@pytest.fixture(scope="module")
def located() -> JudgedCurve:
    return judged(noisy("slow", sigma=0.04))


def with_location(decision: JudgedCurve, state: State, lower: float, median: float, upper: float) -> JudgedCurve:
    assert decision.estimate is not None
    interval = Interval(lower, median, upper)
    return replace(decision, state=state, estimate=replace(decision.estimate, interval=interval))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, Interval(1.0, 2.0, 4.0)),
        ({"p_detect": 0.9}, Interval(0.5, None, 5.0)),
        ({"upper": None}, Interval(0.5, None, 5.0)),
    ],
)
def test_the_interval_is_the_posteriors_only_where_it_has_located_the_point(
    located: JudgedCurve, change: dict[str, float | None], expected: Interval
) -> None:
    own = replace(Location(0.10, 1.0, 1.0, 2.0, 4.0), **change)  # type: ignore[arg-type]
    chosen = replace(located.sensitivity[1], location=own, fallback=None, safe_up_to=0.5, unsafe_from=5.0)
    assert Interval.of(chosen, 0.975) == expected
    assert Interval.of(replace(chosen, fallback="poor_fit"), 0.975) == Interval(0.5, None, 5.0)


def test_a_wide_interval_gets_strengths_at_quantiles_of_the_point_and_one_below(located: JudgedCurve) -> None:
    wide = with_location(located, State.IDENTIFIED_WIDE, 0.25, 2.5, 25.0)
    found = next_points(wide, OPTIONS, splits=2)
    assert found.why == "between"
    assert found.interval == (0.25, 25.0)
    assert len(found.weights) == 4
    assert found.weights[0] < 0.25, "where biology is best, which the loss is a share of"
    assert 0.25 < found.weights[1] < 2.5 < found.weights[-1] < 25.0, "20 % and 80 % lie within 5 and 95 %"
    two = next_points(wide, replace(OPTIONS, strengths=2), splits=2)
    assert all(0.25 < strength < 25.0 for strength in two.weights), "too few for one outside"
    assert found.seeds == 0
    assert found.cells == 4 * 3 * 2
    assert found.seconds is None
    costed = next_points(wide, replace(OPTIONS, seconds_per_cell=1.5), splits=2)
    assert costed.seconds == pytest.approx(24 * 1.5)


def test_more_points_are_asked_for_and_none_stands_beside_a_trained_one(located: JudgedCurve) -> None:
    wide = with_location(located, State.INCONCLUSIVE, 0.1, 2.0, 20.0)
    found = next_points(wide, NextOptions(strengths=30), splits=1)
    places = sorted([*found.weights, *STRENGTHS[1:]])
    assert len(found.weights) > 15
    assert min(log10(b / a) for a, b in pairwise(places)) >= APART * 0.999


def test_a_narrow_interval_is_settled_at_the_width_asked_for(located: JudgedCurve) -> None:
    narrow = with_location(located, State.IDENTIFIED, 1.0, 1.5, 2.5)
    assert next_points(narrow, OPTIONS, splits=1) == NextPoints("settled", interval=(1.0, 2.5))
    assert next_points(narrow, replace(OPTIONS, width=0.3), splits=1).why == "between"


def test_dense_strengths_leave_only_the_noise_and_ask_for_seeds_around_the_point(located: JudgedCurve) -> None:
    wide = with_location(located, State.IDENTIFIED_WIDE, 0.3, 2.0, 20.0)
    dense = tuple(replace(located.levels[1], weight=float(strength)) for strength in np.logspace(-3, 2, 60))
    found = next_points(replace(wide, levels=(located.levels[0], *dense)), replace(OPTIONS, seeds=3), splits=2)
    assert (found.why, found.weights, found.seeds) == ("seeds", (), 3)
    assert found.seeds_at is not None
    trained = [level.weight for level in dense]
    inside = [strength for strength in trained if 0.3 <= strength <= 20]
    assert found.seeds_at[0] == 0.0, "the tie to the other seeds"
    assert set(inside) < set(found.seeds_at)
    assert len(found.seeds_at) == len(inside) + 3, "λ = 0, and one strength on either side"
    assert found.cells == 3 * len(found.seeds_at) * 2
    assert found.cells < 3 * 61 * 2


def test_strengths_come_before_seeds_while_there_is_room_for_them(located: JudgedCurve) -> None:
    wide = with_location(located, State.IDENTIFIED_WIDE, 0.3, 2.0, 20.0)
    spaced = tuple(replace(located.levels[1], weight=float(strength)) for strength in np.logspace(-3, 2, 30))
    found = next_points(replace(wide, levels=(located.levels[0], *spaced)), OPTIONS, splits=1)
    assert (found.why, found.seeds, found.seeds_at) == ("between", 0, None)
    assert len(found.weights) == OPTIONS.strengths


def test_seeds_added_around_the_point_alone_are_used_and_narrow_it(located: JudgedCurve) -> None:
    rng = np.random.default_rng(3)
    values = sample(SHAPES["slow"], rng, seeds=8, sigma=0.04)
    removal = sample(technical_curve, rng, seeds=8, sigma=0.004)
    table = tidy(values, removal)
    few = table[table["seed"] < 3]
    where = (0.0, *STRENGTHS[5:11])
    more = table[(table["seed"] < 3) | table["adversarial_weight"].isin(where)]
    before, after = judged(few), judged(more)
    assert before.seeds == (0, 1, 2)
    assert after.seeds == tuple(range(8))
    assert all(run.used for run in after.runs)
    assert before.estimate is not None
    assert after.estimate is not None
    assert before.estimate.location is not None
    assert after.estimate.location is not None
    assert after.estimate.location.width < before.estimate.location.width


def test_a_bracket_is_halved_evenly_in_decades() -> None:
    decision = judged(coarse("plateau_drop"), "bracket")
    estimate = decision.estimate
    assert decision.state is State.BRACKET_ONLY
    assert estimate is not None
    assert estimate.safe_up_to is not None
    assert estimate.unsafe_from is not None
    found = next_points(decision, replace(OPTIONS, strengths=3), splits=1)
    assert found.why == "between"
    places = np.log10([estimate.safe_up_to, *found.weights, estimate.unsafe_from])
    assert np.diff(places) == pytest.approx(np.diff(places).mean(), rel=0.01)


def test_a_range_that_ends_before_anything_happens_is_extended_upwards() -> None:
    decision = judged(coarse("flat", high=-0.8), "bracket")
    assert decision.estimate is not None
    assert not decision.estimate.technical.saturated
    found = next_points(decision, OPTIONS, splits=1)
    assert found.why == "above"
    assert min(found.weights) > 10**-0.8
    assert max(found.weights) == pytest.approx(10**0.7, rel=1e-3)


def test_a_dial_that_can_be_turned_no_further_is_not_extended() -> None:
    decision = judged(coarse("flat", high=-0.8), "bracket")
    top = decision.kept_weights[-1]
    assert next_points(decision, replace(OPTIONS, largest=top), splits=1).why == "seeds"
    some = next_points(decision, replace(OPTIONS, largest=2 * top), splits=1)
    assert (some.why, max(some.weights)) == ("above", pytest.approx(2 * top, rel=1e-3))


@pytest.mark.parametrize("sigma", [0.01, 0.12])
def test_no_sentence_asks_for_more_than_the_dial_has(sigma: float) -> None:
    table = coarse("flat", high=0.0, sigma=sigma)
    for trainer, largest, asked in (("abra", math.inf, True), ("center", 1.0, False)):
        own = table.assign(trainer=table["trainer"].replace({"abra": trainer}))
        found = decide_sweep(
            own, settings=SETTINGS, provenance={"trainer": trainer}, next_options=replace(OPTIONS, largest=largest)
        )
        said = " ".join([found.sentence, *found.rule.reasons])
        assert ("sweep larger" in said) is asked, said
        assert ("λ" in f"{said}{printed(found)}") is asked
        assert (found.next_points.why == "above") is asked


@pytest.mark.parametrize(("method", "high"), [("bracket", 2.0), ("posterior", 2.0), ("bracket", -0.8)])
def test_what_is_neither_located_nor_excluded_gets_what_its_sentence_names(method: str, high: float) -> None:
    settings = SETTINGS.model_copy(update={"method": method})
    wild = coarse("flat", high=high, sigma=0.12)
    document = decide_sweep(wild, settings=settings, provenance={"trainer": "abra"}).to_json()
    found, said = document["next_points"], document["sentence"]
    assert document["rule"]["state"] == "INCONCLUSIVE"
    if high == 2.0:
        assert (found["why"], found["strengths"], found["seeds"]) == ("seeds", [], OPTIONS.seeds)
        assert "Add seeds at every strength." in said
    else:
        assert (found["why"], found["seeds"]) == ("above", 0)
        assert "sweep larger λ" in said


def test_a_point_that_is_there_but_anywhere_gets_strengths_and_says_so(located: JudgedCurve) -> None:
    wide = with_location(located, State.INCONCLUSIVE, 0.1, 2.0, 20.0)
    assert next_points(wide, OPTIONS, splits=1).why == "between"
    made = rule(located, Grounds())
    estimate = replace(made.estimate, unsafe_from=31.6, ci90=(0.1, 20.0), p_detect=0.99)
    said = sentence(replace(made, state=State.INCONCLUSIVE, estimate=estimate))
    assert (
        "10 % of biology is lost somewhere from λ = 0.1 to 20 (virtually certain, P = 0.99), but where is unknown."
        in said
    )
    assert "Train more strengths in between" in said
    assert "unsafe" not in said


def test_a_loss_at_the_smallest_strength_extends_the_range_downwards() -> None:
    decision = judged(coarse("plateau_drop", low=0.8, high=2.5), "bracket")
    assert decision.state is State.BELOW_RANGE
    found = next_points(decision, OPTIONS, splits=1)
    assert found.why == "below"
    assert max(found.weights) < 10**0.8
    assert min(found.weights) == pytest.approx(10**-0.7, rel=1e-3)


def test_a_range_above_which_training_fails_is_not_extended(located: JudgedCurve) -> None:
    open_above = replace(judged(coarse("flat", high=-0.8), "bracket"), lambda_unstable=3.0)
    assert next_points(open_above, OPTIONS, splits=1).why != "above"


@pytest.mark.parametrize(
    ("state", "why"),
    [
        (State.NOT_REACHED, "settled"),
        (State.UNSTABLE, "terminal"),
        (State.NOT_OVERCORRECTION, "terminal"),
        (State.NO_TECHNICAL_EFFECT, "terminal"),
        (State.NO_BASELINE_SIGNAL, "terminal"),
        (State.INSUFFICIENT_DATA, "terminal"),
        (State.INVALID_INPUT, "terminal"),
    ],
)
def test_states_that_more_points_cannot_change_get_none(located: JudgedCurve, state: State, why: str) -> None:
    assert next_points(replace(located, state=state), OPTIONS, splits=1) == NextPoints(why)  # type: ignore[arg-type]


def test_the_document_carries_the_proposal_of_the_deciding_curve() -> None:
    table = pd.concat([coarse("plateau_drop"), coarse("plateau_drop").assign(split="held_out_plates/1")])
    settings = SETTINGS.model_copy(update={"method": "bracket"})
    options = NextOptions(strengths=2, seeds=1)
    document = decide_sweep(table, settings=settings, provenance={"trainer": "abra"}, next_options=options).to_json()
    found = document["next_points"]
    assert (found["why"], len(found["strengths"]), found["cells"]) == ("between", 2, 2 * 3 * 2)
    empty = decide_sweep(table.iloc[:0], settings=settings, provenance={"trainer": "abra"}).to_json()
    assert empty["next_points"]["why"] == "terminal"
