"""The composite: anchors, folds, unweighted means, what is left out and what is only incomplete."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from decision_curves import controls, exact_curve, tidy

from sweeper.decision import DecisionSettings
from sweeper.decision.input.curve import build_curve
from sweeper.decision.input.results_table import prepare, select

SETTINGS = DecisionSettings(deciding_view="v")
NAMES = ("activity_map", "retrieval_map")
TECHNICAL = ("batch_mixing", "batch_probe_linear")


def row(strength, seed, metric, value, *, split="v/0", role="biological", floor=0.0, ceiling=1.0, status="ok", **more):
    return {
        "trainer": "abra",
        "adversarial_weight": strength,
        "margin": 0.0,
        "seed": seed,
        "split": split,
        "view": "v",
        "metric": metric,
        "role": role,
        "value": value,
        "status": status,
        "primary": True,
        "floor": floor,
        "ceiling": ceiling,
        "reason": None,
        **more,
    }


def built(rows, settings=SETTINGS):
    return build_curve(select(prepare(pd.DataFrame(rows)), view="v", margin=0.0), settings)


def base():
    """Two strengths, two seeds, two folds, two biological metrics on different scales, one technical."""
    rows = []
    for strength in (0.0, 1.0):
        for seed in (0, 1):
            for fold in (0, 1):
                key = {"split": f"v/{fold}"}
                rows.append(row(strength, seed, "a", 0.2 + 0.1 * fold + 0.3 * seed - 0.1 * strength, floor=0.1, **key))
                rows.append(row(strength, seed, "b", 3.0 - strength, floor=1.0, ceiling=5.0, **key))
                rows.append(row(strength, seed, "t", 0.5 * strength + 0.01 * seed, role="technical", **key))
    return rows


def test_anchored_then_averaged_over_folds_then_metrics():
    curve = built(base())
    # a: mean over folds (0.25 + 0.3·seed − 0.1·λ − 0.1)/0.9; b: (2 − λ)/4; composite: their plain mean
    expected = [[((0.15 + 0.3 * s - 0.1 * w) / 0.9 + (2 - w) / 4) / 2 for s in (0, 1)] for w in (0, 1)]
    np.testing.assert_allclose(curve.biological, expected)
    np.testing.assert_allclose(curve.technical, [[0, 0.01], [0.5, 0.51]])
    assert curve.strengths == (0.0, 1.0)
    assert curve.seeds == (0, 1)


def test_values_outside_the_anchors_are_not_clipped():
    rows = base()
    rows[0]["value"] = rows[3]["value"] = -0.5  # both folds of metric a at λ = 0, seed 0
    assert built(rows).by_metric["a"][0, 0] == pytest.approx(-0.6 / 0.9)


def test_the_measured_floor_replaces_the_stated_one_for_biology_only():
    shuffled = [
        row(np.nan, seed, metric, value + 0.02 * (fold - 0.5), split=f"v/{fold}", role=role)
        | {"trainer": "control:label_shuffled", "margin": np.nan}
        for seed, value in ((0, 0.12), (1, 0.16))
        for fold in (0, 1)
        for metric, role in (("a", "biological"), ("t", "technical"))
    ]
    curve = built(base() + shuffled)
    use = {item.name: item for item in curve.metrics}
    assert use["a"].floor == pytest.approx(0.14)
    assert use["a"].floor_source == "label_shuffled"
    assert (use["b"].floor, use["b"].floor_source) == (1.0, "stated")
    assert (use["t"].floor, use["t"].floor_source) == (0.0, "stated")
    assert curve.by_metric["a"][0, 0] == pytest.approx((0.25 - 0.14) / 0.86)


def test_a_metric_measurable_nowhere_is_left_out_everywhere_and_named():
    gone = [
        row(strength, seed, "c", np.nan, split=f"v/{fold}", reason="no negative controls")
        for strength in (0.0, 1.0)
        for seed in (0, 1)
        for fold in (0, 1)
    ]
    curve = built(base() + gone)
    assert [(item.name, item.reason) for item in curve.left_out] == [("c", "no negative controls")]
    assert (curve.status == "ok").all()
    np.testing.assert_allclose(curve.biological, built(base()).biological)


def test_a_fold_in_which_a_metric_is_measurable_nowhere_is_left_out_and_named():
    rows = [
        r | {"value": np.nan, "reason": "one batch"} if r["metric"] == "a" and r["split"] == "v/1" else r
        for r in base()
    ]
    curve = built(rows)
    assert [(item.name, item.reason) for item in curve.left_out] == [("a in v/1", "one batch")]
    assert curve.by_metric["a"][0, 0] == pytest.approx(0.1 / 0.9)
    assert (curve.status == "ok").all()


def test_a_metric_missing_somewhere_makes_only_that_run_incomplete():
    rows = base()
    rows[0]["value"] = np.nan  # one fold of metric a at λ = 0, seed 0
    curve = built(rows)
    assert curve.status.tolist() == [["incomplete", "ok"], ["ok", "ok"]]
    assert np.isnan(curve.biological[0, 0])
    assert np.isnan(curve.technical[0, 0])
    assert curve.left_out == ()


def test_a_run_is_as_bad_as_its_worst_cell():
    rows = base()
    for r in rows:
        if (r["adversarial_weight"], r["seed"], r["split"]) == (1.0, 1, "v/1"):
            r.update(status="oom", value=np.nan)
    rows = [r for r in rows if (r["adversarial_weight"], r["seed"]) != (0.0, 1)]
    assert built(rows).status.tolist() == [["ok", "absent"], ["ok", "oom"]]


def test_named_metrics_decide_in_place_of_those_marked_primary():
    curve = built(base(), SETTINGS.model_copy(update={"primary_biological": ("b",)}))
    assert [item.name for item in curve.metrics] == ["b", "t"]
    np.testing.assert_allclose(curve.biological, [[0.5, 0.5], [0.25, 0.25]])


def test_controls_are_placed_on_the_composites():
    places = {"raw": (0.4, 0.2), "random": (0.0, 0.9)}
    table = tidy(*exact_curve("flat"), view="v", margin=0.0, names=NAMES, technical_names=TECHNICAL, folds=2)
    table = pd.concat([table, controls("v", places, names=NAMES, technical_names=TECHNICAL, folds=2)])
    curve = built(table)
    assert list(curve.controls) == ["random", "raw"]
    assert curve.controls["raw"] == pytest.approx({"biological": 0.4, "technical": 0.2})
    lacking = built(table[~((table["trainer"] == "control:raw") & (table["metric"] == NAMES[0]))])
    assert lacking.controls["raw"]["biological"] is None


def test_the_order_of_the_rows_does_not_matter():
    rows = pd.DataFrame(base())
    one, other = built(rows), built(rows.sample(frac=1, random_state=3))
    np.testing.assert_array_equal(one.biological, other.biological)


def test_a_control_below_chance_never_lowers_the_floor():
    """Shuffled labels on raw features with strong batches score below chance; taking that as 0 would hide losses."""
    below = [
        row(np.nan, seed, "a", -0.5, floor=0.1, trainer="control:label_shuffled", margin=np.nan, split="v/0")
        for seed in (0, 1)
    ]
    curve = built(base() + below)
    use = {metric.name: metric for metric in curve.metrics}["a"]
    assert (use.floor, use.floor_source) == (pytest.approx(0.1), "stated")
