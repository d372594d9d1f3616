"""Batch, row and column of every well as ordered levels, and the soft labels that know their order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import brentq

from trainers.base import FloatArray, IntArray
from trainers.errors import InputError

_NAMES = {"batch": "batch", "row": "plate row", "column": "plate column"}


def effect_codes(wells: pd.DataFrame, batches: IntArray, effects: Sequence[str]) -> dict[str, IntArray]:
    """Effect → (n,) codes that sort as its levels do.

    Args:
        wells: n rows of a screen.
        batches: (n,) bio-batch indices.
        effects: of batch, row, column.

    Raises:
        InputError: a position that is asked for and not known; the first well is named.
    """
    found = {}
    for effect in effects:
        if effect == "batch":
            found[effect] = batches
            continue
        if effect not in wells.columns or (unknown := wells[effect].isna().to_numpy(dtype=bool)).all():
            raise InputError(
                f"cpdistiller: no well has a {_NAMES[effect]}; name wells like B03 or give row and column, or set "
                "cpdistiller.effects: [batch]"
            )
        if unknown.any():
            row = int(unknown.argmax())
            raise InputError(
                f"cpdistiller: well {wells['well'].iloc[row]!r} (table row {row + 1}) has no {_NAMES[effect]}, as "
                f"{int(unknown.sum())} of {len(wells)} wells have none; give row and column, or set "
                "cpdistiller.effects: [batch]"
            )
        found[effect] = wells[effect].to_numpy(dtype=np.int64)
    return found


def check_levels(codes: Mapping[str, IntArray], rows: IntArray, where: str) -> None:
    """Raise InputError for an effect with one level among the rows: there is nothing to remove."""
    for effect, own in codes.items():
        if len(np.unique(own[rows])) < 2:
            rest = ", ".join(name for name in codes if name != effect) or "another effect"
            raise InputError(
                f"cpdistiller: {where}: its {len(rows)} training rows are of one {_NAMES[effect]}, which leaves "
                f"nothing to remove; set cpdistiller.effects: [{rest}]"
            )


def soft_labels(levels: int, true_share: float) -> FloatArray:
    """(L, L) row i: the soft label of level i, `true_share` at i and the rest ∝ q^|i − j|, q by the row's sum of 1.

    The q of level i solves true_share · Σ_j q^|i − j| = 1 in (0, 1). Where none does, as for a level without others,
    the row is normalised at q = 1.
    """
    distance = np.abs(np.arange(levels)[:, None] - np.arange(levels)[None, :]).astype(np.float64)
    rows = []
    for apart in distance:

        def excess(q: float, apart: NDArray[np.float64] = apart) -> float:
            return float(true_share * (q**apart).sum() - 1.0)

        ratio = brentq(excess, 0.0, 1.0, xtol=1e-14) if excess(1.0) > 0.0 else 1.0
        row = true_share * ratio**apart
        rows.append(row / row.sum())
    return np.asarray(rows, np.float32)


__all__ = ["check_levels", "effect_codes", "soft_labels"]
