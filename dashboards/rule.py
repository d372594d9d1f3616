"""The decision document (schema "overcorrection-rule/1") as typed values: the one place that knows its keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sweeper.decision.verdict.ready_rules import detail_text
from sweeper.decision.verdict.rule_document import ASSUMPTIONS, DOWNGRADES, SCHEMA
from sweeper.decision.verdict.states import STATES
from sweeper.decision.words.advice import choice_text, confirmation_text, frontier_text, mechanism_text, next_text
from trainers.errors import InputError


@dataclass(frozen=True)
class Interval:
    """A level mean with its two-sided interval; anchored scale (0 floor, 1 ceiling)."""

    mean: float
    lower: float
    upper: float


@dataclass(frozen=True)
class LevelRule:
    """One strength of a curve; composites are None where it was not kept or the curve not judged."""

    strength: float
    recorded: int
    lost: int
    biological: Interval | None
    technical: Interval | None


@dataclass(frozen=True)
class RunRule:
    """One strength with one seed; composites are None where a metric is missing."""

    strength: float
    seed: int
    status: str
    used: bool
    biological: float | None
    technical: float | None


@dataclass(frozen=True)
class Bound:
    """A bracket: by δ or by metric (`label`), with the state it would give where that is known."""

    label: str
    safe_up_to: float | None
    unsafe_from: float | None
    recommended: float | None = None
    detectable_drop: float | None = None
    state: str | None = None


@dataclass(frozen=True)
class MetricUse:
    """A metric of a composite and its anchors; `floor_source` is "label_shuffled" (measured) or "stated"."""

    name: str
    role: str
    floor: float
    floor_source: str
    ceiling: float


@dataclass(frozen=True)
class CurveRule:
    """One trade-off curve as judged. λ are None where the data give none; `peak` is None without an estimate.

    `point` is λ_OC with its interval (lower, median, upper), where the posterior decides and has located it.
    """

    view: str
    margin: float
    state: str
    strength: str
    certainty: str | None
    sentence: str
    reasons: tuple[str, ...]
    delta: float
    confidence: float
    levels: tuple[LevelRule, ...]
    runs: tuple[RunRule, ...]
    controls: tuple[tuple[str, Mapping[str, float | None]], ...]
    metrics: tuple[MetricUse, ...]
    left_out: tuple[tuple[str, str, str], ...]
    peak: float | None
    best: float | None
    safe_up_to: float | None
    unsafe_from: float | None
    point: tuple[float, float, float] | None
    effective: float | None
    recommended: float | None
    unstable: float | None
    by_delta: tuple[Bound, ...]
    by_metric: tuple[Bound, ...]

    @property
    def tone(self) -> str:
        """How the state is coloured: "good" with a strength to use, "stop" where use does harm, else "warn"."""
        return tone(self.state, self.recommended)


@dataclass(frozen=True)
class FrontierPoint:
    """One margin: safe bound, λ_OC and upper end, λ, None where there is none; `method` None without bounds."""

    margin: float
    state: str
    method: str | None
    safe_bound: float | None
    lambda_oc: float | None
    upper: float | None
    p_detect: float | None


@dataclass(frozen=True)
class ReadyRule:
    """A ready rule in words: `verdict` is "holds", "does not hold" or "not measurable", `detail` its numbers or why.

    `thresholds` are (value, where it comes from).
    """

    condition: str
    then: str
    verdict: str
    detail: str
    thresholds: tuple[tuple[float, str], ...]


@dataclass(frozen=True)
class ViewRule:
    """Every curve of one view. The first is at the deciding margin, so that views are compared at one margin.

    Attributes:
        chosen_margin: the margin this view would choose by itself, and `choice` why.
        frontier: where the point lies at every margin, ascending; `shift` says how it moves.
    """

    view: str
    chosen_margin: float
    choice: str
    curves: tuple[CurveRule, ...]
    frontier: tuple[FrontierPoint, ...]
    shift: str


@dataclass(frozen=True)
class Rule:
    """The rule of the sweep and every curve behind it; the deciding view comes first in `views`.

    Attributes:
        margin: of the deciding curve; None when no curve could be read.
        certainty: None where the state claims nothing.
        downgrades, assumptions: in words.
        notes: where the views contradict each other.
        meaning: what the state means.
        confirmation: what fresh seeds say of the bounds; "" without such seeds.
        mechanism: what explains the loss, with its advice; "" without one.
        next: what to train next; "" where nothing is proposed.
        ready: the ready rules.
        fresh_seeds: seeds of the confirmation, which take part in nothing that they confirm.
    """

    deciding_view: str
    margin: float | None
    sentence: str
    state: str
    meaning: str
    strength: str
    certainty: str | None
    recommended: float | None
    downgrades: tuple[str, ...]
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    assumptions: tuple[tuple[str, str], ...]
    method: str
    confirmation: str
    mechanism: str
    next: str
    ready: tuple[ReadyRule, ...]
    views: tuple[ViewRule, ...]
    fresh_seeds: tuple[int, ...]

    @property
    def tone(self) -> str:
        """As `CurveRule.tone`."""
        return tone(self.state, self.recommended)


def tone(state: str, recommended: float | None) -> str:
    """Returns "good" with a strength to use, "stop" where use does harm or nothing could be read, else "warn"."""
    if recommended is not None:
        return "good"
    return "stop" if state in ("BELOW_RANGE", "INVALID_INPUT", "UNSTABLE", "NOT_OVERCORRECTION") else "warn"


def read_rule(decision: Mapping[str, Any]) -> Rule:
    """Typed values of a document of `sweeper.decision.decide_sweep`.

    Raises:
        InputError: the document has another schema.
    """
    if decision.get("schema") != SCHEMA:
        given = decision.get("schema")
        raise InputError(f"decision: schema is {given!r}, expected {SCHEMA!r}; decide again with `sweeper report`")
    rule, deciding = decision["rule"], decision["deciding_view"]
    order = sorted(decision["views"], key=lambda view: (view != deciding, view))
    given = {clause["var"]: clause["value"] for clause in rule["if"]}
    return Rule(
        deciding_view=deciding,
        margin=given.get("margin"),
        sentence=decision["sentence"],
        state=rule["state"],
        meaning=STATES.get(rule["state"], ""),
        strength=rule["strength"],
        certainty=rule["certainty"],
        recommended=rule["then"]["lambda_recommended"],
        downgrades=tuple(DOWNGRADES.get(code, code) for code in rule["downgrades"]),
        reasons=tuple(rule["reasons"]),
        notes=tuple(decision["notes"]),
        assumptions=tuple((code, ASSUMPTIONS.get(code, "")) for code in rule["assumptions"]),
        method=f"{rule['method']['name']} {rule['method']['version']}",
        confirmation=confirmation_text(decision),
        mechanism=mechanism_text(rule),
        next=next_text(decision["next_points"]) if decision.get("next_points") else "",
        ready=tuple(_ready(item) for item in (decision["ready_rules"] or {"rules": []})["rules"]),
        views=tuple(
            _view(view, decision["views"][view], given.get("margin"), decision["settings"]["confidence"])
            for view in order
        ),
        fresh_seeds=tuple(decision["provenance"].get("confirm_seeds") or ()),
    )


def _ready(of: Mapping[str, Any]) -> ReadyRule:
    return ReadyRule(
        condition=of["condition"],
        then=of["then"],
        verdict={True: "holds", False: "does not hold", None: "not measurable"}[of["holds"]],
        detail=detail_text(of),
        thresholds=tuple((item["value"], item["source"]) for item in of["thresholds"]),
    )


def _view(view: str, of: Mapping[str, Any], margin: float | None, confidence: float) -> ViewRule:
    leading = margin if margin in [curve["margin"] for curve in of["margins"]] else of["chosen_margin"]
    curves = sorted(of["margins"], key=lambda curve: (curve["margin"] != leading, curve["margin"]))
    return ViewRule(
        view=view,
        chosen_margin=of["chosen_margin"],
        choice=choice_text(of["choice"]),
        curves=tuple(_curve(curve) for curve in curves),
        frontier=tuple(FrontierPoint(**point) for point in of["frontier"]["points"]),
        shift=frontier_text(of["frontier"], confidence),
    )


def _curve(of: Mapping[str, Any]) -> CurveRule:
    estimate = of["estimate"] or {}
    return CurveRule(
        view=of["view"],
        margin=of["margin"],
        state=of["state"],
        strength=of["rule"]["strength"],
        certainty=of["rule"]["certainty"],
        sentence=of["sentence"],
        reasons=tuple(of["reasons"]),
        delta=of["delta"],
        confidence=of["confidence"],
        levels=tuple(_level(level) for level in of["levels"]),
        runs=tuple(RunRule(**run) for run in of["runs"]),
        controls=tuple(sorted((of["controls"] or {}).items())),
        metrics=tuple(MetricUse(**use) for use in of["metrics"]),
        left_out=tuple((item["name"], item["role"], item["reason"]) for item in of["left_out"]),
        peak=estimate.get("peak"),
        best=estimate.get("lambda_peak"),
        safe_up_to=estimate.get("safe_up_to"),
        unsafe_from=estimate.get("unsafe_from"),
        point=_point(estimate),
        effective=estimate.get("technical", {}).get("lambda_effective"),
        recommended=estimate.get("recommended"),
        unstable=of["lambda_unstable"],
        by_delta=tuple(
            Bound(
                label=f"{100 * entry['delta']:g} %",
                safe_up_to=entry["safe_up_to"],
                unsafe_from=entry["unsafe_from"],
                recommended=entry["recommended"],
                detectable_drop=entry["detectable_drop"],
                state=entry["state"],
            )
            for entry in of["sensitivity"]
        ),
        by_metric=tuple(
            Bound(label=metric, safe_up_to=bracket["safe_up_to"], unsafe_from=bracket["unsafe_from"])
            for metric, bracket in estimate.get("metric_brackets", {}).items()
        ),
    )


def _point(estimate: Mapping[str, Any]) -> tuple[float, float, float] | None:
    location = estimate.get("location")
    if location is None or estimate["fallback"] is not None or estimate["unsafe_from"] is None:
        return None
    if location["lower"] is None or location["upper"] is None:
        return None
    return location["lower"], location["median"], location["upper"]


def _level(of: Mapping[str, Any]) -> LevelRule:
    roles = {role: None if of[role] is None else Interval(**of[role]) for role in ("biological", "technical")}
    return LevelRule(strength=of["strength"], recorded=of["recorded"], lost=of["lost"], **roles)
