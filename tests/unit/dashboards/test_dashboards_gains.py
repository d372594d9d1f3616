"""Where the correction helps and hurts: numbers, section of the report, lines of the summary."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from example_results import simulated_provenance, simulated_results

from dashboards.boundary_words import boundary, optimism
from dashboards.figures.gain import describe_gains, draw_gains
from dashboards.formatting import signed
from dashboards.gain_views import GainView, gain_view
from dashboards.records import checked
from dashboards.report import write_report
from dashboards.summary import text_summary
from sweeper.decision import Decision
from sweeper.findings.unit_gains import Gains, gains

PLATES = "held_out_plates"
EVIL = "</script><b onmouseover=alert(1)>B02"
FEW = (0.0, 0.03, 0.1, 0.3, 1.0, 10.0, 100.0)
BATCHES = ("B01", EVIL, "B03")
CELL_TYPES = ("HUVEC", "RPE")
STEP = {"B01": 0.02, EVIL: -0.03, "B03": 0.05, "HUVEC": 0.04, "RPE": -0.01}
"""What λ > 0 adds in each batch and cell type, at every strength."""
HELD_OUT = {
    "column": "plate",
    "batch": "batch",
    "levels": {"cell_type": [0, 2], "batch": [0, 3], "plate": [6, 6], "well": [0, 96]},
    "shared_wells": [0, 0],
}


def units_of(results: pd.DataFrame) -> pd.DataFrame:
    """Batches that differ by `STEP`, and perturbations of which the first ten of forty lose."""
    cells = results[(results["metric"].isin(["activity_map", "retrieval_map", "label_nmi"]))]
    parts = []
    for axis, names in (
        ("batch", BATCHES),
        ("cell_type", CELL_TYPES),
        ("perturbation", tuple(f"P{number:02d}" for number in range(40))),
    ):
        for place, unit in enumerate(names):
            step = STEP[unit] if axis != "perturbation" else 0.01 * (place - 9.5)
            value = 0.3 + step * (cells["adversarial_weight"] > 0) - 0.2 * cells["adversarial_weight"].isna()
            parts.append(cells.assign(axis=axis, unit=unit, wells=4, fold=0, value=value.astype("float32")))
    frame = pd.concat(parts, ignore_index=True)
    return frame.drop(columns=["role", "status", "primary", "floor", "ceiling", "raw", "chance", "reason"])


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return simulated_results(views=[PLATES], margins=[0.3], lambdas=FEW, seeds=3)


@pytest.fixture(scope="module")
def judged(table: pd.DataFrame, decide: Any) -> Decision:
    decision: Decision = decide(table)
    assert decision.rule.advice.recommended in FEW
    return decision


@pytest.fixture(scope="module")
def found(table: pd.DataFrame) -> Gains:
    return gains(units_of(table), table, trainer="abra", delta=0.1)


@pytest.fixture(scope="module")
def view(table: pd.DataFrame, judged: Decision, found: Gains) -> GainView:
    curve = judged.views[PLATES].at(0.3)
    primary = ["activity_map", "retrieval_map", "perturbation_accuracy"]
    seen = gain_view(found, checked(table), view=PLATES, margin=0.3, curve=curve, primary=primary)
    assert seen is not None
    return seen


def test_numbers_at_the_strength_the_rule_points_at(view: GainView, judged: Decision) -> None:
    assert (view.label, view.weight) == ("recommended", judged.rule.advice.recommended)
    assert [metric for metric, _ in view.drawn()] == ["activity_map", "retrieval_map"]
    assert {curve.metric for curve in view.secondary} == {"label_nmi"}
    batches = next(curve for curve in view.primary if curve.axis == "batch" and "0" in curve.against)
    spread = batches.at(view.weight)
    assert spread is not None
    assert (spread.units, spread.losses, spread.quantiles[2]) == (3, 1, pytest.approx(0.02, abs=1e-6))
    assert [(unit.unit, round(unit.gain, 3)) for unit in batches.worst(view.weight)] == [(EVIL, -0.03)]
    perturbations = next(curve for curve in view.primary if curve.axis == "perturbation" and "0" in curve.against)
    assert perturbations.at(view.weight).failure[0] == pytest.approx(0.25)
    assert [unit.unit for unit in perturbations.worst(view.weight)] == ["P00", "P01", "P02"]
    raw = next(curve for curve in view.primary if curve.axis == "batch" and curve.against == "raw features")
    assert raw.at(0.0).losses == 0
    assert raw.at(view.weight).quantiles[2] == pytest.approx(0.22, abs=1e-6)


def test_a_batch_is_a_point_and_one_that_loses_is_red(view: GainView) -> None:
    figure = draw_gains(view)
    points = next(trace for trace in figure.data if trace.mode == "markers")
    large = [colour for colour, size in zip(points.marker.color, points.marker.size, strict=True) if size > 4]
    assert len(points.x) == len(BATCHES) * (len(FEW) - 1)
    assert sorted(large) == ["#0072B2", "#0072B2", "#B2182B"]
    assert "<b" not in json.dumps([trace.hovertext for trace in figure.data])
    assert "activity mAP, batch: median +0.020, 1 of 3 lose" in describe_gains(view)


class Seen(HTMLParser):
    """Attributes of every element, and the text of the parts on gains."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.attributes: list[str] = []
        self.text = ""
        self._inside = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [name for name, _ in attrs]
        if tag in ("section", "details") and "id" in dict(attrs):
            self._inside = dict(attrs)["id"] in ("gains", "further-gains")

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.text += data


