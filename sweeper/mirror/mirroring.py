"""Store → MLflow: which records are told, and the thread that tells them while a sweep runs."""

from __future__ import annotations

import math
import os
import queue
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from itertools import takewhile

from sweeper.arms.arm import read_name
from sweeper.decision import Decision
from sweeper.metrics.composites import composites
from sweeper.mirror.tracking import Mirror, MirroredCell, MirrorError, ParentStatus
from sweeper.planning.cells import Cell
from sweeper.planning.prepared import Prepared
from sweeper.spoken import strength_text
from sweeper.store.store import Store

STOP_SECONDS = 3.0
"""How long an interrupted sweep waits for its mirror."""
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


def _shared_tags(prepared: Prepared) -> dict[str, str]:
    from sweeper.installed import versions

    return {
        "sweeper.data_fingerprint": prepared.identity["data"],
        **{f"version.{name}": version for name, version in versions().items()},
    }


class SweepMirror:
    """Mirrors finished cells in the background; a failing tracking server costs the mirror, never the sweep."""

    def __init__(self, prepared: Prepared, *, warn: Callable[[str], None]) -> None:
        self._store = prepared.store
        self._tags = _shared_tags(prepared)
        self._warn = warn
        self._queue: queue.Queue[tuple[str, ...] | None] = queue.Queue()
        config = prepared.config
        settings = config.trainer_settings.model_dump(mode="json")
        self.mirror = Mirror(
            uri=config.tracking.uri,
            sweep_id=prepared.sweep_id,
            name=config.name,
            folder=self._store.folder,
            params={
                "trainer": config.trainer,
                "normalise": config.normalise,
                "held_out_perturbations": config.held_out_perturbations,
                "deciding_view": config.decision.deciding_view,
                "seeds": len(config.seeds),
                "wells": len(prepared.screen.wells),
                **{f"{config.trainer}.{key}": value for key, value in settings.items()},
            },
            tags=self._tags,
        )
        self._stopped: ParentStatus | None = None
        self._thread = threading.Thread(target=self._follow, name="mlflow-mirror", daemon=True)
        self._thread.start()

    def tell(self, cells: Iterable[Cell]) -> None:
        """Queue finished cells; returns at once."""
        self._queue.put(tuple(cell.cell_id for cell in cells))

    def _follow(self) -> None:
        while (cell_ids := self._queue.get()) is not None:
            try:
                self._log(cell_ids)
            except MirrorError as error:
                self._warn(f"MLflow mirror: {error}; the sweep goes on, the rest is mirrored by the next `sweeper run`")
                return
        if self._stopped is not None:
            with suppress(MirrorError):
                self.mirror.finish(artefacts=[], metrics={}, tags={}, status=self._stopped)

    def _log(self, cell_ids: Iterable[str]) -> None:
        self.mirror.log_cells(
            mirrored_cell(self._store, cell_id, self._tags)
            for cell_id in takewhile(lambda _: self._stopped is None, cell_ids)
        )

    def stop(self, status: ParentStatus) -> None:
        """Close the parent of a sweep that did not reach its end, within seconds; the next run catches up."""
        self._stopped = status
        self._queue.put(None)
        self._thread.join(timeout=STOP_SECONDS)

    def finish(self, decision: Decision, *, metrics: Mapping[str, float]) -> None:
        """Mirror whatever is not mirrored yet, then close the parent with the sweep's outputs and summary metrics."""
        self._queue.put(None)
        self._thread.join()
        store = self._store
        outputs = (store.report_path, store.decision_path, store.results_path, store.units_path)
        try:
            self._log(sorted(store.finished()))
            self.mirror.finish(
                artefacts=[path for path in outputs if path.exists()],
                metrics={"cells": float(len(store.finished())), **metrics},
                tags={
                    "sweeper.state": str(decision.rule.state),
                    "sweeper.sentence": decision.sentence[:4000],
                },
                status="FINISHED",
            )
        except MirrorError as error:
            self._warn(f"MLflow mirror: {error}; the sweep's own results are complete in {os.fspath(store.folder)}")
