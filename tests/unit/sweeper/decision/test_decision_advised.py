"""The aim, on curves with a known answer: the least correction that gets the batch removal, over both dials."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from decision_curves import SHAPES, STRENGTHS, exact_curve, sample, technical_curve, tidy

from sweeper.decision import Decision, DecisionSettings, decide_sweep
from sweeper.decision.inference.best_of import entrants
from sweeper.decision.inference.fitted import fit
from sweeper.decision.verdict.advised import Range, advise

SETTINGS = DecisionSettings(deciding_view="held_out_plates", draws=2000)
HALF = (0.0, 0.1, 1.0, 10.0)


def judged(*tables: pd.DataFrame, **changes: object) -> Decision:
    settings = SETTINGS.model_copy(update=changes)
    return decide_sweep(pd.concat(tables, ignore_index=True), settings=settings, provenance={"trainer": "abra"})


def level(
    biology: list[float], removal: list[float], *, margin: float = 0.0, gains: bool = True, seed: int = 1
) -> Range:
    """A safe range whose level means are nearly exact."""
    rng = np.random.default_rng(seed)
    fits = [
        fit(np.array(means)[:, None] + rng.normal(0, 1e-4, (len(means), 5)), HALF, SETTINGS, stream=0)
        for means in (biology, removal)
    ]
    return Range(margin, HALF[: len(biology)], fits[0], fits[1], gains)


def chosen(*ranges: Range) -> tuple[float, float] | None:
    found = advise(ranges, epsilon_technical=0.05, confidence=0.95, seed=0)
    return None if found is None else (found.margin, found.weight)


def test_where_batch_removal_gains_biology_decides_among_those_as_good() -> None:
    assert chosen(level([0.9, 0.8, 0.7, 0.6], [0.3, 0.88, 0.9, 0.92])) == (0.0, 0.1), "λ = 0 leaves the batch"
    assert chosen(level([0.6, 0.7, 0.8, 0.7], [0.3, 0.88, 0.9, 0.92])) == (0.0, 1.0)
    assert chosen(level([0.9, 0.8, 0.7, 0.6], [0.9, 0.3, 0.3, 0.92])) == (0.0, 0.0), "within ε_T of the best"


def test_where_it_has_nothing_to_gain_only_better_biology_speaks_for_a_correction() -> None:
    flat = [0.5, 0.5, 0.5, 0.5]
    assert chosen(level([0.8, 0.80003, 0.8, 0.8], flat, gains=False)) == (0.0, 0.0)
    assert chosen(level([0.7, 0.75, 0.8, 0.78], flat, gains=False)) == (0.0, 1.0)


def test_equal_means_go_to_the_smaller_strength_and_margin() -> None:
    one = level([0.5, 0.8, 0.8, 0.8], [0.3, 0.9, 0.9, 0.9])
    exact = Range(0.2, one.strengths, one.biology, one.removal, one.gains)
    best = int(np.argmax(one.biology.means))
    assert chosen(exact, one) == (0.0, HALF[best])


def test_both_dials_are_weighed_together() -> None:
    weak = level([0.9, 0.89, 0.88, 0.87], [0.3, 0.4, 0.5, 0.5], margin=0.0)
    strong = level([0.7, 0.69, 0.68, 0.67], [0.3, 0.9, 0.91, 0.9], margin=0.3, seed=2)
    assert chosen(weak, strong) == (0.3, 0.1), "the best batch removal of any margin sets the bar"
    assert chosen(weak) == (0.0, 1.0)
    assert chosen() is None


def test_a_margin_without_a_gain_takes_part_with_its_own_zero() -> None:
    gains = level([0.6, 0.6, 0.6, 0.6], [0.4, 0.5, 0.5, 0.5], margin=0.0)
    none = level([0.8, 0.80003, 0.8, 0.8], [0.49, 0.5, 0.5, 0.5], margin=0.3, gains=False, seed=2)
    assert chosen(gains, none) == (0.3, 0.0)


def test_the_bar_is_set_within_the_safe_range() -> None:
    """Batch removal goes on improving where biology is lost; what is safe already has all that may be had."""
    decision = judged(tidy(*exact_curve("plateau_drop", technical=lambda x: technical_curve(x) + 0.1 * (x > 1.2))))
    estimate = decision.curve.estimate
    assert estimate.technical.best > 0.99
    assert estimate.advised.technical_best < 0.92
    assert 0 < decision.rule.advice.recommended <= decision.rule.advice.most < 10**0.56
    assert estimate.technical.lambda_effective <= decision.rule.advice.most


def test_noise_in_many_strengths_seldom_sets_the_bar() -> None:
    """Level means equal: the worst of thirteen may look 0.1 below the best; at most 5 % are then called worse."""
    wrong = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        values = 0.5 + rng.normal(0, 0.02, 5) + rng.normal(0, 0.05, (len(STRENGTHS), 5))
        fitted = fit(values, STRENGTHS, SETTINGS, stream=0)
        wrong += not entrants([(fitted, len(STRENGTHS))], confidence=0.95, seed=0).not_worse().all()
    assert wrong <= 6  # P(X > 6) of a binomial of 60 at 0.05 is 0.03


def test_two_curves_are_compared_with_their_own_seeds_noise() -> None:
    """Seeds' own levels cancel within a curve, not between curves: the error between them is larger."""
    rng = np.random.default_rng(3)
    fits = [fit(rng.normal(0, 0.1, 5) + rng.normal(0, 0.01, (4, 5)), HALF, SETTINGS, stream=0) for _ in range(2)]
    error = entrants([(fits[0], 4), (fits[1], 2)], confidence=0.95, seed=0).error
    assert error.shape == (6, 6)
    assert np.allclose(np.diagonal(error), 0)
    assert error[0, 1] < 0.02 < 0.04 < error[0, 4]


