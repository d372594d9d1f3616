"""Store → MLflow: which records are told, and the thread that tells them while a sweep runs."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from sweeper.config.sweep_config import SweepConfig
from sweeper.decision import Decision
from sweeper.errors import InputError
from sweeper.installed import versions
from sweeper.kept.keeping import Kept
from sweeper.mirror.mirrored import decision_metrics, decision_params, mirrored_cell, mirrored_model
from sweeper.mirror.tracking import Mirror, MirroredCell, MirrorError, ParentStatus
from sweeper.planning.cells import Cell
from sweeper.planning.prepared import Prepared
from sweeper.store.store import Store

STOP_SECONDS = 3.0
"""How long an interrupted sweep waits for its mirror."""
RETRY_SECONDS = 15.0
"""How often a server that is away is tried again."""
WAITING = "its cells wait until MLflow answers again"


@dataclass(frozen=True, kw_only=True)
class ComparisonLevel:
    """Where the methods of a comparison are mirrored: under one run, in its experiment."""

    run_id: str
    experiment: str
    folder: Path


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The sweep that is mirrored."""

    store: Store
    config: SweepConfig
    sweep_id: str
    data: str
    """Fingerprint of the screen."""
    wells: int
    versions: Mapping[str, str]
    features: int = 0
    source: str = ""
    """Where the screen was read."""
    level: ComparisonLevel | None = None
    """The comparison that the sweep is a method of."""

    def open(self) -> Mirror:
        """The tracking store, opened for it. Raises `InputError`."""
        config, level = self.config, self.level
        settings = config.trainer_settings.model_dump(mode="json")
        return Mirror(
            uri=config.tracking.uri,
            sweep_id=self.sweep_id,
            name=config.name if level is None else config.trainer,
            folder=self.store.folder if level is None else level.folder,
            experiment=None if level is None else level.experiment,
            above=None if level is None else level.run_id,
            params={
                "trainer": config.trainer,
                "normalise": config.normalise,
                "held_out_perturbations": config.held_out_perturbations,
                "deciding_view": config.decision.deciding_view,
                "seeds": len(config.seeds),
                "wells": self.wells,
                **{f"{config.trainer}.{key}": value for key, value in settings.items()},
            },
            tags=self.tags,
        )

    @property
    def dataset(self) -> dict[str, Any]:
        """The screen, as `Mirror.log_dataset` takes it."""
        return {
            "name": self.config.name,
            "digest": self.data.removeprefix("sha256:")[:36],
            "source": self.source,
            "profile": {"wells": self.wells, "features": self.features, "fingerprint": self.data},
        }

    @property
    def tags(self) -> dict[str, str]:
        """Of the parent and of every cell."""
        versions = {f"version.{name}": version for name, version in self.versions.items()}
        return {"sweeper.data_fingerprint": self.data, **versions}

    def cells(self, cell_ids: Iterable[str]) -> Iterator[MirroredCell]:
        """Finished cells, read one after another."""
        return (mirrored_cell(self.store, cell_id, self.tags) for cell_id in cell_ids)


def prepared_subject(prepared: Prepared, level: ComparisonLevel | None = None) -> Subject:
    """A sweep that is about to run; `level`: as a method of this comparison."""
    return Subject(
        store=prepared.store,
        config=prepared.config,
        sweep_id=prepared.sweep_id,
        data=prepared.identity["data"],
        wells=len(prepared.screen.wells),
        versions=versions(),
        features=len(prepared.screen.feature_names),
        source=screen_source(prepared.config, prepared.account.source),
        level=level,
    )


def screen_source(config: SweepConfig, read: str) -> str:
    """Where a screen came from: its file, else how it was read."""
    return read if config.screen is None else str(config.screen.path)


def close(
    mirror: Mirror, subject: Subject, decision: Decision, *, metrics: Mapping[str, float], kept: Sequence[Kept] = ()
) -> None:
    """Close the parent of a sweep that has reached its end, with its screen, models and outputs.

    Raises:
        MirrorError: the store did not take all of it.
    """
    store = subject.store
    outputs = (store.report_path, store.decision_path, store.results_path, store.units_path)
    try:
        mirror.log_dataset(**subject.dataset)
        models = [mirrored_model(store, each, subject.tags) for each in kept]
        mirror.log_models(models, registered=subject.config.name)
    finally:
        mirror.finish(
            artefacts=[path for path in outputs if path.exists()],
            metrics={"cells": float(len(store.finished())), **metrics, **decision_metrics(decision)},
            params=decision_params(decision),
            note=decision.sentence,
            tags={"sweeper.state": str(decision.rule.state), "sweeper.sentence": decision.sentence[:4000]},
            status="FINISHED",
        )


class SweepMirror:
    """Mirrors finished cells in the background; a failing tracking server costs the mirror, never the sweep.

    While it is away its cells wait, and it is tried again every `RETRY_SECONDS`.
    """

    def __init__(self, subject: Subject, *, warn: Callable[[str], None]) -> None:
        self._subject = subject
        self._warn = warn
        self._queue: queue.Queue[tuple[str, ...] | None] = queue.Queue()
        self.mirror = subject.open()
        self._stopped: ParentStatus | None = None
        self._thread = threading.Thread(target=self._follow, name="mlflow-mirror", daemon=True)
        self._thread.start()

    def tell(self, cells: Iterable[Cell]) -> None:
        """Queue finished cells, those of this sweep; returns at once."""
        folder = self._subject.store.cells_folder
        self._queue.put(tuple(cell.cell_id for cell in cells if (folder / cell.cell_id).exists()))

    def _follow(self) -> None:
        waiting: list[str] = []
        away_since = 0.0
        while True:
            try:
                told = self._queue.get(timeout=RETRY_SECONDS if waiting else None)
            except queue.Empty:
                told = ()
            if told is None:
                break
            waiting += told
            if away_since and time.monotonic() - away_since < RETRY_SECONDS:
                continue
            try:
                if away_since:
                    self.mirror = self._subject.open()  # what we know of it may be out of date
                self._log(waiting)
            except (MirrorError, InputError) as error:
                if not away_since:
                    self._warn(f"MLflow mirror: {error}; the sweep goes on, {WAITING}")
                away_since = time.monotonic()
                continue
            if away_since:
                self._warn(f"MLflow mirror: it answers again, {len(waiting)} cells are caught up with")
            waiting, away_since = [], 0.0
        if self._stopped is not None:
            with suppress(MirrorError):
                self.mirror.finish(artefacts=[], metrics={}, tags={}, status=self._stopped)

    def _log(self, cell_ids: Iterable[str]) -> None:
        self.mirror.log_cells(self._subject.cells(takewhile(lambda _: self._stopped is None, cell_ids)))

    def stop(self, status: ParentStatus) -> None:
        """Close the parent of a sweep that did not reach its end, within seconds; the next run catches up."""
        self._stopped = status
        self._queue.put(None)
        self._thread.join(timeout=STOP_SECONDS)

    def finish(self, decision: Decision, *, metrics: Mapping[str, float], kept: Sequence[Kept] = ()) -> None:
        """Mirror whatever is not mirrored yet, then close the parent with the sweep's outputs, models and metrics."""
        self._queue.put(None)
        self._thread.join()
        store = self._subject.store
        try:
            self._log(sorted(store.finished()))
            close(self.mirror, self._subject, decision, metrics=metrics, kept=kept)
        except MirrorError as error:
            self._warn(
                f"MLflow mirror: {error}; the sweep's own results are complete, and `sweeper sync "
                f"{store.where}` mirrors the rest"
            )
