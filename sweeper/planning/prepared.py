"""A sweep before anything is written: its screen read, every split tried, its identity and its cells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sweeper.arms.ladder import ladder_cells, ladder_parts, resolved_rungs
from sweeper.arms.proposal import Proposal
from sweeper.arms.pseudo import pseudo_batches
from sweeper.config.sweep_config import SweepConfig
from sweeper.content import content_hash
from sweeper.decision.verdict.confounded import Nesting
from sweeper.errors import InputError
from sweeper.metrics.catalogue import check_metrics
from sweeper.metrics.unit_axes import check_axes
from sweeper.planning.cells import (
    Cell,
    SplitKey,
    as_begun,
    control_cells,
    make_cells,
    settings_identity,
    sweep_identity,
)
from sweeper.planning.control_normalisation import control_normalisation_warning
from sweeper.planning.design_index import DesignIndex, confounding_warning, design_index
from sweeper.planning.drawn_splits import DrawnSplits
from sweeper.planning.foresight import Foresight, foresee
from sweeper.planning.images import bare_screen, feature_screen, open_images
from sweeper.planning.inputs import trainer_inputs
from sweeper.planning.nesting import nesting
from sweeper.store.store import Store
from trainers.screens.images.image_screen import ImageScreen
from trainers.screens.images.source import packed_folder
from trainers.screens.place import is_url
from trainers.screens.readers import read_screen, simulated_account
from trainers.screens.screen_account import Account
from trainers.screens.simulation_spec import SimulationSpec
from trainers.screens.splits import Split, fold_count
from trainers.screens.table import Screen, screen_warnings


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """A validated sweep: nothing has been written yet."""

    config: SweepConfig
    screen: Screen
    sweep_id: str
    identity: dict[str, Any]
    folds: dict[str, int]
    splits: DrawnSplits
    designs: dict[str, DesignIndex]
    """View → perturbation × batch imbalance of its training wells: the worst fold of the first seed."""
    warnings: tuple[str, ...]
    account: Account
    """How the screen was read."""
    images: ImageScreen | None = None
    """What is trained on, where it is images; `screen` then holds simple features of them."""

    @property
    def store(self) -> Store:
        """The sweep's store (it may not exist yet)."""
        return Store.at(self.config.where)

    def data_files(self) -> tuple[Path, ...]:
        """What every node reads, as far as it is there: the stored screen, and packed images that are trained on.

        What lies at URLs is not among it: a node keeps its own copy, by its digest.
        """
        folders = [self.store.folder / "screen"] if self.store.copy is None else []
        if self.images is not None:
            assert self.config.images is not None  # noqa: S101
            if not is_url(self.config.images.packed):
                folders.append(packed_folder(self.config.images))
        return tuple(
            path for folder in folders if folder.is_dir() for path in sorted(folder.iterdir()) if path.is_file()
        )

    def batches_of(self, cells: Iterable[Cell]) -> dict[SplitKey, int]:
        """Number of training batches of each split that the cells use."""
        batch = self.screen.wells["batch"]
        splits = {cell.split_key: self.splits.of(cell) for cell in cells}
        return {key: batch.iloc[split.train].nunique() for key, split in splits.items()}

    @cached_property
    def nesting(self) -> Nesting:
        """How many perturbations and targets lie in several batches."""
        return nesting(self.screen.wells)

    @cached_property
    def foresight(self) -> Foresight:
        """What can be decided, from the table and its splits alone."""
        return foresee(self.config, self.splits, self.folds, self.nesting)

    @cached_property
    def pseudo_batch(self) -> str | None:
        """The real batch that the pseudo-batch arm splits (at the first seed and fold); None where there is none."""
        config, wells = self.config, self.screen.wells
        seed = (config.pseudo.seeds or config.seeds)[0]
        split = self.splits.split(config.decision.deciding_view, 0, seed)
        found = pseudo_batches(wells, split, seed=seed)
        return None if found is None else found.batch

    def cells_of(self, proposal: Proposal) -> tuple[Cell, ...]:
        """The cells of a round."""
        return proposed_cells(proposal, self.config, sweep_id=self.sweep_id, folds=self.folds)

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
            proposal.own_trainer,
            block.strengths,
            config.seeds if block.seeds is None else block.seeds,
            views,
            arm=proposal.arm,
        )
    )


def known_cells(
    config: SweepConfig, proposals: Sequence[Proposal], *, sweep_id: str, folds: Mapping[str, int]
) -> tuple[Cell, ...]:
    """Grid, controls, every round proposed so far, and the ladder."""
    cells = list(grid_cells(config, sweep_id=sweep_id, folds=folds))
    for proposal in proposals:
        cells.extend(proposed_cells(proposal, config, sweep_id=sweep_id, folds=folds))
    cells.extend(ladder_cells(config, sweep_id=sweep_id, folds=folds))
    return tuple({cell.cell_id: cell for cell in reversed(cells)}.values())[::-1]


