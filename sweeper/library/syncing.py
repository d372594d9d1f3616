"""A stored sweep into MLflow, whatever it missed: from the store alone, and safe to repeat."""

from __future__ import annotations

from dataclasses import dataclass

from sweeper.findings.stored import planned_cells, readable_decision, results_table, stored_config, stored_gains
from sweeper.findings.unit_gains import headline
from sweeper.kept.keeping import Kept, kept_models
from sweeper.kept.model_file import read_facts
from sweeper.mirror.mirroring import Subject, close, screen_source
from sweeper.store.store import Store


@dataclass(frozen=True)
class Synced:
    """What came of it."""

    written: int
    """Cells that were not there yet."""
    finished: int
    """Cells of the store."""
    mlflow: tuple[str, ...]
    """How to look at it in MLflow: a command, or its run's address; and the view of its cells."""


def sync(store: Store, *, uri: str | None = None) -> Synced:
    """Mirror what MLflow does not hold yet of a stored sweep. Nothing is doubled, however often it is called.

    Args:
        store: a sweep that no other process runs.
        uri: tracking URI; None: the sweep's own, else MLFLOW_TRACKING_URI, else SQLite in its folder.

    Raises:
        InputError: there is no sweep, MLflow does not answer, or another process runs the sweep.
        MirrorError: MLflow went away in between.
    """
    description = store.description()
    config = stored_config(store)
    if uri is not None:
        config = config.model_copy(update={"tracking": config.tracking.model_copy(update={"uri": uri})})
    subject = Subject(
        store=store,
        config=config,
        sweep_id=description["sweep_id"],
        data=description["identity"]["data"],
        wells=description["screen"]["wells"],
        versions=description["versions"],
        features=description["screen"]["features"],
        source=screen_source(config, description.get("account", {}).get("source", "")),
    )
    with store.owned(subject.sweep_id):
        mirror = subject.open()
        finished = store.finished()
        written = mirror.log_cells(subject.cells(sorted(finished)))
        decision = readable_decision(store)
        if decision is None or not finished.issuperset(cell.cell_id for cell in planned_cells(store)):
            mirror.finish(artefacts=[], metrics={"cells": float(len(finished))}, tags={}, status="KILLED")
        else:
            gains = stored_gains(store, results_table(store))
            kept = [Kept(folder, read_facts(folder), made=False) for folder in kept_models(store)]
            metrics = {} if gains is None else headline(gains, decision)
            close(mirror, subject, decision, metrics=metrics, kept=kept)
    return Synced(written, len(finished), mirror.ways)
