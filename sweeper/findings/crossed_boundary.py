"""Which boundary lies between training and test wells: read off the splits, not off the name of a view."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from trainers.screens.splits import Split
from trainers.screens.table import CANONICAL

LEVELS = ("cell_type", "batch", "plate", "well")
"""Columns that may be new on the test side, the widest first; `well` is a position, whatever its plate."""


def crossed_boundary(wells: pd.DataFrame, splits: Iterable[Split], *, further: Sequence[str] = ()) -> dict[str, Any]:
    """How many test units of each kind training never saw, over the folds of one view.

    Args:
        wells: `Screen.wells`.
        splits: the folds of one view, at one seed.
        further: columns beside `LEVELS`, e.g. the laboratory; taken as wider than the batch.

    Returns:
        levels: column → [new, test units], a unit counted once in each fold that tests it; only columns with values.
        shared_wells: [rows, of validation rows]: how many of the in-distribution reference's rows are other sites of
            wells that were learnt from. Where there are any, the reference is optimistic.
    """
    columns = [*(name for name in further if name not in CANONICAL), *LEVELS]
    columns = [name for name in columns if name in wells.columns and wells[name].notna().any()]
    values = {name: pd.factorize(wells[name], sort=True)[0] for name in columns}
    places = wells.groupby(["plate", "well"], sort=False).ngroup().to_numpy()
    levels = dict.fromkeys(columns, (0, 0))
    shared = rows = 0
    for split in splits:
        for name, codes in values.items():
            tested = np.unique(codes[split.test])
            tested = tested[tested >= 0]
            new = len(np.setdiff1d(tested, codes[split.train]))
            levels[name] = (levels[name][0] + new, levels[name][1] + len(tested))
        shared += int(np.isin(places[split.validation], places[split.train]).sum())
        rows += len(split.validation)
    return {"levels": {name: list(counts) for name, counts in levels.items()}, "shared_wells": [shared, rows]}


__all__ = ["LEVELS", "crossed_boundary"]
