"""Two dials: the frontier over margins, the shift of the point, and the choice of the margin."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from decision_curves import SHAPES, STRENGTHS, exact_curve, sample, technical_curve, tidy
from jsonschema import Draft202012Validator

import sweeper.decision as room
from sweeper.decision import DecisionSettings, decide_sweep, judge_curve
from sweeper.decision.input.results_table import prepare
from sweeper.decision.verdict.margin_choice import choose, holm
from sweeper.decision.verdict.margin_frontier import _slopes, frontier
from sweeper.decision.verdict.states import State

# One curve in twenty fails the test of its fit, and the bracket decides: not what is looked at here.
SETTINGS = DecisionSettings(deciding_view="held_out_plates", method="posterior", draws=500, lack_of_fit=1e-6)
BRACKET = SETTINGS.model_copy(update={"method": "bracket"})
SCHEMA = json.loads((Path(room.__file__).parent / "rule.schema.json").read_text(encoding="utf-8"))
SLOPE = 2.5  # decades a radian


def margin_table(margin, *, shift=0.0, shape="plateau_drop", sigma=0.02, accuracy=None):
    """The shape moved by `shift` decades; `accuracy` adds the metric that chooses the margin, at this level."""
    rng = np.random.default_rng(7 + int(100 * margin))
    curve = sample(lambda x: SHAPES[shape](x - shift), rng, sigma=sigma)
    table = tidy(curve, sample(technical_curve, rng, sigma=0.004), margin=margin)
    if accuracy is None:
        return table
    own = table[table["role"] == "biological"].assign(metric="perturbation_accuracy", primary=False)
    own["value"] = accuracy + 0.01 * own["seed"] + rng.normal(0, 0.004, len(own))
    return pd.concat([table, own], ignore_index=True)


def decided(*tables, settings=SETTINGS):
    whole = pd.concat(tables, ignore_index=True)
    return [
        judge_curve(whole, view="held_out_plates", margin=m, settings=settings) for m in sorted(set(whole["margin"]))
    ]


@pytest.fixture(scope="module")
def moved():
    """Three margins whose point moves by `SLOPE`."""
    return decided(*(margin_table(m, shift=SLOPE * (m - 0.2)) for m in (0.0, 0.2, 0.4)))


def test_the_frontier_is_one_fit_a_margin(moved):
    found = frontier(moved, SETTINGS)
    assert [point.margin for point in found.points] == [0.0, 0.2, 0.4]
    for point, item in zip(found.points, moved, strict=True):
        location = item.estimate.location
        assert (point.state, point.method) == (item.state, "posterior")
        assert (point.safe_bound, point.lambda_oc, point.upper) == (location.lower, location.median, location.upper)
    assert {pair.order for pair in found.pairs} == {"later"}
    assert len(found.pairs) == 3


def test_the_shift_is_found_with_its_interval(moved):
    shift = frontier(moved, SETTINGS).shift
    assert (shift.status, shift.margins, shift.reference, shift.left_out) == ("estimated", (0.0, 0.2, 0.4), 0.0, ())
    assert shift.lower < SLOPE < shift.upper
    assert shift.upper - shift.lower < 1.5
    assert shift.p_later == 1.0
    assert frontier(moved, SETTINGS).shift == shift  # seeded


def test_without_a_shift_the_interval_holds_zero():
    same = decided(margin_table(0.0), margin_table(0.4))
    shift = frontier(same, SETTINGS).shift
    assert shift.lower < 0 < shift.upper
    assert 0.02 < shift.p_later < 0.98
    assert frontier(same, SETTINGS).pairs[0].order == "not told apart"


def test_two_margins_give_the_difference_of_their_points_and_precise_margins_weigh_more():
    rng = np.random.default_rng(0)
    draws = np.array([rng.normal(1.0, 0.1, 4000), rng.normal(1.6, 0.2, 4000)])
    slopes = _slopes(np.array([0.0, 0.3]), draws, 0)
    assert slopes.mean() == pytest.approx(2.0, abs=0.02)
    assert slopes.std() == pytest.approx(np.hypot(0.1, 0.2) / 0.3, rel=0.05)  # independent, though drawn in step
    third = np.array([*draws, rng.normal(9.0, 5.0, 4000)])
    assert _slopes(np.array([0.0, 0.3, 0.6]), third, 0).mean() == pytest.approx(2.0, abs=0.2)
    gone = draws.copy()
    gone[0, :100] = np.inf
    assert np.isfinite(_slopes(np.array([0.0, 0.3]), gone, 0)).all()


def test_a_margin_beyond_the_range_takes_no_part_but_is_put_in_order():
    items = decided(margin_table(0.0, shift=-1.0), margin_table(0.4, shape="improving", sigma=0.004))
    assert [item.state for item in items] == [State.IDENTIFIED, State.NOT_REACHED]
    found = frontier(items, SETTINGS)
    assert found.shift.status == "not estimable"
    assert found.shift.slope is None
    assert found.shift.margins == (0.0,)
    assert found.shift.left_out == ((0.4, "not reached within the range"),)
    assert found.points[1].safe_bound == STRENGTHS[-1]
    assert found.pairs[0].order == "later"


def test_states_without_bounds_and_censored_points_are_left_out(moved):
    below = replace(moved[0], state=State.BELOW_RANGE)
    damaged = replace(moved[1], state=State.NOT_OVERCORRECTION)
    found = frontier([below, damaged, moved[2]], SETTINGS)
    assert dict(found.shift.left_out) == {0.0: "at or below the smallest strength", 0.2: "not overcorrection"}
    assert found.shift.status == "not estimable"
    assert found.points[1].method is None
    assert [pair.order for pair in found.pairs] == ["not told apart", "later", "not told apart"]


def test_brackets_are_ordered_only_where_they_are_disjoint():
    apart = decided(margin_table(0.0, shift=-1.5), margin_table(0.4, shift=0.5), settings=BRACKET)
    found = frontier(apart, BRACKET)
    assert [point.method for point in found.points] == ["bracket", "bracket"]
    assert found.points[0].upper <= found.points[1].safe_bound
    assert found.pairs[0].order == "later"
    assert frontier(list(reversed(apart)), BRACKET) == found
    assert (found.shift.status, found.shift.slope) == ("bracket", None)
    swapped = [replace(item, margin=margin) for item, margin in zip(apart, (0.4, 0.0), strict=True)]
    assert frontier(swapped, BRACKET).pairs[0].order == "earlier"
    near = decided(margin_table(0.0), margin_table(0.4), settings=BRACKET)
    assert frontier(near, BRACKET).pairs[0].order == "not told apart"


def test_the_document_holds_frontier_and_choice():
    table = pd.concat([margin_table(0.0), margin_table(0.4, shift=1.0, accuracy=0.5)], ignore_index=True)
    document = decide_sweep(table, settings=SETTINGS, provenance={}).to_json()
    Draft202012Validator(SCHEMA).validate(document)
    view = document["views"]["held_out_plates"]
    assert view["frontier"]["shift"]["status"] == "estimated"
    assert view["choice"]["margin"] == view["chosen_margin"]
    assert "crossings" not in json.dumps(document)


def chosen(*tables, settings=BRACKET):
    items = decided(*tables, settings=settings)
    return choose(items, prepare(pd.concat(tables, ignore_index=True)), settings)[1]


def test_the_margin_is_that_of_the_strength_advised_among_all():
    """Biology is a fifth higher at margin 0.4, batch removal the same at both."""
    low, high = margin_table(0.0), margin_table(0.4)
    high.loc[high["metric"] == "retrieval_map", "value"] *= 1.2
    items = decided(low, high, settings=BRACKET)
    curves, found = choose(items, prepare(pd.concat([low, high], ignore_index=True)), BRACKET)
    assert (found.margin, found.by) == (0.4, "advice")
    assert [item.margin for item in curves] == [0.0, 0.4]
    assert curves[0] == items[0]
    assert curves[1].estimate.advised.margin == 0.4
    assert curves[1].recommended == curves[1].estimate.advised.weight > 0


def test_less_batch_removal_is_not_bought_with_biology():
    low, high = margin_table(0.0), margin_table(0.4)
    high.loc[high["metric"] == "retrieval_map", "value"] *= 1.2
    high.loc[high["role"] == "technical", "value"] *= 0.8
    assert chosen(low, high).margin == 0.0


def test_accuracy_out_of_distribution_is_told_and_paired_over_seeds():
    """Accuracy is shown to be higher at 0.4 only: seed effects of 0.01 cancel."""
    tables = [margin_table(0.0, accuracy=0.50), margin_table(0.2, accuracy=0.501), margin_table(0.4, accuracy=0.53)]
    found = chosen(*tables)
    assert found.metric == "perturbation_accuracy"
    reference, near, far = found.compared
    assert (reference.p, reference.difference) == (None, None)
    assert far.difference == pytest.approx(0.03, abs=0.01)
    assert far.p_holm <= 0.05 < near.p_holm
    assert far.p_holm == pytest.approx(2 * far.p)
    assert (near.seeds, far.seeds) == (5, 5)


def test_margins_that_nothing_tells_apart_go_by_the_smaller():
    biology, removal = exact_curve("plateau_drop")
    same = [tidy(biology, removal, margin=margin) for margin in (0.0, 0.4)]
    assert chosen(*same).margin == 0.0
    assert chosen(margin_table(0.4)).by == "only"


def test_without_an_advice_the_state_that_says_most_is_shown():
    """Biology lies at its floor at margin 0; at 0.4 it is so noisy that nothing is shown."""
    rng = np.random.default_rng(3)
    nothing = tidy(
        *(values - offset for values, offset in zip(exact_curve("flat"), (1.0, 0.0), strict=True)), margin=0.0
    )
    noisy = tidy(sample(SHAPES["flat"], rng, sigma=0.4), sample(technical_curve, rng, sigma=0.004), margin=0.4)
    found = chosen(nothing, noisy)
    assert (found.margin, found.by) == (0.4, "state")
    assert (chosen(nothing, nothing.assign(margin=0.4)).margin, chosen(nothing, nothing.assign(margin=0.4)).by) == (
        0.0,
        "smallest",
    )


def test_holm():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
