"""Ready rules for a reader in a hurry: fixed conditions, evaluated on the screen's own numbers.

Each says what it compares, with which threshold and where that comes from, and whether it holds, does not hold or
cannot be measured here. They explain the decision; none of them changes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from sweeper.decision.input.decision_settings import DecisionSettings
from sweeper.decision.verdict.values import JudgedCurve, Level
from sweeper.decision.words.numbers import share_text

SCHEMA = "ready-rules/1"
NEW_BATCHES, NEW_PLATES = "held_out_batches", "held_out_plates"
ACCURACY = "perturbation_accuracy"
STANDARDISED = "batch_standardised"
ACROSS, WITHIN = "activity_map", "within_batch_activity"
MIN_SEEDS = 3
DECLARED = "declared before the sweep"
SOURCES: Mapping[str, str] = {
    "delta": DECLARED,
    "delta/2": "half of δ, declared before the sweep",
    "epsilon_technical": DECLARED,
    "accuracy_drop": "judgement: no published threshold",
    "tie": "judgement: differences below it change no use of an embedding",
    "cross_share": "judgement, between what embeddings with a known fault give: about 1.2 with the batch removed "
    "exactly, below 0.1 with perturbations misaligned",
}


@dataclass(frozen=True)
class Number:
    """A number that a condition was evaluated on; None where it could not be measured."""

    name: str
    value: float | None
    unit: str


@dataclass(frozen=True)
class Threshold:
    """A number that a condition compares with: the setting it is read from, and where it comes from."""

    setting: str
    value: float
    source: str


@dataclass(frozen=True)
class ReadyRule:
    """If `condition`, then `then`.

    Attributes:
        holds: None where it cannot be measured; `reason` then says why.
    """

    id: str
    condition: str
    then: str
    holds: bool | None
    reason: str | None
    numbers: tuple[Number, ...]
    thresholds: tuple[Threshold, ...]


@dataclass(frozen=True)
class ReadyRules:
    """Every ready rule, evaluated at the margin of the curve that decides."""

    schema: str
    view: str
    margin: float | None
    rules: tuple[ReadyRule, ...]


def ready_rules(decision: JudgedCurve, table: pd.DataFrame, settings: DecisionSettings) -> ReadyRules:
    """Every ready rule on the deciding curve.

    Args:
        decision: the deciding curve.
        table: `prepare`d tidy table, secondary metrics included.
    """
    rows = table[(table["status"] == "ok") & table["value"].notna()]
    rows = rows[(rows["trainer"] == decision.trainer) & (rows["margin"] == decision.margin)]
    here = rows[rows["view"] == decision.view]
    rules = (
        _new_batches(rows[rows["adversarial_weight"] == 0], settings),
        _technical_alone(decision, settings),
        _control(decision, settings),
        _both_fall(decision, here, settings),
        _across_only(decision, here, settings),
        _sham(decision, settings),
    )
    return ReadyRules(SCHEMA, decision.view, decision.margin, rules)


def in_words(rule: ReadyRule) -> str:
    """One rule in one paragraph."""
    verdict = {True: "Holds here", False: "Does not hold here", None: "Not measurable here"}[rule.holds]
    return f"If {rule.condition}, then {rule.then}. {verdict}: {detail_text(rule)}."


def detail_text(rule: ReadyRule) -> str:
    """The numbers behind a rule's verdict, or why there is none."""
    if rule.holds is None:
        return str(rule.reason)
    return ", ".join(f"{item.name} {number_text(item)}" for item in rule.numbers if item.value is not None)


def number_text(item: Number) -> str:
    """A number that was measured, with its unit."""
    value = item.value or 0.0
    if item.unit == "share of peak":
        return f"{share_text(value)} of peak"
    return f"{value:.3g}" + ("" if item.unit in ("", "λ", "anchored") else f" {item.unit}")


