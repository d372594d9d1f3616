"""The ladder in report and summary: its own table, and nothing of it in the sections of the sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from example_results import simulated_provenance, simulated_results

from dashboards.records import cells, checked, trained
from dashboards.report import build_page, write_report
from dashboards.summary import ladder_summary
from sweeper.decision import Decision
from sweeper.findings.ladder_table import GAP, INSIDE, TEST, VALIDATION, LadderTable, RungScore, Score

VIEW = "held_out_batches"


def rung(name: str, weight: float, validation: float, *, selected: bool = True, done: int = 3) -> RungScore:
    scores = {
        VALIDATION: Score(validation, 0.01, done),
        TEST: Score(0.299, 0.004, done),
        INSIDE: Score(0.359, None, 1),
        GAP: Score(0.06, 0.002, done),
    }
    return RungScore(
        rung=name,
        adversarial_weight=weight,
        margin=0.5,
        scores=scores,
        by_cell_type={"HUVEC": Score(0.4, 0.01, done), "U2OS": Score(0.1, 0.02, done)},
        done=done,
        planned=3,
        selected=selected,
    )


LOST = RungScore(
    rung="lost", adversarial_weight=1.0, margin=0.5, scores={}, by_cell_type={}, done=0, planned=3, selected=False
)
LADDER = LadderTable(
    view=VIEW,
    rungs=(rung("erm", 0.0, 0.19), rung("<b>dsu", 0.3, 0.25, done=2), rung("<b>dsu", 1.0, 0.2, selected=False), LOST),
    best="<b>dsu",
    classes=1139,
    rows=34432,
    selects=("B05",),
    tests=("B06", "B07"),
    unit="image",
)


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return simulated_results(views=[VIEW], margins=[0.3], lambdas=(0.0, 0.1, 1.0, 10.0), seeds=3)


@pytest.fixture(scope="module")
def judged(table: pd.DataFrame, decide: Any) -> Decision:
    found: Decision = decide(table)
    return found


def with_rungs(table: pd.DataFrame) -> pd.DataFrame:
    """The table with every trained cell again as a rung that lost its biology, and a metric of rungs alone."""
    own = table[~table["trainer"].str.startswith("control:")]
    value = own["value"].where(own["role"] != "biological", 0.0)
    added = own.assign(trainer="ladder:erm@01234567", value=value, cell_id="ladder-" + own["cell_id"])
    extra = added.iloc[:1].assign(
        metric="plain_accuracy", role="biological", reason="8 classes", status="ok", value=0.5, cell_id="extra"
    )
    return pd.concat([table, added, extra], ignore_index=True)


def test_the_report_has_the_table_with_names_kept_as_text(
    table: pd.DataFrame, judged: Decision, tmp_path: Path
) -> None:
    held_out = {"column": "batch", "batch": "experiment", "levels": {"batch": [3, 3]}, "shared_wells": [7, 9]}
    provenance = {**simulated_provenance(), "held_out": {VIEW: held_out}}
    write_report(table, judged, provenance, tmp_path / "a.html", ladder=LADDER)
    html = (tmp_path / "a.html").read_text(encoding="utf-8")
    section = html[
        html.index('<details class="part" id="ladder">') : html.index('<details class="part" id="metrics">')
    ].replace("&#39;", "'")
    assert "over 1139 classes, controls among them" in section
    assert "not Recursion's competition (per well over 1,108)" in section
    assert "selected on the batches B05; the test is the other 2 held-out batches (34432 images)" in section
    assert "&lt;b&gt;dsu" in section
    assert "<b>dsu" not in section
    assert '<tr class="pick"><th scope="row">&lt;b&gt;dsu</th><td class="n">0.3 (selected)</td>' in section
    assert section.count('class="pick"') == 1
    assert "0.299 ± 0.004" in section
    assert '<span class="lost">2 of 3</span>' in section
    assert "test, U2OS" in section
    assert "The in-distribution reference is optimistic: 7 of its 9 rows" in section
    assert "Out-of-distribution boundary tested: experiment" in html, "named although no gain was kept"
    write_report(table, judged, simulated_provenance(), tmp_path / "b.html")
    assert "The ladder" not in (tmp_path / "b.html").read_text(encoding="utf-8")


def test_no_section_of_the_sweep_sees_a_rung(table: pd.DataFrame, judged: Decision, decide: Any) -> None:
    whole = with_rungs(table)
    assert not trained(checked(whole))["trainer"].str.startswith("ladder:").any()
    assert decide(whole) == judged
    bare, built = (build_page(frame, judged, simulated_provenance()) for frame in (table, whole))
    assert [section.strengths for section in built.sections] == [section.strengths for section in bare.sections]
    assert [section.metrics for section in built.sections] == [section.metrics for section in bare.sections]
    assert [chart.json for chart in built.charts] == [chart.json for chart in bare.charts]
    assert len(built.cells) > len(bare.cells), "cells are all listed"


def test_what_qualifies_a_value_is_no_reason_for_a_lost_one(table: pd.DataFrame) -> None:
    one = checked(with_rungs(table))
    one = one[one["reason"] == "8 classes"]
    assert len(one) == 1
    assert cells(one)["reason"].tolist() == [""]
    assert cells(one.assign(value=float("nan")))["reason"].tolist() == ["8 classes"]


def test_the_summary_has_a_line_a_rung() -> None:
    lines = ladder_summary(LADDER).splitlines()
    assert lines[0].startswith("ladder, plain accuracy per image (mean ± s.d. over seeds)")
    assert [line[:1] for line in lines[2:6]] == [" ", "*", " ", " "]
    assert len({line.index(" ± 0.004") for line in lines[2:5]}) == 1, "columns line up"
    assert lines[3].endswith("2 of 3 seeds")
    assert "0.359" in lines[2]
    assert "0.060 ± 0.002" in lines[2]
    assert lines[5].count("–") == 4
