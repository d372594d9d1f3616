"""The If/Then rule of one curve, as values; `sweeper.decision.words.rule_text` says it in words.

λ are None where the data give none. Shares and losses are of biology's peak.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from sweeper.decision.input.curve import LeftOut
from sweeper.decision.verdict.json_codec import MAY_LACK, under
from sweeper.decision.verdict.remarks import Remarks
from sweeper.decision.verdict.states import State

Target = Literal["this_screen", "new_perturbations"]
Firmness = Literal["recommend", "suggest", "none"]


@dataclass(frozen=True)
class Clause:
    """A condition: `var` ("dataset_hash", "trainer", "view" or "margin") has this value."""

    var: str
    op: str
    value: str | float


@dataclass(frozen=True)
class Advice:
    """What to do.

    Attributes:
        recommended: λ to use; 0: do not correct. None: no strength is advised as batch correction.
        most: λ not to exceed.
    """

    recommended: float | None = field(metadata=under("lambda_recommended"))
    most: float | None = field(metadata=under("lambda_max"))


@dataclass(frozen=True)
class Bounds:
    """Largest λ shown to be safe, smallest shown to be unsafe."""

    safe_up_to: float | None
    unsafe_from: float | None


@dataclass(frozen=True)
class RuleEstimate:
    """The point and its bounds; where the bracket decides, the point is indicative only (see `Method`).

    Attributes:
        lambda_oc: λ_OC.
        ci90: its two-sided interval, whose lower end is λ_L.
        p_detect: probability that λ_OC lies within the range; None without a signal.
        lambda_ni: up to where biology is no worse than uncorrected, by the bracket; secondary.
        lambda_unstable: smallest λ that lost too many runs.
    """

    lambda_oc: float | None
    ci90: tuple[float, float] | None
    p_detect: float | None
    delta: float
    confidence: float
    safe_up_to: float | None
    unsafe_from: float | None
    lambda_peak: float | None
    lambda_effective: float | None
    lambda_effective_upper: float | None
    window: tuple[float, float] | None
    lambda_ni: Bounds | None
    lambda_unstable: float | None


@dataclass(frozen=True)
class AtDelta:
    """The bounds at one δ; `detectable_drop` is the loss that 80 % power would have established, above 1: none."""

    state: State
    lambda_oc: float | None
    ci90: tuple[float, float] | None
    p_detect: float | None
    safe_up_to: float | None
    unsafe_from: float | None
    recommended: float | None = field(metadata=under("lambda_recommended"))
    detectable_drop: float | None = field(metadata=under("detectable_drop80"))


@dataclass(frozen=True)
class RuleMetrics:
    """What the composites are made of.

    Attributes:
        earliest: biological metric that is lost first.
        lost_while_safe: biological metrics lost by themselves at a λ that the composite calls safe.
    """

    biological: tuple[str, ...]
    technical: tuple[str, ...]
    left_out: tuple[LeftOut, ...]
    earliest: str | None
    lost_while_safe: tuple[str, ...]


@dataclass(frozen=True)
class Cause:
    """What explains the loss.

    Attributes:
        label: "A_design", "B_subspace", "C_optimiser" or "A_or_C"; None where none is known.
        sham_drawdown: loss of the sham arm at its strength nearest the loss.
        design_djs: design index, 0 (balanced) to 1.
    """

    label: str | None
    sham_drawdown: float | None
    design_djs: float | None


@dataclass(frozen=True)
class Design:
    """What was run.

    Attributes:
        target: whom the bounds are about.
        weights: every recorded λ, ascending, and `span` the smallest above 0 and the largest.
        runs_lost_at_unstable: (lost, recorded) at the smallest λ that lost too many runs.
        sigma: seed standard deviation; psi: δ·√S/σ.
        detectable_drop: as in `AtDelta`, by the method that decides.
        adaptive: strengths were chosen by looking at results; None: not known.
    """

    target: Target
    n_lambda: int
    n_seeds: int
    span: tuple[float, float] | None = field(metadata=under("range"))
    weights: tuple[float, ...] = field(metadata=under("lambdas"))
    runs: int
    runs_lost: int
    runs_lost_at_unstable: tuple[int, int] | None
    sigma: float | None
    psi: float | None
    detectable_drop: float | None = field(metadata=under("detectable_drop80"))
    technical_saturated: bool | None
    adaptive: bool | None


@dataclass(frozen=True)
class Bracketed:
    """The drawdown bracket, and why it decides ("declared", "poor_fit", "conflict", "no_signal"); None: it does not."""

    safe_up_to: float | None
    unsafe_from: float | None
    because: str | None


@dataclass(frozen=True)
class Method:
    """Which method bounds the point, and what the bracket says of it."""

    name: str | None
    version: str
    families: Mapping[str, float]
    lof_p: float | None
    fallback: Bracketed | None


@dataclass(frozen=True)
class Rule:
    """If these conditions hold, then this strength, unless one of these changes.

    Attributes:
        firmness: what is said of the strength: "recommend", "suggest" or "none".
        certainty: how far the bounds can be trusted; None where nothing is claimed.
        downgrades: codes of `DOWNGRADES` that lowered it.
        by_delta: δ as text → bounds at it.
        assumptions: codes of `ASSUMPTIONS`.
        remarks: what must be said first; None without an estimate.
    """

    schema: str
    state: State
    firmness: Firmness = field(metadata=under("strength"))
    certainty: str | None
    downgrades: tuple[str, ...]
    conditions: tuple[Clause, ...] = field(metadata=under("if"))
    advice: Advice = field(metadata=under("then"))
    unless: tuple[str, ...]
    estimate: RuleEstimate
    by_delta: Mapping[str, AtDelta] = field(metadata=under("sensitivity"))
    metrics: RuleMetrics
    cause: Cause = field(metadata=under("mechanism"))
    design: Design
    method: Method
    assumptions: tuple[str, ...]
    reasons: tuple[str, ...]
    remarks: Remarks | None = field(default=None, metadata=MAY_LACK)

    @property
    def trainer(self) -> str | None:
        """Whose strengths these are."""
        return next((str(clause.value) for clause in self.conditions if clause.var == "trainer"), None)

    @property
    def view(self) -> str:
        """The evaluation view it is about."""
        return next(str(clause.value) for clause in self.conditions if clause.var == "view")

    @property
    def margin(self) -> float | None:
        """Of the curve; None where no curve could be read."""
        return next((float(clause.value) for clause in self.conditions if clause.var == "margin"), None)
