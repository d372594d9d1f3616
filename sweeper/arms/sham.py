"""The sham arm: the deciding curve's key strengths again, with batch labels permuted within perturbation.

Training with a batch label that means nothing shows what the adversary costs by itself: optimiser damage. What the real
arm loses and the sham arm keeps is over-correction, and what it gains beyond the sham arm is correction
(docs/explanation/mechanism.md). So the arm is trained whenever strength moves anything, whatever T does. It has its own
λ = 0, trained like the others: a mini-batch is made of bio-batches, so permuted ones draw other mini-batches.

A correction that trains nothing has no optimiser to do damage, but it estimates: means of few wells, clusters, a ridge
regression. Its sham arm shows what that costs. Such a correction moves the scored rows by their own labels, so theirs
are permuted too, within perturbation as well; with true ones it would correct in earnest, and gain by it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sweeper.arms.arm import Arm, read_name
from sweeper.arms.beside import propose_beside
from sweeper.arms.cell_rows import CellRows
from sweeper.arms.proposal import Proposal, Upcoming
from trainers.base import IntArray
from trainers.registry import trainer
from trainers.screens.splits import Split
from trainers.screens.table import codes

if TYPE_CHECKING:
    from sweeper.arms.standing import Standing
    from sweeper.planning.cells import Cell
    from sweeper.planning.prepared import Prepared

TITLE = "sham arm"
_STREAM = 8_2026  # keeps these draws apart from every other use of a cell's seed


def propose(standing: Standing) -> Proposal | None:
    """The arm's round; None where it is off, has been made, has nothing to explain, or no label can move."""
    prepared = standing.prepared
    movable = prepared.designs[prepared.config.decision.deciding_view].movable
    if not prepared.config.sham.enabled or not prepared.config.reads_batches or movable == 0:
        return None
    return propose_beside(
        standing,
        Arm.SHAM,
        prepared.config.sham,
        standing.to_explain,
        gains=True,
        why="batch labels permuted within perturbation",
        how={"movable": round(movable, 4)},
    )


def rows(cell: Cell, split: Split, wells: pd.DataFrame) -> CellRows:
    """The screen's rows and batches to be scored by; permuted batches to train with."""
    moved = split.train
    if trainer(read_name(cell.trainer).trainer).reads_scored_rows:
        moved = np.sort(np.concatenate([split.train, split.validation, split.test]))
    return CellRows(split, wells, permuted_batches(codes(wells["batch"]), wells["perturbation"], moved, seed=cell.seed))


def upcoming(prepared: Prepared, made: int) -> Upcoming | None:
    """What the arm may add to the sweep."""
    config = prepared.config
    if not config.sham.enabled or not config.corrects:
        return None
    if not config.reads_batches:
        return Upcoming(f"sham arm:  none: {config.trainer} reads no batch labels", 0)
    movable = prepared.designs[config.decision.deciding_view].movable
    if movable == 0:
        return Upcoming("sham arm:  none: every perturbation is in one training batch, so labels cannot be permuted", 0)
    cells = config.sham.most_cells(prepared)
    share = "" if movable == 1 else f"; {movable:.0%} of the training wells can take another label"
    line = f"sham arm:  {cells} cells with batch labels permuted within perturbation{share}"
    return Upcoming(line, 0 if made else cells)


def permuted_batches(batches: IntArray, perturbations: pd.Series, moved: IntArray, *, seed: int) -> IntArray:
    """(n,) batch codes, permuted among some rows of each perturbation; other rows keep theirs.

    Every perturbation × batch count stays as it is. A perturbation with all these rows in one batch cannot move.

    Args:
        batches: (n,) codes of the screen's rows.
        perturbations: (n,) of the screen's rows.
        moved: their row numbers, ascending.
        seed: of the cell.
    """
    from sweeper.metrics.technical.design import permuted_within

    groups = pd.factorize(perturbations.iloc[moved], sort=True)[0].astype(np.int64)
    permuted = np.array(batches)
    permuted[moved] = next(permuted_within(batches[moved], groups, count=1, seed=(seed, _STREAM)))
    return permuted
