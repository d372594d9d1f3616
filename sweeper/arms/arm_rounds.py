"""The rounds that follow a sweep's grid, arm by arm, and what the cells of each arm train and are scored on.

grid and controls → the search, round by round → the arms beside the curve, in the order of `_BESIDE`
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import pandas as pd

from sweeper.arms import confirm, pseudo, search, sham
from sweeper.arms.arm import Arm
from sweeper.arms.cell_rows import CellRows
from sweeper.arms.proposal import Proposal, Upcoming
from trainers.screens.splits import Split

if TYPE_CHECKING:
    from sweeper.arms.standing import Standing
    from sweeper.planning.cells import Cell
    from sweeper.planning.prepared import Prepared
    from sweeper.store.store import Store


class Beside(Protocol):
    """What the module of an arm beside the curve gives, next to its options."""

    TITLE: str

    def propose(self, standing: Standing, /) -> Proposal | None:
        """The arm's next round; None where there is none."""

    def upcoming(self, prepared: Prepared, made: int, /) -> Upcoming | None:
        """What it may add to a sweep in which `made` rounds of it were proposed; None where it is off."""


@runtime_checkable
class OwnRows(Protocol):
    """An arm whose cells train or are scored on other rows, or other batch labels, than the sweep's."""

    def rows(self, cell: Cell, split: Split, wells: pd.DataFrame, /) -> CellRows:
        """What a cell trains and is scored on."""


_BESIDE: Mapping[Arm, Beside] = {Arm.SHAM: sham, Arm.PSEUDO: pseudo, Arm.CONFIRM: confirm}
TITLES: Mapping[str, str] = {**search.TITLES, **{arm.value: module.TITLE for arm, module in _BESIDE.items()}}
"""Kind of a round → what it is called."""


def next_round(prepared: Prepared, store: Store) -> Proposal | None:
    """The round that follows from everything finished so far; None: the sweep is complete."""
    from sweeper.arms.standing import Standing

    standing = Standing(prepared, store)
    proposing = (search.propose, *(module.propose for module in _BESIDE.values()))
    return next((found for propose in proposing if (found := propose(standing)) is not None), None)


def cell_rows(cell: Cell, split: Split, wells: pd.DataFrame) -> CellRows:
    """What a cell trains and is scored on; `split` is what its view, fold and seed draw.

    Raises:
        InputError: its arm cannot be made of this split.
    """
    module = _BESIDE.get(cell.arm)
    return module.rows(cell, split, wells) if isinstance(module, OwnRows) else CellRows(split, wells)


def upcoming_rounds(prepared: Prepared) -> list[Upcoming]:
    """What may follow the grid, one entry an arm; cells of rounds that have been proposed already are not counted."""
    kinds = [proposal.kind for proposal in prepared.store.proposals()]
    found = [search.upcoming(prepared, kinds.count(prepared.config.search))]
    found += [module.upcoming(prepared, kinds.count(arm.value)) for arm, module in _BESIDE.items()]
    return [each for each in found if each is not None]


__all__ = ["TITLES", "cell_rows", "next_round", "upcoming_rounds"]
