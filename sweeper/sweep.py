"""A sweep from configuration to decision: plan, execute, propose, tabulate, decide.

Everything after the store can be redone from the store.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from sweeper.config import SweepConfig, build_config
from sweeper.decision import decide_sweep
from sweeper.design_index import DesignIndex, confounding_warning, design_index
from sweeper.errors import ConfigError, SweepFailedError
from sweeper.gains import Gains, gains
from sweeper.metrics.registry import REGISTRY, resolve
from sweeper.plan import (
    CONTROL_PREFIX,
    Cell,
    PackPlan,
    SplitKey,
    content_hash,
    control_cells,
    make_cells,
    make_packs,
    panel_names,
    sweep_identity,
)
from sweeper.results import read_units, tidy, to_parquet_bytes, write_units
from sweeper.scoring import cell_record
from sweeper.search.composites import strength_composites
from sweeper.search.optuna_rounds import SAMPLER, propose
from sweeper.store import Store, dump_json, write_atomically
from trainers.screens.normalise import normalise
from trainers.screens.readers import read_screen
from trainers.screens.splits import fold_count, make_split
from trainers.screens.table import Screen, screen_warnings

VERSIONED = ("sweeper", "torch", "ray", "optuna", "mlflow", "scikit-learn", "copairs", "numpy", "pandas", "plotly")


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """A validated sweep: nothing has been written yet."""

    config: SweepConfig
    screen: Screen
    sweep_id: str
    identity: dict[str, Any]
    folds: dict[str, int]
    training_batches: dict[SplitKey, int]
    designs: dict[str, DesignIndex]
    """View → perturbation × batch imbalance of its training wells: the worst fold of the first seed."""
    warnings: tuple[str, ...]

    @property
    def store(self) -> Store:
        """The sweep's store (it may not exist yet)."""
        return Store(self.config.output)

    def known_cells(self) -> tuple[Cell, ...]:
        """Grid, controls and every proposal made so far."""
        return known_cells(self.config, self.store, sweep_id=self.sweep_id, folds=self.folds)


def grid_cells(config: SweepConfig, *, sweep_id: str, folds: Mapping[str, int]) -> tuple[Cell, ...]:
    """Controls and the grid."""
    return (
        *control_cells(sweep_id, config.seeds, folds),
        *make_cells(sweep_id, config.trainer, config.strengths.grid(), config.seeds, folds),
    )


def known_cells(config: SweepConfig, store: Store, *, sweep_id: str, folds: Mapping[str, int]) -> tuple[Cell, ...]:
    """Grid, controls and every proposal that the store holds."""
    cells = list(grid_cells(config, sweep_id=sweep_id, folds=folds))
    for number in range(1, config.optuna.rounds + 1):
        cells.extend(make_cells(sweep_id, config.trainer, store.proposals(number) or [], config.seeds, folds))
    return tuple(dict.fromkeys(cells))


def load_screen(config: SweepConfig) -> Screen:
    """The screen that the configuration names: read or simulated."""
    if config.screen is not None:
        return read_screen(config.screen, Path())
    from trainers.screens.simulate import simulate

    assert config.simulate is not None  # noqa: S101 - the configuration has one of the two
    return simulate(config.simulate).screen


def prepare(config: SweepConfig) -> Prepared:
    """Read the screen and try every split: whatever is wrong with the input is said before anything is written."""
    resolve(config.metrics if config.metrics is not None else tuple(REGISTRY))
    screen = load_screen(config)
    folds: dict[str, int] = {spec.view: fold_count(spec, screen.wells) for spec in config.views}
    training_batches: dict[SplitKey, int] = {}
    designs: dict[str, DesignIndex] = {}
    for spec in config.views:
        found: list[DesignIndex] = []
        for seed in config.seeds:
            for fold in range(folds[spec.view]):
                split = make_split(
                    screen.wells, spec, fold=fold, seed=seed, held_out_perturbations=config.held_out_perturbations
                )
                training_batches[spec.view, fold, seed] = screen.wells["batch"].iloc[split.train].nunique()
                if seed == config.seeds[0]:
                    found.append(design_index(screen.wells.iloc[split.train]))
        designs[spec.view] = max(found, key=lambda index: index.d_js)
    normalise(screen.features, screen.wells, config.normalise)
    identity = sweep_identity(config, screen.fingerprint)
    prepared = Prepared(
        config=config,
        screen=screen,
        sweep_id=content_hash(identity),
        identity=identity,
        folds=folds,
        training_batches=training_batches,
        designs=designs,
        warnings=(*screen_warnings(screen), *confounding_warning(designs)),
    )
    prepared.store.check(prepared.sweep_id)
    return prepared


