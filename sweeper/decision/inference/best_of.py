"""Which of many strengths, over both dials, are not shown to be worse than the best: comparisons of level means.

The best of noisy means is chosen by the data, so every pair is compared and the choice is paid for by one critical
value: the quantile of the largest studentised difference over all pairs when all true means are equal. A level counts
as worse only where some other is shown to lie above it by more than a tolerance (comparisons with the best, Hsu 1984,
doi:10.1214/aos/1176346723, here by the all-pairs bound, which is wider). Levels of one curve share their seeds' own
levels, which cancel. Those of different margins are taken as independent: too wide, so that too much is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag

from sweeper.decision.inference.noise import ratio

if TYPE_CHECKING:
    from sweeper.decision.inference.fitted import Fitted

Array = NDArray[np.float64]
DRAWS = 4000
_STREAM = 5000


@dataclass(frozen=True, eq=False)
class Entrants:
    """C levels of one or more curves of one composite, and what their differences are known to.

    Attributes:
        means: (C,) level means.
        error: (C, C) standard errors of their differences; 0 on the diagonal.
        critical: of the largest studentised difference over all pairs.
    """

    means: Array
    error: Array
    critical: float

    def least(self) -> Array:
        """(C, C) lower bound of mean i less mean j, valid for all pairs at once."""
        return np.asarray(self.means[:, None] - self.means[None, :] - self.critical * self.error)

    def not_worse(self, tolerance: float = 0.0) -> NDArray[np.bool_]:
        """(C,) no other level is shown to lie above this one by more than `tolerance`."""
        least = self.least()
        np.fill_diagonal(least, -np.inf)
        return np.asarray(~(least > tolerance).any(axis=0))


@dataclass(frozen=True, eq=False)
class _Part:
    """One curve's levels: the columns of a field, (n,) or (n, R) where drawn, and its own blocks (n, n)."""

    means: Array
    factors: Array
    errors: Array
    shared: Array
    drawn_shared: Array
    within: Array
    extra: Array

    @staticmethod
    def of(fitted: Fitted, count: int, rng: np.random.Generator) -> _Part:
        """The first `count` levels; curves fitted with one stream share their draws, so they are shuffled here."""
        noise, draws = fitted.noise, fitted.draws
        picked = rng.permutation(draws.errors.shape[1])[:DRAWS]
        return _Part(
            means=fitted.means[:count],
            factors=draws.factors[:count, picked],
            errors=draws.errors[:count, picked] + draws.seed_errors[picked],
            shared=np.full(count, noise.seed_variance / noise.n_seeds),
            drawn_shared=np.tile(draws.seed_variance[picked] / noise.n_seeds, (count, 1)),
            within=noise.within[:count, :count],
            extra=noise.extra[:count, :count],
        )


def entrants(groups: Sequence[tuple[Fitted, int]], *, confidence: float, seed: int) -> Entrants:
    """Levels of fitted curves as one field.

    Args:
        groups: each curve and how many of its levels take part, from λ = 0 on.
        confidence: one-sided level of every bound, over all pairs.
        seed: of the order in which the curves' draws are joined.
    """
    rng = np.random.default_rng((seed, _STREAM))
    parts = [_Part.of(fitted, count, rng) for fitted, count in groups]
    means, factors, errors, shared, drawn_shared = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("means", "factors", "errors", "shared", "drawn_shared")
    )
    within, extra = (block_diag(*(getattr(part, name) for part in parts)) for name in ("within", "extra"))
    curve = np.repeat(np.arange(len(parts)), [len(part.means) for part in parts])
    apart = (curve[:, None] != curve).astype(float)
    own = np.diagonal(within)
    runs = own[:, None] + own - 2 * within
    known = np.diagonal(extra)[:, None] + np.diagonal(extra) - 2 * extra
    highest = np.zeros(errors.shape[1])
    for one in range(1, len(means)):
        part = ratio(own[:one], own[:one] + own[one])[:, None]
        drawn = runs[:one, one, None] * (part * factors[:one] + (1 - part) * factors[one]) + known[:one, one, None]
        drawn = drawn + apart[:one, one, None] * (drawn_shared[:one] + drawn_shared[one])
        studentised = ratio(np.abs(errors[:one] - errors[one]), np.sqrt(np.maximum(drawn, 0.0)))
        np.maximum(highest, studentised.max(axis=0), out=highest)
    error = np.sqrt(np.maximum(runs + known + apart * (shared[:, None] + shared), 0.0))
    return Entrants(means, error, float(np.quantile(highest, confidence)))
