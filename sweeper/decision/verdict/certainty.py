"""How far a curve's bounds can be trusted: certainty starts high and drops one step for each shortcoming (GRADE)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import log10
from types import MappingProxyType
from typing import Any

from sweeper.decision.inference.fitted import APART
from sweeper.decision.input.results_table import ROLES
from sweeper.decision.verdict.confounded import Nesting
from sweeper.decision.verdict.judge import USABLE
from sweeper.decision.verdict.rule import Target
from sweeper.decision.verdict.states import WIDE, State
from sweeper.decision.verdict.values import Estimate, JudgedCurve
from sweeper.decision.words.reasons import early_metrics

CERTAINTIES = ("high", "moderate", "low", "very low")
LOCATED = (State.IDENTIFIED, State.IDENTIFIED_WIDE, State.CONFLICTING_METRICS)
CLAIMS = (*USABLE, State.BELOW_RANGE)  # states that claim a bound, and so have a certainty
SILHOUETTES = ("asw", "silhouette")  # parts of the names of metrics that are silhouettes
CONFOUNDED = 0.2  # design index above which perturbations and batches are confounded
FEW_LOST = 0.10  # share of runs that may be lost near the safe bound without a word
NEAR = 10**0.5  # times the safe bound


@dataclass(frozen=True)
class Grounds:
    """What a rule is conditional on and graded by, beside its curve.

    Attributes:
        dataset_hash, trainer: conditions of the rule.
        target: whom the bounds are about.
        adaptive: strengths were chosen by looking at results; None: not known.
        held_out_perturbations: share of perturbations that training did not see.
        design_djs: design index of the training wells, 0 (balanced) to 1.
        assumed_floor: the floor of a metric was not stated.
        departed: the settings are not those declared before the sweep.
        fresh_seeds: seeds that had no part in finding the bounds.
        nesting: how many perturbations and targets lie in several batches; None: not known.
    """

    dataset_hash: str | None = None
    trainer: str | None = None
    target: Target = "this_screen"
    adaptive: bool | None = None
    held_out_perturbations: float = 1.0
    design_djs: float | None = None
    assumed_floor: bool = False
    departed: bool = False
    fresh_seeds: tuple[int, ...] = ()
    nesting: Nesting | None = None

    @classmethod
    def of(cls, provenance: Mapping[str, Any], *, target: Target = "this_screen", departed: bool = False) -> Grounds:
        """From a sweep's provenance: every key is optional, others are not used here."""
        adaptive, nesting = provenance.get("adaptive"), provenance.get("nesting")
        return cls(
            dataset_hash=provenance.get("dataset_hash"),
            trainer=provenance.get("trainer"),
            target=target,
            adaptive=None if adaptive is None else bool(adaptive),
            held_out_perturbations=provenance.get("held_out_perturbations", 1.0),
            design_djs=provenance.get("design_djs"),
            assumed_floor=bool(provenance.get("assumed_floor")),
            departed=departed,
            fresh_seeds=tuple(provenance.get("confirm_seeds") or ()),
            nesting=None if nesting is None else Nesting(**nesting),
        )


def downgrades(curve: JudgedCurve, grounds: Grounds) -> tuple[str, ...]:
    """Codes of `DOWNGRADES` that apply and can be known; one screen always does, since a rule is about one."""
    return tuple(code for code, applies in _CHECKS.items() if applies(curve, grounds))


def steps(codes: Sequence[str]) -> int:
    """How many steps these codes lower the certainty."""
    return len({STEPS.get(code, code) for code in codes})


def certainty(curve: JudgedCurve, lowered: Sequence[str]) -> str | None:
    """Of the curve's bounds; None where its state claims none."""
    if curve.estimate is None or curve.state not in CLAIMS:
        return None
    return CERTAINTIES[min(steps(lowered), len(CERTAINTIES) - 1)]


def _no_sham_arm(curve: JudgedCurve, _: Grounds) -> bool:
    return curve.mechanism is None or not curve.mechanism.points


def _agrees(curve: JudgedCurve) -> bool | None:
    return curve.confirmation.agrees if curve.confirmation else None


def _disagreeing(curve: JudgedCurve, _: Grounds) -> bool:
    return curve.estimate is not None and (bool(early_metrics(curve)) or _apart(curve, curve.estimate))