def _thresholds(settings: DecisionSettings, *names: str) -> tuple[Threshold, ...]:
    def value(name: str) -> float:
        if name == "delta/2":
            return settings.delta / 2
        return float(getattr(settings if name in ("delta", "epsilon_technical") else settings.ready, name))

    return tuple(Threshold(name, value(name), SOURCES[name]) for name in names)


def _new_batches(rows: pd.DataFrame, settings: DecisionSettings) -> ReadyRule:
    """Does the encoder know a perturbation less well on batches that it has not seen?

    In distribution means unseen plates of batches that were learnt from: the view's validation rows or, without any,
    the test rows of the view of held-out plates at the same seeds.

    Args:
        rows: of λ = 0.
    """
    drop_needed = settings.ready.accuracy_drop
    zero, plates = rows[rows["view"] == NEW_BATCHES], rows[rows["view"] == NEW_PLATES]
    unit = "balanced accuracy"
    drop = -_seeds(zero, "accuracy_gap")
    if drop.empty:
        unit = "chance-corrected accuracy"
        drop = (_seeds(zero, "in_distribution_accuracy") - _seeds(zero, ACCURACY)).dropna()
    if drop.empty:
        unit = "chance-corrected accuracy against held-out plates"
        drop = (_seeds(plates, ACCURACY) - _seeds(zero, ACCURACY)).dropna()
    lower = _lower(drop, settings.confidence)
    holds: bool | None = None
    reason: str | None = f"fewer than {MIN_SEEDS} seeds measured the drop at λ = 0"
    if zero.empty:
        reason = "no view holds batches out at this margin"
    elif drop.empty:
        reason = (
            "nothing is in distribution: give the view validation_fraction (0.2, say), or add the view held_out_plates"
        )
    elif lower is not None:
        holds, reason = bool(drop.mean() >= drop_needed and lower > 0), None
    return ReadyRule(
        id="new_batches_are_harder",
        condition=f"without correction (λ = 0) accuracy on held-out batches drops by {drop_needed:g} or more against "
        "in-distribution accuracy",
        then="adversarial learning is worth testing",
        holds=holds,
        reason=reason,
        numbers=(
            Number("drop", None if drop.empty else float(drop.mean()), unit),
            Number(f"lower {share_text(settings.confidence)} bound", lower, unit),
            Number("from", float(len(drop)), "seed" if len(drop) == 1 else "seeds"),
        ),
        thresholds=_thresholds(settings, "accuracy_drop"),
    )


def _technical_alone(decision: JudgedCurve, settings: DecisionSettings) -> ReadyRule:
    """What batch-removal metrics alone would choose, and what that costs."""
    levels = _judged(decision)
    holds: bool | None = None
    numbers: tuple[Number, ...] = ()
    reason: str | None = "the curve could not be judged"
    if levels:
        best = max(levels, key=lambda level: (level.technical.mean if level.technical else 0.0, -level.weight))
        before = [_biology(level) for level in levels if level.weight <= best.weight]
        loss = 1 - _biology(best) / max(before) if max(before) > 0 else None
        numbers = (
            Number("best batch removal at λ =", best.weight, "λ"),
            Number("biology lost there", loss, "share of peak"),
            Number("recommended λ =", decision.estimate.recommended if decision.estimate else None, "λ"),
        )
        if loss is None:
            reason = "biology is not above its floor"
        else:
            holds, reason = loss >= settings.delta, None
    return ReadyRule(
        id="technical_metrics_alone",
        condition="the goal is phenotype similarity, and the strength with the best batch removal has lost "
        f"{share_text(settings.delta)} of biology's peak or more",
        then="do not decide on batch-removal metrics alone",
        holds=holds,
        reason=reason,
        numbers=numbers,
        thresholds=_thresholds(settings, "delta"),
    )


