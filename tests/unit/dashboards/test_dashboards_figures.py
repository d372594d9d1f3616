from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from example_results import BATCHES, LAMBDAS, simulated_results
from hypothesis import given
from hypothesis import strategies as st

from dashboards.dial import axis_title, speaking_of
from dashboards.figures import frontier, heatmap, metric, probe, tradeoff
from dashboards.figures.axis import strength_axis
from dashboards.figures.style import spread
from dashboards.figures.tradeoff_drawing import draw_trade_off
from dashboards.first_screen import ordered_curves, ordered_views
from dashboards.records import checked
from dashboards.stages import stages
from sweeper.decision import Decision, RuledCurve

PLATES = "held_out_plates"


def leading(decision: Decision, view: str = PLATES) -> tuple[RuledCurve, ...]:
    return ordered_curves(decision, decision.views[view])


@pytest.fixture(scope="module")
def curves(decision: Decision) -> list[tradeoff.TradeOff]:
    return [tradeoff.trade_off(curve) for curve in leading(decision)]


def test_axis_puts_zero_left_of_a_break():
    axis = strength_axis([0.0, 0.01, 0.1, 1.0, 100.0])
    assert axis.place(100.0) == pytest.approx(2)
    assert axis.place(0.01) == pytest.approx(-2)
    assert axis.place(0.0) == axis.zero < axis.gap < axis.lowest == pytest.approx(-2)
    assert axis.limits[0] < axis.zero
    assert axis.limits[1] > 2
    assert [label for _, label in axis.ticks] == ["0", "0.01", "0.1", "1", "10", "100"]


def test_a_linear_dial_is_drawn_linearly_with_zero_where_it_belongs():
    with speaking_of("center"):
        axis = strength_axis([0.0, 0.1, 0.5, 1.0])
        assert [axis.place(weight) for weight in (0.0, 0.1, 0.5, 1.0)] == pytest.approx([0.0, 0.1, 0.5, 1.0])
        assert [label for _, label in axis.ticks] == ["0", "0.2", "0.4", "0.6", "0.8", "1"]
        assert axis_title() == "share taken out α"
    assert axis_title() == "adversarial weight λ (log scale)"


@pytest.mark.parametrize("trainer", ["abra", "center"])
@pytest.mark.parametrize("strengths", [[], [0.0], [0.0, 0.3], [0.7], [0.0, 0.21, 0.24], [0.0, 1e-6, 1e6]])
def test_axis_of_few_or_many_strengths_has_distinct_ticks_in_range(strengths: list[float], trainer: str):
    with speaking_of(trainer):
        axis = strength_axis(strengths)
    places = [place for place, _ in axis.ticks]
    assert places == sorted(set(places))
    assert axis.limits[0] < places[0]
    assert places[-1] <= axis.limits[1]
    assert all(axis.limits[0] < axis.place(weight) < axis.limits[1] for weight in strengths)


@given(st.lists(st.floats(0, 1), max_size=5))
def test_labels_are_moved_apart_and_stay_inside(values: list[float]):
    places = spread(values, 0.1, 0.0, 1.0)
    ordered = sorted(places)
    assert all(right - left >= 0.1 - 1e-9 for left, right in pairwise(ordered))
    assert all(-1e-9 <= place <= 1 + 1e-9 for place in places)


def test_labels_with_room_stay_where_they_are():
    assert spread([0.9, 0.1, 0.5], 0.1, 0.0, 1.0) == [0.9, 0.1, 0.5]


