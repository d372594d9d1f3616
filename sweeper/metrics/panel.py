"""The panel of one embedding: gate first, then every metric that these wells can identify."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweeper.metrics.biological.retention import uncorrected
from sweeper.metrics.bootstrap import (
    BASELINES,
    COMPOSITE_METRICS,
    COMPOSITES,
    Difference,
    Draws,
    baseline_features,
    composite_draws,
    differences,
)
from sweeper.metrics.composites import STAND_INS, Composites, anchored, composites
from sweeper.metrics.evaluation import Evaluation, Measurement, Metric, require_finite
from sweeper.metrics.gate import judge
from sweeper.metrics.panel_options import PanelOptions
from sweeper.metrics.registry import BATCH_READER, REGISTRY, decisive, measure, resolve
from sweeper.metrics.units import unit_table
from trainers.errors import InputError
from trainers.screens.table import make_screen


@dataclass(frozen=True, eq=False)
class Panel:
    """What the panel says of one embedding.

    Attributes:
        status: "collapsed" when the gate refused the embedding; then there are no rows.
        reason: why it was refused.
        rows: one per metric, plain values ready for JSON: metric, role, standing, primary, value, floor, ceiling, raw,
            chance, reason, flag, interval; see `Metric` and `Measurement`. One that is not measurable has value None
            and its reason.
        units: the label metrics by batch, cell type and perturbation; columns metric, axis, unit, wells, value, see
            `sweeper.metrics.units`.
        draws: T and B in every resample of plates and perturbations; None when collapsed.
        notes: what is odd about rows that were scored all the same: repeats, zero rows, columns of unlike scales.
    """

    status: Literal["ok", "collapsed"]
    reason: str | None
    rows: tuple[dict[str, Any], ...]
    units: pd.DataFrame
    draws: Draws | None = None
    notes: tuple[str, ...] = ()

    @property
    def composites(self) -> Composites:
        """T, B and √(T·B) of the measured rows, with their bootstrap intervals."""
        return replace(composites(self.rows), intervals={} if self.draws is None else self.draws.intervals())


def score_table(
    features: NDArray[np.floating],
    wells: pd.DataFrame,
    *,
    metrics: Sequence[str] | None = None,
    options: PanelOptions | None = None,
    seed: int = 0,
    reference: NDArray[np.floating] | None = None,
    names: Sequence[str] | None = None,
) -> Panel:
    """Score any embedding of a screen as one evaluation: all rows are test rows, none are training rows.

    >>> found = sweeper.score_table(screen.features, screen.wells, metrics=["activity_map", "batch_mixing_bras"])
    >>> [row["metric"] for row in found.rows]
    ['activity_map', 'batch_mixing_bras']

    Metrics that fit a classifier on training wells are therefore absent, with their reason. Rows that the embedding
    was fitted on flatter it: metrics by perturbation after training with perturbation labels most of all.

    Args:
        features: (n ≥ 3, e) the embedding, finite.
        wells: n rows with batch, plate, well and perturbation; control_type ("negative" for negative controls;
            "treatment" when absent), target, row and column are read when there.
        metrics: names of `REGISTRY`; None for all of them.
        options: see `PanelOptions`.
        seed: of every random draw; same input and seed, same panel.
        reference: (n, d) uncorrected features of the same rows, which `within_batch_retention` compares with.
        names: e names of the columns, for messages.

    Raises:
        InputError: an unknown metric, fewer than 3 rows, a missing column or value, an embedding or a reference that is
            not finite or has another number of rows.
    """
    wanted = tuple(REGISTRY) if metrics is None else tuple(metrics)
    resolve(wanted)
    evaluation = table_evaluation(features, wells, options=options, seed=seed, reference=reference)
    judged = judge(evaluation.test, own_units=True, columns=names, row_name=_row_name(evaluation.test_wells))
    if judged.collapsed is not None:
        return Panel("collapsed", judged.collapsed, (), unit_table((), ()))
    found = measure(evaluation, wanted)
    return Panel(
        "ok",
        None,
        tuple(panel_rows(found)),
        unit_table(found, evaluation.options.units),
        composite_draws(evaluation, found),
        judged.notes,
    )


def _row_name(wells: pd.DataFrame) -> Callable[[int], str]:
    return lambda row: f"row {row + 1} ({wells['plate'].iloc[row]} {wells['well'].iloc[row]})"


def compared_with_baselines(
    panel: Panel,
    reference: NDArray[np.floating],
    wells: pd.DataFrame,
    *,
    options: PanelOptions | None = None,
    seed: int = 0,
) -> dict[str, dict[str, Difference | str]]:
    """T, B and √(T·B) of a panel less those of the uncorrected features, raw and centred on plate controls.

    Args:
        panel: of an embedding, as `score_table` gives it; the baselines are measured with its metrics.
        reference: (n, d) uncorrected features of the same rows.
        wells, options, seed: as the panel was measured with.

    Returns:
        Baseline → composite → difference with its paired 95 % interval, or why there is none.
    """
    found: dict[str, dict[str, Difference | str]] = {}
    measured = {row["metric"] for row in panel.rows}
    metrics = [name for name in (*COMPOSITE_METRICS, *chain(*STAND_INS.values())) if name in measured]
    for name in BASELINES:
        features = baseline_features(name, np.asarray(reference, dtype=np.float32), wells, seed=seed)
        if isinstance(features, str):
            found[name] = dict.fromkeys(COMPOSITES, features)
            continue
        other = score_table(features, wells, metrics=metrics, options=options, seed=seed)
        if panel.draws is None or other.draws is None:
            found[name] = dict.fromkeys(COMPOSITES, str(panel.reason or other.reason))
        else:
            found[name] = differences(panel.composites, panel.draws, other.composites, other.draws)
    return found


def table_evaluation(
    features: NDArray[np.floating],
    wells: pd.DataFrame,
    *,
    options: PanelOptions | None = None,
    seed: int = 0,
    reference: NDArray[np.floating] | None = None,
) -> Evaluation:
    """The evaluation that `score_table` measures, for what is no metric of the panel; arguments and errors as there."""
    values = np.asarray(features)
    if values.ndim == 2:
        require_finite("embedding", values)
    width = values.shape[1] if values.ndim == 2 else 0
    screen = make_screen(values, tuple(f"e{number}" for number in range(width)), wells)
    none, no_wells = screen.features[:0], screen.wells.iloc[:0]
    return Evaluation(
        test=screen.features,
        test_wells=screen.wells,
        train=none,
        train_wells=no_wells,
        validation=none,
        validation_wells=no_wells,
        view="table",
        seed=seed,
        options=options or PanelOptions(),
        reference=None if reference is None else _reference(reference, screen.wells, options, seed),
    )


def _reference(
    features: NDArray[np.floating], wells: pd.DataFrame, options: PanelOptions | None, seed: int
) -> Evaluation:
    if features.ndim != 2 or len(features) != len(wells):
        raise InputError(f"reference: shape {features.shape}; expected ({len(wells)} rows of the embedding, d)")
    require_finite("reference", features)
    return uncorrected(features.astype(np.float32), wells, view="table", seed=seed, options=options)


def measure_panel(evaluation: Evaluation, names: Sequence[str]) -> tuple[list[dict[str, Any]], pd.DataFrame]:
    """The panel as plain rows, and the units of its label metrics on the axes that the options want."""
    found = measure(evaluation, names)
    return panel_rows(found), unit_table(found, evaluation.options.units)


def panel_rows(found: Iterable[tuple[Metric, Measurement]]) -> list[dict[str, Any]]:
    """What was measured as plain rows; a metric that cannot be measured is there with its reason.

    In a panel with the batch reader technical metrics are on one scale, see `_scaled`; in one without it, which may
    stand beside cells measured before there was a reader, each has the floor and the ceiling of its measurement.
    """
    found = list(found)
    names = {metric.name for metric, _ in found}
    primary = decisive(names)
    one_scale = BATCH_READER in names
    return [
        {
            "metric": metric.name,
            "role": metric.role,
            "standing": metric.standing,
            "primary": metric.name in primary,
            **_scaled(measured, one_scale and metric.role == "technical"),
            "raw": _number(measured.raw),
            "chance": _number(measured.chance),
            "reason": measured.reason,
            "flag": measured.flag,
            "interval": None if measured.interval is None else list(measured.interval),
            **({"parts": dict(measured.parts), "limit": measured.limit} if measured.parts else {}),
        }
        for metric, measured in found
    ]


def _scaled(measured: Measurement, one_scale: bool) -> dict[str, float | None]:
    """Value, floor and ceiling; on one scale the anchored value within [0, 1], whose floor is 0 and whose ceiling 1.

    The ceiling of a mixing metric is what this very embedding shows with batches dealt out anew, and hangs on its
    geometry: a mean over a sweep's ceilings would move T from sweep to sweep, and beyond 1. It is kept as `chance`.
    """
    value, floor, ceiling = _number(measured.value), _number(measured.floor), _number(measured.ceiling)
    if one_scale and value is not None and floor is not None and ceiling is not None and ceiling > floor:
        value, floor, ceiling = min(max(anchored(value, floor, ceiling), 0.0), 1.0), 0.0, 1.0
    return {"value": value, "floor": floor, "ceiling": ceiling}


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


__all__ = ["Panel", "compared_with_baselines", "measure_panel", "panel_rows", "score_table", "table_evaluation"]
