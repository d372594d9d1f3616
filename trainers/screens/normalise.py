"""Standardise features inside each batch or plate, without looking at perturbations."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import pandas as pd

from trainers.base import FloatArray
from trainers.errors import InputError
from trainers.kept_layers import FEWEST, by_group, location_and_scale

Normalisation = Literal["none", "screen", "batch", "plate", "plate_controls"]
NORMALISATIONS: tuple[Normalisation, ...] = get_args(Normalisation)


def normalise(features: FloatArray, wells: pd.DataFrame, mode: Normalisation) -> FloatArray:
    """(x − mean) / std of each feature inside each group of rows.

    A group's statistics come from all its rows (the whole "screen", each "batch", each "plate") or from its negative
    controls ("plate_controls", as is usual in profiling). No label enters, so test rows are treated as an unlabelled
    new plate would be.
    std is the population's (ddof 0); where it is 0, or below what float32 resolves at the mean, it counts as 1.

    Args:
        features: (n, d) float32.
        wells: n rows of `Screen.wells`.
        mode: one of NORMALISATIONS; "none" returns the features themselves.

    Returns:
        (n, d) float32.

    Raises:
        InputError: an unknown mode; "plate_controls" on a plate with fewer than 2 negative controls.
    """
    if mode not in NORMALISATIONS:
        raise InputError(f"normalise: {mode!r} is none of {', '.join(NORMALISATIONS)}")
    if mode == "none":
        return features
    if mode == "screen":
        mean, std = location_and_scale(features)
        return np.asarray((features - mean) / std, np.float32)
    column = "batch" if mode == "batch" else "plate"
    controls = mode == "plate_controls"
    layer = normalising_layer(column, controls=controls)
    negative = (wells["control_type"] == "negative").to_numpy(dtype=bool)
    if controls:
        counts = pd.Series(negative).groupby(wells[column].to_numpy()).sum()
        if (counts < FEWEST).any():
            raise InputError(
                f"normalise: plate {str(counts.idxmin())!r} has {counts.min()} negative controls, plate_controls needs "
                f"{FEWEST}; name them in negative_controls or normalise by plate"
            )
    return by_group(features, layer, {column: wells[column].to_numpy(dtype=str)}, negative)


def normalising_layer(column: str, *, controls: bool) -> dict[str, object]:
    """A normalisation as a layer of a kept model."""
    return {"op": "by_group", "column": column, "rows": "negative" if controls else "all", "share": 1.0, "scale": True}


__all__ = ["NORMALISATIONS", "Normalisation", "location_and_scale", "normalise", "normalising_layer"]
