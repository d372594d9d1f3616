"""What a reader must know before the bounds: findings about gains, baselines and what is left of the batch, as codes.

Several can hold at once; `remarks` puts the most important first. `words.remark_text` says each in a sentence, with a
next step that can be taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

from sweeper.decision.verdict.states import State

if TYPE_CHECKING:
    from sweeper.decision.input.decision_settings import DecisionSettings
    from sweeper.decision.verdict.values import Decision


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


def remarks(decision: Decision, settings: DecisionSettings) -> tuple[Remark, ...]:
    """Every remark that holds, in the order of `Remark`."""
    estimate = decision.estimate
    if estimate is None:
        return ()
    levels = [level for level in decision.levels if level.kept and level.technical is not None]
    removal = {level.strength: level.technical for level in levels if level.technical is not None}
    least = 1 - settings.epsilon_technical
    zero, inside = removal[0.0], [mean for weight, mean in removal.items() if weight <= (estimate.limit or 0.0)]
    nothing = zero.mean >= least and not estimate.technical.has_effect
    attributed, baselines, advised = decision.attribution, decision.baselines, estimate.advised
    biology = attributed.biology.whose if attributed and attributed.biology else "none"
    batch = attributed.removal.whose if attributed and attributed.removal else "none"
    corrects = advised is not None and advised.weight > 0
    gains = advised is not None and advised.basis == "removal"
    readable = not nothing and max((mean.mean for mean in inside), default=zero.mean) < least
    holds: Mapping[Remark, bool] = {
        Remark.BASELINE_AS_GOOD: baselines is not None and baselines.best is not None,
        Remark.ENCODER_LOST_BIOLOGY: baselines is not None and baselines.encoder_lost,
        Remark.SAME_WITH_PERMUTED_LABELS: "training" in (biology, batch),
        Remark.NOTHING_TO_REMOVE: nothing,
        Remark.CORRECTION_IMPROVES_BIOLOGY: biology == "correction",
        Remark.GAIN_NOT_ATTRIBUTED: corrects
        and (attributed is None or attributed.verdict in ("unknown", "undecided")),
        Remark.NO_SAFE_GAIN: advised is not None and not gains and estimate.technical.has_effect,
        Remark.METRIC_LOST_EARLIER: estimate.early is not None and decision.state is not State.CONFLICTING_METRICS,
        Remark.BATCH_STILL_READABLE: readable,
    }
    return tuple(remark for remark in Remark if holds[remark])
