"""By which columns label metrics are kept, and as what: what a plan and a store need of units."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from trainers.errors import InputError
from trainers.screens.names import nearest
from trainers.screens.table import CANONICAL

PERTURBATION: str = "perturbation"
AXES: tuple[str, ...] = ("batch", "cell_type", PERTURBATION)
"""The axes kept unless the options name others; one whose column a screen lacks has no units there."""
COLUMNS = ("metric", "axis", "unit", "wells", "value")
"""Columns of a cell's units: three categories, int32, float32."""


def check_axes(axes: Sequence[str], wells: pd.DataFrame) -> None:
    """Refuse an axis that these wells cannot have; the canonical cell_type may be absent or empty.

    Raises:
        InputError: no such column; names the nearest ones.
    """
    for axis in axes:
        if axis not in CANONICAL and axis not in wells.columns:
            known = sorted({*AXES, *(str(name) for name in wells.columns if name not in CANONICAL)})
            raise InputError(f"panel.units: the screen has no column {axis!r}; {nearest(axis, known)}")


__all__ = ["AXES", "COLUMNS", "PERTURBATION", "check_axes"]
