"""What a cell trains on and is scored on."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from trainers.base import IntArray
from trainers.screens.splits import Split


@dataclass(frozen=True, eq=False)
class CellRows:
    """The rows of a cell and their batch labels.

    Attributes:
        split: rows that are learnt from, kept for validation, and scored.
        wells: of the whole screen; their batch labels are those that the cell is scored by.
        batches: (n,) codes of the batches that it trains with; None: those of the screen.
    """

    split: Split
    wells: pd.DataFrame
    batches: IntArray | None = None


__all__ = ["CellRows"]