def _apart(curve: JudgedCurve, estimate: Estimate) -> bool:
    """The metrics place the loss more than half a decade apart.

    By their medians, one beyond the range counting as its end; by the brackets, one metric's loss is established that
    far below a strength at which another's is excluded.
    """
    medians = [item.median for item in estimate.metric_locations.values()]
    if any(medians):
        ends = [curve.levels[-1].weight if median is None else median for median in medians]
        if log10(max(ends) / min(ends)) > APART:
            return True
    unsafe = [item.unsafe_from for item in estimate.metric_brackets.values() if item.unsafe_from is not None]
    safe = [item.safe_up_to for item in estimate.metric_brackets.values() if item.safe_up_to is not None]
    return bool(unsafe and safe and log10(max(safe)) - log10(min(unsafe)) > APART)


def _silhouettes(curve: JudgedCurve, _: Grounds) -> bool:
    groups = [curve.uses(role) for role in ROLES]
    return any(names and all(any(part in name for part in SILHOUETTES) for name in names) for names in groups)


def _wide_bracket(curve: JudgedCurve, _: Grounds) -> bool:
    if curve.estimate is None or curve.state is not State.BRACKET_ONLY:
        return False
    safe, unsafe = curve.safe_up_to, curve.unsafe_from
    return safe is None or unsafe is None or unsafe > 10 * safe


def _wide_interval(curve: JudgedCurve, _: Grounds) -> bool:
    estimate = curve.estimate
    if estimate is None or estimate.location is None or estimate.fallback is not None:
        return False
    return curve.state in LOCATED and estimate.location.width > WIDE


def _noisy(curve: JudgedCurve, _: Grounds) -> bool:
    return curve.estimate is not None and curve.estimate.psi is not None and curve.estimate.psi < 2


def _collapsing(curve: JudgedCurve, _: Grounds) -> bool:
    safe = curve.safe_up_to
    return safe is not None and any(
        level.collapse_rate > FEW_LOST for level in curve.levels if level.weight <= safe * NEAR
    )


Check = Callable[[JudgedCurve, Grounds], bool]
_SHORTCOMINGS: tuple[tuple[str, str, Check], ...] = (
    (
        "risk_of_bias:no_sham_arm",
        "no sham arm, so damage to the training cannot be told from over-correction",
        _no_sham_arm,
    ),
    (
        "risk_of_bias:training_classes",
        "biology measured on perturbations that were trained on",
        lambda _, grounds: grounds.held_out_perturbations == 0,
    ),
    (
        "risk_of_bias:adaptive_points",
        "strengths chosen by looking at results and not confirmed on fresh seeds",
        lambda curve, grounds: bool(grounds.adaptive) and not _agrees(curve),
    ),
    (
        "inconsistency:fresh_seeds",
        "fresh seeds do not confirm the bounds",
        lambda curve, _: _agrees(curve) is False,
    ),
    (
        "risk_of_bias:assumed_floor",
        "the floor of the metrics was assumed to be 0, not measured",
        lambda _, grounds: grounds.assumed_floor,
    ),
    (
        "risk_of_bias:undeclared_settings",
        "the settings differ from those declared before the sweep",
        lambda _, grounds: grounds.departed,
    ),
    (
        "inconsistency:primary_metrics",
        "the biological metrics disagree about where loss begins",
        _disagreeing,
    ),
    ("indirectness:one_screen", "only one screen", lambda *_: True),
    ("indirectness:silhouettes", "one group of metrics is made of silhouettes alone", _silhouettes),
    ("imprecision:wide_bracket", "the bounds are more than a factor of 10 apart or one is missing", _wide_bracket),
    ("imprecision:wide_interval", "the point is not known within a factor of 10", _wide_interval),
    ("imprecision:seed_noise", "seeds differ much", _noisy),
    ("instability:collapse", "training fails at or near strengths called safe", _collapsing),
    (
        "confounding:design",
        "perturbations and batches are confounded by design",
        lambda _, grounds: (grounds.design_djs or 0.0) > CONFOUNDED,
    ),
)
_CHECKS = {code: applies for code, _, applies in _SHORTCOMINGS}
DOWNGRADES: Mapping[str, str] = MappingProxyType({code: words for code, words, _ in _SHORTCOMINGS})
"""What lowers the certainty, in words."""
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