def test_trade_off_shows_the_numbers_of_the_decision(decision: Decision, curves: list[tradeoff.TradeOff]):
    judged = leading(decision)[0]
    document = decision.to_json()["views"][PLATES]["margins"][0 if curves[0].margin == 0.0 else 1]
    shown = {mean.weight: (mean.lower, mean.mean, mean.upper) for mean in curves[0].panels[0].means}
    expected = {
        level["strength"]: tuple(level["biological"][key] for key in ("lower", "mean", "upper"))
        for level in document["levels"]
        if level["biological"]
    }
    assert shown == expected
    assert curves[0].panels[0].role == "biological"
    assert len(curves[0].panels[1].dots) == 9 * 5
    assert dict(curves[0].panels[0].controls)["label_shuffled"] == pytest.approx(0, abs=1e-9)
    assert curves[0].loss_line == (0.1, pytest.approx(0.9 * document["estimate"]["peak"]))
    assert curves[0].safe_up_to == document["estimate"]["safe_up_to"] == judged.safe_up_to


def test_lost_runs_are_counted_and_their_level_has_no_mean(curves: list[tradeoff.TradeOff]):
    lost = {weight: (count, recorded) for weight, count, recorded in curves[0].lost}
    assert lost[100.0] == (5, 5)
    assert lost[1.0] == (0, 5)
    assert curves[0].unstable == 100.0
    assert 100.0 not in [mean.weight for mean in curves[0].panels[0].means]


def test_trade_off_chart_shades_what_is_safe_unsafe_and_not_swept(curves: list[tradeoff.TradeOff]):
    numbers = curves[0]
    assert numbers.safe_up_to is not None
    assert numbers.unsafe_from is not None
    axis = strength_axis(numbers.strengths)
    spec = json.loads(draw_trade_off(numbers).to_json())
    regions = {(s["x0"], s["x1"]) for s in spec["layout"]["shapes"] if s["type"] == "rect"}
    ends = {end for region in regions for end in region}
    assert axis.place(numbers.safe_up_to) in ends
    assert axis.place(numbers.unsafe_from) in ends
    assert max(ends) == pytest.approx(axis.limits[1])
    words = " ".join(note["text"] for note in spec["layout"]["annotations"])
    for label in (
        "safe up to",
        "unsafe from",
        "below peak",
        "raw features",
        "label-shuffled",
        "random",
        "not swept",
        "//",
    ):
        assert label in words


def test_the_located_point_is_drawn_on_the_loss_line(decide: Any, results: pd.DataFrame):
    whatever_fits = decide(results, method="posterior", lack_of_fit=1e-99)
    judged = {curve.margin: curve.estimate for curve in leading(whatever_fits)}
    curves = [tradeoff.trade_off(curve) for curve in leading(whatever_fits)]
    located = [curve for curve in curves if curve.point is not None]
    assert located
    for curve in located:
        location = judged[curve.margin].location
        assert curve.point == (location.lower, location.median, location.upper)
        drawn = list(draw_trade_off(curve).select_traces({"mode": "lines+markers"}))
        assert [list(trace.x) for trace in drawn] == [[pytest.approx(np.log10(end)) for end in curve.point]]
        assert set(drawn[0].y) == {curve.loss_line[1]}
        assert "Over-correction at about λ = " in tradeoff.describe_trade_off(curve)


def test_a_point_that_the_bracket_overrules_is_not_drawn(decide: Any, results: pd.DataFrame):
    overruled = leading(decide(results, lack_of_fit=0.9999))
    assert all(tradeoff.trade_off(curve).point is None for curve in overruled)
    assert any(curve.unsafe_from is not None for curve in overruled)


def test_unjudged_curve_shows_plain_means_without_intervals(decide: Any):
    table = simulated_results(views=[PLATES], margins=[0.3], lambdas=(0.0, 0.1, 1.0), seeds=2, sigma=0.05)
    decision = decide(table)
    assert decision.rule.state == "INSUFFICIENT_DATA"
    numbers = tradeoff.trade_off(leading(decision)[0])
    for panel in numbers.panels:
        for mean in panel.means:
            assert mean.mean == pytest.approx(np.mean([d.value for d in panel.dots if d.weight == mean.weight]))
            assert mean.lower is None
            assert mean.upper is None
    assert numbers.loss_line is None
    draw_trade_off(numbers)
    assert "Safe" not in tradeoff.describe_trade_off(numbers)


