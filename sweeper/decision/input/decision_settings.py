"""What a user may set about the decision, and the defaults of its method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sweeper.config.listed import listed
from sweeper.config.wording import one_line
from trainers.errors import InputError

Share = Annotated[float, Field(gt=0, lt=1)]


class ReadyThresholds(BaseModel):
    """What the ready rules compare with; every one is a judgement, and the rules say so."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    accuracy_drop: Share = Field(
        default=0.05, description="Drop of accuracy on new batches from which on adversarial learning is worth testing."
    )
    tie: Share = Field(
        default=0.02, description="Difference of anchored composites that changes no use of an embedding."
    )
    cross_share: Share = Field(
        default=0.5, description="Cross-batch retrieval below this share of within-batch retrieval counts as low."
    )


class DecisionSettings(BaseModel):
    """Fix these before looking at the results: δ and the composites are judgements, not parameters to tune."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    deciding_view: str = Field(min_length=1, description="The evaluation view whose curve makes the rule.")
    delta: Share = Field(0.10, description="Loss of biology that counts: a share of its peak above the floor.")
    deltas: tuple[Share, ...] = Field(
        (0.05, 0.10, 0.20), description="Losses at which the curve is also judged; `delta` is always among them."
    )
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = Field(0.95, description="One-sided level of every bound.")
    method: Literal["combined", "posterior", "bracket"] = Field(
        "combined",
        description="How the point is found: combined, curves of eight families averaged (bma-bms) locate it, the "
        "drawdown bracket bounds it, and what is advised lies below both; posterior, the curves alone, with the "
        "bracket as cross-check; or bracket, level tested against level, which locates nothing.",
    )
    target: Literal["this_screen", "new_perturbations"] = Field(
        "this_screen",
        description="Whom the bounds are about: this_screen, the perturbations screened; or new_perturbations, others "
        "of the same kind, which adds the noise of which ones were screened (a cluster bootstrap over them).",
    )
    p_identify: Share = Field(0.975, description="Probability of a loss from which on the point counts as located.")
    p_not_reached: Share = Field(0.05, description="Probability of a loss up to which it counts as not reached.")
    lack_of_fit: Share = Field(0.05, description="Level of the fit's test; below it the bracket decides.")
    discrepancy: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.005,
        description="Standard deviation, as a share of the peak, by which the true curve may differ at each strength "
        "from the nearest of the eight families; keeps a misfit that does not matter from counting as one.",
    )
    epsilon_technical: Share = Field(
        0.05, description="Smallest technical change that counts, on the anchored scale (0 floor, 1 ceiling)."
    )
    epsilon_effective: Share = Field(
        0.10, description="A strength is effective when it has all but this share of the technical gain."
    )
    min_strengths: Annotated[int, Field(ge=2)] = Field(6, description="Fewest strengths λ > 0; λ = 0 is always needed.")
    min_seeds: Annotated[int, Field(ge=2)] = Field(
        3, description="Fewest seeds, each ok at more than half of the strengths."
    )
    min_degrees_of_freedom: Annotated[int, Field(ge=1)] = Field(
        10, description="Fewest pooled residual degrees of freedom, (levels − 1) × (seeds − 1)."
    )
    max_collapse_rate: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.34, description="A strength that loses a greater share of its runs is unstable and left out."
    )
    collapse_deviations: Annotated[float, Field(gt=0)] = Field(
        5.0,
        description="A run this many robust standard deviations below its level is collapsed; once two are, any that "
        "is likelier collapsed than noise, too.",
    )
    kernel_width: Annotated[float, Field(gt=0)] = Field(
        1.0, description="Width (± one standard deviation), in decades of λ, of the kernel that smooths the noise."
    )
    draws: Annotated[int, Field(ge=100)] = Field(20_000, description="Monte Carlo draws behind each critical value.")
    curves: Annotated[int, Field(ge=100)] = Field(2_000, description="Curves drawn from the posterior.")
    seed: Annotated[int, Field(ge=0)] = Field(0, description="Seed of the Monte Carlo draws.")
    margin_metric: str = Field(
        "perturbation_accuracy",
        min_length=1,
        description="Metric that chooses the margin, at each margin's effective strength (a secondary endpoint).",
    )
    primary_biological: tuple[str, ...] | None = Field(
        None, min_length=1, description="Metrics of the biological composite; none named: those marked primary."
    )
    primary_technical: tuple[str, ...] | None = Field(
        None, min_length=1, description="Metrics of the technical composite; none named: those marked primary."
    )

    ready: ReadyThresholds = Field(default_factory=ReadyThresholds, description="Thresholds of the ready rules.")

    @model_validator(mode="after")
    def _named_once(self) -> DecisionSettings:
        for field in ("primary_biological", "primary_technical"):
            names = getattr(self, field) or ()
            if len(set(names)) != len(names):
                raise ValueError(f"{field} names a metric twice: {', '.join(names)}")
        return self

    @property
    def all_deltas(self) -> tuple[float, ...]:
        """Every δ that is reported, ascending, `delta` included."""
        return tuple(sorted({*self.deltas, self.delta}))


def decision_settings(values: Mapping[str, Any], source: str) -> DecisionSettings:
    """Validated settings; raises `InputError`, one line with `source` and the key that is wrong."""
    try:
        return DecisionSettings.model_validate(listed(values, DecisionSettings))
    except ValidationError as error:
        raise InputError(one_line(error, source, DecisionSettings)) from None


@dataclass(frozen=True)
class Departure:
    """A setting that differs from the one declared before the sweep; both values as JSON."""

    setting: str
    declared: Any
    used: Any


def departures(used: DecisionSettings, declared: DecisionSettings | None) -> tuple[Departure, ...]:
    """Settings that differ from those declared before the sweep."""
    if declared is None:
        return ()
    before, after = declared.model_dump(mode="json"), used.model_dump(mode="json")
    return tuple(Departure(key, before[key], value) for key, value in after.items() if value != before[key])
