"""The pseudo-batch arm: trainings that are to correct for a batch that does not exist (docs/explanation/mechanism.md).

One real batch is split at random, evenly inside every plate, into two pseudo-batches. Cells of the arm are trained on
its training rows with these as batch labels, and scored on its test rows as any cell is, the pseudo-batches in place of
the batch. There is nothing between them to remove: biology that is lost against the arm's own λ = 0 is over-correction,
or damage by the adversary, and by nothing else. Unlike the sham arm it has no batch effect left in its data, and no
perturbation that could be confounded with it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweeper.metrics.probes.pseudo_batch import halves
from trainers.base import IntArray
from trainers.screens.splits import Split

FEWEST_WELLS = 8
FEWEST_PERTURBATIONS = 2
NONE = "no batch has training and test wells of 2 perturbations"


@dataclass(frozen=True, eq=False)
class PseudoBatches:
    """What a cell of the arm is trained and scored on.

    Attributes:
        batch: the real batch.
        split: the cell's split, restricted to that batch.
        wells: the screen's wells, the pseudo-batch in place of the batch where that is the real one.
        codes: (n,) 0 or 1 in the batch, 0 elsewhere: what a trainer takes for batches.
    """

    batch: str
    split: Split
    wells: pd.DataFrame
    codes: IntArray


def pseudo_batches(wells: pd.DataFrame, split: Split, *, seed: int) -> PseudoBatches | None:
    """The batch with most wells, in two; None where no batch of the split has enough to train and to score.

    Args:
        wells: of the whole screen.
        split: of the cell.
        seed: of the cell; one split of the batch for all strengths.
    """
    batch = wells["batch"].to_numpy(dtype=str)
    perturbation = wells["perturbation"].to_numpy(dtype=str)
    sizes = {
        str(name): int((batch == name).sum())
        for name in np.unique(batch[split.train])
        if all(_enough(rows[batch[rows] == name], perturbation) for rows in (split.train, split.test))
    }
    if not sizes:
        return None
    name = max(sizes, key=lambda each: (sizes[each], each))
    inside = np.flatnonzero(batch == name)
    own = wells.iloc[inside].reset_index(drop=True)
    half = np.zeros(len(wells), dtype=np.int64)
    half[inside] = halves(own, seed) == "b"
    labels = batch.astype(object)
    labels[inside] = [f"{name}/{'ab'[code]}" for code in half[inside]]
    return PseudoBatches(
        batch=name,
        split=replace(
            split,
            train=_within(split.train, batch, name),
            validation=_within(split.validation, batch, name),
            test=_within(split.test, batch, name),
        ),
        wells=wells.assign(batch=labels),
        codes=half,
    )


def _within(rows: IntArray, batch: NDArray[np.str_], name: str) -> IntArray:
    own: IntArray = rows[batch[rows] == name]
    return own


def _enough(rows: IntArray, perturbation: NDArray[np.str_]) -> bool:
    return len(rows) >= FEWEST_WELLS and len(np.unique(perturbation[rows])) >= FEWEST_PERTURBATIONS


__all__ = ["NONE", "PseudoBatches", "pseudo_batches"]
