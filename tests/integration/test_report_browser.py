"""The report in a real browser: it draws, it stays offline, and data cannot become code."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dashboards.report import Page, build_page, write_report
from sweeper.decision import DecisionSettings, decide_sweep

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "dashboards"))

from example_results import simulated_provenance, simulated_results

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

pytestmark = pytest.mark.integration

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
EVIL = "</script><script>window.stolen=1</script><img src=x onerror='window.stolen=1'>"
LAMBDAS = (0.0, 0.01, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0)
DRAWN = "document.querySelectorAll('.chart .main-svg').length > 0 && document.readyState === 'complete'"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium on this machine (apt-get install chromium)")
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Page]:
    """A report on two views and two margins with lost cells, an unmeasured metric and hostile names."""
    lost = {(100.0, seed): "collapsed" for seed in range(3)}
    table = simulated_results(lambdas=LAMBDAS, seeds=3, lost=lost, unmeasured=("label_nmi",))
    table["metric"] = table["metric"].replace({"retrieval_map": EVIL})
    table["reason"] = table["reason"].mask(table["status"] == "collapsed", EVIL)
    decision = decide_sweep(
        table, settings=DecisionSettings(deciding_view="held_out_plates", draws=400), provenance={"trainer": "abra"}
    )
    provenance = {**simulated_provenance(), "name": EVIL, "config": EVIL}
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(table, decision, provenance, path)
    return path, build_page(table, decision, provenance)


class Visit:
    """One page load with everything it asked for and complained about."""

    def __init__(self, browser: Any, path: Path, width: int = 1280) -> None:
        self.page = browser.new_page(viewport={"width": width, "height": 900})
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        self.page.goto(path.as_uri())
        self.page.wait_for_function(DRAWN)

    def ask(self, script: str) -> Any:
        return self.page.evaluate(script)


@pytest.fixture(scope="module")
def visit(browser: Any, report: tuple[Path, Page]) -> Iterator[Visit]:
    visit = Visit(browser, report[0])
    yield visit
    visit.page.close()


def test_every_chart_is_drawn(visit: Visit, report: tuple[Path, Page]):
    expected = [chart.id for chart in report[1].charts]
    assert len(expected) == 28  # T and B of the whole panel among them, by view
    assert visit.ask("[...document.querySelectorAll('.js-plotly-plot')].map(e => e.id)") == expected
    empty = "[...document.querySelectorAll('.chart')].filter(e => e.querySelector('.main-svg').clientWidth < 200)"
    assert visit.ask(f"{empty}.length") == 0
    assert visit.ask("document.querySelectorAll('#view0-tradeoff0 .trace.scatter path.point').length") > 40
    assert visit.ask("document.querySelectorAll('#view0-tradeoff0 .trace.bars path').length") == len(LAMBDAS)


def test_nothing_but_the_file_itself_is_loaded(visit: Visit, report: tuple[Path, Page]):
    assert visit.requests == [report[0].as_uri()]


def test_the_console_stays_silent(visit: Visit):
    assert visit.complaints == []


def test_hostile_names_are_shown_and_not_run(visit: Visit):
    assert visit.ask("window.stolen") is None
    assert visit.ask("document.images.length") == 0
    assert EVIL in visit.ask("document.querySelector('header').textContent")
    assert EVIL in visit.ask("document.querySelector('#tables details').textContent")


def test_the_page_may_not_reach_the_network_even_if_told_to(browser: Any, report: tuple[Path, Page]):
    visit = Visit(browser, report[0])
    blocked = visit.ask("fetch('https://example.org/').then(() => 'reached', () => 'blocked')")
    visit.ask("document.body.insertAdjacentHTML('beforeend', '<img src=\"https://example.org/x.png\">')")
    visit.page.close()
    assert blocked == "blocked"
    assert any("Content Security Policy" in complaint for complaint in visit.complaints)


@pytest.mark.parametrize("width", [1280, 800, 420])
def test_the_page_fits_its_window(browser: Any, report: tuple[Path, Page], width: int):
    visit = Visit(browser, report[0], width)
    assert visit.ask("document.documentElement.scrollWidth") <= width
    outside = visit.ask(
        "[...document.querySelectorAll('.chart')].filter("
        "e => !e.closest('.scroll') && e.getBoundingClientRect().right > innerWidth + 1).length"
    )
    visit.page.close()
    assert outside == 0


def test_the_rule_is_on_the_first_screen(visit: Visit):
    box = visit.ask("(b => [b.top, b.bottom])(document.querySelector('.rule .sentence').getBoundingClientRect())")
    assert 0 < box[0] < box[1] < 900
    size = visit.ask("parseFloat(getComputedStyle(document.querySelector('.rule .sentence')).fontSize)")
    assert size > 1.3 * visit.ask("parseFloat(getComputedStyle(document.body).fontSize)")


def test_labels_of_the_trade_off_chart_do_not_overlap(visit: Visit):
    boxes = visit.ask(
        """[...document.querySelectorAll('#view0-tradeoff0 .annotation-text-g text.annotation-text')].map(
             e => (b => [e.textContent, b.left, b.top, b.right, b.bottom])(e.getBoundingClientRect()))"""
    )
    assert len(boxes) >= 10
    for i, (first, left, top, right, bottom) in enumerate(boxes):
        for second, *other in boxes[i + 1 :]:
            apart = right <= other[0] + 1 or other[2] <= left + 1 or bottom <= other[1] + 2 or other[3] <= top + 2
            assert apart, f"{first!r} overlaps {second!r}"


def test_it_prints(visit: Visit, tmp_path: Path):
    printed = visit.page.pdf(path=tmp_path / "report.pdf", prefer_css_page_size=True)
    assert printed.startswith(b"%PDF")
