"""How far perturbations and batches are confounded by the design, from the plate metadata alone, before any training.

With P_b the distribution of perturbations among the training wells of batch b, n_b its wells and D_JS the
Jensen-Shannon divergence in bits, an encoder whose embedding has the same distribution in two batches a and b must,
with any classifier on top, make the joint error

    ε_a + ε_b ≥ ½ · d_JS(P_a, P_b)²,   d_JS = √D_JS                      (Zhao et al. 2019, Theorem 4.3, d_JS(Z) = 0)

since d_JS is a metric and D_JS(P_Y, P_Ŷ) ≤ P(Y ≠ Ŷ) in base 2, for any number of classes. It is a lower bound and not
tight, it holds for exact invariance only, it is about the classes that are trained, and it is about the *population*
from which wells are drawn. Few wells alone make d_JS > 0: what a random allocation of the same wells to the same
batches would give in expectation is therefore taken off first (Vinh, Epps & Bailey 2010, the model behind adjusted
mutual information; exact, no draws).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Counts = NDArray[np.int64]
LISTED = 5
CANDIDATES = 20
CONFOUNDED = 0.2
"""d_JS above which the certainty of a rule is lowered: loss and imbalance cannot be told apart."""
NO_ROOM = 1e-9  # a random allocation is (all but) as confounded as can be: every perturbation has one well


@dataclass(frozen=True, kw_only=True)
class DesignIndex:
    """Perturbation × batch imbalance of a set of training wells; 0 is balanced, 1 is nested.

    Attributes:
        d_js: √ of `divergence` above chance; over more than two batches the generalised Jensen-Shannon divergence with
            weights n_b, which is the mutual information of perturbation and batch, divided by the entropy of the batch.
        observed: √ of that divergence as it is, in [0, 1].
        expected: √ of its expectation under a random allocation of the wells with the same margins.
        worst_pair: of the `CANDIDATES` pairs of batches with the largest d_JS the one with the most above chance; None
            with fewer than two batches.
        worst_pair_d_js: theirs, above chance.
        joint_error: ½·d_JS² of the worst pair, the least ε_a + ε_b at full invariance; in [0, ½].
        movable: share of the wells whose perturbation is in two or more batches: only their batch labels can be
            permuted within the perturbation.
        unbalanced: the perturbations farthest from the batches' shares: (name, total variation distance in [0, 1],
            batches it is in), worst first, at most `LISTED`, balanced ones left out.
    """

    d_js: float
    observed: float
    expected: float
    worst_pair: tuple[str, str] | None
    worst_pair_d_js: float
    joint_error: float
    movable: float
    unbalanced: tuple[tuple[str, float, int], ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @property
    def line(self) -> str:
        """For people."""
        if self.worst_pair is None:
            return "one training batch: nothing to be confounded with"
        if self.observed == 0:
            return "balanced: every training batch holds the same perturbations in the same shares"
        return (
            f"perturbations are tied to batches by {self.d_js:.2f} beyond chance (0: not at all, 1: each lies in one "
            f"batch); with the batch wholly removed at least {self.joint_error:.1%} of wells are misread in batches "
            f"{' and '.join(self.worst_pair)} together"
        )


def design_index(wells: pd.DataFrame) -> DesignIndex:
    """The index of these wells (columns `perturbation` and `batch`, one row a well)."""
    table = pd.crosstab(wells["perturbation"], wells["batch"]).sort_index(axis=0).sort_index(axis=1)
    counts = table.to_numpy(dtype=np.int64)
    observed, expected = _divergence(counts), _expected_divergence(counts)
    pairs = sorted(combinations(range(counts.shape[1]), 2), key=lambda pair: -_divergence(counts[:, pair]))
    above = {pair: _above_chance(counts[:, pair]) for pair in pairs[:CANDIDATES]}
    worst = max(above, key=lambda pair: above[pair], default=None)
    shares = counts.sum(axis=0) / counts.sum()
    distance = 0.5 * np.abs(counts / counts.sum(axis=1, keepdims=True) - shares).sum(axis=1)
    order = [row for row in np.argsort(-distance, kind="stable")[:LISTED] if distance[row] > NO_ROOM]
    return DesignIndex(
        d_js=_root(_above_chance(counts)),
        observed=_root(observed),
        expected=_root(expected),
        worst_pair=(str(table.columns[worst[0]]), str(table.columns[worst[1]])) if worst else None,
        worst_pair_d_js=_root(above[worst]) if worst else 0.0,
        joint_error=round(0.5 * above[worst], 6) if worst else 0.0,
        movable=float(counts[(counts > 0).sum(axis=1) > 1].sum() / counts.sum()),
        unbalanced=tuple(
            (str(table.index[row]), round(float(distance[row]), 4), int((counts[row] > 0).sum())) for row in order
        ),
    )


def confounding_warning(designs: Mapping[str, DesignIndex]) -> tuple[str, ...]:
    """One warning for each view whose index is above `CONFOUNDED`."""
    return tuple(
        f"view {view}: perturbations and batches are confounded by design (d_JS {index.d_js:.2f}): full invariance "
        f"costs a joint error of {index.joint_error:.3f} or more, whatever the strength; most unbalanced: "
        + ", ".join(f"{name} (in {count})" for name, _, count in index.unbalanced)
        for view, index in designs.items()
        if index.d_js > CONFOUNDED
    )


def _root(divergence: float) -> float:
    return round(float(np.sqrt(max(divergence, 0.0))), 6)


def _above_chance(counts: Counts) -> float:
    """Divergence in [0, 1] less its expectation, rescaled so that nested stays 1; as it is where nothing else fits."""
    observed, expected = _divergence(counts), _expected_divergence(counts)
    if expected > 1 - NO_ROOM:
        return observed
    return max(0.0, (observed - expected) / (1 - expected))


def _batch_entropy(counts: Counts) -> float:
    """Entropy of the batches, in nats."""
    share = counts.sum(axis=0) / counts.sum()
    return float(-_x_log_x(share).sum())


def _divergence(counts: Counts) -> float:
    """Generalised Jensen-Shannon divergence of the columns, Σ_b π_b·KL(P_b ‖ ΣπP), over its largest value H(π)."""
    entropy = _batch_entropy(counts)
    return 0.0 if entropy <= 0 else _information(counts, float(_x_log_x(counts).sum())) / entropy


def _information(counts: Counts, cells: float) -> float:
    """Mutual information in nats, given Σ x·ln x over the cells."""
    total, rows, columns = counts.sum(), counts.sum(axis=1), counts.sum(axis=0)
    margins = _x_log_x(total) - _x_log_x(rows).sum() - _x_log_x(columns).sum()
    return max(0.0, float((cells + margins) / total))


def _expected_divergence(counts: Counts) -> float:
    """Expectation of `_divergence` over all allocations with the same margins (cells are hypergeometric)."""
    entropy = _batch_entropy(counts)
    if entropy <= 0:
        return 0.0
    total = int(counts.sum())
    rows, row_times = np.unique(counts.sum(axis=1), return_counts=True)
    columns, column_times = np.unique(counts.sum(axis=0), return_counts=True)
    cells = 0.0
    for row, times in zip(rows.tolist(), row_times.tolist(), strict=True):
        for column, also in zip(columns.tolist(), column_times.tolist(), strict=True):
            x = np.arange(max(1, row + column - total), min(row, column) + 1)
            log_p = _log_choose(column, x) + _log_choose(total - column, row - x) - _log_choose(total, row)
            cells += times * also * float((np.exp(log_p) * _x_log_x(x)).sum())
    return _information(counts, cells) / entropy


def _log_choose(n: int, k: NDArray[np.int64] | int) -> NDArray[np.float64]:
    logs = _log_factorials(n)
    return np.asarray(logs[n] - logs[np.asarray(k)] - logs[n - np.asarray(k)])


@cache
def _log_factorials(n: int) -> NDArray[np.float64]:
    """(n + 1,) ln k! of k = 0 … n. Sums of logarithms, as SciPy's take longer to import than to compute here."""
    return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])


def _x_log_x(x: NDArray[Any] | np.generic) -> NDArray[np.float64]:
    """x·ln x, 0 at 0."""
    return np.asarray(x * np.log(np.where(np.asarray(x) > 0, x, 1)), dtype=np.float64)
