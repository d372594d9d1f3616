"""The ladder in a sweep: cells of its rungs, the configuration they are trained with, batches to select and test on.

Its cells are beside the grid: they take part in no curve and no decision.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from sweeper.arms.arm import Arm
from sweeper.arms.rungs import ResolvedRung, resolve
from sweeper.config.sweep_config import SweepConfig
from sweeper.errors import InputError
from sweeper.findings.ladder_table import TEST, VALIDATION
from sweeper.planning.cells import Cell, make_cells
from trainers.screens.splits import fold_count, make_split


def resolved_rungs(config: SweepConfig) -> tuple[ResolvedRung, ...]:
    """The rungs from the bottom; () without a ladder."""
    return () if config.ladder is None else resolve(config.ladder, config.how, config.trainer_settings)


def ladder_view(config: SweepConfig) -> str:
    """The view that the ladder is scored in."""
    assert config.ladder is not None  # noqa: S101 - the caller has one
    return config.ladder.view or config.decision.deciding_view


def ladder_cells(config: SweepConfig, *, sweep_id: str, folds: Mapping[str, int]) -> tuple[Cell, ...]:
    """Every rung × strength × seed of the ladder's view; () without a ladder."""
    rungs = resolved_rungs(config)
    if not rungs:
        return ()
    view = ladder_view(config)
    return tuple(
        cell
        for rung in rungs
        for cell in make_cells(sweep_id, rung.code, rung.strengths, config.seeds, {view: folds[view]}, arm=Arm.LADDER)
    )


def cell_config(config: SweepConfig, cell: Cell) -> SweepConfig:
    """The configuration that a cell is trained with: a rung's settings in the place of the trainer's."""
    if cell.arm is not Arm.LADDER:
        return config
    rung = next((rung for rung in resolved_rungs(config) if rung.trainer == cell.trainer), None)
    if rung is None:
        raise InputError(f"cell {cell.cell_id}: {cell.trainer} is no rung of this configuration")
    return config.model_copy(update={config.trainer: rung.settings})


def ladder_parts(config: SweepConfig, wells: pd.DataFrame) -> dict[str, str]:
    """Held-out batch → `VALIDATION` (rungs are selected on it) or `TEST`.

    Raises:
        InputError: what rungs are selected on is not held out, is all that is, or cuts through a batch.
    """
    assert config.ladder is not None  # noqa: S101
    name = ladder_view(config)
    spec = next(view for view in config.views if view.view == name)
    if spec.view == "held_out_plates" or (spec.view != "official" and not spec.held_out) or fold_count(spec, wells) > 1:
        raise InputError(
            f"ladder.view: {name} holds out no fixed batches to select on and to test on; take view official, or "
            "held_out_batches with held_out: [batches of both]"
        )
    test = wells.iloc[make_split(wells, spec, fold=0, seed=0).test]
    held = test[spec.column].astype(str)
    wanted = config.ladder.select_on
    absent = sorted(set(wanted) - set(held))
    if absent:
        known = ", ".join(sorted(set(held)))
        raise InputError(f"ladder.select_on: {absent[0]!r} is not held out by view {name}, which scores {known}")
    selects = held.isin(wanted).to_numpy()
    if selects.all():
        raise InputError(f"ladder.select_on: names all that view {name} holds out; something must be left to test on")
    share = pd.Series(selects).groupby(test["batch"].to_numpy()).mean()
    cut = share.index[~np.isin(share, (0.0, 1.0))]
    if len(cut):
        raise InputError(f"ladder.select_on: batch {cut[0]!r} lies on both sides; select on whole batches")
    return {str(batch): VALIDATION if part else TEST for batch, part in share.items()}


__all__ = [
    "cell_config",
    "ladder_cells",
    "ladder_parts",
    "ladder_view",
    "resolved_rungs",
]