def versions() -> dict[str, str]:
    """Versions of what computes: packages and Python."""
    found = {name: importlib.metadata.version(name) for name in VERSIONED}
    return {"python": platform.python_version(), **found}


def _description(prepared: Prepared, command: Sequence[str]) -> dict[str, Any]:
    wells = prepared.screen.wells
    return {
        "name": prepared.config.name,
        "config": prepared.config.model_dump(mode="json"),
        "identity": prepared.identity,
        "command": list(command),
        "versions": versions(),
        "warnings": list(prepared.warnings),
        "design": {view: index.to_json() for view, index in prepared.designs.items()},
        "screen": {
            "wells": len(wells),
            "features": prepared.screen.features.shape[1],
            "batches": int(wells["batch"].nunique()),
            "plates": int(wells["plate"].nunique()),
            "perturbations": int(wells["perturbation"].nunique()),
        },
    }


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something a person or a mirror wants to know while a sweep runs."""

    kind: str
    """"start" (cells to do), "progress", "cells" (finished cells on disk), "round" (strengths proposed)."""
    cells_done: int
    cells: int
    new: tuple[Cell, ...] = ()
    training: float = 0.0
    """Cells' worth of training in packs that are not finished yet."""
    note: str = ""


def run_sweep(
    prepared: Prepared,
    *,
    command: Sequence[str] = (),
    retry_failed: bool = False,
    tell: Callable[[Event], None] = lambda _: None,
) -> None:
    """Run every cell that is missing: controls and grid, then the rounds of proposals. Results are in the store."""
    store = prepared.store
    store.create(sweep_id=prepared.sweep_id, description=_description(prepared, command), screen=prepared.screen)
    with store.locked():
        store.sweep_leftovers()
        _Rounds(prepared, store, retry_failed, tell).run()


class _Rounds:
    """The grid, then the rounds of proposals; Ray is only started when something is missing."""

    def __init__(self, prepared: Prepared, store: Store, retry_failed: bool, tell: Callable[[Event], None]) -> None:
        self._prepared = prepared
        self._store = store
        self._retry = retry_failed
        self._tell = tell
        self._executor: Any = None

    def run(self) -> None:
        prepared, options = self._prepared, self._prepared.config.optuna
        try:
            self._execute(grid_cells(prepared.config, sweep_id=prepared.sweep_id, folds=prepared.folds))
            for number in range(1, options.rounds + 1):
                strengths = self._store.proposals(number)
                if strengths is None:
                    strengths = self._propose(number)
                self._execute(
                    make_cells(
                        prepared.sweep_id, prepared.config.trainer, strengths, prepared.config.seeds, prepared.folds
                    )
                )
        finally:
            if self._executor is not None:
                self._executor.__exit__(None, None, None)

    def _propose(self, number: int) -> list[tuple[float, float]]:
        config = self._prepared.config
        margins = config.optuna.margin or config.strengths.margin
        composites = strength_composites(results_table(self._store), view=config.decision.deciding_view)
        strengths = propose(
            composites,
            options=config.optuna,
            margins=margins,
            round_number=number,
            study_name=self._prepared.sweep_id,
        )
        how = {"sampler": SAMPLER, "options": config.optuna.model_dump(mode="json"), "versions": versions()}
        self._store.write_proposals(number, strengths, how)
        listed = ", ".join(f"λ={weight:g} m={margin:g}" for weight, margin in strengths)
        self._tell(
            Event(
                kind="round", cells_done=0, cells=0, note=f"round {number}: Optuna proposes {listed or 'nothing new'}"
            )
        )
        return strengths

    def _execute(self, cells: Sequence[Cell]) -> None:
        from sweeper.worker import pack_content

        done = self._store.finished(retry=self._retry)
        missing = [cell for cell in cells if cell.cell_id not in done]
        self._tell(Event(kind="start", cells_done=len(cells) - len(missing), cells=len(cells)))
        if not missing:
            return
        if self._executor is None:
            from sweeper.executor import Executor

            self._executor = Executor(self._prepared.config.executor, self._store.folder)
            self._executor.__enter__()
        config = self._prepared.config
        packs = make_packs(
            missing,
            workers=self._executor.workers,
            pack_size=config.executor.pack_size,
            training_batches=self._prepared.training_batches,
        )
        replace = self._store.finished()
        files = [
            (pack, self._store.write_pack(pack.pack_id, pack_content(pack, config, replace=replace))) for pack in packs
        ]
        follow = _Follow(self._store, packs, total=len(cells), already=len(cells) - len(missing), tell=self._tell)
        failures = self._executor.run(files, on_progress=follow.progress, on_pack=follow.pack)
        for failure in failures:
            self._record_failure(failure.pack, "oom" if failure.out_of_memory else "failed", failure.reason)
            follow.pack(failure.pack)
        for _, path in files:
            path.unlink(missing_ok=True)

    def _record_failure(self, pack: PackPlan, status: str, reason: str) -> None:
        """A worker that died leaves its unfinished cells without a record: write what is known."""
        done = self._store.finished()
        for cell in pack.cells:
            if cell.cell_id not in done:
                record = cell_record(
                    cell, status=status, reason=reason, metrics=[], seconds={}, pack_cells=len(pack.cells)
                )
                self._store.write_cell(record, curve=[])