@pytest.mark.slow
def test_the_report_has_the_section_and_hostile_units_stay_text(
    table: pd.DataFrame, judged: Decision, found: Gains, tmp_path: Path
) -> None:
    provenance = {**simulated_provenance(), "held_out": {PLATES: HELD_OUT}}
    write_report(table, judged, provenance, tmp_path / "a.html", gains=found)
    html = (tmp_path / "a.html").read_text(encoding="utf-8")
    seen = Seen(html)
    text = " ".join(seen.text.split())
    assert "No out-of-distribution boundary was crossed: plates" in text
    assert f"{EVIL} −0.030" in text
    assert "1 of 3" in text
    assert "The metrics themselves by cell type" in text
    assert "retrieval mAPcell typeλ = 0+0.015" in text
    assert "RPE −0.010" in text
    assert "10 of 40" in text
    assert "was not measured: not in the panel" in text
    assert "onmouseover" not in seen.attributes
    assert 'data-chart="view0-gain"' in html

    units = units_of(table).sample(frac=1.0, random_state=2)
    again = gains(units, table, trainer="abra", delta=0.1)
    write_report(table, judged, provenance, tmp_path / "b.html", gains=again)
    assert (tmp_path / "b.html").read_bytes() == (tmp_path / "a.html").read_bytes()


def test_a_sweep_without_units_says_so(table: pd.DataFrame, judged: Decision, tmp_path: Path) -> None:
    write_report(table, judged, simulated_provenance(), tmp_path / "a.html")
    text = " ".join(Seen((tmp_path / "a.html").read_text(encoding="utf-8")).text.split())
    assert "No values by batch or by perturbation were kept" in text
    assert "Gain over" not in text_summary(judged, table)


def test_the_summary_names_the_worst(table: pd.DataFrame, judged: Decision, found: Gains) -> None:
    lines = text_summary(judged, table, found).splitlines()
    line = next(line for line in lines if "activity mAP" in line and " batch " in line)
    assert "1 of 3 lose" in line
    assert line.endswith(f"worst {EVIL} −0.030")


