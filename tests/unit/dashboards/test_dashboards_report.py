from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from example_results import simulated_provenance, simulated_results
from hypothesis import given
from hypothesis import strategies as st
from plotly.offline import get_plotlyjs_version

from dashboards.chart import script_safe
from dashboards.first_screen import rule_in_parts
from dashboards.plotly_bundle import BUNDLE, TRACES, bundled_version, plotly_bundle
from dashboards.report import write_report
from dashboards.summary import text_summary
from sweeper.decision import Decision, DecisionSettings, decide_sweep
from sweeper.decision.verdict.next_points import NextPoints
from sweeper.decision.verdict.ready_rules import detail_text
from sweeper.decision.verdict.rule import Cause
from sweeper.decision.words.advice import choice_text, frontier_text
from sweeper.decision.words.printed import printed

PLATES = "held_out_plates"
EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>{{7*7}}&amp;"
FEW = (0.0, 0.03, 0.1, 0.3, 1.0, 10.0, 100.0)
LOW = (0.0, 0.0005, 0.001, 0.002, 0.1, 1.0, 10.0)


class Document(HTMLParser):
    """What a browser would see: elements, scripts by kind, text outside scripts and styles, whole and by part."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.text = ""
        self.parts: dict[str, str] = {}
        self._open: list[str] = []
        self._inside: str | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in ("section", "details"):
            self._open.append(dict(attrs).get("id") or "")
        if tag in ("script", "style"):
            self._inside = tag
            if tag == "script":
                self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        if tag == self._inside:
            self._inside = None
        if tag in ("section", "details"):
            self._open.pop()

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            attrs, content = self.scripts[-1]
            self.scripts[-1] = (attrs, content + data)
        elif self._inside is None:
            self.text += data
            for part in self._open:
                self.parts[part] = self.parts.get(part, "") + data

    def part(self, *names: str) -> str:
        """Text of parts of the page, blanks closed up."""
        return " ".join(" ".join(self.parts[name] for name in names).split())

    @property
    def charts(self) -> dict[str, Any]:
        return {attrs["data-chart"]: json.loads(content) for attrs, content in self.scripts if "data-chart" in attrs}


def written(results: pd.DataFrame, decision: Decision, provenance: dict[str, Any], path: Path) -> str:
    write_report(results, decision, provenance, path)
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def html(results: pd.DataFrame, decision: Decision, tmp_path_factory: pytest.TempPathFactory) -> str:
    return written(results, decision, simulated_provenance(), tmp_path_factory.mktemp("report") / "report.html")


@pytest.fixture(scope="module")
def document(html: str) -> Document:
    return Document(html)


def test_the_rule_comes_first_and_is_complete(document: Document, decision: Decision):
    text, first = " ".join(document.text.split()), document.part("rule")
    _, lead, rest = rule_in_parts(decision.sentence)
    assert next(iter(document.parts)) == "rule"
    assert "BRACKET ONLY" in first[: first.index(lead)]
    assert f"certainty: {decision.rule.certainty}" in first[: first.index(lead)]
    assert rest in document.part("qualified")
    for view in decision.views:
        assert f"{view.replace('held_out_', 'held-out ')}" in first[first.index(lead) :]
    for view in decision.views.values():
        chosen = view.at(decision.views[PLATES].chosen_margin)
        assert all(" ".join(reason.split()) in text for reason in chosen.reasons)


def test_the_lead_names_biology_not_batch_removal_alone(decision: Decision):
    before, lead, rest = rule_in_parts(decision.sentence)
    assert lead.startswith("If")
    assert "biology" in lead
    assert " ".join(filter(None, (before, lead, rest))) == decision.sentence
    assert rule_in_parts("No rule: 2 seeds were run and 3 are needed.") == (
        "",
        "No rule: 2 seeds were run and 3 are needed.",
        "",
    )


def test_every_chart_has_a_place_a_text_alternative_and_data(document: Document):
    places = {attrs["id"]: attrs for tag, attrs in document.elements if tag == "div" and attrs.get("class") == "chart"}
    assert list(places) == list(document.charts)
    # 2 views × (2 trade-offs + 6 measured metrics + T and B + frontier + 2 heat maps + 1 probe); label_nmi has no chart
    assert len(places) == 2 * (2 + 6 + 2 + 1 + 2 + 1)
    for attrs in places.values():
        assert attrs["role"] == "group"
        assert len(attrs["aria-label"] or "") > 20
    assert "view0-tradeoff0" in places
    identities = [attrs["id"] for _, attrs in document.elements if "id" in attrs]
    assert len(identities) == len(set(identities))


def test_lost_cells_and_unmeasured_metrics_are_shown_with_their_reasons(document: Document, results: pd.DataFrame):
    text = " ".join(document.text.split())
    cells = results.drop_duplicates("cell_id")
    for status in ("failed", "collapsed", "oom"):
        assert f"{(cells['status'] == status).sum()} {status}" in text
        assert f"{status}: loss not finite at step 12" in text
    assert "Not measured: needs at least two wells a label" in text
    assert all(cell in text for cell in cells["cell_id"])


def test_the_page_is_self_contained(html: str, document: Document):
    assert html.count(plotly_bundle()) == 1
    own = html.replace(plotly_bundle(), "")
    assert not re.search(r"(?:https?:)?//[a-z]", own)
    assert not [tag for tag, _ in document.elements if tag in ("link", "img", "iframe") and tag != "link"]
    assert [attrs["href"] for tag, attrs in document.elements if tag == "link"] == ["data:,"]
    assert not [attrs for attrs, _ in document.scripts if "src" in attrs]


def test_only_our_two_scripts_may_run(document: Document):
    policy = next(a["content"] for tag, a in document.elements if a.get("http-equiv") == "Content-Security-Policy")
    running = [content for attrs, content in document.scripts if attrs.get("type") != "application/json"]
    assert len(running) == 2
    for content in running:
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in (policy or "")
    assert "default-src 'none'" in (policy or "")
    assert "unsafe-eval" not in (policy or "")


@pytest.mark.slow
def test_same_inputs_give_the_same_bytes(
    html: str, results: pd.DataFrame, decision: Decision, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    shuffled = results.sample(frac=1.0, random_state=1)
    read_back = Decision.from_json(json.loads(json.dumps(decision.to_json())))
    again = written(shuffled, read_back, simulated_provenance(), tmp_path / "elsewhere.html")
    assert again == html


def test_nothing_of_today_or_of_this_machine_is_written(html: str, tmp_path: Path):
    own = html.replace(plotly_bundle(), "")
    assert re.findall(r"20\d\d-\d\d-\d\d[^<]*", own) == ["2026-01-02T03:04:05Z"]
    assert str(Path.home()) + "/" not in own
    assert str(tmp_path.parent) not in own


def test_hostile_names_stay_text(decide: Any, tmp_path: Path):
    table = simulated_results(views=[PLATES], margins=[0.3], lambdas=FEW, seeds=3)
    table["metric"] = table["metric"].replace({"retrieval_map": EVIL, "batch_probe_nonlinear": f"batch_probe{EVIL}"})
    table["trainer"] = table["trainer"].replace({"control:random": f"control:{EVIL}"})
    table.loc[(table["adversarial_weight"] == 0.1) & (table["seed"] == 0), ["status", "value", "reason"]] = [
        "failed",
        np.nan,
        EVIL,
    ]
    decision = decide(table, min_seeds=2)
    decision = replace(decision, notes=(f"The views disagree: {EVIL}.",))
    provenance = {
        **simulated_provenance(),
        "name": EVIL,
        "config": EVIL,
        "command": EVIL,
        "warnings": [EVIL],
        "versions": {EVIL: EVIL},
        "screen": {EVIL: EVIL},
        "account": {
            "source": EVIL,
            "features": 1,
            "families": {EVIL: 1},
            "left_out": {EVIL: [EVIL]},
            "columns": {EVIL: EVIL},
            "notes": [EVIL],
        },
        "metrics": {EVIL: {"title": EVIL, "direction": EVIL}},
    }
    document = Document(written(table, decision, provenance, tmp_path / "report.html"))
    assert not [attrs for _, attrs in document.elements if "onerror" in attrs]
    assert not [tag for tag, _ in document.elements if tag == "img"]
    running = [content for attrs, content in document.scripts if attrs.get("type") != "application/json"]
    assert len(running) == 2
    assert "49" not in document.part("rule", "qualified", "views").split()
    assert document.text.count(EVIL) >= 15
    for spec in document.charts.values():
        words = json.dumps([spec["layout"].get("annotations"), [trace.get("name") for trace in spec["data"]]])
        assert "<script" not in words  # Plotly reads tags in labels: they reach it escaped
    assert any("&lt;script&gt;" in json.dumps(spec) for spec in document.charts.values())


@given(st.recursive(st.text() | st.floats(allow_nan=False) | st.none(), lambda inner: st.lists(inner, max_size=3)))
def test_json_in_a_script_element_keeps_its_value_and_cannot_end_it(value: Any):
    safe = script_safe(json.dumps(value, ensure_ascii=False))
    assert "<" not in safe
    assert json.loads(safe) == value


def test_single_view_and_margin_needs_no_heat_map(decide: Any, tmp_path: Path):
    table = simulated_results(views=[PLATES], margins=[0.3], lambdas=FEW, seeds=3)
    document = Document(written(table, decide(table), {}, tmp_path / "report.html"))
    assert not [chart for chart in document.charts if "heat" in chart]
    assert "One margin only" in document.text
    assert "unnamed sweep" in document.text
    assert len(document.charts) == 1 + 7 + 2 + 1


@pytest.mark.parametrize(
    ("state", "arguments"),
    [
        ("INSUFFICIENT_DATA", {"lambdas": (0.0, 0.1, 1.0), "seeds": 2}),
        ("INSUFFICIENT_DATA", {"lambdas": (0.1,), "seeds": 1}),
        ("INSUFFICIENT_DATA", {"lambdas": (0.0,), "seeds": 3}),
        ("INCONCLUSIVE", {"lambdas": LOW, "seeds": 3, "sigma": 0.2, "drop": 0.0}),
        ("NOT_REACHED", {"lambdas": FEW, "seeds": 5, "sigma": 0.003, "drop": 0.0}),
        ("BELOW_RANGE", {"lambdas": FEW, "seeds": 5, "sigma": 0.005, "drop": 0.6, "drop_at": -2.3}),
        ("UNSTABLE", {"lambdas": FEW, "seeds": 3, "lost": {(w, s): "failed" for w in FEW for s in range(3)}}),
    ],
)
def test_every_outcome_is_drawn_and_said_as_prominently(
    state: str, arguments: dict[str, Any], decide: Any, tmp_path: Path
):
    table = simulated_results(views=[PLATES], margins=[0.3], **arguments)
    decision = decide(table)
    assert decision.rule.state == state
    document = Document(written(table, decision, simulated_provenance(), tmp_path / "report.html"))
    text = " ".join(document.text.split())
    assert state.replace("_", " ") in text
    _, lead, _ = rule_in_parts(decision.sentence)
    assert " ".join(lead.split()) in document.part("rule")
    assert "view0-tradeoff0" in document.charts


def test_an_unreadable_table_still_gives_a_report(decide: Any, tmp_path: Path):
    table = simulated_results(views=[PLATES], margins=[0.3], lambdas=FEW, seeds=3)
    table.loc[0, "status"] = "lost"
    decision = decide(table)
    assert decision.rule.state == "INVALID_INPUT"
    document = Document(written(table, decision, {}, tmp_path / "report.html"))
    assert "unknown status" in document.text
    assert "No trade-off curve could be read" in document.part("rule")
    assert "view0-biological0" in document.charts


@pytest.mark.slow
def test_views_that_disagree_are_announced(decide: Any, tmp_path: Path):
    table = simulated_results(margins=[0.3], lambdas=FEW, seeds=5, sigma=0.005)
    away = table["view"] == "held_out_batches"
    gone = away & (table["role"] == "biological") & (table["adversarial_weight"] >= 0.1)
    table.loc[gone, "value"] = table["floor"] + 0.3 * (table["value"] - table["floor"])
    decision = decide(table)
    assert decision.notes
    document = Document(written(table, decision, {}, tmp_path / "report.html"))
    assert "The views disagree: " in document.part("rule")


def test_a_failed_write_leaves_nothing_behind(decide: Any, tmp_path: Path):
    table = simulated_results(views=[PLATES], margins=[0.3], lambdas=(0.0,), seeds=1)
    target = tmp_path / "report.html"
    target.mkdir()
    with pytest.raises(OSError, match=r"report\.html"):
        write_report(table, decide(table), {}, target)
    assert [item.name for item in tmp_path.iterdir()] == ["report.html"]


def test_ready_rules_are_shown_with_verdict_numbers_and_the_source_of_their_thresholds(
    document: Document, decision: Decision
):
    rules, shown = decision.ready_rules.rules, document.part("ready")
    for rule in rules:
        assert f"{rule.condition}, then {rule.then}." in shown
        assert detail_text(rule) in shown
    for verdict, holds in (("holds", True), ("does not hold", False), ("not measurable", None)):
        assert shown.count(f"{verdict} If") == sum(rule.holds is holds for rule in rules)
    assert "0.02 (judgement: differences below it change no use of an embedding)" in shown
    assert "0.1 (declared before the sweep)" in shown


@pytest.mark.slow
def test_mechanism_next_points_shift_and_choice_are_said(decision: Decision, results: pd.DataFrame, tmp_path: Path):
    changed = replace(
        decision,
        rule=replace(decision.rule, cause=Cause("C_optimiser", 0.2, 0.01)),
        next_points=NextPoints("between", (1.5, 3.0), 0, None, 12, 600.0, (1.0, 4.0)),
    )
    document = Document(written(results, changed, {}, tmp_path / "report.html"))
    head = document.part("qualified")
    assert "Cause: damage to the training, which is not over-correction." in head
    assert "the sham arm loses 20 %" in head
    assert "Next: Train λ = 1.5 and 3 with the same seeds: 12 cells, about 10 min of one worker." in head
    view = decision.views[PLATES]
    grid = document.part("grid")
    assert frontier_text(view.frontier, 0.95) in grid
    assert choice_text(view.choice) in grid


@pytest.mark.slow
@pytest.mark.parametrize(
    ("agrees", "said"),
    [
        (True, "Fresh seeds confirm the bounds: at λ = 3, called safe, a loss of 10 % is very unlikely, P = 0.02"),
        (False, "Fresh seeds do not confirm the bounds: at λ = 3, called safe"),
        (None, "Fresh seeds were trained, but say nothing of the bounds"),
    ],
)
def test_what_fresh_seeds_say_is_one_line(
    agrees: bool | None, said: str, decision: Decision, results: pd.DataFrame, tmp_path: Path
):
    document = decision.to_json()
    points = [
        {"role": "safe", "strength": 3.0, "probability": 0.02, "seeds": 3},
        {"role": "loss", "strength": 30.0, "probability": 0.97, "seeds": 3},
    ]
    view = document["views"][PLATES]
    curve = next(item for item in view["margins"] if item["margin"] == view["chosen_margin"])
    curve["confirmation"] = {"agrees": agrees, "points": [] if agrees is None else points}
    changed = Decision.from_json(document)
    head = Document(written(results, changed, {}, tmp_path / "report.html")).part("rule", "qualified")
    assert head.count("Fresh seeds") == 1
    assert said in head
    assert ("at λ = 30, called unsafe, a loss of 10 % is very likely, P = 0.97 (3 seeds)." in head) == (
        agrees is not None
    )
    assert said in " ".join(printed(changed).split())
    untouched = Document(written(results, decision, {}, tmp_path / "other.html")).text
    assert "Fresh seeds" not in untouched
    curve["reasons"] = ["<script> seeds"]
    hostile = written(results, Decision.from_json(document), {}, tmp_path / "hostile.html")
    assert "&lt;script&gt; seeds" in hostile
    assert "<script> seeds" not in hostile


def test_a_technical_only_sweep_is_refused_in_the_report(results: pd.DataFrame, decide: Any, tmp_path: Path):
    table = results[results["role"] == "technical"]
    document = Document(written(table, decide(table), {}, tmp_path / "report.html"))
    text = " ".join(document.text.split())
    assert "one group alone never decides" in document.part("rule")
    assert "no recommendation" in document.part("rule")
    assert "suggest λ" not in text
    assert "recommend λ" not in text


def test_charts_come_in_reading_order(document: Document):
    places = [attrs["id"] for tag, attrs in document.elements if tag == "div" and attrs.get("class") == "chart"]
    assert places[0] == "view0-tradeoff0"
    assert list(document.charts) == places


def test_the_drawing_library_is_the_one_that_the_figures_are_made_for(document: Document):
    assert bundled_version() == get_plotlyjs_version()
    told = (BUNDLE.parent / "README.md").read_text(encoding="utf-8")
    assert f"| {bundled_version()} |" in told
    assert hashlib.sha256(BUNDLE.read_bytes()).hexdigest() in told
    assert "MIT License" in (BUNDLE.parent / "LICENSE-plotly.js").read_text(encoding="utf-8")
    assert {trace["type"] for spec in document.charts.values() for trace in spec["data"]} <= TRACES


def test_every_entry_of_the_contents_leads_somewhere(document: Document):
    links = [str(attrs["href"]) for tag, attrs in document.elements if tag == "a"]
    identities = {attrs["id"] for _, attrs in document.elements if "id" in attrs}
    assert len(links) >= 7
    assert {link.removeprefix("#") for link in links} <= identities


def test_the_narrow_layout_is_the_same_figure_on_other_places(document: Document):
    narrow = {name: spec for name, spec in document.charts.items() if "narrow" in spec}
    assert {name.split("-")[1].rstrip("0123456789") for name in narrow} >= {"tradeoff"}
    for spec in narrow.values():
        axes = {key for key in spec["layout"] if key.startswith(("xaxis", "yaxis"))}
        assert axes == {key for key in spec["narrow"] if key.startswith(("xaxis", "yaxis"))}
        for trace in spec["data"]:
            assert {f"{axis}axis{trace.get(f'{axis}axis', axis)[1:]}" for axis in "xy"} <= axes


def test_a_trainer_with_one_dial_is_never_told_of_a_margin(tmp_path: Path) -> None:
    table = simulated_results(margins=(0.0,), lambdas=(0.0, 0.2, 0.4, 0.6, 0.8, 1.0), drop_at=-0.2)
    table["trainer"] = table["trainer"].replace({"abra": "center"})
    settings = DecisionSettings(deciding_view=PLATES, draws=400)
    found = decide_sweep(table, settings=settings, provenance={"trainer": "center"})
    write_report(table, found, {}, tmp_path / "report.html")
    page = re.sub(r"<(script|style)\b.*?</\1>", "", (tmp_path / "report.html").read_text(), flags=re.DOTALL)
    for text in (re.sub(r"<[^>]+>", " ", page), printed(found), text_summary(found, table)):
        assert "α" in text
        assert not re.findall(r".{40}(?:\bmargins?\b|λ).{0,20}", text, flags=re.IGNORECASE)
