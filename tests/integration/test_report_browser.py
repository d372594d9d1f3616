"""The report in a real browser: it draws, reads in ten seconds, prints, stays offline, and data cannot become code."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from dashboards.compared_sweeps import comparison_page
from dashboards.report import Page, build_page, write_report
from sweeper.decision import DecisionSettings, decide_sweep
from sweeper.findings.compared import Compared, Comparison, Difference, Pair, Point
from sweeper.findings.unit_gains import gains

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "dashboards"))

from example_results import SimulatedEmbeddings, simulated_provenance, simulated_results, simulated_units

pytestmark = pytest.mark.integration

EVIL = "</script><script>window.stolen=1</script><img src=x onerror='window.stolen=1'>"
LAMBDAS = (0.0, 0.01, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0)
SIZES = {1440: 900, 390: 844}  # a laptop's window and a phone
SCHEMES = ("light", "dark")
SCREENS = 8  # before the appendix
PAPER = 703  # pixels of an A4 page between margins of 12 mm
DRAWN = "[...document.querySelectorAll('.js-plotly-plot')].map(e => e.id)"
SETTLED = """() => [...document.querySelectorAll('.chart')].every(e => {
    const box = e.getBoundingClientRect();
    const near = box.width && box.top < innerHeight && box.bottom > 0;
    return !near || e.querySelector('.main-svg');
})"""


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Page]:
    """A report on two views and two margins with lost cells and an unmeasured metric."""
    lost = {(100.0, seed): "collapsed" for seed in range(3)}
    table = simulated_results(lambdas=LAMBDAS, seeds=3, lost=lost, unmeasured=("label_nmi",))
    return _report(table, simulated_provenance(), tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Page]:
    """The same with names that would be code."""
    lost = {(100.0, seed): "collapsed" for seed in range(3)}
    table = simulated_results(lambdas=LAMBDAS, seeds=3, lost=lost, unmeasured=("label_nmi",))
    table["metric"] = table["metric"].replace({"retrieval_map": EVIL})
    table["reason"] = table["reason"].mask(table["status"] == "collapsed", EVIL)
    provenance = {**simulated_provenance(), "name": EVIL, "config": EVIL}
    return _report(table, provenance, tmp_path_factory.mktemp("hostile"))


def _report(table: pd.DataFrame, provenance: dict[str, Any], folder: Path) -> tuple[Path, Page]:
    settings = DecisionSettings(deciding_view="held_out_plates", draws=400)
    decision = decide_sweep(table, settings=settings, provenance={"trainer": "abra"})
    embeddings: Any = SimulatedEmbeddings()
    found = gains(simulated_units(table), table, trainer="abra", delta=0.1)
    write_report(table, decision, provenance, folder / "report.html", gains=found, embeddings=embeddings)
    return folder / "report.html", build_page(table, decision, provenance, gains=found, embeddings=embeddings)


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Sweeps beside each other: two that are comparable, and one that is not, named as if it were code."""
    points = tuple(Point(weight, weight / (1 + weight), 1 / (1 + weight / 9)) for weight in LAMBDAS)
    rows = [
        Compared(
            label=label,
            folder="runs",
            trainer="abra",
            view="held_out_plates",
            wells=576,
            features=40,
            seeds=3,
            state="BRACKET_ONLY",
            firmness="firm",
            certainty=None,
            advised="λ=3 m=0.2",
            weight=3.0,
            technical=0.75,
            biological=0.75,
            safe_up_to=3.0,
            unsafe_from=10.0,
            curve=points[: 8 - 2 * place],
        )
        for place, label in enumerate(("first", "the second", EVIL))
    ]
    difference = Difference("technical", -0.2, -0.3, -0.1, 3)
    pairs = (Pair("first", "the second", (), (difference,), 0.9), Pair("first", EVIL, ("other wells",), (), 0.9))
    path = tmp_path_factory.mktemp("compared") / "compared.html"
    path.write_text(comparison_page(Comparison(tuple(rows), pairs)), encoding="utf-8")
    return path, ["plane"]


@pytest.fixture(params=["plain", "compared"])
def page(request: pytest.FixtureRequest) -> tuple[Path, list[str]]:
    """Every kind of page: its file, and the figures in it."""
    path, content = request.getfixturevalue(request.param)
    return path, [one.id for one in content.charts] if isinstance(content, Page) else content


