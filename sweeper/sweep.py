"""A sweep from configuration to decision: plan, execute, propose, tabulate, decide.

Everything after the store can be redone from the store.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import pandas as pd

from sweeper.boundary import crossed_boundary
from sweeper.config import SweepConfig, build_config
from sweeper.content import content_hash
from sweeper.decision import DecisionSettings, decide_sweep
from sweeper.decision.table import CONTROL_PREFIX, LADDER_PREFIX
from sweeper.design_index import DesignIndex, confounding_warning, design_index
from sweeper.errors import ConfigError, InputError, SweepFailedError
from sweeper.gains import Gains, gains
from sweeper.images import bare_screen, feature_screen, image_identity, image_pack, open_images
from sweeper.ladder import ladder_cells, ladder_parts, ladder_view, resolved_rungs
from sweeper.ladder_table import LadderTable, ladder_table
from sweeper.metrics.registry import REGISTRY, resolve
from sweeper.metrics.units import check_axes
from sweeper.plan import (
    Cell,
    SplitKey,
    cell_split,
    control_cells,
    make_cells,
    panel_names,
    sweep_identity,
)
from sweeper.results import read_units, tidy, to_parquet_bytes, units, write_units
from sweeper.search.proposal import Proposal
from sweeper.search.pseudo import pseudo_batches
from sweeper.store import Store, dump_json, write_atomically
from trainers.base import TrainingCell
from trainers.screens.images.screen import ImageScreen
from trainers.screens.normalise import normalise
from trainers.screens.readers import read_screen
from trainers.screens.splits import Split, fold_count, make_split
from trainers.screens.table import Screen, screen_warnings

ADAPTIVE = ("optuna", "locate")
"""Rounds whose strengths or seeds were chosen by looking at results."""
VERSIONED = (
    "sweeper",
    "torch",
    "timm",
    "ray",
    "optuna",
    "mlflow",
    "scikit-learn",
    "copairs",
    "numpy",
    "pandas",
    "plotly",
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """A validated sweep: nothing has been written yet."""

    config: SweepConfig
    screen: Screen
    sweep_id: str
    identity: dict[str, Any]
    folds: dict[str, int]
    designs: dict[str, DesignIndex]
    """View → perturbation × batch imbalance of its training wells: the worst fold of the first seed."""
    warnings: tuple[str, ...]
    images: ImageScreen | None = None
    """What is trained on, where it is images; `screen` then holds simple features of them."""

    @property
    def store(self) -> Store:
        """The sweep's store (it may not exist yet)."""
        return Store(self.config.output)

    def batches_of(self, cells: Iterable[Cell]) -> dict[SplitKey, int]:
        """Number of training batches of each split that the cells use."""
        batch = self.screen.wells["batch"]
        splits = {cell.split_key: cell for cell in cells}
        return {
            key: batch.iloc[cell_split(self.config, self.screen.wells, cell).train].nunique()
            for key, cell in splits.items()
        }

    @cached_property
    def pseudo_batch(self) -> str | None:
        """The real batch that the pseudo-batch arm splits (at the first seed and fold); None where there is none."""
        config, wells = self.config, self.screen.wells
        spec = next(view for view in config.views if view.view == config.decision.deciding_view)
        seed = (config.pseudo.seeds or config.seeds)[0]
        split = make_split(wells, spec, fold=0, seed=seed, held_out_perturbations=config.held_out_perturbations)
        found = pseudo_batches(wells, split, seed=seed)
        return None if found is None else found.batch

    def known_cells(self) -> tuple[Cell, ...]:
        """Grid, controls and every round proposed so far."""
        return known_cells(self.config, self.store.proposals(), sweep_id=self.sweep_id, folds=self.folds)


def grid_cells(config: SweepConfig, *, sweep_id: str, folds: Mapping[str, int]) -> tuple[Cell, ...]:
    """Controls and the grid."""
    return (
        *control_cells(sweep_id, config.seeds, folds),
        *make_cells(sweep_id, config.trainer, config.strengths.grid(), config.seeds, folds),
    )


