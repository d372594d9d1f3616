"""The pseudo-batch arm: trainings that are to correct for a batch that does not exist (docs/explanation/mechanism.md).

One real batch is split at random, evenly inside every plate, into two pseudo-batches. Cells of the arm are trained on
its training rows with these as batch labels, and scored on its test rows as any cell is, the pseudo-batches in place of
the batch. There is nothing between them to remove: biology that is lost against the arm's own λ = 0 is over-correction,
or damage by the adversary, and by nothing else. Unlike permuted labels it has no batch effect left in its data, and no
perturbation that could be confounded with it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweeper.arms.arm import Arm
from sweeper.arms.beside import propose_beside
from sweeper.arms.cell_rows import CellRows
from sweeper.arms.proposal import Proposal, Upcoming
from sweeper.errors import InputError
from trainers.base import IntArray
from trainers.screens.splits import Split

if TYPE_CHECKING:
    from sweeper.arms.standing import Standing
    from sweeper.planning.cells import Cell
    from sweeper.planning.prepared import Prepared

TITLE = "pseudo-batch arm"
FEWEST_WELLS = 8
FEWEST_PERTURBATIONS = 2
NONE = "no batch has training and test wells of 2 perturbations"


def propose(standing: Standing) -> Proposal | None:
    """The arm's round; None where it is off, has been made, has nothing to explain, or no batch can be split."""
    prepared = standing.prepared
    if (
        not prepared.config.pseudo.enabled
        or not prepared.config.reads_batches
        or (batch := prepared.pseudo_batch) is None
    ):
        return None
    why = f"batch {batch} split into two at random"
    return propose_beside(
        standing, Arm.PSEUDO, prepared.config.pseudo, standing.rule_to_explain, why=why, how={"batch": batch}
    )


def rows(cell: Cell, split: Split, wells: pd.DataFrame) -> CellRows:
    """The rows of one batch, with its halves for batches; raises InputError where no batch can be split."""
    found = pseudo_batches(wells, split, seed=cell.seed)
    if found is None:
        raise InputError(f"{cell.label}: {NONE}")
    return CellRows(found.split, found.wells, found.codes)


def upcoming(prepared: Prepared, made: int) -> Upcoming | None:
    """What the arm may add to the sweep."""
    options = prepared.config.pseudo
    if not options.enabled:
        return None
    if not prepared.config.reads_batches:
        return Upcoming(f"pseudo:    none: {prepared.config.trainer} reads no batch labels", 0)
    if prepared.pseudo_batch is None:
        return Upcoming(f"pseudo:    none: {NONE}", 0)
    cells = options.most_cells(prepared)
    line = f"pseudo:    {cells} cells on batch {prepared.pseudo_batch}, split into two at random"
    return Upcoming(line, 0 if made else cells)


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
    from sweeper.metrics.probes.pseudo_batch import halves

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


__all__ = ["NONE", "TITLE", "PseudoBatches", "propose", "pseudo_batches", "rows", "upcoming"]
