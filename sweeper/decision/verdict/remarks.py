"""What a reader must know before the bounds: findings about gains, baselines and what is left of the batch, as codes.

Several can hold at once; `remarks` puts the most important first. `words.remark_text` says each in a sentence, with a
next step that can be taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

from sweeper.decision.verdict.advised import Advised
from sweeper.decision.verdict.attribution import Attribution
from sweeper.decision.verdict.baselines import Baselines
from sweeper.decision.verdict.bounds import EarlyMetric

if TYPE_CHECKING:
    from sweeper.decision.verdict.values import Estimate, LevelMean


class Remark(StrEnum):
    """A finding; `REMARKS` says what each means."""

    BASELINE_AS_GOOD = "BASELINE_AS_GOOD"
    ENCODER_LOST_BIOLOGY = "ENCODER_LOST_BIOLOGY"
    SAME_WITH_PERMUTED_LABELS = "SAME_WITH_PERMUTED_LABELS"
    NOTHING_TO_REMOVE = "NOTHING_TO_REMOVE"
    CORRECTION_IMPROVES_BIOLOGY = "CORRECTION_IMPROVES_BIOLOGY"
    GAIN_NOT_ATTRIBUTED = "GAIN_NOT_ATTRIBUTED"
    NO_SAFE_GAIN = "NO_SAFE_GAIN"
    METRIC_LOST_EARLIER = "METRIC_LOST_EARLIER"
    BATCH_STILL_READABLE = "BATCH_STILL_READABLE"


REMARKS: Mapping[Remark, str] = MappingProxyType(
    {
        Remark.BASELINE_AS_GOOD: "an untrained baseline is not shown to be worse in either group",
        Remark.ENCODER_LOST_BIOLOGY: "before any correction the encoder has lost biology that the raw features hold",
        Remark.SAME_WITH_PERMUTED_LABELS: "a gain comes with permuted batch labels too: it is an effect of training",
        Remark.NOTHING_TO_REMOVE: "λ = 0 is already at chance for every reader of the batch",
        Remark.CORRECTION_IMPROVES_BIOLOGY: "biology gains with the real batch labels beyond what permuted ones give",
        Remark.GAIN_NOT_ATTRIBUTED: "whether the gain comes from the batch labels is not known",
        Remark.NO_SAFE_GAIN: "batch removal improves only beyond what is safe for biology",
        Remark.METRIC_LOST_EARLIER: "one biological metric is lost before the composite and bounds the advice",
        Remark.BATCH_STILL_READABLE: "at every strength that may be used the batch can still be read",
    }
)


@dataclass(frozen=True)
class Remarks:
    """What is said first, and the numbers it is said with.

    Attributes:
        codes: every remark that holds, in the order of `Remark`.
        advised: the strength looked at, also where it is then not advised as batch correction.
        limit: largest λ > 0 that may be advised; None: none.
        early: the metric that is lost before the composite.
        attribution: whose the gains at the strength are.
        baselines: the untrained baselines against it.
        at_zero, best: batch removal T at λ = 0, and at best among the strengths that may be used; 1 is chance.
    """

    codes: tuple[Remark, ...] = ()
    advised: Advised | None = None
    limit: float | None = None
    early: EarlyMetric | None = None
    attribution: Attribution | None = None
    baselines: Baselines | None = None
    at_zero: float | None = None
    best: float | None = None


def remarks(
    estimate: Estimate,
    removal: Mapping[float, LevelMean],
    *,
    attribution: Attribution | None,
    baselines: Baselines | None,
    epsilon_technical: float,
) -> Remarks:
    """Every remark that holds of one curve.

    Args:
        estimate: of the curve.
        removal: kept λ → batch removal, 0 among them.
        epsilon_technical: ε_T: batch within it of chance is not read.
    """
    advised, early, least = estimate.advised, estimate.early, 1 - epsilon_technical
    usable = [mean for weight, mean in removal.items() if weight <= (estimate.limit or 0.0)]
    best = max(usable, key=lambda mean: mean.mean)
    corrects = advised is not None and advised.weight > 0
    biology = attribution.biology.whose if attribution and attribution.biology else "none"
    batch = attribution.removal.whose if attribution and attribution.removal else "none"
    holds: Mapping[Remark, bool] = {
        Remark.BASELINE_AS_GOOD: baselines is not None and baselines.best is not None,
        Remark.ENCODER_LOST_BIOLOGY: baselines is not None and baselines.encoder_lost,
        Remark.SAME_WITH_PERMUTED_LABELS: "training" in (biology, batch),
        Remark.NOTHING_TO_REMOVE: estimate.at_chance,
        Remark.CORRECTION_IMPROVES_BIOLOGY: biology == "correction" and not estimate.at_chance,
        Remark.GAIN_NOT_ATTRIBUTED: corrects
        and (attribution is None or attribution.verdict in ("unknown", "undecided")),
        Remark.NO_SAFE_GAIN: advised is not None and advised.basis == "biology" and estimate.technical.has_effect,
        Remark.METRIC_LOST_EARLIER: early is not None,
        Remark.BATCH_STILL_READABLE: not estimate.at_chance and best.upper < least,
    }
    return Remarks(
        codes=tuple(remark for remark in Remark if holds[remark]),
        advised=advised,
        limit=estimate.limit,
        early=early,
        attribution=attribution,
        baselines=baselines,
        at_zero=removal[0.0].mean,
        best=best.mean,
    )
