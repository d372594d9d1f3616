"""A judged curve as an If/Then rule: certainty and firmness kept apart, as in GRADE.

Certainty says how far the bounds can be trusted, firmness what to do about them.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from sweeper.decision.inference.posterior import Location
from sweeper.decision.verdict.certainty import Grounds, certainty, downgrades
from sweeper.decision.verdict.judge import USABLE
from sweeper.decision.verdict.remarks import Remark
from sweeper.decision.verdict.rule import (
    Advice,
    AtDelta,
    Bounds,
    Bracketed,
    Cause,
    Clause,
    Design,
    Firmness,
    Method,
    Rule,
    RuleEstimate,
    RuleMetrics,
    Target,
)
from sweeper.decision.verdict.states import State
from sweeper.decision.verdict.values import Estimate, JudgedCurve, Sensitivity
from sweeper.decision.words.reasons import early_metrics

SCHEMA = "overcorrection-rule/1"
METHOD, BRACKET = "bma-bms", "drawdown-bracket"
_ALWAYS = ("you add plates or batches", "change the encoder or the length of training")
UNLESS: Mapping[Target, tuple[str, ...]] = MappingProxyType(
    {
        "this_screen": (_ALWAYS[0], "change the set of perturbations", _ALWAYS[1]),
        "new_perturbations": (_ALWAYS[0], "turn to perturbations of another kind", _ALWAYS[1]),
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


def rule(curve: JudgedCurve, grounds: Grounds) -> Rule:
    """The rule of one curve; its numbers are those of the curve."""
    estimate = curve.estimate
    lowered = downgrades(curve, grounds)
    graded = certainty(curve, lowered)
    return Rule(
        schema=SCHEMA,
        state=curve.state,
        firmness=_firmness(curve, graded),
        certainty=graded,
        downgrades=lowered if graded else (),
        conditions=_conditions(curve, grounds),
        advice=Advice(curve.recommended, estimate.limit if estimate and curve.state in USABLE else None),
        unless=UNLESS[grounds.target],
        estimate=_estimate(curve, estimate),
        by_delta={f"{entry.delta:g}": _at_delta(entry) for entry in curve.sensitivity},
        metrics=RuleMetrics(
            biological=curve.uses("biological"),
            technical=curve.uses("technical"),
            left_out=curve.left_out,
            earliest=estimate.earliest_metric if estimate else None,
            lost_while_safe=early_metrics(curve),
        ),
        cause=Cause(_label(curve), _sham_drawdown(curve), grounds.design_djs),
        design=_design(curve, estimate, grounds),
        method=_method(estimate),
        assumptions=tuple(code for code in ASSUMPTIONS if code != "A8" or grounds.target == "new_perturbations"),
        reasons=curve.reasons,
        remarks=curve.remarks,
    )


def _conditions(curve: JudgedCurve, grounds: Grounds) -> tuple[Clause, ...]:
    conditions = {
        "dataset_hash": grounds.dataset_hash,
        "trainer": curve.trainer or grounds.trainer,
        "view": curve.view,
        "margin": curve.margin,
    }
    return tuple(Clause(name, "==", value) for name, value in conditions.items() if value is not None)


def _label(curve: JudgedCurve) -> str | None:
    """Mechanism of the loss (docs/explanation/mechanism.md); None where none is known."""
    if curve.state is State.NOT_OVERCORRECTION:
        return "C_optimiser"
    verdict = curve.mechanism.verdict if curve.mechanism else "unknown"
    # Damage is damage in a state that claims no over-correction, too.
    return {"confounded": "A_or_C", "overcorrection": "B_subspace", "training_damage": "C_optimiser"}.get(verdict)


def _sham_drawdown(curve: JudgedCurve) -> float | None:
    """D_sham at the sham strength nearest the loss, without a loss at the largest; None where it is not known."""
    found = curve.mechanism
    if found is None or not found.points:
        return None
    at = found.loss_at if found.loss_at is not None else found.points[-1].weight
    return next(point.drawdown for point in found.points if point.weight == at)


def _firmness(curve: JudgedCurve, graded: str | None) -> Firmness:
    """recommend: a located or excluded point, at least moderate certainty, the same kind of advice (to correct or not
    to) at every δ; suggest: an advice.

    Without a sham arm the certainty is low at best, so this form only suggests; and so it does where the arm does not
    tell whether the gain is one of correction.
    """
    if curve.recommended is None:
        return "none"
    firm = curve.state in (State.IDENTIFIED, State.NOT_REACHED) and graded in ("high", "moderate")
    known = curve.remarks is None or Remark.GAIN_NOT_ATTRIBUTED not in curve.remarks.codes
    corrects = curve.recommended > 0
    everywhere = all(
        entry.recommended is not None and (entry.recommended > 0) == corrects for entry in curve.sensitivity
    )
    return "recommend" if firm and known and everywhere else "suggest"


def _estimate(curve: JudgedCurve, estimate: Estimate | None) -> RuleEstimate:
    middle, ends, chance = _point(estimate.location if estimate else None)
    technical = estimate.technical if estimate else None
    return RuleEstimate(
        lambda_oc=middle,
        ci90=ends,
        p_detect=chance,
        delta=curve.delta,
        confidence=curve.confidence,
        safe_up_to=curve.safe_up_to,
        unsafe_from=curve.unsafe_from,
        lambda_peak=curve.best_weight,
        lambda_effective=technical.lambda_effective if technical else None,
        lambda_effective_upper=technical.lambda_effective_upper if technical else None,
        window=estimate.window if estimate else None,
        lambda_ni=Bounds(estimate.lambda_ni.safe_up_to, estimate.lambda_ni.unsafe_from) if estimate else None,
        lambda_unstable=curve.lambda_unstable,
    )


def _at_delta(entry: Sensitivity) -> AtDelta:
    middle, ends, chance = _point(entry.location)
    return AtDelta(
        state=entry.state,
        lambda_oc=middle,
        ci90=ends,
        p_detect=chance,
        safe_up_to=entry.safe_up_to,
        unsafe_from=entry.unsafe_from,
        recommended=entry.recommended,
        detectable_drop=entry.detectable_drop,
    )


def _point(location: Location | None) -> tuple[float | None, tuple[float, float] | None, float | None]:
    """λ_OC, its two-sided interval (its lower end is λ_L) and the probability that it lies within the range."""
    if location is None:
        return None, None, None
    whole = location.lower is not None and location.upper is not None
    return location.median, (location.lower, location.upper) if whole else None, location.p_detect  # type: ignore[return-value]


def _detectable(estimate: Estimate | None) -> float | None:
    """By the method that decides."""
    if estimate is None:
        return None
    return estimate.detectable_drop if estimate.locatable_drop is None else estimate.locatable_drop


def _method(estimate: Estimate | None) -> Method:
    """Which method bounds the point, and what the other says of it."""
    if estimate is None:
        return Method(None, "1", {}, None, None)
    bracket = estimate.bracket
    return Method(
        name=BRACKET if estimate.fallback else METHOD,
        version="1",
        families=estimate.families,
        lof_p=estimate.lof_p,
        fallback=Bracketed(bracket.safe_up_to, bracket.unsafe_from, estimate.fallback),
    )


def _design(curve: JudgedCurve, estimate: Estimate | None, grounds: Grounds) -> Design:
    positive = [level.weight for level in curve.levels if level.weight > 0]
    unstable = next((level for level in curve.levels if level.weight == curve.lambda_unstable), None)
    return Design(
        target=grounds.target,
        n_lambda=len(positive),
        n_seeds=len(curve.seeds),
        span=(positive[0], positive[-1]) if positive else None,
        weights=tuple(level.weight for level in curve.levels),
        runs=sum(level.recorded for level in curve.levels),
        runs_lost=sum(level.lost for level in curve.levels),
        runs_lost_at_unstable=None if unstable is None else (unstable.lost, unstable.recorded),
        sigma=estimate.sigma if estimate else None,
        psi=estimate.psi if estimate else None,
        detectable_drop=_detectable(estimate),
        technical_saturated=estimate.technical.saturated if estimate else None,
        adaptive=grounds.adaptive,
    )