class _Follow:
    """Turns the executor's calls into events with cell counts."""

    def __init__(
        self, store: Store, packs: Sequence[PackPlan], *, total: int, already: int, tell: Callable[[Event], None]
    ) -> None:
        self._store = store
        self._sizes = {pack.pack_id: len(pack.cells) for pack in packs}
        self._total = total
        self._done = already
        self._told: set[str] = set()
        self._tell = tell

    def progress(self, progress: Any) -> None:
        training = sum(share * self._sizes[pack_id] for pack_id, share in progress.training.items())
        self._tell(Event(kind="progress", cells_done=self._done, cells=self._total, training=training))

    def pack(self, pack: PackPlan) -> None:
        finished = self._store.finished()
        new = tuple(cell for cell in pack.cells if cell.cell_id in finished and cell.cell_id not in self._told)
        self._told.update(cell.cell_id for cell in new)
        self._done += len(new)
        self._tell(Event(kind="cells", cells_done=self._done, cells=self._total, new=new))


# ---- from the store alone --------------------------------------------------------------------------------------------


def stored_config(store: Store) -> SweepConfig:
    """The configuration a stored sweep was run with."""
    return build_config(store.description()["config"], str(store.folder / "sweep.json"))


def planned_cells(store: Store) -> tuple[Cell, ...]:
    """Every cell of a stored sweep, finished or not, from its stored configuration and screen."""
    description, config = store.description(), stored_config(store)
    wells = store.screen().wells
    folds: dict[str, int] = {spec.view: fold_count(spec, wells) for spec in config.views}
    return known_cells(config, store, sweep_id=description["sweep_id"], folds=folds)


def all_records(store: Store) -> list[dict[str, Any]]:
    """Every finished cell of the store, in id order."""
    return list(store.records(sorted(store.finished())))


def raise_if_nothing_trained(store: Store) -> None:
    """Raise `SweepFailedError` when not one trained cell is ok."""
    statuses = [record["status"] for record in all_records(store) if not record["trainer"].startswith(CONTROL_PREFIX)]
    if "ok" not in statuses:
        raise SweepFailedError(f"{store.folder}: none of the {len(statuses)} trained cells is ok; the report says why")


def results_table(store: Store) -> pd.DataFrame:
    """The tidy table of every finished cell."""
    panel = [
        {"metric": metric.name, "role": metric.role, "primary": metric.primary}
        for metric in (REGISTRY[name] for name in panel_names(stored_config(store)))
    ]
    return tidy(all_records(store), panel)


def tabulate_and_decide(store: Store) -> tuple[pd.DataFrame, Mapping[str, Any]]:
    """Write results.parquet, units.parquet and decision.json from the store alone; returns results and decision."""
    description = store.description()
    config = stored_config(store)
    results = results_table(store)
    if results.empty:
        raise ConfigError(f"{store.folder}: no finished cell yet; run the sweep first")
    decision = decide_sweep(results, settings=config.decision, provenance=decision_provenance(description))
    write_atomically(store.results_path, to_parquet_bytes(results))
    _write_units(store)
    write_atomically(store.decision_path, dump_json(decision))
    return results, decision


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
    """Where the correction helps and where it hurts, from units.parquet; None where no cell has units."""
    if not store.units_path.exists():
        return None
    config = stored_config(store)
    return gains(read_units(store.units_path), results, trainer=config.trainer, delta=config.decision.delta)


def decision_provenance(description: Mapping[str, Any]) -> dict[str, Any]:
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
        "adaptive": description["config"]["optuna"]["rounds"] > 0,
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
        "warnings": [*unfinished, *description["warnings"]],
        "metrics": {
            metric.name: {"title": metric.title, "direction": metric.direction} for metric in REGISTRY.values()
        },
        "held_out": {view["view"]: {"column": view["column"]} for view in description["config"]["views"]},
        "commands": [" ".join(description["command"]), f"sweeper report {store.folder.name}"],
        "config": yaml.safe_dump(json.loads(json.dumps(description["config"])), sort_keys=False, allow_unicode=True),
    }


def command_line() -> list[str]:
    """How this process was called, without the folder of the program."""
    return ["sweeper", *sys.argv[1:]]