class Visit:
    """One page load with everything it asked for and complained about."""

    def __init__(self, browser: Any, path: Path, width: int = 1440, scheme: str = "light") -> None:
        size = {"width": width, "height": SIZES.get(width, 900)}
        self.page = browser.new_page(viewport=size, color_scheme=scheme)
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        self.page.goto(path.as_uri())
        self.page.wait_for_selector(".chart .main-svg", state="attached")
        self.settle()

    def ask(self, script: str) -> Any:
        return self.page.evaluate(script)

    def settle(self) -> None:
        """Until what is in view is drawn; the page's policy forbids Playwright's own waiting."""
        for _ in range(1200):
            if self.ask(SETTLED):
                return
            self.page.wait_for_timeout(50)
        raise AssertionError("what is in view was not drawn in a minute")

    def see_everything(self) -> None:
        """Open every folded part and scroll through the page."""
        self.ask("document.querySelectorAll('details').forEach(part => { part.open = true; })")
        self.settle()
        for identity in self.ask("[...document.querySelectorAll('.chart')].map(e => e.id)"):
            self.ask(f"document.getElementById({identity!r}).scrollIntoView()")
            self.settle()


@pytest.fixture
def visit(browser: Any) -> Iterator[Any]:
    """Open a page; it is closed after the test."""
    opened: list[Visit] = []

    def open_page(path: Path, width: int = 1440, scheme: str = "light") -> Visit:
        opened.append(Visit(browser, path, width, scheme))
        return opened[-1]

    yield open_page
    for one in opened:
        one.page.close()


def test_figures_are_drawn_when_they_come_into_view(visit: Any, plain: tuple[Path, Page]):
    seen, expected = visit(plain[0]), [chart.id for chart in plain[1].charts]
    at_first = seen.ask(DRAWN)
    assert at_first[0] == expected[0] == "view0-tradeoff0"
    assert len(at_first) <= 2 < len(expected)
    seen.see_everything()
    assert seen.ask(DRAWN) == expected
    narrow = "[...document.querySelectorAll('.chart')].filter(e => e.querySelector('.main-svg').clientWidth < 200)"
    assert seen.ask(f"{narrow}.length") == 0
    assert seen.ask("document.querySelectorAll('#view0-tradeoff0 .trace.scatter path.point').length") > 40
    assert seen.ask("document.querySelectorAll('#view0-tradeoff0 .trace.bars path').length") == len(LAMBDAS)
    assert seen.complaints == []
    assert seen.requests == [plain[0].as_uri()]


@pytest.mark.parametrize("width", SIZES)
def test_compared_sweeps_fit_their_window_and_stay_what_they_are(
    visit: Any, compared: tuple[Path, list[str]], width: int
):
    seen = visit(compared[0], width)
    seen.see_everything()
    assert seen.ask("document.documentElement.scrollWidth") <= width
    assert seen.ask("window.stolen") is None
    assert EVIL in seen.ask("document.querySelector('tbody').textContent")
    assert "not comparable: other wells" in seen.ask("document.querySelector('main').textContent")
    assert seen.ask("document.querySelectorAll('#plane .trace.scatter').length") == 6
    assert seen.complaints == []
    assert seen.requests == [compared[0].as_uri()]


def test_hostile_names_are_shown_and_not_run(visit: Any, hostile: tuple[Path, Page]):
    seen = visit(hostile[0])
    seen.see_everything()
    assert seen.ask("window.stolen") is None
    assert seen.ask("document.images.length") == 0
    assert EVIL in seen.ask("document.querySelector('header').textContent")
    assert EVIL in seen.ask("document.querySelector('#tables details').textContent")
    assert seen.complaints == []


def test_the_page_may_not_reach_the_network_even_if_told_to(visit: Any, plain: tuple[Path, Page]):
    seen = visit(plain[0])
    blocked = seen.ask("fetch('https://example.org/').then(() => 'reached', () => 'blocked')")
    seen.ask("document.body.insertAdjacentHTML('beforeend', '<img src=\"https://example.org/x.png\">')")
    assert blocked == "blocked"
    assert any("Content Security Policy" in complaint for complaint in seen.complaints)


@pytest.mark.parametrize("width", [1440, 800, 390])
def test_the_page_fits_its_window(visit: Any, hostile: tuple[Path, Page], width: int):
    seen = visit(hostile[0], width)
    seen.see_everything()
    assert seen.ask("document.documentElement.scrollWidth") <= width
    outside = seen.ask(
        "[...document.querySelectorAll('.chart')].filter("
        "e => !e.closest('.scroll') && e.getBoundingClientRect().right > innerWidth + 1).length"
    )
    assert outside == 0