def test_in_distribution_against_test_wells(table: pd.DataFrame, found: Gains) -> None:
    frame = table[table["metric"] == "perturbation_accuracy"]
    inside = frame.assign(metric="in_distribution_accuracy", raw=0.8)
    outside = frame.assign(raw=0.6)
    gap = frame.assign(metric="accuracy_gap", raw=np.where(frame["adversarial_weight"] > 0, 0.1, 0.2))
    rows = checked(pd.concat([inside, outside, gap], ignore_index=True))
    seen = gain_view(found, rows, view=PLATES, margin=0.3, curve=None, primary=["activity_map"])
    assert seen is not None
    assert (seen.label, seen.weight) == ("largest", 100.0)
    assert [round(drop.drop, 6) for drop in seen.drops] == [0.2, 0.2, 0.1]
    assert [(drop.inside, drop.outside) for drop in seen.drops] == [(pytest.approx(0.8), pytest.approx(0.6))] * 3


def test_the_metrics_themselves_stand_by_cell_type_and_by_batch(view: GainView) -> None:
    by = {table.axis: table for table in view.tables}
    assert list(by) == ["cell_type", "batch"], "what has few units first; perturbations are never listed"
    assert by["cell_type"].metrics == ("activity_map", "retrieval_map")
    rows = {row.unit: row for row in by["cell_type"].rows}
    raw, zero, at = rows["RPE"].scores[0]
    assert (raw.mean, zero.mean, at.mean) == pytest.approx((0.1, 0.3, 0.29), abs=1e-6)
    assert raw.sd == pytest.approx(0.0, abs=1e-6)
    assert rows["RPE"].wells == 4


def test_one_cell_type_in_the_screen_is_no_axis(table: pd.DataFrame, judged: Decision) -> None:
    units = units_of(table)
    found = gains(units[units["unit"] != "RPE"], table, trainer="abra", delta=0.1)
    curve = judged.views[PLATES].at(0.3)
    seen = gain_view(found, checked(table), view=PLATES, margin=0.3, curve=curve, primary=["activity_map"])
    assert seen is not None
    assert {curve.axis for curve in seen.primary} == {"batch", "perturbation"}
    assert [table.axis for table in seen.tables] == ["batch"]


def levels(**counts: list[int]) -> dict[str, Any]:
    return {"column": "batch", "batch": "experiment", "levels": counts, "shared_wells": [0, 0]}


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        (
            {"batch": [0, 9], "plate": [9, 9], "well": [0, 50]},
            "No out-of-distribution boundary was crossed: plates were held out inside batches seen in training. "
            "Not crossed: experiment (0 of 9 test units new to training).",
        ),
        (
            {"batch": [0, 9], "plate": [0, 9], "well": [5, 5]},
            "No out-of-distribution boundary was crossed: well positions were held out",
        ),
        (
            {"cell_type": [0, 4], "batch": [14, 14], "plate": [56, 56], "well": [0, 300]},
            "Out-of-distribution boundary tested: experiment (14 of 14 test units new to training). "
            "Not crossed: cell type (0 of 4",
        ),
        (
            {"cell_type": [4, 4], "batch": [51, 51], "plate": [204, 204], "well": [0, 300]},
            "tested: experiment (51 of 51 test units new to training), and with it cell type (4 of 4",
        ),
        (
            {"cell_type": [1, 4], "batch": [5, 5], "plate": [20, 20], "well": [0, 300]},
            "Not crossed as a whole: cell type (1 of 4",
        ),
        ({"Metadata_Source": [3, 3], "batch": [9, 9]}, "and with it Metadata_Source (3 of 3"),
    ],
)
def test_the_boundary_is_named_with_what_was_not_crossed(counts: dict[str, list[int]], words: str) -> None:
    assert words in boundary(levels(**counts))
    assert boundary(None) == ""


def test_second_sites_of_training_wells_make_an_optimistic_reference() -> None:
    assert optimism(levels(batch=[1, 1])) == ""
    assert optimism(None) == ""
    said = optimism({**levels(batch=[1, 1]), "shared_wells": [40, 50]})
    assert said.startswith("The in-distribution reference is optimistic: 40 of its 50 rows are other sites of wells")


def test_signs() -> None:
    assert [signed(value) for value in (0.0123, -0.0123, 0.0, 0.0001, -0.0001, None)] == [
        "+0.012",
        "−0.012",
        "0.000",
        "0.000",
        "0.000",
        "–",
    ]
