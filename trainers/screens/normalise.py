"""Standardise features inside each batch or plate, without looking at perturbations."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trainers.base import FloatArray
from trainers.errors import InputError

Normalisation = Literal["none", "batch", "plate", "plate_controls"]
NORMALISATIONS: tuple[Normalisation, ...] = get_args(Normalisation)


def normalise(features: FloatArray, wells: pd.DataFrame, mode: Normalisation) -> FloatArray:
    """(x − mean) / std of each feature inside each group of rows.

    A group's statistics come from all its rows ("batch", "plate") or from its negative controls ("plate_controls",
    as is usual in profiling). No label enters, so test rows are treated as an unlabelled new plate would be.
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
    names, group = np.unique(wells["batch" if mode == "batch" else "plate"].to_numpy(dtype=str), return_inverse=True)
    reference = np.ones(len(wells), dtype=bool)
    if mode == "plate_controls":
        reference = wells["control_type"].to_numpy() == "negative"
    result = np.empty_like(features)
    for number, name in enumerate(names):
        rows = np.flatnonzero(group == number)
        chosen = rows[reference[rows]]
        if mode == "plate_controls" and len(chosen) < 2:
            raise InputError(
                f"normalise: plate {str(name)!r} has {len(chosen)} negative controls, plate_controls needs 2; "
                "name them in negative_controls or normalise by plate"
            )
        mean, std = location_and_scale(features[chosen])
        result[rows] = (features[rows] - mean) / std
    return result


def location_and_scale(features: FloatArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(d,) mean and population std of (n, d) rows; a std that float32 does not resolve at the mean counts as 1."""
    values = features.astype(np.float64)
    mean, std = values.mean(axis=0), values.std(axis=0)
    std[std <= np.finfo(np.float32).eps * np.abs(mean)] = 1.0
    return mean, std


__all__ = ["NORMALISATIONS", "Normalisation", "location_and_scale", "normalise"]