def proposed_cells(
    proposal: Proposal, config: SweepConfig, *, sweep_id: str, folds: Mapping[str, int]
) -> tuple[Cell, ...]:
    """The cells of a round."""
    views = {view: count for view, count in folds.items() if proposal.views is None or view in proposal.views}
    return tuple(
        cell
        for block in proposal.blocks
        for cell in make_cells(
            sweep_id,
            proposal.trainer,
            block.strengths,
            config.seeds if block.seeds is None else block.seeds,
            views,
        )
    )


def confirm_seeds(proposals: Iterable[Proposal]) -> tuple[int, ...]:
    """Fresh seeds of the confirmations, ascending: they take part in nothing that they confirm."""
    confirming = (proposal for proposal in proposals if proposal.kind == "confirm")
    return tuple(sorted({seed for made in confirming for block in made.blocks for seed in block.seeds or ()}))


def known_cells(
    config: SweepConfig, proposals: Sequence[Proposal], *, sweep_id: str, folds: Mapping[str, int]
) -> tuple[Cell, ...]:
    """Grid, controls, every round proposed so far, and the ladder."""
    cells = list(grid_cells(config, sweep_id=sweep_id, folds=folds))
    for proposal in proposals:
        cells.extend(proposed_cells(proposal, config, sweep_id=sweep_id, folds=folds))
    cells.extend(ladder_cells(config, sweep_id=sweep_id, folds=folds))
    return tuple(dict.fromkeys(cells))


def load_screen(config: SweepConfig) -> Screen:
    """The screen that the configuration names: read, simulated, or the features of its images."""
    if config.screen is not None:
        return read_screen(config.screen, Path())
    if config.images is not None:
        return feature_screen(config, open_images(config))
    from trainers.screens.simulate import simulate

    assert config.simulate is not None  # noqa: S101 - the configuration has one of the two
    return simulate(config.simulate).screen


def prepare(config: SweepConfig, *, embed: bool = True) -> Prepared:
    """Read the screen and try every split: whatever is wrong with the input is said before anything is written.

    Args:
        embed: make the features that stand for images. Without it the screen of images has none: for dry runs.
    """
    resolve(config.metrics if config.metrics is not None else tuple(REGISTRY))
    images = None if config.images is None else open_images(config)
    settings = None if images is None else image_identity(config)
    screen = load_screen(config) if images is None else (feature_screen if embed else bare_screen)(config, images)
    check_axes(config.panel.units, screen.wells)
    folds: dict[str, int] = {spec.view: fold_count(spec, screen.wells) for spec in config.views}
    designs: dict[str, DesignIndex] = {}
    for spec in config.views:
        found: list[DesignIndex] = []
        for seed in config.seeds:
            for fold in range(folds[spec.view]):
                split = make_split(
                    screen.wells, spec, fold=fold, seed=seed, held_out_perturbations=config.held_out_perturbations
                )
                _refuse_one_batch(config, screen, split, seed)
                if seed == config.seeds[0]:
                    found.append(design_index(screen.wells.iloc[split.train]))
        designs[spec.view] = max(found, key=lambda index: index.d_js)
    normalise(screen.features, screen.wells, config.normalise)
    trained_on = images if config.trainer == "abra_images" else None
    if config.ladder is not None:
        ladder_parts(config, screen.wells)
    if trained_on is not None:
        for network in (config.trainer_settings, *(rung.settings for rung in resolved_rungs(config))):
            _try_backbone(config.model_copy(update={"abra_images": network}), trained_on)
    identity = sweep_identity(config, screen.fingerprint if images is None else images.fingerprint, settings)
    prepared = Prepared(
        config=config,
        screen=screen,
        sweep_id=content_hash(identity),
        identity=identity,
        folds=folds,
        designs=designs,
        warnings=(*screen_warnings(screen), *confounding_warning(designs)),
        images=trained_on,
    )
    prepared.store.check(prepared.sweep_id)
    return prepared


