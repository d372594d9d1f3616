"""The decision for a terminal: what the report's first screen says, in plain text."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import pandas as pd

from dashboards.figures.probe import probe_comparison
from dashboards.figures.tradeoff import trade_off
from dashboards.records import checked
from dashboards.rule import CurveRule, read_rule
from dashboards.stages import stages
from dashboards.text import fixed, name, number

WIDTH = 100


def text_summary(decision: Mapping[str, Any], results: pd.DataFrame | None = None) -> str:
    """State, sentence, disagreements, and per view a table of biology B, batch removal T and the batch probe.

    Args:
        decision: document of `sweeper.decision.decide_sweep`.
        results: tidy table; without it the probe's column is left out.

    Raises:
        InputError: the decision has another schema, or the table lacks a column.
    """
    rule = read_rule(decision)
    frame = checked(results) if results is not None else None
    blocks = [f"{rule.state.replace('_', ' ')}: {rule.meaning}"]
    blocks += [textwrap.fill(words, WIDTH) for words in (rule.sentence, *rule.notes)]
    blocks += [_table(view.curves[0], frame, decides=view.view == rule.deciding_view) for view in rule.views]
    return "\n\n".join(blocks) + "\n"


def _table(curve: CurveRule, frame: pd.DataFrame | None, *, decides: bool) -> str:
    compared = stages(curve, trade_off(curve))
    title = f"{name(curve.view)} (decides)" if decides else name(curve.view)
    head = f"{title}, margin {number(curve.margin)}: {curve.state.replace('_', ' ')}"
    rows = [("", "biology B", "batch removal T", *(("batch probe",) if frame is not None else ()))]
    probes = None
    if frame is not None:
        wanted = [(stage.label, stage.strength) for stage in compared]
        probes = probe_comparison(frame, view=curve.view, margin=curve.margin, stages=wanted)
    for stage in compared:
        accuracy = () if probes is None else (fixed(probes.accuracy(stage.label)),)
        rows.append((stage.label, fixed(stage.biological), fixed(stage.technical), *accuracy))
    lines = [f"  {first:<24}" + "".join(f"{cell:>17}" for cell in rest) for first, *rest in rows]
    if probes is not None and probes.chance is not None:
        lines.append(f"  chance of the batch probe: {number(probes.chance)}")
    return "\n".join([head, *lines])