@pytest.mark.parametrize("width", SIZES)
def test_the_first_screen_has_the_advice_the_curve_and_the_verdicts(visit: Any, plain: tuple[Path, Page], width: int):
    seen = visit(plain[0], width)
    for part in (".rule .sentence", ".shown .main-svg", ".verdicts"):
        box = seen.ask(f"(b => [b.top, b.bottom])(document.querySelector('{part}').getBoundingClientRect())")
        assert 0 < box[0] < box[1] <= SIZES[width], part
    words = seen.ask("document.querySelector('.verdicts').textContent")
    assert "held-out plates" in words
    assert "held-out batches" in words
    assert "aseline" in seen.ask("document.querySelector('#rule').textContent")


@pytest.mark.parametrize("width", SIZES)
def test_the_appendix_begins_within_eight_screens_and_opens_when_linked(
    visit: Any, plain: tuple[Path, Page], width: int
):
    seen = visit(plain[0], width)
    top = seen.ask("document.querySelector('#appendix').getBoundingClientRect().top + scrollY")
    assert top <= SCREENS * SIZES[width]
    for link in seen.page.locator("nav a").all():
        link.click()
        name = link.get_attribute("href").removeprefix("#")
        assert 0 <= seen.ask(f"document.getElementById({name!r}).getBoundingClientRect().top") < SIZES[width], name
    seen.ask("location.hash = 'further-gains'")
    seen.page.wait_for_selector("#further-gains[open]")
    assert not seen.ask("document.querySelector('#tables').open")


@pytest.mark.parametrize("width", SIZES)
def test_labels_of_the_trade_off_chart_do_not_overlap_and_are_not_cut(visit: Any, plain: tuple[Path, Page], width: int):
    seen = visit(plain[0], width)
    boxes = seen.ask(
        """[...document.querySelectorAll('#view0-tradeoff0 .annotation-text-g text.annotation-text')].map(
             e => (b => [e.textContent, b.left, b.top, b.right, b.bottom])(e.getBoundingClientRect()))"""
    )
    assert len(boxes) >= (10 if width > 1000 else 4)
    left, right = seen.ask(
        "(b => [b.left, b.right])(document.querySelector('#view0-tradeoff0').getBoundingClientRect())"
    )
    for i, (first, *box) in enumerate(boxes):
        assert left - 1 <= box[0] < box[2] <= right + 1, f"{first!r} is cut"
        for second, *other in boxes[i + 1 :]:
            apart = box[2] <= other[0] + 1 or other[2] <= box[0] + 1 or box[3] <= other[1] + 2 or other[3] <= box[1] + 2
            assert apart, f"{first!r} overlaps {second!r}"


@pytest.mark.parametrize("width", SIZES)
def test_the_curve_fills_its_axis_and_its_error_bars_can_be_seen(visit: Any, plain: tuple[Path, Page], width: int):
    seen = visit(plain[0], width)
    heights = """(figure => [figure.querySelector('.subplot.xy .bglayer-above, .bglayer .bg, .xy .gridlayer')
        .getBoundingClientRect().height,
        (ys => Math.max(...ys) - Math.min(...ys))([...figure.querySelectorAll('.subplot.xy path.point')].map(
            e => e.getBoundingClientRect().top)),
        Math.max(...[...figure.querySelectorAll('.subplot.xy .yerror')].map(e => e.getBoundingClientRect().width)),
        parseFloat(getComputedStyle(figure.querySelector('.subplot.xy .yerror')).strokeWidth)])(
        document.querySelector('#view0-tradeoff0'))"""
    panel, curve, cap, thickness = seen.ask(heights)
    assert curve > 0.7 * panel
    assert cap >= 12  # pixels: the marker itself has 8
    assert thickness >= 2


def test_gain_panels_stand_in_one_column_on_a_phone(visit: Any, plain: tuple[Path, Page]):
    for width, columns in ((1440, 3), (390, 1)):
        seen = visit(plain[0], width)
        seen.ask("document.getElementById('gains').scrollIntoView()")
        seen.settle()
        panels = seen.ask("document.querySelectorAll('#view0-gain .cartesianlayer .subplot').length")
        assert panels == 9
        starts = """new Set([...document.querySelectorAll('#view0-gain .draglayer .nsewdrag')].map(
            e => Math.round(e.getBoundingClientRect().left))).size"""
        assert seen.ask(starts) == columns


