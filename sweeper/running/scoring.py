"""From a cell's embeddings to its result record: gate, panel, timing."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweeper.metrics.evaluation import Evaluation, Measurement, Predict, Source
from sweeper.metrics.gate import judge
from sweeper.metrics.panel import measure_panel, panel_rows
from sweeper.metrics.panel_options import PanelOptions
from sweeper.metrics.registry import resolve
from sweeper.planning.cells import Cell
from trainers.base import FloatArray
from trainers.screens.splits import Split

Embed = Callable[[NDArray[np.int64]], FloatArray]
"""Rows of the screen to their (n, e) embeddings."""


def evaluate(
    embed: Embed,
    split: Split,
    wells: pd.DataFrame,
    *,
    seed: int,
    options: PanelOptions,
    reference: Evaluation | None = None,
    source: Source | None = None,
    predict: Predict | None = None,
) -> tuple[Evaluation, FloatArray]:
    """Embed the three row sets of a split; returns the evaluation and the (n_test, e) test embeddings."""

    def rows(index: NDArray[np.int64]) -> pd.DataFrame:
        return wells.iloc[index].reset_index(drop=True)

    test = embed(split.test)
    evaluation = Evaluation(
        test=test,
        test_wells=rows(split.test),
        train=embed(split.train),
        train_wells=rows(split.train),
        validation=embed(split.validation),
        validation_wells=rows(split.validation),
        held_out_perturbations=split.held_out_perturbations,
        view=split.view,
        seed=seed,
        options=options,
        reference=reference,
        source=source,
        predict=predict,
    )
    return evaluation, test


def cell_record(
    cell: Cell,
    *,
    status: str,
    reason: str | None,
    metrics: Sequence[Mapping[str, Any]],
    seconds: Mapping[str, float],
    pack_cells: int,
) -> dict[str, Any]:
    """The result record of a finished cell: plain values, ready for JSON."""
    return {
        "schema": "cell/1",
        **cell.to_json(),
        "split": cell.split,
        "status": status,
        "reason": reason,
        "metrics": list(metrics),
        "seconds": {key: round(value, 4) for key, value in seconds.items()},
        "ended": round(time.time(), 3),
        "pack_cells": pack_cells,
    }


@dataclass(frozen=True, kw_only=True, eq=False)
class Scored:
    """What scoring a cell gives.

    Attributes:
        status: "ok", "collapsed" or, without an embedding, "failed".
        reason: why it is not "ok".
        rows: the panel; empty unless "ok".
        units: its label metrics by batch, cell type and perturbation (`sweeper.metrics.units.COLUMNS`), or None.
        embeddings: (n_test, e) of the test rows, or None.
    """

    status: str
    reason: str | None
    rows: Sequence[Mapping[str, Any]] = ()
    units: pd.DataFrame | None = None
    embeddings: FloatArray | None = None


def score(
    embed: Embed,
    split: Split,
    wells: pd.DataFrame,
    *,
    cell: Cell,
    names: Sequence[str],
    options: PanelOptions,
    reference: Evaluation | None = None,
    source: Source | None = None,
    predict: Predict | None = None,
) -> Scored:
    """Score a trained or control embedding; `reference`, `source` and `predict` as in `Evaluation`.

    A collapsed embedding is `collapsed` and has no panel: retrieval would call a constant perfect.
    """
    evaluation, test = evaluate(
        embed, split, wells, seed=cell.seed, options=options, reference=reference, source=source, predict=predict
    )
    collapse = None if cell.is_control else judge(test, row_name=_well_name(evaluation.test_wells)).collapsed
    if collapse is not None:
        return Scored(status="collapsed", reason=collapse, embeddings=test)
    rows, units = measure_panel(evaluation, names)
    return Scored(status="ok", reason=None, rows=rows, units=units, embeddings=test)


def _well_name(wells: pd.DataFrame) -> Callable[[int], str]:
    return lambda row: f"{wells['plate'].iloc[row]} {wells['well'].iloc[row]}"


def unmeasured(names: Sequence[str], reason: str) -> Scored:
    """The panel of a control that this screen does not allow: every metric absent, with the reason."""
    rows = panel_rows((metric, Measurement(None, reason=reason)) for metric in resolve(names))
    return Scored(status="ok", reason=reason, rows=rows)
