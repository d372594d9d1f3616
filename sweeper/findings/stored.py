"""A stored sweep read again: its plan, tables, decision and provenance, from the store alone."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import pandas as pd

from sweeper.arms.arm import Arm, arm_of
from sweeper.arms.confirm import confirm_seeds
from sweeper.arms.ladder import ladder_parts, ladder_view, resolved_rungs
from sweeper.arms.proposal import Proposal
from sweeper.config.sweep_config import SweepConfig, build_config
from sweeper.content import content_hash
from sweeper.decision import Decision, DecisionSettings, decide_sweep
from sweeper.errors import ConfigError, InputError, SweepFailedError
from sweeper.findings.crossed_boundary import crossed_boundary
from sweeper.findings.ladder_table import LadderTable, ladder_table
from sweeper.findings.unit_gains import Gains, gains
from sweeper.metrics.registry import REGISTRY, decisive
from sweeper.planning.cells import Cell, as_begun, panel_names
from sweeper.planning.drawn_splits import DrawnSplits
from sweeper.planning.prepared import known_cells, proposed_cells
from sweeper.store.reading import DamagedFileError, read_object
from sweeper.store.results import read_units, tidy, to_parquet_bytes, units, write_units
from sweeper.store.store import Store, dump_json, write_atomically
from trainers.screens.splits import fold_count

REBUILD = "sweeper report ."
"""What makes a sweep's report anew, in the sweep's folder: wherever that has been moved to."""


def stored_config(store: Store) -> SweepConfig:
    """The configuration a stored sweep was run with."""
    description = store.description()
    config = build_config(description["config"], str(store.folder / "sweep.json"))
    return as_begun(config, description["identity"])


def planned_cells(store: Store) -> tuple[Cell, ...]:
    """Every cell of a stored sweep, finished or not, from its stored configuration and screen."""
    return known_cells(stored_config(store), store.proposals(), **_stored_plan(store))


def planned_rounds(store: Store) -> list[tuple[Proposal, tuple[Cell, ...]]]:
    """The rounds of a stored sweep and their cells, in order."""
    config, plan = stored_config(store), _stored_plan(store)
    return [(proposal, proposed_cells(proposal, config, **plan)) for proposal in store.proposals()]


class _StoredPlan(TypedDict):
    sweep_id: str
    folds: dict[str, int]


def _stored_plan(store: Store) -> _StoredPlan:
    wells = store.screen().wells
    folds: dict[str, int] = {spec.view: fold_count(spec, wells) for spec in stored_config(store).views}
    return {"sweep_id": store.description()["sweep_id"], "folds": folds}


def all_records(store: Store) -> list[dict[str, Any]]:
    """Every finished cell of the store, in id order."""
    return list(store.records(sorted(store.finished())))


def raise_if_nothing_trained(store: Store) -> None:
    """Raise `SweepFailedError` when not one trained cell is ok."""
    statuses = [record["status"] for record in all_records(store) if arm_of(record["trainer"]) is not Arm.CONTROL]
    if "ok" not in statuses:
        raise SweepFailedError(f"{store.where}: none of the {len(statuses)} trained cells is ok; the report says why")


def results_table(store: Store) -> pd.DataFrame:
    """The tidy table of every finished cell."""
    names = panel_names(stored_config(store))
    primary = decisive(names)
    panel = [{"metric": name, "role": REGISTRY[name].role, "primary": name in primary} for name in names]
    return tidy(all_records(store), panel)


def tabulate_and_decide(store: Store) -> tuple[pd.DataFrame, Decision]:
    """Write results.parquet, units.parquet and decision.json from the store alone; returns results and decision."""
    description = store.description()
    config = stored_config(store)
    results = results_table(store)
    if results.empty:
        raise ConfigError(f"{store.where}: no finished cell yet; run the sweep first")
    decision = decide_sweep(
        results,
        settings=config.decision,
        provenance=decision_provenance(description, store.proposals()),
        next_options=config.next_options,
        units=deciding_units(store, config.decision),
    )
    write_atomically(store.results_path, to_parquet_bytes(results))
    _write_units(store)
    write_atomically(store.decision_path, dump_json(decision.to_json()))
    return results, decision


def stored_decision(store: Store) -> Decision | None:
    """The decision as it was made; None where there is none yet.

    Raises:
        InputError: the file is no decision that this version reads; one line.
    """
    if not store.decision_path.exists():
        return None
    data = read_object(store.decision_path)
    try:
        return Decision.from_json(data)
    except InputError as error:
        raise DamagedFileError(store.decision_path, str(error)) from None


def readable_decision(store: Store) -> Decision | None:
    """As `stored_decision`; None also where it cannot be read, which `damaged_files` says."""
    try:
        return stored_decision(store)
    except DamagedFileError:
        return None


def damaged_files(store: Store) -> list[str]:
    """What cannot be read of the store's results, one line a file with what that costs."""
    try:
        stored_decision(store)
    except DamagedFileError as error:
        return [f"{error.path.name}: {error.reason}; `sweeper report` makes it anew", *store.damage()]
    return list(store.damage())