def test_a_batch_is_followed_through_all_embeddings(visit: Any, plain: tuple[Path, Page]):
    seen = visit(plain[0])
    seen.ask("document.getElementById('embeddings').scrollIntoView()")
    seen.settle()
    chosen = """document.getElementById('view0-embedding').data.map(
        t => t.selectedpoints ? t.selectedpoints.length : null)"""
    panels = len(seen.ask(chosen))
    assert seen.ask(chosen) == [None] * panels
    seen.page.locator("#view0-embedding .legend .legendtoggle").nth(0).click()
    seen.page.wait_for_timeout(500)
    followed = seen.ask(chosen)
    wells = seen.ask("document.getElementById('view0-embedding').data[0].customdata.length")
    planes = seen.ask("document.getElementById('view0-embedding').layout.annotations.length")
    assert None not in followed
    assert sum(followed) == 2 * planes * wells  # in every panel of both rows
    seen.page.locator("#view0-embedding .legend .legendtoggle").nth(0).click()
    seen.page.wait_for_timeout(500)
    assert seen.ask(chosen) == [None] * panels


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", SIZES)
def test_axe_finds_no_violation_of_aa(visit: Any, page: tuple[Path, list[str]], width: int, scheme: str):
    pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed (make install)")
    seen = visit(page[0], width, scheme)
    seen.see_everything()
    seen.ask(files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8"))
    rules = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
    found = seen.ask(
        f"axe.run(document, {{runOnly: {rules}}}).then(r => [r.passes.length, r.violations.map(v => "
        "[v.id, v.nodes.length, v.nodes[0].html])])"
    )
    assert found[0] > 10
    assert found[1] == []


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_word_in_a_figure_stands_out(visit: Any, page: tuple[Path, list[str]], scheme: str):
    seen = visit(page[0], 1440, scheme)
    seen.see_everything()
    dim = seen.ask(CONTRAST)
    assert seen.ask("document.querySelectorAll('.main-svg text').length") > 10 * len(page[1])
    assert dim == []


CONTRAST = """(() => {
    const parts = colour => colour.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
        .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const paper = light(parts(getComputedStyle(document.body).backgroundColor));
    return [...document.querySelectorAll('.main-svg text')].filter(e => e.textContent.trim()).map(e => {
        const cell = e.closest('.heatmap-label') && e.closest('.heatmap-label').dataset.paper;
        if (e.closest('.heatmap-label')) return null;  // on a coloured cell: the scale's own test
        const ink = light(parts(getComputedStyle(e).fill));
        const ratio = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
        return ratio < 4.5 ? [e.textContent, getComputedStyle(e).fill, ratio] : null;
    }).filter(Boolean);
})()"""


@pytest.mark.parametrize("scheme", SCHEMES)
def test_paper_has_everything_in_light_colours_and_nothing_is_cut(
    visit: Any, page: tuple[Path, list[str]], scheme: str, tmp_path: Path
):
    seen = visit(page[0], 1440, scheme)
    seen.ask(PRINTED)
    printed = seen.page.pdf(path=tmp_path / "report.pdf", prefer_css_page_size=True)
    assert printed.startswith(b"%PDF")
    found = seen.ask("window.printed")
    assert found["drawn"] == page[1]
    assert found["closed"] == 0
    assert found["paper"] == ["rgb(255, 255, 255)"]
    assert found["widest"] <= PAPER
    assert found["cut"] == []
    seen.settle()
    assert seen.ask("document.querySelectorAll('#appendix details[open]').length") == 0, "as it was before"


PRINTED = """addEventListener('beforeprint', () => {
    const figures = [...document.querySelectorAll('.js-plotly-plot')];
    const cut = figures.flatMap(figure => {
        const place = figure.getBoundingClientRect();
        return [...figure.querySelectorAll('text')].filter(e => e.textContent.trim()).filter(e => {
            const box = e.getBoundingClientRect();
            return box.left < place.left - 1 || box.right > place.right + 1 ||
                box.top < place.top - 1 || box.bottom > place.bottom + 1;
        }).map(e => `${figure.id}: ${e.textContent}`);
    });
    window.printed = {
        drawn: figures.map(e => e.id),
        closed: document.querySelectorAll('details:not([open])').length,
        paper: [...new Set(figures.map(e => getComputedStyle(e.querySelector('.main-svg')).backgroundColor))],
        widest: Math.max(...figures.map(e => e.querySelector('.main-svg').getBoundingClientRect().right)),
        cut,
    };
})"""
