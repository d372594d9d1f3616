"""`decide_sweep`: every trade-off curve of a sweep, the one that decides, and the rule, as one value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from sweeper.arms.arm import Arm, in_arms
from sweeper.decision.input.decision_settings import DecisionSettings, departures
from sweeper.decision.input.results_table import InvalidTableError, curves, prepare
from sweeper.decision.verdict.certainty import Grounds
from sweeper.decision.verdict.confirmation import confirmed
from sweeper.decision.verdict.decision import Decision, RuledCurve, ViewDecision
from sweeper.decision.verdict.json_codec import plain
from sweeper.decision.verdict.judge import judge_curve, refusal
from sweeper.decision.verdict.margin_choice import Choice, choose
from sweeper.decision.verdict.margin_frontier import frontier
from sweeper.decision.verdict.mechanism import explained, sham_curve
from sweeper.decision.verdict.next_points import NextOptions, next_points
from sweeper.decision.verdict.ready_rules import ready_rules
from sweeper.decision.verdict.ruling import SCHEMA, rule
from sweeper.decision.verdict.settled import settled
from sweeper.decision.verdict.values import JudgedCurve
from sweeper.decision.words.numbers import strength_text, view_text
from sweeper.decision.words.rule_text import sentence
from sweeper.spoken import dials_of, spoken_values


def decide_sweep(
    results: pd.DataFrame,
    *,
    settings: DecisionSettings,
    provenance: Mapping[str, Any],
    declared: DecisionSettings | None = None,
    next_options: NextOptions = NextOptions(),  # noqa: B008 - a frozen value
    units: pd.DataFrame | None = None,
) -> Decision:
    """Judge every view × margin and state the rule of the deciding view.

    Views are never mixed. Each margin has its own fit; a strength is advised over both dials (see `advised`).

    Args:
        results: tidy table of the whole sweep, any row order.
        provenance: kept with the decision; some keys are read (see `Grounds`). With `trainer` given, other trainers'
            rows are set aside.
        declared: the settings fixed before the sweep, where `settings` may differ from them: the decision then says
            how, and the certainty is lowered.
        next_options: what the proposal of further strengths and seeds may ask for.
        units: as `sweeper.store.results.units`; needed for the target "new_perturbations", not read otherwise.

    Returns:
        The decision, equal for equal records, in the words of the trainer's dial; `Decision.to_json` writes the
        document of `rule.schema.json`.
    """
    departed = departures(settings, declared)
    grounds = Grounds.of(provenance, target=settings.target, departed=bool(departed))
    judged: dict[str, list[JudgedCurve]] = {}
    choices: dict[str, Choice] = {}
    splits = 1
    whose = "" if grounds.trainer is None else f" of trainer {grounds.trainer!r}"
    reason = f"the table has no cells{whose} in the deciding view {settings.deciding_view!r}"
    try:
        whole = prepare(results)
        table = _of_trainer(whole, grounds.trainer)
        table = table[~table["seed"].isin(grounds.fresh_seeds)]
        for view, margins in curves(table).items():
            found = [
                judge_curve(table, view=view, margin=margin, settings=settings, units=units, nesting=grounds.nesting)
                for margin in margins
            ]
            found, choices[view] = choose(found, table, settings)
            found = [_with_sham(item, whole, settings, grounds.design_djs) for item in found]
            judged[view] = [confirmed(item, whole, seeds=grounds.fresh_seeds, settings=settings) for item in found]
        splits = max(1, table.loc[table["view"] == settings.deciding_view, "split"].nunique())
        if judged and settings.deciding_view not in judged:
            reason += f"; it has {', '.join(judged)}"
    except InvalidTableError as refused:
        reason = str(refused)
    views = {view: _view(items, choices[view], settings, grounds) for view, items in judged.items()}
    deciding: JudgedCurve = refusal(settings.deciding_view, None, f"{reason}.", settings)
    if settings.deciding_view in views:
        deciding = views[settings.deciding_view].chosen
    final = rule(deciding, grounds)
    decided = Decision(
        schema=SCHEMA,
        provenance=plain(provenance),
        settings=settings,
        departures=departed,
        deciding_view=settings.deciding_view,
        views=views,
        rule=final,
        sentence=sentence(final),
        ready_rules=ready_rules(deciding, table, settings) if judged else None,
        next_points=next_points(deciding, next_options, splits=splits),
        notes=tuple(_disagreements(deciding, judged)),
    )
    return spoken_values(decided, dials_of(grounds.trainer))


def _with_sham(
    curve: JudgedCurve, whole: pd.DataFrame, settings: DecisionSettings, design_djs: float | None
) -> JudgedCurve:
    """What the sham arm says of the losses and of the gains, and what follows for the advice."""
    sham = sham_curve(curve, whole, settings)
    return settled(explained(curve, sham, settings=settings, design_djs=design_djs), sham, settings)


def _view(items: list[JudgedCurve], choice: Choice, settings: DecisionSettings, grounds: Grounds) -> ViewDecision:
    """Every margin of one view, and the choice among them."""
    return ViewDecision(
        chosen_margin=choice.margin,
        choice=choice,
        frontier=frontier(items, settings),
        margins=tuple(RuledCurve.of(item, rule(item, grounds)) for item in items),
    )


def _of_trainer(table: pd.DataFrame, trainer: Any) -> pd.DataFrame:
    if trainer is None:
        return table
    return table[(table["trainer"] == str(trainer)) | in_arms(table["trainer"], Arm.CONTROL)]


def _disagreements(deciding: JudgedCurve, judged: Mapping[str, list[JudgedCurve]]) -> list[str]:
    """Where another view contradicts the deciding curve at its margin; one without an estimate contradicts nothing."""
    mine = deciding.estimate
    notes: list[str] = []
    for view, items in judged.items():
        other = next((item for item in items if item.margin == deciding.margin and view != deciding.view), None)
        if other is None or other.estimate is None or mine is None:
            continue
        for first, second in ((deciding, other), (other, deciding)):
            clash = _clash(first, second)
            if clash:
                notes.append(f"The views disagree: {clash}.")
    return notes


def _clash(safe: JudgedCurve, other: JudgedCurve) -> str | None:
    """How `safe`'s advice fails in the `other` view: a loss within its safe range, or nothing safe at its strength."""
    ours, theirs = safe.estimate, other.estimate
    if ours is None or theirs is None or ours.safe_up_to is None:
        return None
    if theirs.unsafe_from is not None and theirs.unsafe_from <= ours.safe_up_to:
        return (
            f"{view_text(safe.view)} say safe up to {strength_text(ours.safe_up_to)}, "
            f"{view_text(other.view)} say unsafe at {theirs.unsafe_from:.3g}"
        )
    if ours.recommended is not None and (theirs.safe_up_to is None or theirs.safe_up_to < ours.recommended):
        bound = "no strength is shown to be safe"
        if theirs.safe_up_to is not None:
            bound = f"only λ up to {theirs.safe_up_to:.3g} is shown to be safe"
        where = view_text(other.view)
        return f"{view_text(safe.view)} suggest {strength_text(ours.recommended)}, but on {where} {bound}"
    return None