def test_metric_curve_is_the_mean_over_seeds(results: pd.DataFrame):
    frame = checked(results)
    curve = metric.metric_curve(frame, view=PLATES, metric="activity_map", margins=(0.3, 0.0))
    assert [margin for margin, _ in curve.lines] == [0.3, 0.0]
    levels = {level.adversarial_weight: level for level in curve.lines[0][1]}
    assert set(levels) == set(LAMBDAS) - {100.0}
    chosen = results[
        (results["metric"] == "activity_map")
        & (results["view"] == PLATES)
        & (results["margin"] == 0.3)
        & (results["adversarial_weight"] == 1.0)
    ]["value"]
    assert levels[1.0].mean == pytest.approx(chosen.mean())
    assert levels[1.0].sd == pytest.approx(chosen.std(ddof=1))
    assert sorted(levels[1.0].seeds) == pytest.approx(sorted(chosen))
    assert curve.raw_features == pytest.approx(0.05 + 0.7 * 0.7, abs=0.03)
    assert curve.floor == pytest.approx(0.05)
    assert curve.primary
    metric.draw_metric(curve, strength_axis(LAMBDAS))


def test_unmeasured_metric_has_a_reason_and_nothing_to_draw(results: pd.DataFrame):
    curve = metric.metric_curve(checked(results), view=PLATES, metric="label_nmi", margins=(0.3, 0.0))
    assert not curve.measured
    assert curve.reason == "needs at least two wells a label"
    assert "not measured" in metric.describe_metric(curve)


def test_the_strongest_reader_comes_first_with_its_own_chance(results: pd.DataFrame):
    reader = results[results["metric"] == "batch_probe_linear"].assign(metric="batch_reader", chance=0.19)
    both = pd.concat([results, reader.assign(raw=reader["raw"] + 0.05)], ignore_index=True)
    wanted = (("uncorrected", None), ("λ = 0", 0.0))
    alone, found = (
        probe.probe_comparison(checked(frame), view=PLATES, margin=0.3, stages=wanted) for frame in (results, both)
    )
    assert found.probes == ("batch_reader", *alone.probes)
    assert (found.title, alone.title) == ("batch reader", "batch probe")
    assert found.chance == pytest.approx(0.19)
    assert found.accuracy("λ = 0") == pytest.approx(alone.accuracy("λ = 0") + 0.05)


def test_probe_before_and_after(results: pd.DataFrame):
    wanted = [("raw features", None), ("no correction", 0.0), ("best", 1.0), ("lost", 100.0)]
    found = probe.probe_comparison(checked(results), view=PLATES, margin=0.3, stages=wanted)
    assert found.probes == ("batch_probe_linear", "batch_probe_nonlinear")
    assert found.chance == pytest.approx(1 / BATCHES)
    assert found.labels == ("raw features", "no correction", "best")  # nothing was measured at the largest λ
    raw = results[
        (results["metric"] == "batch_probe_linear")
        & (results["view"] == PLATES)
        & (results["adversarial_weight"] == 0)
        & (results["margin"] == 0.3)
    ]["raw"]
    assert found.accuracy("no correction") == pytest.approx(raw.mean())
    assert found.accuracy("lost") is None
    assert found.accuracy("raw features") > found.accuracy("no correction") > found.accuracy("best")
    spec = json.loads(probe.draw_probe(found).to_json())
    assert any("chance 0.167" in note["text"] for note in spec["layout"]["annotations"])


def test_stages_lead_from_raw_features_to_the_largest_measured_strength(decision: Decision):
    judged = leading(decision)[0]
    found = stages(judged, tradeoff.trade_off(judged))
    assert [stage.weight for stage in found][:2] == [None, 0.0]
    assert found[2].weight == judged.recommended
    assert found[2].label.startswith("recommended")
    assert found[-1].weight == pytest.approx(31.622777)
    assert found[0].biological == pytest.approx(judged.controls["raw"]["biological"])


