"""What is advised: the least correction that gets all the useful batch removal, and never less biology than needed.

Candidates are the trained strengths inside the safe range, λ = 0 among them, of one curve or of every margin's.

1. *Batch removal has something to gain* inside a safe range: kept are those whose T is not shown to be worse than the
   best T by more than ε_T.
2. *It has nothing to gain*: kept are those whose B is not shown to be worse than the best B.

Of those kept the one with the highest mean B is advised; equal means go to the smaller λ, then to the smaller margin. A
λ > 0 at whose margin batch removal has nothing to gain has one reason left to be advised, better biology: it takes part
only where its B is shown to lie above that of its own λ = 0. Strengths beyond the safe range set no bar, however much
batch they remove.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from sweeper.decision.inference.best_of import entrants

if TYPE_CHECKING:
    from sweeper.decision.inference.fitted import Fitted

Basis = Literal["removal", "biology"]


@dataclass(frozen=True, eq=False)
class Range:
    """One curve's safe range.

    Attributes:
        margin: of the curve.
        strengths: (n,) the trained λ inside, ascending, 0 first; they are the first n levels of the fits.
        biology, removal: the composites' fits.
        gains: T rises by ε_T or more inside the range.
    """

    margin: float
    strengths: tuple[float, ...]
    biology: Fitted
    removal: Fitted
    gains: bool


@dataclass(frozen=True)
class Advised:
    """The strength that is advised.

    Attributes:
        margin: of it.
        weight: λ; 0: do not correct.
        basis: what chose it: "removal" (T has something to gain inside the safe range) or "biology".
        kept: the margin's λ between which B decided.
        best_removal: λ of the best mean T among all candidates.
        technical, biological: level means at `weight`.
        technical_best, biological_best: highest level means among the candidates.
    """

    margin: float
    weight: float
    basis: Basis
    kept: tuple[float, ...]
    best_removal: float
    technical: float
    biological: float
    technical_best: float
    biological_best: float


def advise(ranges: Sequence[Range], *, epsilon_technical: float, confidence: float, seed: int) -> Advised | None:
    """The strength advised among the candidates of all ranges; None without any.

    Args:
        ranges: one a curve, margins in any order.
        epsilon_technical: ε_T, on the anchored scale.
        confidence: one-sided level, over all pairs of candidates.
        seed: of the Monte Carlo draws.
    """
    ranges = sorted((item for item in ranges if item.strengths), key=lambda item: item.margin)
    if not ranges:
        return None
    weights = np.concatenate([item.strengths for item in ranges])
    margins = np.repeat([item.margin for item in ranges], [len(item.strengths) for item in ranges])
    removal = entrants([(item.removal, len(item.strengths)) for item in ranges], confidence=confidence, seed=seed)
    biology = entrants([(item.biology, len(item.strengths)) for item in ranges], confidence=confidence, seed=seed + 1)
    basis: Basis = "removal" if any(item.gains for item in ranges) else "biology"
    kept = removal.not_worse(epsilon_technical) if basis == "removal" else biology.not_worse()
    gains = np.repeat([item.gains for item in ranges], [len(item.strengths) for item in ranges])
    own_zero = np.searchsorted(margins, margins)  # λ = 0 comes first at every margin
    better = biology.least()[np.arange(len(weights)), own_zero] > 0
    reasoned = kept & (gains | (weights == 0) | better)
    eligible = reasoned if reasoned.any() else kept
    order = sorted(np.flatnonzero(eligible), key=lambda at: (-biology.means[at], weights[at], margins[at]))
    chosen = int(order[0])
    return Advised(
        margin=float(margins[chosen]),
        weight=float(weights[chosen]),
        basis=basis,
        kept=tuple(float(weight) for weight in weights[kept & (margins == margins[chosen])]),
        best_removal=float(weights[int(np.argmax(removal.means))]),
        technical=float(removal.means[chosen]),
        biological=float(biology.means[chosen]),
        technical_best=float(removal.means.max()),
        biological_best=float(biology.means.max()),
    )
