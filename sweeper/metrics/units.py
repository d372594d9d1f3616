"""A label metric by batch, cell type and perturbation: its mean says neither where it gains nor where it loses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweeper.metrics.evaluation import Axis, Float64Array, Measurement, Metric, Unit
from sweeper.metrics.unit_axes import AXES, COLUMNS, PERTURBATION
from trainers.base import IntArray


def query_units(
    wells: pd.DataFrame,
    rows: IntArray,
    scores: Float64Array,
    *,
    chance: float = 0.0,
    groups: IntArray | None = None,
    axes: Sequence[Axis] = AXES,
) -> tuple[Unit, ...]:
    """The units of a metric that is a mean over groups of the mean over their queries.

    A perturbation's value is the mean over its queries. A batch's, a cell type's or that of any other column's value is
    the metric restricted to the queries there: what they are compared with still lies anywhere. Where the groups are
    the perturbations, the plain mean over perturbations is the metric's value exactly, and so is the mean over batches
    weighted by wells where every perturbation has as many queries in one batch as in the next.

    Args:
        wells: n rows with perturbation and the columns of the axes; rows without a value, and axes without a column,
            have no unit.
        rows: (q,) row numbers of the queries.
        scores: (q,) score of each; at most 1, which is best.
        chance: the metric's one chance level; values are (score - chance) / (1 - chance).
        groups: (q,) codes ≥ 0 of what the metric averages over; None for the perturbation.
        axes: which axes, in this order.
    """
    perturbation, perturbations = pd.factorize(wells[PERTURBATION].iloc[rows], sort=True)
    values = (scores - chance) / (1.0 - chance)
    found: list[Unit] = []
    for axis in axes:
        if axis == PERTURBATION:
            size = np.bincount(perturbation)
            own = np.bincount(perturbation, weights=values) / size
            found += _units(axis, perturbations, own, size)
        elif axis in wells.columns:
            place, names = pd.factorize(wells[axis].iloc[rows], sort=True)  # -1 where there is no value
            given = place >= 0
            of = (perturbation if groups is None else groups)[given]
            found += _restricted(axis, place[given], names, values[given], of)
    return tuple(found)


def _restricted(
    axis: Axis, place: IntArray, names: pd.Index, values: Float64Array, groups: IntArray
) -> tuple[Unit, ...]:
    """Mean over the groups in a place of the mean over their queries there."""
    width = int(groups.max(initial=0)) + 1
    pair, code, count = np.unique(place * width + groups, return_inverse=True, return_counts=True)
    means = np.bincount(code, weights=values) / count
    own = np.bincount(pair // width, weights=means) / np.bincount(pair // width)
    return _units(axis, names, own, np.bincount(place))


def _units(axis: Axis, names: pd.Index, values: Float64Array, wells: NDArray[np.integer]) -> tuple[Unit, ...]:
    columns = names.astype(str), values.tolist(), wells.tolist()
    return tuple(Unit(axis, *unit) for unit in zip(*columns, strict=True))


def unit_table(found: Sequence[tuple[Metric, Measurement]], axes: Sequence[Axis]) -> pd.DataFrame:
    """The units of several metrics on the wanted axes, in the order measured; see `COLUMNS`."""
    rows = [
        (metric.name, unit.axis, unit.unit, unit.wells, unit.value)
        for metric, measured in found
        for unit in measured.units
        if unit.axis in axes
    ]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    categories = dict.fromkeys(COLUMNS[:3], "category")
    return frame.astype({**categories, "wells": "int32", "value": "float32"})


__all__ = ["query_units", "unit_table"]
