"""Whose gain is it? What a strength changes with the real batch labels, against what it changes with permuted ones.

The sham arm trains with batch labels permuted within perturbation: what it gains as well, it gains without any
information about batches, by the mere training (a term that regularises the encoder). Only the rest is correction. At a
strength λ that both arms hold, with X either composite and s the seeds that both share,

    real  = X(λ) − X(0),   permuted = the same of the sham arm,   beyond = real − permuted,

means over s of paired differences; their standard deviations are pooled over the sham arm's strengths.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log10
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

Array = NDArray[np.float64]
Whose = Literal["correction", "training", "undecided", "none"]
Verdict = Literal["correction", "training", "undecided", "unknown"]
VERDICTS: Mapping[Verdict, str] = MappingProxyType(
    {
        "correction": "a gain comes with the real batch labels beyond what permuted ones give",
        "training": "the same gain comes with permuted batch labels, so it is an effect of training, not correction",
        "undecided": "the sham arm neither shares the gain nor is shown not to",
        "unknown": "no sham arm within half a decade of the strength",
    }
)
NEAR = 0.5
"""Decades within which the sham arm's nearest strength speaks for the advised one."""


@dataclass(frozen=True)
class Shift:
    """A change from λ = 0 on the anchored scale and its two-sided interval, each end a one-sided bound."""

    mean: float
    lower: float
    upper: float


@dataclass(frozen=True)
class Gain:
    """One composite's change at one strength.

    Attributes:
        real, permuted, beyond: as in the module's head.
        whose: "correction" (real labels gain more than permuted ones, by the amount that counts or more), "training"
            (permuted labels gain too, and nothing is shown beyond it), "undecided", or "none" (no gain with the real
            labels is shown).
    """

    real: Shift
    permuted: Shift
    beyond: Shift
    whose: Whose


@dataclass(frozen=True)
class Attribution:
    """Whether what a strength gains counts as correction.

    Attributes:
        verdict: a key of `VERDICTS`: "correction" if either composite's gain is.
        weight: λ at which the arms are compared: the sham arm's nearest; None without.
        seeds: that both arms share there.
        biology, removal: None without a sham arm.
    """

    verdict: Verdict
    weight: float | None = None
    seeds: int = 0
    biology: Gain | None = None
    removal: Gain | None = None


@dataclass(frozen=True, eq=False)
class Arm:
    """Both composites of one arm: (L, S) values at λ `strengths` (L,), 0 first, of `seeds` (S,); NaN where lost."""

    strengths: tuple[float, ...]
    seeds: tuple[int, ...]
    biology: Array
    removal: Array


def attribute(
    real: Arm, permuted: Arm, *, weight: float, confidence: float, counts_biology: float, counts_removal: float
) -> Attribution:
    """Whose the gains at `weight` are.

    Args:
        real, permuted: the arms.
        weight: λ > 0 that is looked at.
        confidence: one-sided level of each bound.
        counts_biology, counts_removal: smallest gain that counts, anchored scale.
    """
    if 0.0 not in real.strengths or 0.0 not in permuted.strengths:
        return Attribution("unknown")
    shared = [strength for strength in permuted.strengths if strength > 0 and strength in real.strengths]
    near = [strength for strength in shared if abs(log10(strength / weight)) <= NEAR]
    if not near:
        return Attribution("unknown")
    at = min(near, key=lambda strength: (abs(log10(strength / weight)), strength))
    seeds = sorted(set(real.seeds) & set(permuted.seeds))
    gains: list[Gain | None] = []
    count = 0
    for name, counts in (("biology", counts_biology), ("removal", counts_removal)):
        changes = [_changes(arm, getattr(arm, name), seeds) for arm in (real, permuted)]
        both = {strength: (changes[0][strength], changes[1][strength]) for strength in shared}
        samples = {
            "real": {strength: pair[0] for strength, pair in both.items()},
            "permuted": {strength: pair[1] for strength, pair in both.items()},
            "beyond": {strength: pair[0] - pair[1] for strength, pair in both.items()},
        }
        shifts = [_shift(list(sample.values()), sample[at], confidence) for sample in samples.values()]
        count = max(count, int(np.isfinite(samples["beyond"][at]).sum()))
        found = None if None in shifts else shifts
        gains.append(None if found is None else Gain(*found, whose=_whose(*found, counts)))  # type: ignore[arg-type]
    known = [gain.whose for gain in gains if gain is not None and gain.whose != "none"]
    verdict: Verdict = "undecided"
    if "correction" in known:
        verdict = "correction"
    elif "training" in known:
        verdict = "training"
    elif all(gain is None for gain in gains):
        verdict = "unknown"
    return Attribution(verdict, at, count, *gains)


def _changes(arm: Arm, values: Array, seeds: Sequence[int]) -> dict[float, Array]:
    """λ → (S,) change from the arm's own λ = 0 of the shared seeds; NaN where a run is missing."""
    columns = [arm.seeds.index(seed) for seed in seeds]
    zero = values[arm.strengths.index(0.0)][columns]
    return {
        strength: row[columns] - zero for strength, row in zip(arm.strengths, values, strict=True) if strength > 0
    }


def _shift(samples: Sequence[Array], own: Array, confidence: float) -> Shift | None:
    """Mean of `own` with its interval; the spread is pooled over all samples. None from fewer than two seeds."""
    finite = [sample[np.isfinite(sample)] for sample in samples]
    here = own[np.isfinite(own)]
    degrees = sum(max(0, len(sample) - 1) for sample in finite)
    if len(here) < 2 or degrees < 1:
        return None
    squares = sum(float(((sample - sample.mean()) ** 2).sum()) for sample in finite if len(sample))
    half = float(stdtrit(degrees, confidence)) * np.sqrt(squares / degrees / len(here))
    mean = float(here.mean())
    return Shift(mean, mean - float(half), mean + float(half))


def _whose(real: Shift, permuted: Shift, beyond: Shift, counts: float) -> Whose:
    if real.lower <= 0:
        return "none"
    if beyond.lower > 0 and beyond.mean >= counts:
        return "correction"
    return "training" if permuted.lower > 0 else "undecided"
