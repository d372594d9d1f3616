"""`decide_sweep`: every trade-off curve of a sweep, the one that decides, and the rule, as one JSON-ready document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from sweeper.decision.input.decision_settings import DecisionSettings, departures
from sweeper.decision.input.results_table import CONTROL_PREFIX, InvalidTableError, curves, prepare
from sweeper.decision.verdict.confirmation import confirmed
from sweeper.decision.verdict.judge import decide, refusal
from sweeper.decision.verdict.margin_choice import Choice, choose
from sweeper.decision.verdict.margin_frontier import frontier
from sweeper.decision.verdict.mechanism import explained, sham_curve
from sweeper.decision.verdict.next_points import NextOptions, next_points
from sweeper.decision.verdict.ready_rules import ready_rules
from sweeper.decision.verdict.rule_document import SCHEMA, plain, rule
from sweeper.decision.verdict.settled import settled
from sweeper.decision.verdict.values import Decision
from sweeper.decision.words.reasons import strength_text
from sweeper.decision.words.rule_text import sentence


def decide_sweep(
    results: pd.DataFrame,
    *,
    settings: DecisionSettings,
    provenance: Mapping[str, Any],
    declared: DecisionSettings | None = None,
    next_options: NextOptions = NextOptions(),  # noqa: B008 - a frozen value
    units: pd.DataFrame | None = None,
) -> dict[str, Any]:
    """Judge every view × margin and state the rule of the deciding view.

    Views are never mixed. Each margin has its own fit; a strength is advised over both dials (see `advised`).

    Args:
        results: tidy table of the whole sweep, any row order.
        provenance: copied into the document; some keys are read (see `rule`). With `trainer` given, other trainers'
            rows are set aside.
        declared: the settings fixed before the sweep, where `settings` may differ from them: the document then says
            how, and the certainty is lowered.
        next_options: what the proposal of further strengths and seeds may ask for.
        units: as `sweeper.store.results.units`; needed for the target "new_perturbations", not read otherwise.

    Returns:
        The document described by `rule.schema.json`: finite numbers, null where there is none, equal for equal records.
    """
    departed = departures(settings, declared)
    graded = {**provenance, "departed": bool(departed), "target": settings.target}
    decided: dict[str, list[Decision]] = {}
    choices: dict[str, Choice] = {}
    splits = 1
    trainer = provenance.get("trainer")
    whose = "" if trainer is None else f" of trainer {trainer!r}"
    reason = f"the table has no cells{whose} in the deciding view {settings.deciding_view!r}"
    try:
        whole = prepare(results)
        fresh = tuple(provenance.get("confirm_seeds") or ())
        table = _of_trainer(whole, trainer)
        table = table[~table["seed"].isin(fresh)]
        for view, margins in curves(table).items():
            judged = [decide(table, view=view, margin=margin, settings=settings, units=units) for margin in margins]
            judged, choices[view] = choose(judged, table, settings)
            judged = [_with_sham(item, whole, settings, provenance.get("design_djs")) for item in judged]
            decided[view] = [confirmed(item, whole, seeds=fresh, settings=settings) for item in judged]
        splits = max(1, table.loc[table["view"] == settings.deciding_view, "split"].nunique())
        if decided and settings.deciding_view not in decided:
            reason += f"; it has {', '.join(decided)}"
    except InvalidTableError as refused:
        reason = str(refused)
    deciding = refusal(settings.deciding_view, None, f"{reason}.", settings)
    if settings.deciding_view in decided:
        margin = choices[settings.deciding_view].margin
        deciding = next(item for item in decided[settings.deciding_view] if item.margin == margin)
    final = rule(deciding, graded)
    document = {
        "schema": SCHEMA,
        "provenance": provenance,
        "settings": settings.model_dump(mode="json"),
        "departures": departed,
        "deciding_view": settings.deciding_view,
        "views": {
            view: {
                "chosen_margin": choices[view].margin,
                "choice": choices[view],
                "frontier": frontier(items, settings),
                "margins": [_curve(item, graded) for item in items],
            }
            for view, items in decided.items()
        },
        "rule": final,
        "sentence": sentence(final),
        "ready_rules": ready_rules(deciding, table, settings) if decided else None,
        "next_points": next_points(deciding, next_options, splits=splits),
        "notes": _disagreements(deciding, decided),
    }
    return dict(plain(document))


def _with_sham(
    decision: Decision, whole: pd.DataFrame, settings: DecisionSettings, design_djs: float | None
) -> Decision:
    """What the sham arm says of the losses and of the gains, and what follows for the advice."""
    sham = sham_curve(decision, whole, settings)
    return settled(explained(decision, sham, settings=settings, design_djs=design_djs), sham, settings)


def _of_trainer(table: pd.DataFrame, trainer: Any) -> pd.DataFrame:
    if trainer is None:
        return table
    return table[(table["trainer"] == str(trainer)) | table["trainer"].str.startswith(CONTROL_PREFIX)]


def _curve(decision: Decision, provenance: Mapping[str, Any]) -> dict[str, Any]:
    own = rule(decision, provenance)
    return {**plain(decision), "rule": own, "sentence": sentence(own)}


def _disagreements(deciding: Decision, decided: Mapping[str, list[Decision]]) -> list[str]:
    """Where another view contradicts the deciding curve at its margin; one without an estimate contradicts nothing."""
    mine = deciding.estimate
    notes: list[str] = []
    for view, items in decided.items():
        other = next((item for item in items if item.margin == deciding.margin and view != deciding.view), None)
        if other is None or other.estimate is None or mine is None:
            continue
        for first, second in ((deciding, other), (other, deciding)):
            clash = _clash(first, second)
            if clash:
                notes.append(f"the two views disagree: {clash}")
    return notes


def _clash(safe: Decision, other: Decision) -> str | None:
    """How `safe`'s advice fails in the `other` view: a loss within its safe range, or nothing safe at its strength."""
    ours, theirs = safe.estimate, other.estimate
    if ours is None or theirs is None or ours.safe_up_to is None:
        return None
    if theirs.unsafe_from is not None and theirs.unsafe_from <= ours.safe_up_to:
        return (
            f"{safe.view} is safe up to {strength_text(ours.safe_up_to)}, but in {other.view} a loss is established at "
            f"{strength_text(theirs.unsafe_from)}"
        )
    if ours.recommended is not None and (theirs.safe_up_to is None or theirs.safe_up_to < ours.recommended):
        bound = "nowhere" if theirs.safe_up_to is None else f"only up to {strength_text(theirs.safe_up_to)}"
        return f"{safe.view} suggests {strength_text(ours.recommended)}, but {other.view} is shown safe {bound}"
    return None
