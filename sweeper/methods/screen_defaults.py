"""What a comparison takes from the screen where its configuration leaves it open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sweeper.config.sweep_config import SweepConfig
from sweeper.decision.inference.perturbations import MIN_PERTURBATIONS
from sweeper.methods.methods_config import MethodsConfig
from trainers.errors import InputError
from trainers.screens.screen_account import Account
from trainers.screens.table import Screen

ENOUGH = 2 * MIN_PERTURBATIONS
"""Perturbations of a screen from which on every run has as many of them as a resample needs."""


def settled_by(config: MethodsConfig, screen: Screen, account: Account) -> tuple[MethodsConfig, tuple[str, ...]]:
    """The comparison as this screen allows it, and lines that say what was taken from the screen.

    *Whom the bounds are about*: new perturbations of the same kind, where there are enough of them to be resampled; a
    correction that trains nothing has no other noise but theirs and that of the plates. For a table alone also *which
    rows are scored* (held-out plates or, where a batch has a single one, held-out wells) and *units* (features on a raw
    scale are standardised over the whole screen, which takes no batch out).

    Raises:
        InputError: a batch of one well, which nothing can be said of.
    """
    sizes = screen.wells["batch"].value_counts()
    if sizes.min() < 2:
        name = sorted(sizes.index[sizes < 2])[0]
        raise InputError(f"screen: batch {name} has 1 well, 2 are needed; leave it out, or join it with another")
    notes: list[str] = []
    changes: dict[str, Any] = {}
    decision = config.given.get("decision")
    if not (isinstance(decision, Mapping) and "target" in decision):
        wells = screen.wells
        treated = int(wells.loc[wells["control_type"] != "negative", "perturbation"].nunique())
        if treated >= ENOUGH:
            changes["target"] = "new_perturbations"
        else:
            notes.append(
                f"{treated} perturbations are too few to be drawn anew ({ENOUGH} are needed): the error bars are of "
                "held-out wells alone, and hold for the perturbations of this screen"
            )
    if config.quick:
        if "views" not in _overridden(config) and screen.wells.groupby("batch")["plate"].nunique().min() < 2:
            changes["column"] = "well"
            notes.append("a batch has a single plate: well positions are held out instead of plates")
        if "normalise" not in config.given and account.unscaled is not None:
            changes["normalise"] = "screen"
            notes.append("features are on a raw scale: standardised over the whole screen, which takes no batch out")
    sweeps = {method: _changed(sweep, changes) for method, sweep in config.sweeps.items()}
    return replace(config, sweeps=sweeps), tuple(notes)


def _overridden(config: MethodsConfig) -> frozenset[str]:
    """Keys of a table's comparison that are not as it proposes them."""
    own = [{"view": "held_out_plates"}]
    return frozenset() if config.given.get("views") == own else frozenset({"views"})


def _changed(sweep: SweepConfig, changes: Mapping[str, Any]) -> SweepConfig:
    update: dict[str, Any] = {}
    if "target" in changes:
        update["decision"] = sweep.decision.model_copy(update={"target": changes["target"]})
    if "column" in changes:
        update["views"] = tuple(view.model_copy(update={"column": changes["column"]}) for view in sweep.views)
    if "normalise" in changes:
        update["normalise"] = changes["normalise"]
    return sweep.model_copy(update=update)


__all__ = ["settled_by"]
