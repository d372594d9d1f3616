"""Store → MLflow: which records are told, and the thread that tells them while a sweep runs."""

from __future__ import annotations

import math
import os
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile

from sweeper.arms.arm import read_name
from sweeper.config.sweep_config import SweepConfig
from sweeper.decision import Decision
from sweeper.installed import versions
from sweeper.metrics.composites import composites
from sweeper.mirror.tracking import Mirror, MirroredCell, MirrorError, ParentStatus
from sweeper.planning.cells import Cell
from sweeper.planning.prepared import Prepared
from sweeper.spoken import strength_text
from sweeper.store.store import Store

STOP_SECONDS = 3.0
"""How long an interrupted sweep waits for its mirror."""
RETRY_SECONDS = 15.0
"""How often a server that is away is tried again."""
WAITING = "its cells wait until MLflow answers again"
_PARAMETERS = ("trainer", "adversarial_weight", "margin", "seed", "split", "view", "fold")


def mirrored_cell(store: Store, cell_id: str, shared_tags: Mapping[str, str]) -> MirroredCell:
    """A finished cell as MLflow shows it: final metrics under technical/, biological/ and composite/, the curve under
    training/.
    """
    record = store.record(cell_id)
    metrics: dict[str, float] = {}
    for row in record["metrics"]:
        if row["value"] is not None:
            metrics[f"{row['role']}/{row['metric']}"] = row["value"]
        if row["raw"] is not None:
            metrics[f"{row['role']}/{row['metric']}.raw"] = row["raw"]
    total = composites(record["metrics"])
    for name, value in (("T", total.technical), ("B", total.biological), ("geometric", total.geometric)):
        if value is not None:
            metrics[f"composite/{name}"] = value
    strength = ""
    if record["adversarial_weight"] is not None:
        own = read_name(record["trainer"]).trainer
        strength = f" {strength_text(own, record['adversarial_weight'], record['margin'])}"
    return MirroredCell(
        cell_id=cell_id,
        name=f"{record['trainer']}{strength} seed {record['seed']} {record['split']}",
        status=record["status"],
        params={key: record[key] for key in _PARAMETERS if record[key] is not None},
        metrics={key: value for key, value in metrics.items() if math.isfinite(value)},
        curve=store.curve(cell_id),
        artefacts=(store.cells_folder / cell_id / "record.json",),
        started=record["ended"] - sum(record["seconds"].values()),
        ended=record["ended"],
        tags={**shared_tags, **({"sweeper.reason": record["reason"]} if record["reason"] else {})},
    )


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

    def open(self) -> Mirror:
        """The tracking store, opened for it. Raises `InputError`."""
        config = self.config
        settings = config.trainer_settings.model_dump(mode="json")
        return Mirror(
            uri=config.tracking.uri,
            sweep_id=self.sweep_id,
            name=config.name,
            folder=self.store.folder,
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
    def tags(self) -> dict[str, str]:
        """Of the parent and of every cell."""
        versions = {f"version.{name}": version for name, version in self.versions.items()}
        return {"sweeper.data_fingerprint": self.data, **versions}

    def cells(self, cell_ids: Iterable[str]) -> Iterator[MirroredCell]:
        """Finished cells, read one after another."""
        return (mirrored_cell(self.store, cell_id, self.tags) for cell_id in cell_ids)


def prepared_subject(prepared: Prepared) -> Subject:
    """A sweep that is about to run."""
    return Subject(
        store=prepared.store,
        config=prepared.config,
        sweep_id=prepared.sweep_id,
        data=prepared.identity["data"],
        wells=len(prepared.screen.wells),
        versions=versions(),
    )


def close(mirror: Mirror, store: Store, decision: Decision, *, metrics: Mapping[str, float]) -> None:
    """Close the parent of a sweep that has reached its end, with its outputs. Raises `MirrorError`."""
    outputs = (store.report_path, store.decision_path, store.results_path, store.units_path)
    mirror.finish(
        artefacts=[path for path in outputs if path.exists()],
        metrics={"cells": float(len(store.finished())), **metrics},
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
        """Queue finished cells; returns at once."""
        self._queue.put(tuple(cell.cell_id for cell in cells))

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
                self._log(waiting)
            except MirrorError as error:
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

    def finish(self, decision: Decision, *, metrics: Mapping[str, float]) -> None:
        """Mirror whatever is not mirrored yet, then close the parent with the sweep's outputs and summary metrics."""
        self._queue.put(None)
        self._thread.join()
        store = self._subject.store
        try:
            self._log(sorted(store.finished()))
            close(self.mirror, store, decision, metrics=metrics)
        except MirrorError as error:
            self._warn(
                f"MLflow mirror: {error}; the sweep's own results are complete, and `sweeper sync "
                f"{os.fspath(store.folder)}` mirrors the rest"
            )
