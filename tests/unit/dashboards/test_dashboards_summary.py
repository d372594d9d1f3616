from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from example_results import simulated_results

from dashboards import formatting
from dashboards.records import checked, level_means
from dashboards.summary import text_summary
from sweeper.decision import Decision


def test_summary_says_state_sentence_and_both_groups_for_every_view(decision: Decision, results: pd.DataFrame):
    summary = text_summary(decision, results)
    flat = " ".join(summary.split())
    assert flat.startswith("BRACKET ONLY:")
    assert " ".join(decision.sentence.split()) in flat
    margin = decision.views["held_out_plates"].chosen_margin
    assert f"held-out plates (decides), margin {margin:g}" in summary
    assert f"held-out batches, margin {margin:g}" in summary
    at = {"view": "held_out_plates", "margin": margin, "adversarial_weight": 0.0, "metric": "batch_probe_linear"}
    means = level_means(checked(results))
    (uncorrected,) = means.loc[(means[list(at)] == pd.Series(at)).all(axis=1), "raw"]
    line = next(line for line in summary.splitlines() if "no correction" in line)
    assert line.split()[-1] == f"{uncorrected:.2f}"
    assert len(line.split()[-3:]) == 3
    assert "chance of the batch probe: 0.167" in summary


def test_summary_without_results_leaves_the_probe_out(decision: Decision):
    summary = text_summary(decision)
    assert "batch probe" not in summary
    assert "batch removal T" in summary


def test_summary_of_too_little_data(decide: Any):
    table = simulated_results(views=["held_out_plates"], margins=[0.3], lambdas=(0.0, 1.0), seeds=2)
    assert text_summary(decide(table), table).startswith("INSUFFICIENT DATA:")


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.0, "0"),
        (1.0, "1"),
        (0.3, "0.3"),
        (31.6228, "31.6"),
        (112.3, "112"),
        (0.0123456, "0.0123"),
        (1234.5, "1234"),
        (1e-6, "1.00e-06"),
        (2e6, "2.00e+06"),
        (-0.5, "−0.5"),
        (None, "–"),
        (float("nan"), "–"),
        (100.0, "100"),
    ],
)
def test_numbers_have_sensible_digits(value: float | None, written: str):
    assert formatting.number(value) == written


def test_fixed_decimals_line_up_and_zero_has_no_sign():
    assert [formatting.fixed(value) for value in (-0.001, 0.5, -0.126, None)] == ["0.00", "0.50", "−0.13", "–"]


def test_shares_are_never_rounded_to_all_or_nothing():
    assert [formatting.percent(share) for share in (0.0, 0.001, 0.1, 0.999, 1.0, None)] == [
        "0 %",
        "<1 %",
        "10 %",
        ">99 %",
        "100 %",
        "–",
    ]


def test_names_are_opened_and_spelled():
    assert formatting.name("control:raw") == "raw features"
    assert formatting.name("activity_map") == "activity mAP"
    assert formatting.name("held_out_batches") == "held-out batches"
    assert formatting.question("elsewhere") == ""
    assert formatting.drawn("<b>&") == "&lt;b&gt;&amp;"
