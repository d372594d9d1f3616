"""The decision for a terminal: what the report's first screen says, in plain text."""

from __future__ import annotations

import pandas as pd

from dashboards.dial import at_second, letter, second_dial, speaking_of
from dashboards.figures.probe import probe_comparison
from dashboards.figures.tradeoff import trade_off
from dashboards.first_screen import ordered_curves, ordered_views
from dashboards.formatting import fixed, name, number, percent, signed
from dashboards.gain_views import gain_view
from dashboards.records import checked
from dashboards.stages import stages
from sweeper.decision import STATES, Decision, JudgedCurve
from sweeper.decision.words.printed import filled
from sweeper.findings.ladder_table import GAP, INSIDE, TEST, VALIDATION, LadderTable, Score
from sweeper.findings.unit_gains import Gains


def text_summary(decision: Decision, results: pd.DataFrame | None = None, gains: Gains | None = None) -> str:
    """State, sentence, disagreements, and per view a table of biology B, batch removal T and the batch probe.

    With gains, also how many batches and perturbations lose by the correction, and which most.

    Args:
        results: tidy table; without it the probe's column is left out.

    Raises:
        InputError: the table lacks a column.
    """
    with speaking_of(decision.trainer):
        return _summary(decision, results, gains)


def _summary(decision: Decision, results: pd.DataFrame | None, gains: Gains | None) -> str:
    frame = checked(results, fresh_seeds=decision.fresh_seeds) if results is not None else None
    blocks = [f"{decision.rule.state.replace('_', ' ')}: {STATES[decision.rule.state]}"]
    blocks += [filled(words) for words in (decision.sentence, *decision.notes)]
    for view in ordered_views(decision):
        curve = ordered_curves(decision, decision.views[view])[0]
        blocks.append(_table(curve, frame, decides=view == decision.deciding_view))
        if frame is not None and (lines := _gains(curve, frame, gains)):
            blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def ladder_summary(ladder: LadderTable) -> str:
    """The ladder as aligned lines: plain accuracy where rungs are selected, on the test and in distribution."""
    columns = (("validation", VALIDATION), ("test", TEST), ("in distr.", INSIDE), ("gap", GAP))
    lines = [f"ladder, plain accuracy per {ladder.unit} (mean ± s.d. over seeds), {name(ladder.view)}:"]
    second = second_dial()
    labels = [
        f"{rung.rung}, {letter()} = {number(rung.adversarial_weight)}"
        + (f", {second.symbol} = {number(rung.margin)}" if second else "")
        for rung in ladder.rungs
    ]
    width = max(len(label) for label in labels)
    lines.append(f"  {'':<{width}}" + "".join(f"{head:>16}" for head, _ in columns))
    for rung, label in zip(ladder.rungs, labels, strict=True):
        mark = "*" if rung.selected and rung.rung == ladder.best else " "
        cells = "".join(f"{_with_sd(rung.scores.get(part)):>16}" for _, part in columns)
        lost = "" if rung.done == rung.planned else f"   {rung.done} of {rung.planned} seeds"
        lines.append(f"{mark} {label:<{width}}{cells}{lost}")
    lines.append("  * best on the batches that select")
    return "\n".join(lines)


def _with_sd(score: Score | None) -> str:
    if score is None:
        return fixed(None)
    return fixed(score.mean, 3) + ("" if score.sd is None else f" ± {fixed(score.sd, 3)}")


def _gains(curve: JudgedCurve, frame: pd.DataFrame, gains: Gains | None) -> list[str]:
    """Where the correction hurts at the strength that the rule points at, a line a primary metric and axis."""
    rows = frame[frame["view"] == curve.view]
    primary = curve.uses("biological")
    found = gain_view(gains, rows, view=curve.view, margin=curve.margin, curve=curve, primary=primary)
    if found is None:
        return []
    lines = [f"  Gain over {letter()} = 0 at {letter()} = {number(found.weight)} ({found.label}), by unit:"]
    for metric, curves in found.drawn():
        for one in curves:
            spread = one.at(found.weight)
            if spread is None:
                continue
            _, lower, upper = spread.failure
            worst = ", ".join(f"{unit.unit} {signed(unit.gain)}" for unit in one.worst(found.weight)[:1])
            lines.append(
                f"  {name(metric):<24}{name(one.axis):<13} median {signed(spread.quantiles[2])}, {spread.losses} of "
                f"{spread.units} lose ({percent(lower)} to {percent(upper)})" + (f", worst {worst}" if worst else "")
            )
    return lines


def _table(curve: JudgedCurve, frame: pd.DataFrame | None, *, decides: bool) -> str:
    compared = stages(curve, trade_off(curve))
    title = f"{name(curve.view)} (decides)" if decides else name(curve.view)
    head = f"{title}{at_second(curve.margin, ', ')}: {curve.state.replace('_', ' ')}"
    probes = None
    if frame is not None:
        wanted = [(stage.label, stage.weight) for stage in compared]
        probes = probe_comparison(frame, view=curve.view, margin=curve.margin or 0.0, stages=wanted)
    rows = [("", "biology B", "batch removal T", *((probes.title,) if probes is not None else ()))]
    for stage in compared:
        accuracy = () if probes is None else (fixed(probes.accuracy(stage.label)),)
        rows.append((stage.label, fixed(stage.biological), fixed(stage.technical), *accuracy))
    lines = [f"  {first:<24}" + "".join(f"{cell:>17}" for cell in rest) for first, *rest in rows]
    if probes is not None and probes.chance is not None:
        lines.append(f"  chance of the {probes.title}: {number(probes.chance)}")
    return "\n".join([head, *lines])
