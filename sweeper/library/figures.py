"""Figures of a stored sweep by name: those of its report, drawn from the same numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from sweeper.errors import InputError
from sweeper.findings.stored import report_provenance, stored_gains, stored_ladder
from sweeper.findings.stored_embeddings import StoredEmbeddings

if TYPE_CHECKING:
    from dashboards.chart import Chart
    from dashboards.report import ViewSection
    from sweeper.library.stored_sweep import StoredSweep


def named_figure(sweep: StoredSweep, name: str, view: str) -> go.Figure:
    """One figure; raises `InputError` naming the views or the figures there are."""
    from dashboards.report import build_page

    results, decision = sweep.results, sweep.decision
    page = build_page(
        results,
        decision,
        report_provenance(sweep.store),
        gains=stored_gains(sweep.store, results),
        ladder=stored_ladder(sweep.store, results),
        embeddings=StoredEmbeddings(sweep.store, results, decision.trainer),
    )
    sections = {section.view: section for section in page.sections}
    if view not in sections:
        raise InputError(f"view {view!r}: the sweep has {', '.join(sections)}")
    charts = dict(_named(sections[view]))
    if page.pictures is not None and view == page.sections[0].view:
        charts |= {chart.id.split("-")[1]: chart for chart in page.pictures.charts}
    if name not in charts:
        raise InputError(f"figure {name!r}: there is {', '.join(charts)}")
    spec = json.loads(charts[name].json)
    return go.Figure(spec["data"], spec["layout"])


def _named(section: ViewSection) -> Iterator[tuple[str, Chart]]:
    """What the report draws of a view."""
    for name, chart in (("tradeoff", section.main), ("frontier", section.frontier), ("probe", section.probe)):
        if chart is not None:
            yield name, chart
    for curve, chart in section.others:
        yield f"tradeoff {curve.margin:g}", chart
    for chart in (*section.heat, *section.composite):
        yield " ".join(chart.id.split("-")[1:]), chart
    if section.gain is not None:
        yield "gain", section.gain
    for _, figures in section.metrics:
        for figure in figures:
            if figure.chart is not None:
                yield figure.numbers.metric, figure.chart