def _control(decision: JudgedCurve, settings: DecisionSettings) -> ReadyRule:
    """Is the cheapest correction as good as training?"""
    control = (decision.controls or {}).get(STANDARDISED, {})
    biology, technical = control.get("biological"), control.get("technical")
    level = _pointed(decision)
    holds: bool | None = None
    numbers: tuple[Number, ...] = ()
    reason: str | None = "no per-batch standardised control was measured on every deciding metric"
    if level is None or level.technical is None:
        reason = "the curve could not be judged"
    elif biology is not None and technical is not None:
        tie = settings.ready.tie
        holds = biology >= _biology(level) - tie and technical >= level.technical.mean - tie
        reason = None
        numbers = (
            Number("control: biology", biology, "anchored"),
            Number("batch removal", technical, "anchored"),
            Number("trained at λ =", level.weight, "λ"),
            Number("biology", _biology(level), "anchored"),
            Number("batch removal", level.technical.mean, "anchored"),
        )
    return ReadyRule(
        id="control_is_as_good",
        condition="per-batch standardised features are as good as the best trained strength in biology and in batch "
        "removal",
        then="use them instead of training",
        holds=holds,
        reason=reason,
        numbers=numbers,
        thresholds=_thresholds(settings, "tie"),
    )


def _both_fall(decision: JudgedCurve, rows: pd.DataFrame, settings: DecisionSettings) -> ReadyRule:
    """Retrieval lost within and across batches while batch removal gains: the mark of over-correction."""
    levels, estimate = _judged(decision), decision.estimate
    holds: bool | None = None
    numbers: tuple[Number, ...] = ()
    reason: str | None = "the curve could not be judged"
    if levels and estimate is not None:
        top, start = levels[-1], estimate.lambda_peak
        within, across = (_loss(rows, name, start, top.weight, settings.confidence) for name in (WITHIN, ACROSS))
        reason = f"{WITHIN} or {ACROSS} was not measured in {MIN_SEEDS} seeds at both strengths"
        if top.weight <= start:
            reason = "biology is best at the largest strength"
        elif within is not None and across is not None and top.technical and levels[0].technical:
            rise = top.technical.mean - levels[0].technical.mean
            fall = all(loss >= settings.delta and shown for loss, shown in (within, across))
            holds, reason = bool(rise >= settings.epsilon_technical and fall), None
            numbers = (
                Number("from λ =", start, "λ"),
                Number("to λ =", top.weight, "λ"),
                Number("within-batch retrieval loses", within[0], "share of peak"),
                Number("cross-batch retrieval loses", across[0], "share of peak"),
                Number("batch removal gains", rise, "anchored"),
            )
    return ReadyRule(
        id="retrieval_falls_within_and_across",
        condition="technical metrics improve up to the largest strength while within-batch and cross-batch retrieval "
        f"both lose {share_text(settings.delta)} or more",
        then="it is over-correction (unless the sham arm loses as much)",
        holds=holds,
        reason=reason,
        numbers=numbers,
        thresholds=_thresholds(settings, "delta", "epsilon_technical"),
    )


def _across_only(decision: JudgedCurve, rows: pd.DataFrame, settings: DecisionSettings) -> ReadyRule:
    """Phenotype kept within batches and not found across them: batch left, or misaligned."""
    level = _pointed(decision)
    holds: bool | None = None
    numbers: tuple[Number, ...] = ()
    reason: str | None = "the curve could not be judged"
    if level is not None:
        within, across = (_above_floor(rows, name, level.weight) for name in (WITHIN, ACROSS))
        before = _above_floor(rows, WITHIN, 0.0)
        reason = f"{WITHIN} or {ACROSS} was not measured"
        if within is not None and across is not None and before is not None:
            reason = "nothing is retrieved within batches either"
            if within > 0 and before > 0:
                kept = within >= (1 - settings.delta) * before
                holds, reason = bool(kept and across < settings.ready.cross_share * within), None
            numbers = (
                Number("at λ =", level.weight, "λ"),
                Number("within-batch retrieval", within, "anchored"),
                Number("cross-batch retrieval", across, "anchored"),
                Number("within-batch retrieval at λ = 0", before, "anchored"),
            )
    share = settings.ready.cross_share
    return ReadyRule(
        id="retrieval_low_across_only",
        condition=f"within-batch retrieval stays high and cross-batch retrieval is below {share:g} of it",
        then="batch is left, or perturbations are misaligned between batches: it is not over-correction",
        holds=holds,
        reason=reason,
        numbers=numbers,
        thresholds=_thresholds(settings, "delta", "cross_share"),
    )