def _refuse_one_batch(config: SweepConfig, screen: Screen, split: Split, seed: int) -> None:
    """An adversary has nothing to remove from one batch; every cell with λ > 0 would fail on its own."""
    corrects = any(weight > 0.0 for weight, _ in config.strengths.grid())
    if corrects and screen.wells["batch"].iloc[split.train].nunique() < 2:
        raise InputError(
            f"views: {split.name} of seed {seed} trains on one batch alone, where there is nothing to remove; take "
            "fewer folds, or more batches"
        )


def _try_backbone(config: SweepConfig, images: ImageScreen) -> None:
    """Make one cell's network: a wrong point, size or weight file shows before anything is written."""
    rows = np.arange(len(images))
    cell = TrainingCell(key="trial", adversarial_weight=1.0, margin=0.0, seed=0, train=rows, validation=rows[:0])
    image_pack(config, images, [cell], device="cpu", threads=1)


def versions() -> dict[str, str]:
    """Versions of what computes: packages and Python."""
    found = {name: importlib.metadata.version(name) for name in VERSIONED}
    return {"python": platform.python_version(), **found}


def sweep_description(prepared: Prepared, command: Sequence[str]) -> dict[str, Any]:
    """What sweep.json says of the sweep, beside its id."""
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


# ---- from the store alone --------------------------------------------------------------------------------------------


def stored_config(store: Store) -> SweepConfig:
    """The configuration a stored sweep was run with."""
    return build_config(store.description()["config"], str(store.folder / "sweep.json"))


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
    decision = decide_sweep(
        results,
        settings=config.decision,
        provenance=decision_provenance(description, store.proposals()),
        next_options=config.locate.next_options,
        units=deciding_units(store, config.decision),
    )
    write_atomically(store.results_path, to_parquet_bytes(results))
    _write_units(store)
    write_atomically(store.decision_path, dump_json(decision))
    return results, decision


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
    """Where the correction helps and where it hurts, from units.parquet; None where no cell has units."""
    if not store.units_path.exists():
        return None
    config = stored_config(store)
    return gains(read_units(store.units_path), results, trainer=config.trainer, delta=config.decision.delta)


def stored_ladder(store: Store, results: pd.DataFrame) -> LadderTable | None:
    """What the ladder found, from the store alone; None without a ladder."""
    config = stored_config(store)
    if config.ladder is None:
        return None
    wells = store.screen().wells
    kinds = wells.groupby("batch")["cell_type"].agg(["nunique", "first"])
    return ladder_table(
        resolved_rungs(config),
        units((record for record in all_records(store) if record["trainer"].startswith(LADDER_PREFIX)), store.units),
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
        "confirm_seeds": list(confirm_seeds(proposals)),
        "adaptive": any(proposal.kind in ADAPTIVE and proposal.strengths for proposal in proposals),
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
        "held_out": _held_out(store),
        "commands": [" ".join(description["command"]), f"sweeper report {store.folder.name}"],
        "config": yaml.safe_dump(json.loads(json.dumps(description["config"])), sort_keys=False, allow_unicode=True),
    }


def _held_out(store: Store) -> dict[str, Any]:
    """What each view holds out, and the boundary that this is, at the first seed."""
    config, wells = stored_config(store), store.screen().wells
    share, seed = config.held_out_perturbations, config.seeds[0]
    found: dict[str, Any] = {}
    for spec in config.views:
        further = [*config.panel.units, *([] if spec.view == "official" else [spec.column])]
        splits = (
            make_split(wells, spec, fold=fold, seed=seed, held_out_perturbations=share)
            for fold in range(fold_count(spec, wells))
        )
        found[spec.view] = {
            "column": spec.column,
            "batch": "batch" if config.images is None else "experiment",
            **crossed_boundary(wells, splits, further=tuple(dict.fromkeys(further))),
        }
    return found


def command_line() -> list[str]:
    """How this process was called, without the folder of the program."""
    return ["sweeper", *sys.argv[1:]]
