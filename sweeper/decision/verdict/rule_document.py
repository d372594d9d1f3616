"""A decision as an If/Then rule: one JSON-ready object, graded, from which the text is rendered.

Certainty and strength are kept apart, as in GRADE: certainty says how far the bounds can be trusted, strength what to
do about them. Certainty starts high and drops one step for each shortcoming; codes of `DOWNGRADES` that share one (see
`STEPS`) lower it once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from math import isfinite, log10
from types import MappingProxyType
from typing import Any

import numpy as np

from sweeper.decision.inference.fitted import APART
from sweeper.decision.inference.posterior import Location
from sweeper.decision.input.results_table import ROLES
from sweeper.decision.verdict.judge import USABLE
from sweeper.decision.verdict.states import WIDE, State
from sweeper.decision.verdict.values import Decision, Estimate
from sweeper.decision.words.reasons import early_metrics

SCHEMA = "overcorrection-rule/1"
METHOD, BRACKET = "bma-bms", "drawdown-bracket"
CERTAINTIES = ("high", "moderate", "low", "very low")
DOWNGRADES: Mapping[str, str] = MappingProxyType(
    {
        "risk_of_bias:no_sham_arm": "no sham arm, so training damage is not told apart from over-correction",
        "risk_of_bias:training_classes": "biology measured on perturbations that were trained on",
        "risk_of_bias:adaptive_points": "strengths chosen adaptively and not confirmed on fresh seeds",
        "risk_of_bias:assumed_floor": "the floor of the metrics was assumed to be 0, not measured",
        "risk_of_bias:undeclared_settings": "the settings depart from those declared before the sweep",
        "inconsistency:fresh_seeds": "fresh seeds do not confirm the bounds",
        "inconsistency:primary_metrics": "the biological metrics disagree about where loss begins",
        "indirectness:one_screen": "one screen",
        "indirectness:silhouettes": "a group of metrics rests on silhouettes alone",
        "imprecision:wide_interval": "the interval of the point is more than a decade wide",
        "imprecision:wide_bracket": "the bounds are more than a decade apart or one is missing",
        "imprecision:seed_noise": "seed noise is large",
        "instability:collapse": "runs are lost up to or near the safe bound",
        "confounding:design": "perturbations and batches are confounded by design",
    }
)
STEPS: Mapping[str, str] = MappingProxyType(
    {
        "risk_of_bias:no_sham_arm": "bias of the measurement",
        "risk_of_bias:training_classes": "bias of the measurement",
        "indirectness:one_screen": "indirectness",
        "indirectness:silhouettes": "indirectness",
        "imprecision:wide_interval": "imprecision",
        "imprecision:wide_bracket": "imprecision",
        "imprecision:seed_noise": "imprecision",
    }
)
"""Codes that are one shortcoming; every other code is one of its own."""
SILHOUETTES = ("asw", "silhouette")  # parts of the names of metrics that are silhouettes
UNLESS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        target: ("you add plates or batches", perturbations, "change the encoder or the length of training")
        for target, perturbations in {
            "this_screen": "change the set of perturbations",
            "new_perturbations": "turn to perturbations of another kind",
        }.items()
    }
)
"""What voids a rule, by its target."""
ASSUMPTIONS: Mapping[str, str] = MappingProxyType(
    {
        "A1": "the same seed means the same splits at every strength",
        "A2": "biological metrics are measured on held-out perturbations, above a measured floor",
        "A3": "seed noise is roughly symmetric after the collapse screen",
        "A4": "mean biology gains, then loses once or twice; the fit is tested",
        "A5": "a strength means the same training schedule at every level",
        "A6": "strengths were chosen without looking at these seeds' results",
        "A7": "δ and the composites were fixed before looking",
        "A8": "perturbations are exchangeable: those screened are a sample of the new ones",
        "A9": "the rule holds for this screen, encoder and length of training",
    }
)
LOCATED = (State.IDENTIFIED, State.IDENTIFIED_WIDE, State.CONFLICTING_METRICS)
CLAIMS = (*USABLE, State.BELOW_RANGE)  # states that claim a bound, and so have a certainty


def rule(decision: Decision, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """The rule of one curve; the numbers are those of `decision`.

    Args:
        provenance: `dataset_hash` and `trainer` become conditions of the rule; `adaptive` (bool),
            `held_out_perturbations` (share of perturbations), `design_djs` (the label × batch confounding index, 0 to
            1), `assumed_floor` (metrics whose floor nobody stated) and `departed` (bool: the settings are not those
            declared before the sweep) are graded; `target` says whom the bounds are about ("this_screen" where absent,
            or "new_perturbations"). All optional; other keys are not used here.
    """
    estimate = decision.estimate
    lowered = downgrades(decision, provenance)
    claims = estimate is not None and decision.state in CLAIMS
    certainty = CERTAINTIES[min(steps(lowered), len(CERTAINTIES) - 1)] if claims else None
    conditions = {
        "dataset_hash": provenance.get("dataset_hash"),
        "trainer": decision.trainer or provenance.get("trainer"),
        "view": decision.view,
        "margin": decision.margin,
    }
    made: dict[str, Any] = {
        "schema": SCHEMA,
        "state": decision.state,
        "strength": _strength(decision, certainty),
        "certainty": certainty,
        "downgrades": lowered if certainty else [],
        "if": [{"var": name, "op": "==", "value": value} for name, value in conditions.items() if value is not None],
        "then": {
            "lambda_recommended": estimate.recommended if estimate else None,
            "lambda_max": estimate.safe_up_to if estimate and decision.state in USABLE else None,
        },
        "unless": UNLESS[_target(provenance)],
        "estimate": _estimate(decision, estimate),
        "sensitivity": {
            f"{entry.delta:g}": {
                "state": entry.state,
                **_point(entry.location),
                "safe_up_to": entry.safe_up_to,
                "unsafe_from": entry.unsafe_from,
                "lambda_recommended": entry.recommended,
                "detectable_drop80": entry.detectable_drop,
            }
            for entry in decision.sensitivity
        },
        "metrics": {
            "biological": [use.name for use in decision.metrics if use.role == "biological"],
            "technical": [use.name for use in decision.metrics if use.role == "technical"],
            "left_out": [{"name": item.name, "role": item.role, "reason": item.reason} for item in decision.left_out],
            "earliest": estimate.earliest_metric if estimate else None,
            "lost_while_safe": early_metrics(decision),
        },
        "mechanism": {
            "label": _label(decision),
            "sham_drawdown": _sham_drawdown(decision),
            "design_djs": provenance.get("design_djs"),
        },
        "design": _design(decision, estimate, provenance),
        "method": _method(estimate),
        "assumptions": [code for code in ASSUMPTIONS if code != "A8" or _target(provenance) == "new_perturbations"],
        "reasons": decision.reasons,
    }
    return dict(plain(made))


def downgrades(decision: Decision, provenance: Mapping[str, Any]) -> list[str]:
    """Codes of `DOWNGRADES` that apply and can be known; one screen always does, since a rule is about one."""
    estimate = decision.estimate
    found = [] if decision.mechanism is not None and decision.mechanism.points else ["risk_of_bias:no_sham_arm"]
    if provenance.get("held_out_perturbations", 1) == 0:
        found.append("risk_of_bias:training_classes")
    agrees = decision.confirmation.agrees if decision.confirmation else None
    if provenance.get("adaptive") and not agrees:
        found.append("risk_of_bias:adaptive_points")
    if agrees is False:
        found.append("inconsistency:fresh_seeds")
    if provenance.get("assumed_floor"):
        found.append("risk_of_bias:assumed_floor")
    if provenance.get("departed"):
        found.append("risk_of_bias:undeclared_settings")
    if estimate is not None and (early_metrics(decision) or _apart(decision, estimate)):
        found.append("inconsistency:primary_metrics")
    found.append("indirectness:one_screen")
    for role in ROLES:
        names = [use.name for use in decision.metrics if use.role == role]
        if names and all(any(part in name for part in SILHOUETTES) for name in names):
            found.append("indirectness:silhouettes")
            break
    if estimate is not None:
        safe, unsafe = estimate.safe_up_to, estimate.unsafe_from
        if decision.state is State.BRACKET_ONLY and (safe is None or unsafe is None or unsafe > 10 * safe):
            found.append("imprecision:wide_bracket")
        located = estimate.location is not None and estimate.fallback is None and decision.state in LOCATED
        if located and estimate.location is not None and estimate.location.width > WIDE:
            found.append("imprecision:wide_interval")
        if estimate.psi is not None and estimate.psi < 2:
            found.append("imprecision:seed_noise")
        near = [item for item in decision.levels if safe is not None and item.strength <= safe * 10**0.5]
        if any(item.collapse_rate > 0.10 for item in near):
            found.append("instability:collapse")
    if (provenance.get("design_djs") or 0.0) > 0.2:
        found.append("confounding:design")
    return found


def steps(codes: Sequence[str]) -> int:
    """How many steps these codes lower the certainty."""
    return len({STEPS.get(code, code) for code in codes})


def _label(decision: Decision) -> str | None:
    """Mechanism of the loss (docs/explanation/mechanism.md); None where none is known."""
    if decision.state is State.NOT_OVERCORRECTION:
        return "C_optimiser"
    verdict = decision.mechanism.verdict if decision.mechanism else "unknown"
    return {"confounded": "A_or_C", "overcorrection": "B_subspace"}.get(verdict)


def _sham_drawdown(decision: Decision) -> float | None:
    """D_sham at the sham strength nearest the loss, without a loss at the largest; None where it is not known."""
    found = decision.mechanism
    if found is None or not found.points:
        return None
    at = found.loss_at if found.loss_at is not None else found.points[-1].strength
    return next(point.drawdown for point in found.points if point.strength == at)


def _apart(decision: Decision, estimate: Estimate) -> bool:
    """The metrics place the loss more than half a decade apart.

    By their medians, one beyond the range counting as its end; by the brackets, one metric's loss is established that
    far below a strength at which another's is excluded.
    """
    medians = [item.median for item in estimate.metric_locations.values()]
    if any(medians):
        ends = [decision.levels[-1].strength if median is None else median for median in medians]
        if log10(max(ends) / min(ends)) > APART:
            return True
    unsafe = [item.unsafe_from for item in estimate.metric_brackets.values() if item.unsafe_from is not None]
    safe = [item.safe_up_to for item in estimate.metric_brackets.values() if item.safe_up_to is not None]
    return bool(unsafe and safe and log10(max(safe)) - log10(min(unsafe)) > APART)


def _strength(decision: Decision, certainty: str | None) -> str:
    """recommend: a located or excluded point, at least moderate certainty, and a window at every δ; suggest: a window.

    Without a sham arm the certainty is low at best, so this form only suggests.
    """
    if decision.estimate is None or decision.estimate.recommended is None:
        return "none"
    firm = decision.state in (State.IDENTIFIED, State.NOT_REACHED) and certainty in ("high", "moderate")
    return "recommend" if firm and all(entry.recommended is not None for entry in decision.sensitivity) else "suggest"


def _estimate(decision: Decision, estimate: Estimate | None) -> dict[str, Any]:
    """The point and its bounds; where the bracket decides, the point is indicative only (see `method`)."""
    found = {
        **_point(estimate.location if estimate else None),
        "delta": decision.delta,
        "confidence": decision.confidence,
        "safe_up_to": None,
        "unsafe_from": None,
        "lambda_peak": None,
        "lambda_effective": None,
        "lambda_effective_upper": None,
        "window": None,
        "lambda_ni": None,
        "lambda_unstable": decision.lambda_unstable,
    }
    if estimate is None:
        return found
    return found | {
        "safe_up_to": estimate.safe_up_to,
        "unsafe_from": estimate.unsafe_from,
        "lambda_peak": estimate.lambda_peak,
        "lambda_effective": estimate.technical.lambda_effective,
        "lambda_effective_upper": estimate.technical.lambda_effective_upper,
        "window": estimate.window,
        "lambda_ni": {"safe_up_to": estimate.lambda_ni.safe_up_to, "unsafe_from": estimate.lambda_ni.unsafe_from},
    }


def _detectable(estimate: Estimate | None) -> float | None:
    """By the method that decides."""
    if estimate is None:
        return None
    return estimate.detectable_drop if estimate.locatable_drop is None else estimate.locatable_drop


def _point(location: Location | None) -> dict[str, Any]:
    """λ_OC, its two-sided interval (its lower end is λ_L) and the probability that it lies within the range."""
    if location is None:
        return {"lambda_oc": None, "ci90": None, "p_detect": None}
    whole = location.lower is not None and location.upper is not None
    return {
        "lambda_oc": location.median,
        "ci90": [location.lower, location.upper] if whole else None,
        "p_detect": location.p_detect,
    }


def _method(estimate: Estimate | None) -> dict[str, Any]:
    """Which method bounds the point, and what the other says of it."""
    if estimate is None:
        return {"name": None, "version": "1", "families": {}, "lof_p": None, "fallback": None}
    bracket = estimate.bracket
    return {
        "name": BRACKET if estimate.fallback else METHOD,
        "version": "1",
        "families": estimate.families,
        "lof_p": estimate.lof_p,
        "fallback": {
            "safe_up_to": bracket.safe_up_to,
            "unsafe_from": bracket.unsafe_from,
            "because": estimate.fallback,
        },
    }


def _target(provenance: Mapping[str, Any]) -> str:
    """Whom the bounds are about: "this_screen" or "new_perturbations"."""
    return str(provenance.get("target", "this_screen"))


def _design(decision: Decision, estimate: Estimate | None, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """What was run; losses and sigma in units of biology's peak."""
    positive = [item.strength for item in decision.levels if item.strength > 0]
    unstable = next((item for item in decision.levels if item.strength == decision.lambda_unstable), None)
    return {
        "target": _target(provenance),
        "n_lambda": len(positive),
        "n_seeds": len(decision.seeds),
        "range": [positive[0], positive[-1]] if positive else None,
        "lambdas": [item.strength for item in decision.levels],
        "runs": sum(item.recorded for item in decision.levels),
        "runs_lost": sum(item.lost for item in decision.levels),
        "runs_lost_at_unstable": None if unstable is None else [unstable.lost, unstable.recorded],
        "sigma": estimate.sigma if estimate else None,
        "psi": estimate.psi if estimate else None,
        "detectable_drop80": _detectable(estimate),
        "technical_saturated": estimate.technical.saturated if estimate else None,
        "adaptive": bool(provenance["adaptive"]) if provenance.get("adaptive") is not None else None,
    }


def plain(value: Any) -> Any:
    """`value` as JSON types: null for NaN and infinities, text for anything unknown."""
    if is_dataclass(value) and not isinstance(value, type):
        written = [field.name for field in fields(value) if field.metadata.get("written", True)]
        return {name: plain(getattr(value, name)) for name in written}
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)
