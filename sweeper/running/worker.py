"""What one trial does: train a pack, score its cells, write each to the store. Plain functions, no Ray."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from sweeper.arms.arm import Arm, read_name
from sweeper.arms.arm_rounds import cell_rows
from sweeper.arms.ladder import cell_config
from sweeper.config.sweep_config import SweepConfig, build_config
from sweeper.content import content_hash
from sweeper.metrics.biological.retention import uncorrected
from sweeper.metrics.controls import UnavailableControlError, control_embedding
from sweeper.metrics.evaluation import Evaluation, Predict, Source
from sweeper.metrics.panel_options import PanelOptions
from sweeper.planning.cells import Cell, PackPlan, SplitKey, cell_metrics
from sweeper.planning.drawn_splits import DrawnSplits
from sweeper.planning.images import open_images
from sweeper.planning.inputs import trainer_inputs
from sweeper.running.scoring import Embed, Scored, cell_record, score, unmeasured
from sweeper.store.store import Store
from trainers.base import Classifies, EmbedsFeatures, Inputs, Pack, TrainingCell
from trainers.errors import OutOfMemoryError
from trainers.screens.images.image_screen import ImageScreen
from trainers.screens.splits import Split
from trainers.screens.table import Screen

CHUNKS = 8
"""A training is reported in this many chunks: progress, and the grain at which a checkpoint may be written."""


@dataclass
class PackRun:
    """One pack from its file to its finished cells. `advance` until it returns False, then iterate `finish`.

    Cells that train one after another are scored and written one after another too, so that none is lost to what
    happens to a later one: a cell that runs out of device memory is written as "oom", and the next one is trained.
    """

    pack_file: str
    """Path or URL, as `Store.write_pack` gave it."""
    device: str = "cpu"
    threads: int = 1
    _references: dict[tuple[SplitKey, Arm], Evaluation] = field(default_factory=dict, init=False)
    _group: int = field(default=0, init=False)
    _training: Pack | None = field(default=None, init=False)
    _out_of_memory: str | None = field(default=None, init=False)
    _seconds: float = field(default=0.0, init=False)

    @cached_property
    def _content(self) -> dict[str, Any]:
        return self.store.read_pack(self.pack_file)

    @cached_property
    def store(self) -> Store:
        """The sweep's store; the pack file lies in it."""
        return Store.of_pack(self.pack_file)

    @cached_property
    def config(self) -> SweepConfig:
        """The sweep's configuration."""
        return build_config(self._content["config"], self.pack_file)

    @cached_property
    def panel(self) -> PanelOptions:
        """Options of the metrics; their large products run where the pack trains, unless the configuration says."""
        panel = self.config.panel
        if panel.device is not None or self.device == "cpu":
            return panel
        return panel.model_copy(update={"device": self.device})

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """Cells that are still to be done: an earlier try of this pack may have finished some."""
        plan = PackPlan.from_json(self._content)
        done = self.store.finished(among={cell.cell_id for cell in plan.cells})
        retried = frozenset(self._content["replace"])
        return tuple(cell for cell in plan.cells if cell.cell_id not in done or cell.cell_id in retried)

    @cached_property
    def _screen(self) -> Screen:
        return self.store.screen()

    @cached_property
    def _splits(self) -> DrawnSplits:
        return DrawnSplits(self.config, self._screen.wells)

    @cached_property
    def _images(self) -> ImageScreen | None:
        """The images that are trained on: those that the sweep began with, or an error."""
        if self.config.how.reads != "images":
            return None
        return open_images(self.config, expected=self.store.description()["identity"]["data"])

    def _rows(self, cell: Cell) -> tuple[Split, pd.DataFrame]:
        """The cell's split and the wells it is scored by."""
        own = cell_rows(cell, self._splits.of(cell), self._screen.wells)
        return own.split, own.wells

    @cached_property
    def _groups(self) -> tuple[tuple[Cell, ...], ...]:
        """The cells to train, by what trains together: all of them, or one at a time."""
        trained = tuple(cell for cell in self.cells if not cell.is_control)
        if self.config.how.one_at_a_time:
            return tuple((cell,) for cell in trained)
        return (trained,) if trained else ()

    def _checkpoint(self, group: tuple[Cell, ...]) -> str:
        """Named by the cells that it is of: a sweep that was killed is cut into other packs when it goes on."""
        ids = [cell.cell_id for cell in group]
        return ids[0] if len(ids) == 1 else content_hash(ids)

    def _start(self, group: tuple[Cell, ...]) -> Pack:
        wells = self._screen.wells
        cells = [training_cell(cell, self._splits.of(cell), wells) for cell in group]
        config = cell_config(self.config, group[0])  # cells of a group are of one rung, or of none
        pack = config.how.pack(self._inputs, cells, config.trainer_settings, device=self.device, threads=self.threads)
        if (checkpoint := self.store.find_checkpoint(self._checkpoint(group))) is not None:
            import torch

            state = torch.load(checkpoint, weights_only=True, map_location=self.device)
            if state["cells"] == [cell.key for cell in cells]:
                pack.load_state_dict(state["pack"])
        return pack

    def advance(self) -> bool:
        """Train the next chunk; False when training is over (or there is nothing to train)."""
        if self._group == len(self._groups):
            return False
        began = time.perf_counter()
        going = False
        try:
            going = self._train(self._groups[self._group])
        except OutOfMemoryError as error:
            self._out_of_memory = str(error)
        self._seconds += time.perf_counter() - began
        if not going and self._group + 1 < len(self._groups):
            list(self._finish_group())
            return True
        return going

    def _train(self, group: tuple[Cell, ...]) -> bool:
        """One chunk of a group; whether there is more of it."""
        if self._training is None:
            self._training = self._start(group)
        pack = self._training
        every = self.config.executor.checkpoint_every or pack.checkpoint_steps
        pack.advance(every or -(-pack.total_steps // CHUNKS))
        going = pack.step < pack.total_steps
        if every and going:
            self._write_checkpoint(group, pack)
        return going

    def _write_checkpoint(self, group: tuple[Cell, ...], pack: Pack) -> None:
        import torch

        final = self.store.checkpoint_path(self._checkpoint(group))
        temporary = final.with_suffix(".tmp")
        torch.save({"cells": [cell.cell_id for cell in group], "pack": pack.state_dict()}, temporary)
        temporary.replace(final)
        self.store.publish(final)

    @property
    def fraction(self) -> float:
        """Share of the training that is done, 0 to 1."""
        if not self._groups:
            return 1.0
        pack = self._training
        part = 0.0 if pack is None else pack.step / pack.total_steps
        return (self._group + part) / len(self._groups)

    def finish(self) -> Iterator[Cell]:
        """Score and write what `advance` has not written yet, one by one; yields each cell when it is on disk."""
        if self._group < len(self._groups):
            yield from self._finish_group()
        for cell in self.cells:
            if cell.is_control:
                self._write(cell, -1, companions=0)
                yield cell

    def _finish_group(self) -> Iterator[Cell]:
        """Score and write the cells of a group, then let go of what trained them."""
        group = self._groups[self._group]
        for index, cell in enumerate(group):
            self._write(cell, index, companions=len(group))
            yield cell
        self._group += 1
        self._training, self._out_of_memory, self._seconds = None, None, 0.0
        self.store.drop_checkpoint(self._checkpoint(group))
        if self.device != "cpu":
            import gc

            import torch

            gc.collect()  # networks are cycles
            torch.cuda.empty_cache()

    def _write(self, cell: Cell, index: int, *, companions: int) -> None:
        """Score a cell and write it; `index` in its group of `companions` cells."""
        began = time.perf_counter()
        split, wells = self._rows(cell)
        scored = self._score_or_reason(cell, index, split, wells)
        pack = None if cell.is_control else self._training
        record = cell_record(
            cell,
            status=scored.status,
            reason=scored.reason,
            metrics=scored.rows,
            seconds={
                "train": 0.0 if cell.is_control else self._seconds / companions,
                "score": time.perf_counter() - began,
            },
            pack_cells=companions,
        )
        self.store.write_cell(
            record,
            curve=[] if pack is None else pack.history(index),
            rows=split.test if scored.embeddings is not None else None,
            embeddings=scored.embeddings,
            units=scored.units,
            replace=cell.cell_id in self._content["replace"],
        )

    def _score_or_reason(self, cell: Cell, index: int, split: Split, wells: pd.DataFrame) -> Scored:
        """The score of a cell, or why it has none."""
        if cell.is_control:
            return self._score(cell, index, split, wells)
        if self._out_of_memory is not None:
            return Scored(status="oom", reason=self._out_of_memory)
        assert self._training is not None  # noqa: S101 - trained, or out of memory
        reason = self._training.diverged(index)
        if reason is not None:
            return Scored(status="failed", reason=reason)
        try:
            return self._score(cell, index, split, wells)
        except OutOfMemoryError as error:
            return Scored(status="oom", reason=str(error))

    def _score(self, cell: Cell, index: int, split: Split, wells: pd.DataFrame) -> Scored:
        names = cell_metrics(self.config, cell)
        try:
            embed = self._embed(cell, index, split)
        except UnavailableControlError as unavailable:
            return unmeasured(names, str(unavailable))
        return score(
            embed,
            split,
            wells,
            cell=cell,
            names=names,
            options=self.panel,
            reference=self._reference(cell, split, wells),
            source=self._source(cell, index, split),
            predict=self._predict(cell, index, split),
        )

    def _reference(self, cell: Cell, split: Split, wells: pd.DataFrame) -> Evaluation:
        """The uncorrected test rows of the cell's split; the same object for all cells that share it."""
        key = cell.split_key, cell.arm
        if key not in self._references:
            self._references[key] = uncorrected(
                np.asarray(self._screen.features)[split.test],
                wells.iloc[split.test].reset_index(drop=True),
                held_out_perturbations=split.held_out_perturbations,
                view=split.view,
                seed=cell.seed,
                options=self.panel,
            )
        return self._references[key]

    def _source(self, cell: Cell, index: int, split: Split) -> Source | None:
        """What the encoder is given of the test rows; None for controls, and for packs that embed no other features."""
        pack, features = self._training, self._inputs.features
        if cell.is_control or features is None or not isinstance(pack, EmbedsFeatures):
            return None
        return Source(features=features[split.test], encode=lambda rows: pack.embed_features(index, rows))

    def _predict(self, cell: Cell, index: int, split: Split) -> Predict | None:
        """The class head of a trained cell; None for controls, and for packs without one."""
        pack = self._training
        if cell.is_control or not isinstance(pack, Classifies):
            return None
        names = np.array(sorted(self._screen.wells["perturbation"].unique()), dtype=str)
        return lambda part: names[pack.predict(index, split.test if part == "test" else split.validation)]

    @cached_property
    def _inputs(self) -> Inputs:
        return trainer_inputs(self.config, self._screen, self._images)

    def _embed(self, cell: Cell, index: int, split: Split) -> Embed:
        if cell.is_control:
            everything = control_embedding(
                read_name(cell.trainer).trainer,
                np.asarray(self._screen.features),
                self._screen.wells,
                train_rows=split.train,
                seed=cell.seed,
            )
            return lambda rows: everything[rows]
        pack = self._training
        assert pack is not None  # noqa: S101 - for the type checker: trained cells have a pack
        return lambda rows: pack.embed(index, rows)


def training_cell(cell: Cell, split: Split, wells: pd.DataFrame) -> TrainingCell:
    """A planned cell as its trainer sees it, with the rows and batch labels of its arm."""
    own = cell_rows(cell, split, wells)
    assert cell.adversarial_weight is not None  # noqa: S101 - controls are never trained
    assert cell.margin is not None  # noqa: S101
    return TrainingCell(
        key=cell.cell_id,
        adversarial_weight=cell.adversarial_weight,
        margin=cell.margin,
        seed=cell.seed,
        train=own.split.train,
        validation=own.split.validation,
        test=own.split.test,
        batches=own.batches,
    )


def pack_content(pack: PackPlan, config: SweepConfig, *, replace: frozenset[str]) -> Mapping[str, Any]:
    """What a trial reads: the pack, the configuration, and which finished cells it runs again."""
    return {
        **pack.to_json(),
        "config": config.model_dump(mode="json"),
        "replace": sorted(replace.intersection(cell.cell_id for cell in pack.cells)),
    }
