"""A label metric by batch and by perturbation: its mean says neither where it gains nor where it loses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweeper.metrics.evaluation import Axis, Float64Array, Measurement, Metric, Unit
from trainers.base import IntArray

AXES: tuple[Axis, ...] = ("batch", "perturbation")
COLUMNS = ("metric", "axis", "unit", "wells", "value")
"""Columns of a cell's units: three categories, int32, float32."""


def query_units(
    wells: pd.DataFrame, rows: IntArray, scores: Float64Array, *, chance: float = 0.0, groups: IntArray | None = None
) -> tuple[Unit, ...]:
    """The units of a metric that is a mean over groups of the mean over their queries.

    A perturbation's value is the mean over its queries. A batch's is the metric restricted to the queries of that
    batch: what they are compared with still lies anywhere. Where the groups are the perturbations, the plain mean over
    perturbations is the metric's value exactly, and so is the mean over batches weighted by wells where every
    perturbation has as many queries in one batch as in the next.

    Args:
        wells: n rows with batch and perturbation.
        rows: (q,) row numbers of the queries.
        scores: (q,) score of each; at most 1, which is best.
        chance: the metric's one chance level; values are (score - chance) / (1 - chance).
        groups: (q,) codes ≥ 0 of what the metric averages over; None for the perturbation.
    """
    batch, batches = pd.factorize(wells["batch"].iloc[rows], sort=True)
    perturbation, perturbations = pd.factorize(wells["perturbation"].iloc[rows], sort=True)
    values = (scores - chance) / (1.0 - chance)
    size = np.bincount(perturbation)
    own = np.bincount(perturbation, weights=values) / size
    return (
        *_of_batches(batch, batches, values, perturbation if groups is None else groups),
        *_units("perturbation", perturbations, own, size),
    )


def _of_batches(batch: IntArray, names: pd.Index, values: Float64Array, groups: IntArray) -> tuple[Unit, ...]:
    """Mean over the groups in a batch of the mean over their queries there."""
    width = int(groups.max(initial=0)) + 1
    pair, code, count = np.unique(batch * width + groups, return_inverse=True, return_counts=True)
    means = np.bincount(code, weights=values) / count
    own = np.bincount(pair // width, weights=means) / np.bincount(pair // width)
    return _units("batch", names, own, np.bincount(batch))


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


__all__ = ["AXES", "COLUMNS", "query_units", "unit_table"]