def deciding_units(store: Store, settings: DecisionSettings) -> pd.DataFrame | None:
    """The values by perturbation that a decision needs; None where its target needs none."""
    return None if settings.target == "this_screen" else units(all_records(store), store.units)


def _write_units(store: Store) -> None:
    """units.parquet, whole; none where no cell has units."""
    temporary = store.units_path.with_name(f".{store.units_path.name}.{os.getpid()}.tmp")
    try:
        if write_units(all_records(store), store.units, temporary):
            temporary.replace(store.units_path)
        else:
            store.units_path.unlink(missing_ok=True)
    finally:
        temporary.unlink(missing_ok=True)


def stored_gains(store: Store, results: pd.DataFrame) -> Gains | None:
    """Where the correction helps and where it hurts, from units.parquet; None where no cell has units.

    The runs of the sweep itself: fresh seeds confirm, and are in no gain.
    """
    if not store.units_path.exists():
        return None
    config, fresh = stored_config(store), list(confirm_seeds(store.proposals()))
    units = read_units(store.units_path)
    return gains(
        units[~units["seed"].isin(fresh)],
        results[~results["seed"].isin(fresh)],
        trainer=config.trainer,
        delta=config.decision.delta,
    )


def stored_ladder(store: Store, results: pd.DataFrame) -> LadderTable | None:
    """What the ladder found, from the store alone; None without a ladder."""
    config = stored_config(store)
    if config.ladder is None:
        return None
    wells = store.screen().wells
    kinds = wells.groupby("batch")["cell_type"].agg(["nunique", "first"])
    return ladder_table(
        resolved_rungs(config),
        units((record for record in all_records(store) if arm_of(record["trainer"]) is Arm.LADDER), store.units),
        results,
        view=ladder_view(config),
        parts=ladder_parts(config, wells),
        cell_types={str(batch): str(kind) for batch, kind in kinds.loc[kinds["nunique"] == 1, "first"].items()},
        seeds=len(config.seeds),
        unit="row" if config.images is None else "image",
    )


def decision_provenance(description: Mapping[str, Any], proposals: Sequence[Proposal]) -> dict[str, Any]:
    """What a rule is conditional on."""
    identity = description["identity"]
    deciding = description["config"]["decision"]["deciding_view"]
    return {
        "sweep_id": description["sweep_id"],
        "dataset_hash": identity["data"],
        "trainer": identity["trainer"],
        "settings_hash": content_hash(identity["settings"]),
        "normalise": identity["normalise"],
        "held_out_perturbations": identity["held_out_perturbations"],
        "design_djs": description.get("design", {}).get(deciding, {}).get("d_js"),
        "nesting": description.get("nesting"),  # absent in stores written before it was kept
        "confirm_seeds": list(confirm_seeds(proposals)),
        "adaptive": any(proposal.arm is Arm.SWEEP and proposal.strengths for proposal in proposals),
        "versions": description["versions"],
    }


def report_provenance(store: Store) -> dict[str, Any]:
    """What the report says of where its numbers come from: stored values only, so that it is rebuilt byte for byte."""
    import yaml

    description = store.description()
    missing = {cell.cell_id for cell in planned_cells(store)} - store.finished()
    unfinished = [f"{len(missing)} planned cells are not finished yet; this is about the others"] if missing else []
    return {
        "name": description["name"],
        "sweep_id": description["sweep_id"],
        "fingerprint": description["identity"]["data"],
        "versions": description["versions"],
        "screen": description["screen"],
        "account": description.get("account"),  # absent in stores written before it was kept
        "warnings": [*unfinished, *damaged_files(store), *description["warnings"]],
        "metrics": {
            metric.name: {"title": metric.title, "direction": metric.direction} for metric in REGISTRY.values()
        },
        "held_out": _held_out(store),
        "command": shlex.join(description["command"]),
        "rebuild": REBUILD,
        "config": yaml.safe_dump(json.loads(json.dumps(description["config"])), sort_keys=False, allow_unicode=True),
    }


def _held_out(store: Store) -> dict[str, Any]:
    """What each view holds out, and the boundary that this is, at the first seed."""
    config, wells = stored_config(store), store.screen().wells
    drawn, seed = DrawnSplits(config, wells), config.seeds[0]
    found: dict[str, Any] = {}
    for spec in config.views:
        further = [*config.panel.units, *([] if spec.view == "official" else [spec.column])]
        splits = (drawn.split(spec.view, fold, seed) for fold in range(fold_count(spec, wells)))
        found[spec.view] = {
            "column": spec.column,
            "batch": "batch" if config.images is None else "experiment",
            **crossed_boundary(wells, splits, further=tuple(dict.fromkeys(further))),
        }
    return found