@pytest.mark.parametrize("method", ["combined", "posterior", "bracket"])
def test_the_advice_lies_below_every_bound_of_the_method(method: str) -> None:
    estimate = judged(tidy(*exact_curve("umbrella")), method=method).curve.estimate
    bounds = [estimate.bracket.safe_up_to] if method != "posterior" else []
    bounds += [] if method == "bracket" else [estimate.location.lower]
    assert 0 < estimate.recommended <= min(bounds)
    assert (estimate.location is None) == (method == "bracket")


def test_the_default_locates_and_bounds() -> None:
    rule = judged(tidy(*exact_curve("plateau_drop"))).rule
    assert DecisionSettings(deciding_view="x").method == "combined"
    assert rule.state == "IDENTIFIED"
    assert rule.estimate.ci90[0] < 10**0.56 < rule.estimate.ci90[1]


def test_where_the_point_is_neither_located_nor_excluded_the_tests_still_bound_it() -> None:
    rng = np.random.default_rng(5)
    unsaturated = tidy(
        sample(SHAPES["flat"], rng, sigma=0.02), sample(lambda x: technical_curve(x - 3), rng, sigma=0.004)
    )
    decision = judged(unsaturated)
    assert decision.rule.state == "BRACKET_ONLY"
    assert decision.rule.advice.most == decision.curve.estimate.bracket.safe_up_to
    assert judged(unsaturated, method="posterior").rule.state == "INCONCLUSIVE"


def test_the_earliest_metric_to_be_lost_bounds_the_advice() -> None:
    rng = np.random.default_rng(5)
    technical = sample(technical_curve, rng, sigma=0.004)
    early = tidy(0.3 * sample(SHAPES["plateau_drop"], rng, sigma=0.004), technical, names=("early",))
    late = tidy(2 + sample(SHAPES["improving"], rng, sigma=0.004), technical, names=("late",))
    table = pd.concat([early, late.query("role == 'biological'")], ignore_index=True)
    decision = judged(table, method="bracket")
    estimate = decision.curve.estimate
    assert estimate.early.name == "early"
    assert estimate.limit == estimate.early.safe_up_to < estimate.safe_up_to
    assert 0 < decision.rule.advice.recommended <= decision.rule.advice.most == estimate.limit
    assert "The metric early is lost before the composite; it is safe only up to" in decision.sentence
