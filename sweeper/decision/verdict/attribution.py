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
        "training": "the same gain comes with permuted batch labels, or there is no batch to remove: it is an effect "
        "of training, not correction",
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
class ArmRuns:
    """Both composites of one arm: (L, S) values at λ `strengths` (L,), 0 first, of `seeds` (S,); NaN where lost."""

    strengths: tuple[float, ...]
    seeds: tuple[int, ...]
    biology: Array
    removal: Array


def attribute(
    real: ArmRuns, permuted: ArmRuns, *, weight: float, confidence: float, counts_biology: float, counts_removal: float
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
    changes = [
        [_changes(arm, values, seeds, shared) for arm, values in ((real, real_values), (permuted, permuted_values))]
        for real_values, permuted_values in ((real.biology, permuted.biology), (real.removal, permuted.removal))
    ]
    place = shared.index(at)
    biology, removal = (
        _gain(of_real, of_permuted, place, confidence, counts)
        for (of_real, of_permuted), counts in zip(changes, (counts_biology, counts_removal), strict=True)
    )
    known = {gain.whose for gain in (biology, removal) if gain is not None}
    verdict: Verdict = "undecided" if known else "unknown"
    if "correction" in known:
        verdict = "correction"
    elif "training" in known:
        verdict = "training"
    count = max(int(np.isfinite(of_real[place] - of_permuted[place]).sum()) for of_real, of_permuted in changes)
    return Attribution(verdict, at, count, biology, removal)


def _changes(arm: ArmRuns, values: Array, seeds: Sequence[int], strengths: Sequence[float]) -> Array:
    """(K, S) changes of some λ from the arm's own λ = 0, of some seeds; NaN where a run is missing."""
    columns = [arm.seeds.index(seed) for seed in seeds]
    rows = [arm.strengths.index(strength) for strength in strengths]
    return np.asarray(values[np.ix_(rows, columns)] - values[arm.strengths.index(0.0)][columns])


def _gain(real: Array, permuted: Array, at: int, confidence: float, counts: float) -> Gain | None:
    """One composite's gain at the `at`-th of the K strengths, from both arms' changes (K, S)."""
    shifts = [_shift(changes, at, confidence) for changes in (real, permuted, real - permuted)]
    of_real, of_permuted, beyond = shifts
    if of_real is None or of_permuted is None or beyond is None:
        return None
    return Gain(of_real, of_permuted, beyond, _whose(of_real, of_permuted, beyond, counts))


def _shift(changes: Array, at: int, confidence: float) -> Shift | None:
    """Mean of one row with its interval; the spread is pooled over all rows. None from fewer than two seeds."""
    finite = [row[np.isfinite(row)] for row in changes]
    here = finite[at]
    degrees = sum(max(0, len(row) - 1) for row in finite)
    if len(here) < 2 or degrees < 1:
        return None
    squares = sum(float(((row - row.mean()) ** 2).sum()) for row in finite if len(row))
    half = float(stdtrit(degrees, confidence) * np.sqrt(squares / degrees / len(here)))
    mean = float(here.mean())
    return Shift(mean, mean - half, mean + half)


def _whose(real: Shift, permuted: Shift, beyond: Shift, counts: float) -> Whose:
    if real.lower <= 0:
        return "none"
    if beyond.lower > 0 and beyond.mean >= counts:
        return "correction"
    return "training" if permuted.lower > 0 else "undecided"
