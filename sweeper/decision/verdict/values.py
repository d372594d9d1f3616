"""What is known about one trade-off curve: plain values, ready to be drawn or written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sweeper.decision.inference.bracket import Bracket
from sweeper.decision.inference.posterior import Location
from sweeper.decision.inference.summaries import Span
from sweeper.decision.inference.technical import Technical
from sweeper.decision.input.curve import LeftOut, MetricUse
from sweeper.decision.verdict.advised import Advised, Range
from sweeper.decision.verdict.bounds import EarlyMetric
from sweeper.decision.verdict.confirmation import Confirmation
from sweeper.decision.verdict.json_codec import MAY_LACK, UNWRITTEN, under
from sweeper.decision.verdict.mechanism import Mechanism
from sweeper.decision.verdict.remarks import Remarks
from sweeper.decision.verdict.states import State

Array = NDArray[np.float64]


@dataclass(frozen=True)
class LevelMean:
    """A level mean and its two-sided interval (90 % at confidence 0.95), seed effects removed; anchored scale."""

    mean: float
    lower: float
    upper: float


@dataclass(frozen=True)
class Level:
    """One strength of the curve.

    Attributes:
        weight: λ.
        kept: it lost at most the tolerated share of its runs and takes part in the decision.
        recorded: runs recorded.
        lost: runs that failed, ran out of memory or collapsed.
        collapse_rate: lost / recorded.
        biological, technical: over the usable runs; None where the level is not kept or the curve not judged.
    """

    weight: float = field(metadata=under("strength"))
    kept: bool
    recorded: int
    lost: int
    collapse_rate: float
    biological: LevelMean | None = None
    technical: LevelMean | None = None


@dataclass(frozen=True)
class Run:
    """One training: a strength with a seed, all folds together.

    Attributes:
        weight: λ.
        status: "ok", "collapsed", "failed", "oom", "incomplete" (a metric is missing) or "screened" (fell far below its
            level); strength-seed pairs that were never recorded are not listed.
        used: it takes part in the decision: ok, at a kept strength, and its seed is ok at more than half of those.
        biological, technical: composites, anchored scale; None where a metric is missing.
    """

    weight: float = field(metadata=under("strength"))
    seed: int
    status: str
    used: bool
    biological: float | None
    technical: float | None


@dataclass(frozen=True)
class Interval:
    """Where the over-correction point lies, λ, by the method that decides; an end that is not known is None.

    The posterior's safe bound λ_L, median λ_OC and upper end where it decides and has located the point. Otherwise its
    quantiles rest on the prior as much as on the data: the bounds at trained strengths, without a median.
    """

    lower: float | None
    median: float | None
    upper: float | None

    @classmethod
    def of(cls, chosen: Sensitivity, p_identify: float) -> Interval:
        """That of the curve at one δ; `p_identify` is the probability of a loss from which on it counts as located."""
        found = chosen.location
        if chosen.fallback is None and found is not None and found.upper is not None and found.p_detect >= p_identify:
            return cls(found.lower, found.median, found.upper)
        return cls(chosen.safe_up_to, None, chosen.unsafe_from)


@dataclass(frozen=True)
class Sensitivity:
    """The curve judged at one δ.

    Attributes:
        delta: the loss that counts.
        state: as it would be if this δ decided.
        safe_up_to, unsafe_from: bounds on λ_OC at trained strengths by the method that decides: the largest below the
            safe bound λ_L of `location` and the smallest above its upper end, or the bracket's where that decides or
            the point is neither located nor out of reach.
        bracket: the drawdown bracket, the cross-check.
        location: λ_OC of the composite or, where metrics conflict, of the earliest; None without a signal.
        fallback: why the bracket decides alone: "declared", "poor_fit" or "no_signal"; None: it does not.
        contradiction: how tests and fitted curves exclude each other: the tests prove a loss at or below the fitted
            safe bound ("loss_below"), or exclude one beyond the fitted interval ("safe_above").
        earliest: the metric that a conflict makes the rule follow; None without a conflict.
        early: the biological metric that is lost before the composite and bounds the advice most.
        limit: largest λ > 0 that may be advised: the lowest of every bound; None: none.
        technical_falls: T at `unsafe_from` is shown to be ε_T or more below T at some smaller strength.
        window: (smallest λ between which biology decided, limit); None where nothing above 0 is safe.
        advised: the strength advised by this curve alone, and why; None: none.
        recommended: λ of `advised`.
        detectable_drop: loss that would have been established with 80 % power, as a share of the peak; above 1: none.
        psi: δ·√S/σ; below 2 expect INCONCLUSIVE. None without noise.
        metric_brackets: of each biological metric; effective: batch removal within the safe range; range: the
            strengths of that range with their fits. Not written.
    """

    delta: float
    state: State
    safe_up_to: float | None
    unsafe_from: float | None
    bracket: Bracket
    location: Location | None
    fallback: str | None
    earliest: str | None
    technical_falls: bool
    window: tuple[float, float] | None
    recommended: float | None
    detectable_drop: float
    psi: float | None
    contradiction: str | None = field(default=None, metadata=MAY_LACK)
    early: EarlyMetric | None = field(default=None, metadata=MAY_LACK)
    limit: float | None = field(default=None, metadata=MAY_LACK)
    advised: Advised | None = field(default=None, metadata=MAY_LACK)
    metric_brackets: Mapping[str, Bracket] = field(default_factory=dict, repr=False, compare=False, metadata=UNWRITTEN)
    effective: Technical | None = field(default=None, repr=False, compare=False, metadata=UNWRITTEN)
    range: Range | None = field(default=None, repr=False, compare=False, metadata=UNWRITTEN)


@dataclass(frozen=True)
class Estimate:
    """What the data say about the point, at `DecisionSettings.delta`.

    Attributes:
        peak: median of the three best biological level means, anchored scale: the unit of `sigma` and of losses.
        lambda_peak: strength of the best biological level mean; flat tops make it arbitrary, so nothing rests on it.
        signal_lower: lower bound of the highest true biological level.
        sigma: seed standard deviation of the biological composite, seed effects removed, in units of the peak.
        safe_up_to, unsafe_from, bracket, location, fallback: as in `Sensitivity`.
        interval: where the point lies, by the method that decides.
        families: curve family → posterior probability; empty without a signal.
        lof_p: of the fit's test; None without a signal.
        lambda_ni: bracket of "no worse than uncorrected"; secondary.
        contradiction, early, limit: as in `Sensitivity`.
        technical: rise and saturation of batch removal over the range, and its effective strength within the safe one.
        at_chance: at λ = 0 every reader of the batch is within ε_T of chance, and batch removal has nothing to gain.
        moves: strength is shown to change batch removal, or biology in either direction.
        technical_falls, window: as in `Sensitivity`.
        advised: the strength advised at this margin: among those of every margin where this one was chosen.
        recommended: its λ, where it is advised as batch correction; 0: do not correct. None: none.
        biology_at_effective: biological level mean at λ_E, anchored scale.
        detectable_drop, psi: as in `Sensitivity`.
        onset, effective: λ_peak and λ_E by the drawn curves; None where the posterior was not asked for, or no signal.
        p_technical_kept: probability that batch removal at λ_OC is no worse than at λ_peak by ε_T; None as above, or
            where no drawn curve loses δ.
        locatable_drop: loss that the posterior would have located with 80 % power, as a share of the peak; only where
            it decides and locates nothing.
        metric_brackets: drawdown bracket of every primary biological metric by itself.
        metric_locations: λ_OC of each of two or more primary biological metrics that fit.
        earliest_metric: in a conflict the one the rule follows, else the one whose loss the brackets establish at the
            smallest strength; None: at none.
        range: the strengths among which one may be advised, with their fits. Not written.
        crossings: draws of log10 λ_OC behind `location`, +∞ beyond the range; empty without one. Not written.
    """

    peak: float
    lambda_peak: float
    signal_lower: float
    sigma: float
    safe_up_to: float | None
    unsafe_from: float | None
    bracket: Bracket
    location: Location | None
    fallback: str | None
    interval: Interval
    families: Mapping[str, float]
    lof_p: float | None
    lambda_ni: Bracket
    technical: Technical
    technical_falls: bool
    window: tuple[float, float] | None
    recommended: float | None
    biology_at_effective: float | None
    detectable_drop: float
    psi: float | None
    onset: Span | None
    effective: Span | None
    p_technical_kept: float | None
    locatable_drop: float | None
    metric_brackets: Mapping[str, Bracket]
    metric_locations: Mapping[str, Location]
    earliest_metric: str | None
    contradiction: str | None = field(default=None, metadata=MAY_LACK)
    early: EarlyMetric | None = field(default=None, metadata=MAY_LACK)
    limit: float | None = field(default=None, metadata=MAY_LACK)
    advised: Advised | None = field(default=None, metadata=MAY_LACK)
    at_chance: bool = field(default=False, metadata=MAY_LACK)
    moves: bool = field(default=True, metadata=MAY_LACK)
    crossings: tuple[float, ...] = field(default=(), repr=False, compare=False, metadata=UNWRITTEN)
    range: Range | None = field(default=None, repr=False, compare=False, metadata=UNWRITTEN)


@dataclass(frozen=True)
class JudgedCurve:
    """One trade-off curve and what is judged of it: everything that a report draws.

    Attributes:
        margin, trainer: None when the table could not be read that far.
        delta, confidence: as in the settings.
        state: exactly one, see `STATES`.
        reasons: why, in plain sentences; for INVALID_INPUT and INSUFFICIENT_DATA what to mend or to add.
        levels: every recorded strength, ascending.
        runs: every recorded run, by strength and seed.
        seeds: those that the decision rests on.
        metrics, left_out: what the composites are made of, and what they lack.
        controls: untrained embedding → role → composite.
        lambda_unstable: smallest λ that lost too many runs.
        estimate: None when the data do not suffice to look.
        sensitivity: one entry a δ, ascending; empty without an estimate.
        mechanism: what explains the loss, from the sham arm; None until that was asked.
        remarks: what a reader must know before the bounds: gains attributed, untrained baselines, what is left of the
            batch; None without an estimate.
        confirmation: what fresh seeds say of the bounds; None without such seeds.
        control_runs: untrained embedding → role → (S,) composite of each of `seeds`. Not written.
    """

    view: str
    margin: float | None
    trainer: str | None
    delta: float
    confidence: float
    state: State
    reasons: tuple[str, ...]
    levels: tuple[Level, ...] = ()
    runs: tuple[Run, ...] = ()
    seeds: tuple[int, ...] = ()
    metrics: tuple[MetricUse, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    controls: Mapping[str, Mapping[str, float | None]] | None = None
    lambda_unstable: float | None = None
    estimate: Estimate | None = None
    sensitivity: tuple[Sensitivity, ...] = ()
    mechanism: Mechanism | None = None
    confirmation: Confirmation | None = None
    remarks: Remarks | None = field(default=None, metadata=MAY_LACK)
    control_runs: Mapping[str, Mapping[str, Array]] = field(
        default_factory=dict, repr=False, compare=False, metadata=UNWRITTEN
    )

    @property
    def kept_weights(self) -> list[float]:
        """λ > 0 of the levels that take part, ascending."""
        return [level.weight for level in self.levels if level.kept and level.weight > 0]

    @property
    def recommended(self) -> float | None:
        """The strength to use, λ."""
        return self.estimate.recommended if self.estimate else None

    @property
    def safe_up_to(self) -> float | None:
        """λ up to which a loss of δ is excluded."""
        return self.estimate.safe_up_to if self.estimate else None

    @property
    def unsafe_from(self) -> float | None:
        """λ at which a loss of δ is established."""
        return self.estimate.unsafe_from if self.estimate else None

    @property
    def best_weight(self) -> float | None:
        """λ of the best biology; flat tops make it arbitrary."""
        return self.estimate.lambda_peak if self.estimate else None

    @property
    def point(self) -> tuple[float, float, float] | None:
        """λ_OC with its interval (lower, median, upper), where the posterior decides and has located it."""
        estimate = self.estimate
        if estimate is None or estimate.fallback is not None or estimate.unsafe_from is None:
            return None
        found = estimate.location
        if found is None or found.lower is None or found.median is None or found.upper is None:
            return None
        return found.lower, found.median, found.upper

    def uses(self, role: str) -> tuple[str, ...]:
        """Names of the metrics in one role's composite."""
        return tuple(use.name for use in self.metrics if use.role == role)
