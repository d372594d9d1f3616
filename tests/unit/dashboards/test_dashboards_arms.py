"""Every number shown is of the arm it names: other arms at the same strength are in none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
from example_results import simulated_results

from dashboards.composite_curves import composite_view
from dashboards.figures.metric import metric_curve
from dashboards.figures.probe import describe_probe, draw_probe, probe_comparison
from dashboards.records import checked, level_means, trained
from dashboards.report import build_page
from dashboards.summary import text_summary
from dashboards.tables import control_rows, strength_rows
from sweeper.arms.observed import strength_composites
from sweeper.findings.unit_gains import gains

VIEW, MARGIN, FRESH = "held_out_plates", 0.3, (900, 901)
STAGES = [("raw features", None), ("no correction", 0.0), ("corrected", 1.0)]
PRIMARY = ("batch_probe_linear", "batch_mixing", "activity_map", "retrieval_map", "perturbation_accuracy")


def _arms(results: pd.DataFrame, *, ladder: bool = True) -> pd.DataFrame:
    """The table with every other arm at every strength of the sweep, at values far from the sweep's own."""
    swept = results[results["trainer"] == "abra"]
    prefixes = ("sham:abra", "pseudo:abra", *(("ladder:erm@0123abcd",) if ladder else ()))
    further = [swept.assign(trainer=name, cell_id=name[:2] + swept["cell_id"]) for name in prefixes]
    for number, seed in enumerate(FRESH):
        one = swept[swept["seed"] == number]
        further.append(one.assign(seed=seed, cell_id="fr" + one["cell_id"]))
    strange = pd.concat(further, ignore_index=True)
    measured = strange["value"].notna()
    strange.loc[measured, "value"] = 0.987
    strange.loc[measured & strange["raw"].notna(), "raw"] = 0.876
    return pd.concat([strange, results], ignore_index=True)


@pytest.fixture(scope="module")
def tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    """The sweep alone, and with the other arms."""
    alone = simulated_results(views=[VIEW], seeds=3)
    return alone, _arms(alone)


OUTPUTS: dict[str, Callable[[pd.DataFrame], object]] = {
    "probe, numbers": lambda frame: probe_comparison(frame, view=VIEW, margin=MARGIN, stages=STAGES),
    "probe, words": lambda frame: describe_probe(probe_comparison(frame, view=VIEW, margin=MARGIN, stages=STAGES)),
    "probe, drawn": lambda frame: draw_probe(
        probe_comparison(frame, view=VIEW, margin=MARGIN, stages=STAGES)
    ).to_json(),
    **{
        f"{metric}, small multiple": lambda frame, metric=metric: metric_curve(
            frame, view=VIEW, metric=metric, margins=(MARGIN, 0.0)
        )
        for metric in PRIMARY
    },
    "T and B": lambda frame: composite_view(frame, view=VIEW, margins=(MARGIN, 0.0)),
    "strengths": lambda frame: strength_rows(frame, view=VIEW, metrics=PRIMARY),
    "controls": lambda frame: control_rows(frame, view=VIEW, metrics=PRIMARY),
    "level means": lambda frame: level_means(trained(frame)).to_csv(),
}


@pytest.mark.parametrize("output", OUTPUTS)
def test_no_other_arm_moves_a_number_of_the_report(output: str, tables: tuple[pd.DataFrame, pd.DataFrame]):
    alone, together = tables
    draw = OUTPUTS[output]
    found = draw(checked(together, fresh_seeds=FRESH))
    assert repr(found) == repr(draw(checked(alone)))


@pytest.mark.parametrize("output", ["probe, numbers", "T and B", "strengths", "batch_mixing, small multiple"])
def test_the_sweeps_own_number_would_move_them(output: str, tables: tuple[pd.DataFrame, pd.DataFrame]):
    alone, _ = tables
    moved = alone.assign(raw=alone["raw"] * 0.9, value=alone["value"] * 0.9)
    assert repr(OUTPUTS[output](checked(moved))) != repr(OUTPUTS[output](checked(alone)))


def test_terminal_and_report_show_the_sweeps_own_numbers(
    decide: Callable[..., Any], tables: tuple[pd.DataFrame, pd.DataFrame]
):
    alone, together = tables
    decision = decide(together, fresh=FRESH)
    assert text_summary(decision, together) == text_summary(decision, alone)
    shown = {chart.id: chart.json for chart in build_page(together, decision, {}).charts}
    assert shown == {chart.id: chart.json for chart in build_page(alone, decision, {}).charts}


def test_a_decision_judges_the_sweeps_own_numbers(
    decide: Callable[..., Any], tables: tuple[pd.DataFrame, pd.DataFrame]
):
    alone, together = tables
    judged, expected = (
        [(curve.levels, curve.runs) for curve in decide(table, fresh=FRESH).views[VIEW].margins]
        for table in (together, alone)
    )
    assert judged == expected


def test_gains_are_of_the_sweeps_own_runs(tables: tuple[pd.DataFrame, pd.DataFrame]):
    alone, together = tables

    def found(table: pd.DataFrame) -> str:
        cells = table[(table["metric"] == "activity_map") & (table["status"] == "ok")]
        units = cells.assign(axis="batch", unit="b1", wells=4, fold=0, value=cells["value"] + cells["seed"])
        units = pd.concat([units, units.assign(unit="b2", value=units["value"] ** 2)])
        made = gains(units, table, trainer="abra", delta=0.1)
        return repr(made.by_unit) + made.summary.to_csv()

    without_fresh = together[~together["seed"].isin(FRESH)]
    ranges = without_fresh["ceiling"].where(without_fresh["trainer"].isin(["abra"]), 77.0)
    assert found(without_fresh.assign(ceiling=ranges)) == found(alone)


def test_the_search_sees_the_sweeps_own_numbers(tables: tuple[pd.DataFrame, pd.DataFrame]):
    alone, together = tables
    own = together[~together["seed"].isin(FRESH)]
    pd.testing.assert_frame_equal(
        strength_composites(own, view=VIEW, trainer="abra"), strength_composites(alone, view=VIEW, trainer="abra")
    )