def test_heat_map_tells_lost_from_untrained(curves: list[tradeoff.TradeOff], decision: Decision):
    grid = heatmap.composite_grid(curves, role="technical", marked=(1.0, 0.3))
    assert grid.margins == (0.0, 0.3)
    assert grid.strengths == tuple(LAMBDAS)
    at = grid.strengths.index(1.0)
    level = decision.views[PLATES].at(0.3).levels[at]
    assert grid.means[1][at] == level.technical.mean
    assert grid.means[1][-1] is None
    assert grid.trained[1][-1]
    assert grid.marked == (1.0, 0.3)
    assert heatmap.composite_grid(curves, role="technical", marked=(7.0, 0.3)).marked is None
    assert "2 trained strengths have no value" in heatmap.describe_grid(grid)
    spec = json.loads(heatmap.draw_grid(grid).to_json())
    assert [note["text"] for note in spec["layout"]["annotations"]].count("×") == 2


def test_leading_curve_of_every_view_has_the_deciding_margin(decision: Decision):
    views = ordered_views(decision)
    assert views == [PLATES, "held_out_batches"]
    assert {leading(decision, view)[0].margin for view in views} == {decision.rule.margin}
    assert all(len(leading(decision, view)) == 2 for view in views)


def test_the_frontier_shows_the_bounds_of_every_margin(decision: Decision):
    numbers = frontier.frontier_numbers(PLATES, decision.views[PLATES], (1.0, 0.3))
    judged = {curve.margin: curve for curve in leading(decision)}
    assert [point.margin for point in numbers.points] == sorted(judged)
    for point in numbers.points:
        assert (point.method, point.lambda_oc) == ("bracket", None)
        assert point.safe_bound == judged[point.margin].safe_up_to
        assert point.upper == judged[point.margin].unsafe_from
    axis = strength_axis(numbers.strengths)
    bars = list(frontier.draw_frontier(numbers).select_traces({"type": "bar"}))
    ends = {(bar.y[0], bar.base[0] + bar.x[0]) for bar in bars if bar.hovertext.startswith("safe")}
    starts = {(bar.y[0], bar.base[0]) for bar in bars if bar.hovertext.startswith("unsafe")}
    rows = list(enumerate(numbers.points))
    assert sorted(ends) == [
        (row, pytest.approx(axis.place(point.safe_bound))) for row, point in rows if point.safe_bound
    ]
    assert sorted(starts) == [(row, pytest.approx(axis.place(point.upper))) for row, point in rows if point.upper]
    marks = [trace for trace in frontier.draw_frontier(numbers).data if "recommended" in str(trace.hovertext)]
    assert [(mark.x[0], mark.y[0]) for mark in marks] == [(axis.place(1.0), 1)]
    words = frontier.describe_frontier(numbers)
    assert words.count("Margin") == 2
    assert "safe up to λ = " in words


def test_a_margin_without_bounds_says_why(decision: Decision):
    view = decision.views[PLATES]
    first, second = view.frontier.points
    bare = replace(first, method=None, safe_bound=None, upper=None, state="INSUFFICIENT_DATA")
    located = replace(second, method="posterior", safe_bound=0.5, lambda_oc=1.0, upper=2.0)
    changed = replace(view, frontier=replace(view.frontier, points=(bare, located)))
    numbers = frontier.frontier_numbers(PLATES, changed, None)
    spec = json.loads(frontier.draw_frontier(numbers).to_json())
    assert "no bounds: insufficient data" in [note["text"] for note in spec["layout"]["annotations"]]
    assert "Margin 0.3: safe up to λ = 0.5, over-correction at about λ = 1, unsafe from λ = 2." in (
        frontier.describe_frontier(numbers)
    )
