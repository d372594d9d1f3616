"""What a reader must know before the bounds, in words: each remark with a next step that can be taken."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sweeper.decision.verdict.attribution import Attribution
from sweeper.decision.verdict.baselines import UNTRAINED
from sweeper.decision.verdict.remarks import Remark, Remarks
from sweeper.decision.words.numbers import strength_text

FIRST = (
    Remark.BASELINE_AS_GOOD,
    Remark.ENCODER_LOST_BIOLOGY,
    Remark.SAME_WITH_PERMUTED_LABELS,
    Remark.NOTHING_TO_REMOVE,
)
"""Said before the advice; the others follow it."""


def first_texts(remarks: Remarks) -> list[str]:
    """What is said before the advice."""
    return [_TEXTS[code](remarks) for code in remarks.codes if code in FIRST]


def further_texts(remarks: Remarks) -> list[str]:
    """What is said after it."""
    return [_TEXTS[code](remarks) for code in remarks.codes if code not in FIRST]


def signed(value: float) -> str:
    """A difference with its sign: 0.12 → "+0.12"."""
    return f"{value:+.2g}".replace("-", "−")


def _baseline(remarks: Remarks) -> str:
    found = remarks.baselines
    if found is None or found.best is None:
        return ""
    best = next(item for item in found.measured if item.name == found.best)
    others = len([item for item in found.measured if item.as_good]) - 1
    also = "" if not others else f" ({others} other untrained baseline{'' if others == 1 else 's'} as well)"
    return (
        f"{UNTRAINED[best.name]} does as well{also}: against training at {strength_text(found.weight)} biology differs "
        f"by {signed(best.biology.mean)} and batch removal by {signed(best.removal.mean)}, and neither is shown to be "
        "worse. Use it, or try another encoder before another strength."
    )


def _encoder(remarks: Remarks) -> str:
    loss = (remarks.baselines.encoder_loss if remarks.baselines else None) or 0.0
    return (
        f"Before any correction (λ = 0) the encoder has lost {100 * loss:.0f} % of the biology that the raw features "
        "hold: no strength brings it back. Change the encoder or train it longer, then sweep again."
    )


def _permuted(remarks: Remarks) -> str:
    found = remarks.attribution
    if found is None or found.weight is None:
        return ""
    where = strength_text(found.weight)
    shared = " and ".join(
        f"{name} gains {signed(gain.permuted.mean)} with permuted batch labels and {signed(gain.real.mean)} with the "
        "real ones"
        for name, gain in (("biology", found.biology), ("batch removal", found.removal))
        if gain is not None and gain.whose == "training"
    )
    if found.verdict == "correction":
        return f"The same happens with permuted labels: at {where} {shared}. That part is an effect of training."
    return (
        f"Weight {where} helps this encoder, and not by removing batch: the same happens with permuted labels "
        f"({shared}). It is an effect of training, and nothing is advised as batch correction: take it as a "
        "regulariser, or try another critic or method against the batch."
    )


def _nothing(remarks: Remarks) -> str:
    advised = remarks.advised
    gain = ""
    if advised is not None and advised.weight > 0:
        where = strength_text(advised.weight)
        gain = f" That biology gains at {where} is an effect of training: take it as a regulariser."
    return (
        f"There is nothing to remove: at λ = 0 every reader of the batch is at chance already (T = "
        f"{remarks.at_zero:.2g} of 1). Do not correct; sweep again when plates are added.{gain}"
    )


def _improves(remarks: Remarks) -> str:
    found = remarks.attribution
    if found is None or found.biology is None or found.weight is None:
        return ""
    return (
        f"Correction improves biology: at {strength_text(found.weight)} by {signed(found.biology.real.mean)}, of which "
        f"{signed(found.biology.beyond.mean)} is beyond what permuted labels give. Confirm it on fresh seeds."
    )


def _unattributed(remarks: Remarks) -> str:
    found: Attribution | None = remarks.attribution
    if found is None or found.weight is None:
        return (
            "Whether its gain comes from the batch labels is not known: no sham arm was trained near it. Run the sham "
            "arm there."
        )
    return (
        f"Whether its gain comes from the batch labels is not decided: at {strength_text(found.weight)} permuted "
        "labels neither gain as much nor are shown not to. Add seeds."
    )


def _no_safe_gain(_: Remarks) -> str:
    return (
        "Batch removal improves only beyond what is safe for biology: try another critic or method, or add plates that "
        "tell batch from phenotype."
    )


def _early(remarks: Remarks) -> str:
    early = remarks.early
    if early is None:
        return ""
    where = "no strength was shown to be safe for it: nothing above 0 is advised"
    if early.safe_up_to is not None:
        where = f"it is safe only up to {strength_text(early.safe_up_to)}: the advice stays below"
    return f"The metric {early.name} is lost before the composite; {where}."


def _readable(remarks: Remarks) -> str:
    where = "at λ = 0" if remarks.limit is None else f"at every strength up to {strength_text(remarks.limit)}"
    return (
        f"The batch is still readable {where} (T at best {remarks.best:.2g} of 1): try a critic that sees what readers "
        "see, another method, or a wider range."
    )


_TEXTS: Mapping[Remark, Callable[[Remarks], str]] = {
    Remark.BASELINE_AS_GOOD: _baseline,
    Remark.ENCODER_LOST_BIOLOGY: _encoder,
    Remark.SAME_WITH_PERMUTED_LABELS: _permuted,
    Remark.NOTHING_TO_REMOVE: _nothing,
    Remark.CORRECTION_IMPROVES_BIOLOGY: _improves,
    Remark.GAIN_NOT_ATTRIBUTED: _unattributed,
    Remark.NO_SAFE_GAIN: _no_safe_gain,
    Remark.METRIC_LOST_EARLIER: _early,
    Remark.BATCH_STILL_READABLE: _readable,
}