def load_screen(config: SweepConfig) -> Screen:
    """The screen that the configuration names: read, simulated, or the features of its images."""
    if config.images is not None:
        return feature_screen(config, open_images(config))
    return load_table(config)[0]


def load_table(config: SweepConfig) -> tuple[Screen, Account]:
    """The screen of profiles that the configuration names, read or simulated, and how it was read."""
    if config.screen is not None:
        reading = read_screen(config.screen, Path())
        return reading.screen, reading.account
    from trainers.screens.simulated_screen import simulate

    assert config.simulate is not None  # noqa: S101 - the configuration has one of the two
    screen = _begun_with(config)
    if screen is None:
        screen = simulate(config.simulate).screen
    return screen, simulated_account(screen, "simulated")


def _begun_with(config: SweepConfig) -> Screen | None:
    """The simulated screen that the sweep in the folder began with; None where there is none of the same kind.

    Another processor rounds the draws in another way, and the sweep would not be the same sweep there.
    """
    store = Store.at(config.where)
    if not (store.folder / "sweep.json").exists() or not (store.folder / "screen").is_dir():
        return None
    stored = store.description().get("config", {}).get("simulate")
    return store.screen() if stored and SimulationSpec.model_validate(stored) == config.simulate else None


def prepare(config: SweepConfig, *, embed: bool = True, table: tuple[Screen, Account] | None = None) -> Prepared:
    """Read the screen and try every split: whatever is wrong with the input is said before anything is written.

    Args:
        embed: make the features that stand for images. Without it the screen of images has none: for dry runs.
        table: what `load_table` gives for this configuration, where it has been read already.
    """
    check_metrics(config.metrics or ())
    check_metrics(config.decision.primary_technical or (), "decision.primary_technical")
    check_metrics(config.decision.primary_biological or (), "decision.primary_biological")
    config = _as_begun(config)
    images = None if config.images is None else open_images(config)
    settings = settings_identity(config)
    if images is None:
        screen, account = load_table(config) if table is None else table
    else:
        screen = (feature_screen if embed else bare_screen)(config, images)
        account = Account(
            "images",
            len(images),
            len(images.channels),
            {"channels of images": len(images.channels)},
            columns=images.columns,
        )
    check_axes(config.panel.units, screen.wells)
    folds: dict[str, int] = {spec.view: fold_count(spec, screen.wells) for spec in config.views}
    designs: dict[str, DesignIndex] = {}
    splits = DrawnSplits(config, screen.wells, keep_layouts=True)
    for spec in config.views:
        found: list[DesignIndex] = []
        for seed in config.seeds:
            for fold in range(folds[spec.view]):
                split = splits.split(spec.view, fold, seed)
                _refuse_one_batch(config, screen, split, seed)
                if seed == config.seeds[0]:
                    found.append(design_index(screen.wells.iloc[split.train]))
        designs[spec.view] = max(found, key=lambda index: index.d_js)
    trained_on = images if config.how.reads == "images" else None
    if config.ladder is not None:
        ladder_parts(config, screen.wells)
    inputs = trainer_inputs(config, screen, trained_on)
    by_controls: tuple[str, ...] = ()
    if config.normalise == "plate_controls" and inputs.features is not None:
        by_controls = control_normalisation_warning(screen.features, inputs.features, screen.wells)
    for each in (config.trainer_settings, *(rung.settings for rung in resolved_rungs(config))):
        config.how.try_out(inputs, each)
    identity = sweep_identity(config, screen.fingerprint if images is None else images.fingerprint, settings)
    prepared = Prepared(
        config=config,
        screen=screen,
        sweep_id=content_hash(identity),
        identity=identity,
        folds=folds,
        splits=splits,
        designs=designs,
        warnings=(
            *_reading_warnings(config, account),
            *screen_warnings(screen),
            *by_controls,
            *confounding_warning(designs),
        ),
        account=account,
        images=trained_on,
    )
    prepared.store.check(prepared.sweep_id)
    return prepared


def _as_begun(config: SweepConfig) -> SweepConfig:
    """The configuration with the panel of the sweep in its folder, if there is one."""
    store = Store.at(config.where)
    store.refresh()
    if not (store.folder / "sweep.json").exists():
        return config
    return as_begun(config, store.description().get("identity", {}))


def _reading_warnings(config: SweepConfig, account: Account) -> tuple[str, ...]:
    """What a user should look at of how the table was read."""
    scale = account.unscaled if config.normalise == "none" else None
    return (*account.warnings, *([f"{scale}: normalise: plate"] if scale else []))


def _refuse_one_batch(config: SweepConfig, screen: Screen, split: Split, seed: int) -> None:
    """An adversary has nothing to remove from one batch; every cell with λ > 0 would fail on its own."""
    if config.corrects and config.reads_batches and screen.wells["batch"].iloc[split.train].nunique() < 2:
        raise InputError(
            f"views: {split.name} of seed {seed} trains on one batch alone, where there is nothing to remove; take "
            "fewer folds, or more batches"
        )
