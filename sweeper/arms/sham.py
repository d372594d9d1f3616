"""The sham arm: which strengths are trained again with batch labels permuted within perturbation.

Training with a batch label that means nothing shows what the adversary costs by itself: optimiser damage. What the real
arm loses and the sham arm keeps is over-correction (docs/explanation/mechanism.md). The arm has its own λ = 0, trained
like the others: a mini-batch is made of bio-batches, so permuted ones draw other mini-batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log10

import numpy as np
import pandas as pd

from sweeper.decision import JudgedCurve
from sweeper.metrics.technical.design import permuted_within
from trainers.base import IntArray

_STREAM = 8_2026  # keeps these draws apart from every other use of a cell's seed


def sham_batches(batches: IntArray, perturbations: pd.Series, train: IntArray, *, seed: int) -> IntArray:
    """(n,) batch codes, permuted among the training rows of each perturbation; other rows keep theirs.

    Every perturbation × batch count stays as it is. A perturbation with all its training rows in one batch cannot move.

    Args:
        batches: (n,) codes of the screen's rows.
        perturbations: (n,) of the screen's rows.
        train: row numbers.
        seed: of the cell.
    """
    groups = pd.factorize(perturbations.iloc[train], sort=True)[0].astype(np.int64)
    sham = np.array(batches)
    sham[train] = next(permuted_within(batches[train], groups, count=1, seed=(seed, _STREAM)))
    return sham


def sham_strengths(curve: JudgedCurve, count: int) -> tuple[float, ...]:
    """λ > 0 of the sham arm: those trained ones nearest the safe bound, nearest the loss, the largest and the advised.

    The arm explains gains as it explains losses, so the strength whose gain is to be advised is among them; where none
    above 0 is, that of the best biology.

    Args:
        curve: the deciding curve.
        count: strengths wanted; what these leave open is filled where the gap, in decades, is largest.

    Returns:
        Ascending, at least one for a curve with an estimate; none without.
    """
    levels = curve.kept_weights
    if curve.estimate is None or not levels:
        return ()
    interval = curve.estimate.interval
    safe, loss = interval.lower, interval.median or interval.upper
    advised = curve.estimate.advised
    gains = advised.weight if advised is not None and advised.weight > 0 else curve.best_weight
    chosen = {levels[-1], *([gains] if gains else [])}
    if loss is not None:
        chosen.add(_nearest(levels, loss))
        chosen.add(_nearest(levels, safe) if safe is not None else levels[0])
    elif safe is not None:
        chosen.add(_nearest(levels, safe))
    while len(chosen) < min(count, len(levels)):
        left = [level for level in levels if level not in chosen]
        chosen.add(max(left, key=lambda level: (min(abs(log10(level / other)) for other in chosen), -level)))
    return tuple(sorted(chosen))


def _nearest(levels: Sequence[float], strength: float) -> float:
    return min(levels, key=lambda level: (abs(log10(level / strength)), level))