def _sham(decision: JudgedCurve, settings: DecisionSettings) -> ReadyRule:
    """Does the same training lose as much where there is no batch to remove?"""
    found = decision.mechanism
    holds: bool | None = None
    numbers: tuple[Number, ...] = ()
    reason: str | None = "no sham arm (batch labels permuted) was trained at this margin"
    if found is not None and found.points:
        reason = "no relevant loss was located, so there is nothing to explain"
        at = next((point for point in found.points if point.weight == found.loss_at), found.points[-1])
        numbers = (
            Number("sham arm at λ =", at.weight, "λ"),
            Number("loses", at.drawdown, "share of peak"),
            Number(f"P(loss of {share_text(found.threshold)} or more)", found.probability, ""),
        )
        if found.loss_at is not None:
            holds, reason = found.verdict in ("training_damage", "confounded"), None
    return ReadyRule(
        id="sham_arm_loses_too",
        condition=f"the sham arm loses {share_text(settings.delta / 2)} or more up to the strength of the loss",
        then="it is damage to the training, not over-correction (in a confounded design the two cannot be told apart)",
        holds=holds,
        reason=reason,
        numbers=numbers,
        thresholds=_thresholds(settings, "delta/2"),
    )


def _judged(decision: JudgedCurve) -> list[Level]:
    """Kept levels with both composites, ascending; none where the curve was not judged."""
    return [level for level in decision.levels if level.kept and level.biological and level.technical]


def _biology(level: Level) -> float:
    return level.biological.mean if level.biological else 0.0


def _pointed(decision: JudgedCurve) -> Level | None:
    """The strength that stands for training: the recommended one, else the safe bound, else the best biology."""
    estimate = decision.estimate
    if estimate is None:
        return None
    pointed = estimate.recommended
    if pointed is None:
        pointed = estimate.safe_up_to or estimate.lambda_peak
    return next((level for level in _judged(decision) if level.weight == pointed), None)


def _seeds(rows: pd.DataFrame, metric: str, strength: float | None = None) -> pd.Series:
    """Seed → value, folds averaged."""
    at = rows[rows["metric"] == metric]
    at = at if strength is None else at[at["adversarial_weight"] == strength]
    return at.groupby("seed")["value"].mean()


def _above_floor(rows: pd.DataFrame, metric: str, strength: float) -> float | None:
    values = _seeds(rows, metric, strength)
    return None if values.empty else float(values.mean() - rows.loc[rows["metric"] == metric, "floor"].mean())


def _loss(rows: pd.DataFrame, metric: str, start: float, end: float, confidence: float) -> tuple[float, bool] | None:
    """Loss from one strength to another as a share of the first above the floor, and whether any loss is shown."""
    height = _above_floor(rows, metric, start)
    fall = (_seeds(rows, metric, start) - _seeds(rows, metric, end)).dropna()
    lower = _lower(fall, confidence)
    if lower is None or height is None or height <= 0:
        return None
    return float(fall.mean()) / height, lower > 0


def _lower(values: pd.Series, confidence: float) -> float | None:
    """One-sided lower bound of the mean by a t; None from fewer than `MIN_SEEDS`."""
    if len(values) < MIN_SEEDS:
        return None
    error = float(values.std(ddof=1)) / np.sqrt(len(values))
    return float(values.mean() - stdtrit(len(values) - 1, confidence) * error)
