"""One sweep as one HTML file: self-contained, offline, and the same bytes for the same inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from dashboards.boundary_words import boundary, optimism
from dashboards.chart import Chart, chart
from dashboards.composite_curves import CompositeView, composite_view
from dashboards.dial import dials, speaking_of
from dashboards.document import document, write_page
from dashboards.figures.axis import strength_axis
from dashboards.figures.frontier import describe_frontier, draw_frontier, frontier_numbers
from dashboards.figures.gain import describe_gains, draw_gains
from dashboards.figures.heatmap import composite_grid, describe_grid, draw_grid
from dashboards.figures.metric import MetricCurve, describe_metric, draw_metric, metric_curve
from dashboards.figures.probe import ProbeComparison, describe_probe, draw_probe, probe_comparison
from dashboards.figures.tradeoff import ROLES, TradeOff, describe_trade_off, trade_off
from dashboards.figures.tradeoff_drawing import draw_trade_off
from dashboards.first_screen import FirstScreen, first_screen, ordered_curves, ordered_views, tone, verdict_text
from dashboards.gain_views import GainView, gain_view
from dashboards.pictures import Pictures, pictures
from dashboards.pseudo_cost import PseudoRow, pseudo_rows
from dashboards.records import checked, metric_names, trained, without_ladder
from dashboards.stages import Stage, stages
from dashboards.tables import (
    CellRow,
    ControlRow,
    StrengthRow,
    cell_rows,
    control_rows,
    status_counts,
    strength_rows,
)
from sweeper.decision import Decision, RuledCurve, ViewDecision
from sweeper.decision.words.advice import choice_text, frontier_text
from sweeper.findings.ladder_table import LadderTable
from sweeper.findings.stored_embeddings import StoredEmbeddings
from sweeper.findings.unit_gains import Gains
from sweeper.spoken import spoken, spoken_values


@dataclass(frozen=True)
class MetricFigure:
    """One metric: its numbers and its chart, None when nothing was measured."""

    numbers: MetricCurve
    chart: Chart | None


@dataclass(frozen=True)
class ViewSection:
    """Everything the page shows of one evaluation view; `curve` is None when the decision could not read it."""

    view: str
    deciding: bool
    curve: RuledCurve | None
    tone: str
    verdict: str
    chosen_margin: float | None
    choice: str
    shift: str
    frontier: Chart | None
    stages: tuple[Stage, ...]
    main: Chart | None
    others: tuple[tuple[RuledCurve, Chart], ...]
    metrics: tuple[tuple[str, tuple[MetricFigure, ...]], ...]
    pseudo: tuple[PseudoRow, ...]
    composites: CompositeView | None
    composite: tuple[Chart, ...]
    margins: tuple[float, ...]
    heat: tuple[Chart, ...]
    probes: ProbeComparison
    probe: Chart | None
    boundary: str
    optimism: str
    gains: GainView | None
    gain: Chart | None
    primary: tuple[str, ...]
    strengths: tuple[StrengthRow, ...]
    controls: tuple[ControlRow, ...]


@dataclass(frozen=True)
class Page:
    """The whole report before it becomes HTML."""

    decision: Decision
    first: FirstScreen
    sections: tuple[ViewSection, ...]
    cells: tuple[CellRow, ...]
    statuses: tuple[tuple[str, int], ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    ladder: LadderTable | None = None
    pictures: Pictures | None = None

    @property
    def contents(self) -> tuple[tuple[str, str], ...]:
        """Ids of the parts and their words, in the order of the page."""
        curves = (("curves", "Curves"),) if len(self.sections) != 1 else ()
        return (
            ("rule", "Advice"),
            ("qualified", "What qualifies it"),
            ("views", "Views"),
            *curves,
            ("embeddings", "Embeddings"),
            ("gains", "Help and hurt"),
            ("lost", "Lost first"),
            ("plates", "Plates"),
            ("ready", "Ready rules"),
            ("appendix", "Appendix"),
        )

    @property
    def charts(self) -> tuple[Chart, ...]:
        """Every chart, in the order of the page."""
        return tuple(self._charts())

    def _charts(self) -> Iterator[Chart]:
        yield from (section.main for section in self.sections if section.main)
        drawn = self.pictures
        yield from (found for found in ((drawn.plane, drawn.umap) if drawn else ()) if found)
        yield from (section.gain for section in self.sections[:1] if section.gain)
        yield from (found for found in ((drawn.losses, drawn.plates) if drawn else ()) if found)
        yield from (chart for section in self.sections for _, chart in section.others)
        yield from (section.gain for section in self.sections[1:] if section.gain)
        for section in self.sections:
            yield from (figure.chart for _, figures in section.metrics for figure in figures if figure.chart)
        yield from (chart for section in self.sections for chart in section.composite)
        for section in self.sections:
            yield from ((section.frontier,) if section.frontier else ())
            yield from section.heat
        yield from (section.probe for section in self.sections if section.probe)


def write_report(
    results: pd.DataFrame,
    decision: Decision,
    provenance: Mapping[str, Any],
    path: Path,
    *,
    gains: Gains | None = None,
    ladder: LadderTable | None = None,
    embeddings: StoredEmbeddings | None = None,
) -> None:
    """Write the report to `path`, whole or not at all.

    Args:
        results: tidy table, one row a metric of a cell (`sweeper.store.results.COLUMNS`), any row order.
        provenance: JSON values, each optional: name, sweep_id, created, fingerprint, versions, screen, config (YAML
            text), command, rebuild, warnings, metrics (name → title, direction), held_out (view → column, batch, and
            what `sweeper.findings.crossed_boundary` says). Nothing else of where and when it is written gets in.
        path: the HTML file; an older one is replaced.
        gains: by batch, cell type and perturbation; None where no cell keeps units.
        ladder: None where the sweep has none.
        embeddings: of held-out wells; None without a store, or to do without their pictures.

    Raises:
        InputError: a column is missing.
    """
    with speaking_of(decision.trainer):
        content = render_report(_page(results, decision, provenance, gains, ladder, embeddings)).encode()
    write_page(path, content)


def build_page(
    results: pd.DataFrame,
    decision: Decision,
    provenance: Mapping[str, Any],
    *,
    gains: Gains | None = None,
    ladder: LadderTable | None = None,
    embeddings: StoredEmbeddings | None = None,
) -> Page:
    """Numbers, figures and tables of the report; raises as `write_report`."""
    with speaking_of(decision.trainer):
        return _page(results, decision, provenance, gains, ladder, embeddings)


def _page(
    results: pd.DataFrame,
    decision: Decision,
    provenance: Mapping[str, Any],
    gains: Gains | None,
    ladder: LadderTable | None,
    embeddings: StoredEmbeddings | None,
) -> Page:
    whole = checked(results, fresh_seeds=decision.fresh_seeds)
    frame = without_ladder(whole)
    views = ordered_views(decision)
    unread = sorted(set(frame["view"].dropna()) - set(views))
    held_out = provenance.get("held_out", {})
    judged = [_Judged.of_view(decision, view) for view in [*views, *unread]]
    sections = tuple(
        _section(frame, of, gains, held_out.get(of.view), prefix=f"view{place}") for place, of in enumerate(judged)
    )
    return Page(
        decision=decision,
        first=spoken_values(first_screen(decision), dials()),
        sections=sections,
        cells=cell_rows(whole),
        statuses=status_counts(whole),
        provenance=provenance,
        ladder=ladder,
        pictures=_pictures(frame, sections[0], gains, embeddings) if sections else None,
    )


def _pictures(
    frame: pd.DataFrame, section: ViewSection, gains: Gains | None, embeddings: StoredEmbeddings | None
) -> Pictures:
    biological = [figure.numbers.metric for figure in dict(section.metrics)["biological"] if figure.numbers.primary]
    own = trained(frame[(frame["view"] == section.view) & frame["metric"].isin(biological)])
    ranges = (own["ceiling"] - own["floor"]).groupby(own["metric"]).mean().dropna()
    return pictures(
        embeddings,
        gains,
        curve=section.curve,
        stages=section.stages,
        primary=biological,
        ranges={str(metric): float(found) for metric, found in ranges.items()},
        prefix="view0",
    )


@dataclass(frozen=True)
class _Judged:
    """One view and what was decided in it; without curves where the decision could not read it.

    Attributes:
        curves: the one that the page leads with first.
        of: the view's decision.
    """

    view: str
    deciding: bool
    confidence: float
    curves: tuple[RuledCurve, ...]
    of: ViewDecision | None

    @classmethod
    def of_view(cls, decision: Decision, view: str) -> _Judged:
        found = decision.views.get(view)
        curves = ordered_curves(decision, found) if found else ()
        return cls(view, view == decision.deciding_view, decision.settings.confidence, curves, found)

    @property
    def curve(self) -> RuledCurve | None:
        return self.curves[0] if self.curves else None

    @property
    def margins(self) -> tuple[float, ...]:
        return tuple(curve.margin or 0.0 for curve in self.curves)

    @property
    def marked(self) -> tuple[float, float] | None:
        """The recommended (λ, margin)."""
        if self.curve is None or self.curve.recommended is None:
            return None
        return self.curve.recommended, self.curve.margin or 0.0


def _section(
    frame: pd.DataFrame, of: _Judged, gains: Gains | None, held_out: Mapping[str, Any] | None, *, prefix: str
) -> ViewSection:
    rows = frame[frame["view"] == of.view]
    margins = of.margins or tuple(sorted(trained(rows)["margin"].dropna().unique().tolist()))
    numbers = [trade_off(curve) for curve in of.curves]
    charts = _trade_off_charts(numbers, prefix)
    compared = stages(of.curve, numbers[0]) if of.curve else ()
    probes = _probes(rows, of.view, margins, compared)
    primary = _primary(rows)
    helped = _gains(rows, of, gains, margins, primary)
    whole = composite_view(rows, view=of.view, margins=margins)
    return ViewSection(
        view=of.view,
        deciding=of.deciding,
        curve=of.curve,
        tone=tone(of.curve.state, of.curve.recommended) if of.curve else "warn",
        verdict=verdict_text(of.curve) if of.curve else "",
        chosen_margin=of.of.chosen_margin if of.of else None,
        choice=spoken(choice_text(of.of.choice), dials()) if of.of else "",
        shift=spoken(frontier_text(of.of.frontier, of.confidence), dials()) if of.of else "",
        frontier=_frontier_chart(of, prefix),
        stages=compared,
        main=charts[0] if charts else None,
        others=tuple(zip(of.curves[1:], charts[1:], strict=True)),
        metrics=tuple((role, _metrics(rows, of.view, role, margins, prefix)) for role in ("technical", "biological")),
        composites=whole,
        composite=_composite_charts(rows, whole, prefix),
        pseudo=pseudo_rows(frame, view=of.view),
        margins=margins,
        heat=_heat_charts(numbers, of.marked, prefix),
        probes=probes,
        probe=chart(f"{prefix}-probe", draw_probe(probes), describe_probe(probes)) if probes.stages else None,
        boundary=boundary(held_out),
        optimism=optimism(held_out),
        gains=helped,
        gain=_gain_chart(helped, prefix) if helped and helped.drawn() else None,
        primary=primary,
        strengths=strength_rows(rows, view=of.view, metrics=primary),
        controls=control_rows(rows, view=of.view, metrics=primary),
    )


def _trade_off_charts(numbers: Sequence[TradeOff], prefix: str) -> list[Chart]:
    """The first one large."""
    return [
        chart(
            f"{prefix}-tradeoff{place}",
            draw_trade_off(item, pixels=340 if place else 440),
            describe_trade_off(item),
            narrow=draw_trade_off(item, pixels=230, narrow=True),
        )
        for place, item in enumerate(numbers)
    ]


def _gain_chart(view: GainView, prefix: str) -> Chart:
    return chart(f"{prefix}-gain", draw_gains(view), describe_gains(view), narrow=draw_gains(view, narrow=True))


def _frontier_chart(of: _Judged, prefix: str) -> Chart | None:
    """None with a single margin."""
    if of.of is None or len(of.of.frontier.points) < 2:
        return None
    numbers = frontier_numbers(of.view, of.of, of.marked)
    return chart(f"{prefix}-frontier", draw_frontier(numbers), describe_frontier(numbers))


def _heat_charts(numbers: Sequence[TradeOff], marked: tuple[float, float] | None, prefix: str) -> tuple[Chart, ...]:
    """λ × margin, one a role; none with a single margin."""
    grids = [composite_grid(numbers, role=role, marked=marked) for role in ROLES if len(numbers) > 1]
    return tuple(chart(f"{prefix}-heat-{grid.role}", draw_grid(grid), describe_grid(grid)) for grid in grids)


def _composite_charts(rows: pd.DataFrame, whole: CompositeView | None, prefix: str) -> tuple[Chart, ...]:
    axis = strength_axis(trained(rows)["adversarial_weight"].dropna().unique().tolist())
    return tuple(
        chart(f"{prefix}-composite-{curve.role}", draw_metric(curve, axis), describe_metric(curve))
        for curve in (whole.curves if whole else ())
        if curve.measured
    )


def _probes(rows: pd.DataFrame, view: str, margins: Sequence[float], compared: Sequence[Stage]) -> ProbeComparison:
    wanted = [(stage.label, stage.weight) for stage in compared]
    return probe_comparison(rows, view=view, margin=margins[0] if margins else 0.0, stages=wanted)


def _primary(rows: pd.DataFrame) -> tuple[str, ...]:
    """The primary metrics, by role and name."""
    return tuple(
        metric
        for role in ROLES
        for metric in metric_names(rows, role)
        if bool(rows.loc[rows["metric"] == metric, "primary"].any())
    )


def _gains(
    rows: pd.DataFrame, of: _Judged, gains: Gains | None, margins: Sequence[float], primary: Sequence[str]
) -> GainView | None:
    biological = [metric for metric in metric_names(rows, "biological") if metric in primary]
    margin = margins[0] if margins else None
    return gain_view(gains, rows, view=of.view, margin=margin, curve=of.curve, primary=biological)


def _metrics(
    rows: pd.DataFrame, view: str, role: str, margins: tuple[float, ...], prefix: str
) -> tuple[MetricFigure, ...]:
    axis = strength_axis(trained(rows)["adversarial_weight"].dropna().unique().tolist())
    found = []
    for place, metric in enumerate(metric_names(rows, role)):
        numbers = metric_curve(rows, view=view, metric=metric, margins=margins)
        identity = f"{prefix}-{role}{place}"
        drawing = chart(identity, draw_metric(numbers, axis), describe_metric(numbers)) if numbers.measured else None
        found.append(MetricFigure(numbers, drawing))
    return tuple(found)


def render_report(page: Page) -> str:
    """The HTML document."""
    return document(
        "report.html",
        page=page,
        decision=page.decision,
        rule=page.decision.rule,
        first=page.first,
        contents=page.contents,
        sections=page.sections,
        provenance=page.provenance,
    )
