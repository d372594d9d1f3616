"""The result store: one folder a sweep, one atomically written folder a finished cell.

::

    <folder>/sweep.json           what the sweep is: identity, id, configuration as given
    <folder>/screen/              features.npy (n × d float32, opened memory-mapped), wells.parquet
    <folder>/cells/<cell id>/     record.json, embeddings.npz (float16, evaluation wells), curve.json, units.parquet
    <folder>/proposals/           round-001.json: what a round added to the grid
    <folder>/checkpoints/         cells in training
    <folder>/.lease/              which process runs the sweep
    <folder>/results.parquet · units.parquet · decision.json · report.html

A cell is finished when its folder exists: it is written beside and renamed, so no reader ever sees half a cell, and a
cell written twice keeps its first result.

Where a sweep lies at a URL, the folder is this machine's copy (`working_copy`): what is written goes to the URL first.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweeper.arms.proposal import Proposal
from sweeper.errors import InputError, StoreMismatchError
from sweeper.metrics.unit_axes import COLUMNS as UNIT_COLUMNS
from sweeper.store.lease import Lease, Owner, owned, running
from sweeper.store.lease_files import FOLDER as LEASES
from sweeper.store.reading import (
    DamagedFileError,
    read_description,
    read_json,
    read_object,
    read_record,
    read_table,
    record_fault,
)
from sweeper.store.working_copy import WHOLE, WorkingCopy
from trainers.screens.place import DOOR_PATIENCE, Place, checked_url, is_url
from trainers.screens.table import REQUIRED, Screen

RETRIED = frozenset({"failed", "oom"})
"""Statuses that `--retry-failed` runs again. A collapsed cell is a result."""
_PACKS = "packs"


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write beside and rename: a reader sees the old file or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    data = content.encode() if isinstance(content, str) else content
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def dump_json(value: Any) -> str:
    """JSON for a file: sorted, indented, without NaN, with a final newline."""
    return json.dumps(value, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"


def _nearest(path: Path) -> Path:
    """The nearest thing above a path that exists."""
    return next(above for above in path.absolute().parents if above.exists())


def _is_foreign(path: Path) -> bool:
    """False for what a start that was killed leaves: its lease, temporaries, and an MLflow database made first."""
    own = path.name in (LEASES, "mlartifacts") or path.name.startswith("mlflow.db")
    return not own and path.suffix != ".tmp"


@dataclass(frozen=True)
class Store:
    """The folder of one sweep. Making the value touches nothing; `create` and the writers do."""

    folder: Path
    copy: WorkingCopy | None = field(default=None, compare=False)
    """Where the sweep lies at a URL; `folder` is its copy then."""

    @classmethod
    def at(cls, where: Path | str) -> Store:
        """The store in a folder or at a URL.

        Raises:
            InputError: a URL that is none, or whose package is not installed.
        """
        if not is_url(where):
            return cls(Path(where).absolute())
        try:
            found = checked_url(str(where))
        except ValueError as error:
            raise InputError(str(error)) from None
        if isinstance(found, Path):
            return cls(found)
        copy = WorkingCopy(Place(found))
        return cls(copy.folder, copy)

    @classmethod
    def of_pack(cls, pack: str) -> Store:
        """The store that a pack lies in, as `write_pack` named it, ready for its worker."""
        store = cls.at(pack.rpartition(f"/{_PACKS}/")[0])
        if store.copy is not None:
            store.copy.pull("sweep.json", f"screen{WHOLE}")
        return store

    @property
    def _place(self) -> Place | None:
        return None if self.copy is None else self.copy.place

    @property
    def where(self) -> str:
        """The folder or the URL, for people."""
        return self.named(self.folder)

    def named(self, path: Path) -> str:
        """Where a path in the folder is, for people."""
        if self.copy is None:
            return str(path)
        return f"{self.copy.place}/{path.relative_to(self.folder)}".removesuffix("/.")

    @property
    def cells_folder(self) -> Path:
        """Where finished cells are."""
        return self.folder / "cells"

    @property
    def results_path(self) -> Path:
        """Tidy table of every metric of every cell."""
        return self.folder / "results.parquet"

    @property
    def units_path(self) -> Path:
        """Tidy table of the label metrics by batch, cell type and perturbation; absent where no cell has any."""
        return self.folder / "units.parquet"

    @property
    def decision_path(self) -> Path:
        """The decision as JSON."""
        return self.folder / "decision.json"

    @property
    def report_path(self) -> Path:
        """The report."""
        return self.folder / "report.html"

    # ---- the sweep ---------------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """See what has been written at the URL since, cells and models apart. Nothing to do for a folder.

        Raises:
            InputError: the URL cannot be read.
        """
        if self.copy is None:
            return
        Place(self.copy.place.url, patience=DOOR_PATIENCE).check()
        self.copy.pull_level()
        self.copy.pull_level("proposals")

    def check(self, sweep_id: str) -> None:
        """Raise `StoreMismatchError` unless the folder is free or this sweep's; writes nothing."""
        if (self.folder / "sweep.json").exists():
            found = read_object(self.folder / "sweep.json").get("sweep_id")
            if found != sweep_id:
                raise StoreMismatchError(
                    f"{self.where}: holds another sweep (id {found}, this configuration is {sweep_id}: data, splits, "
                    "trainer settings or panel differ); choose another folder, e.g. --set folder=runs/other"
                )
        elif self._is_taken():
            raise StoreMismatchError(f"{self.where}: is not empty and not a sweep's folder; choose another folder")
        elif self.copy is None and not (above := _nearest(self.folder)).is_dir():
            raise StoreMismatchError(f"{self.folder}: cannot be a folder, {above} is none; choose another folder")

    def _is_taken(self) -> bool:
        """Whether something else than a sweep is there."""
        if self.copy is not None:
            return bool(self.copy.place.names() - {LEASES})
        return self.folder.exists() and (not self.folder.is_dir() or any(map(_is_foreign, self.folder.iterdir())))

    def create(self, *, sweep_id: str, description: Mapping[str, Any], screen: Screen) -> None:
        """Lay the folder out and write what the sweep is.

        `description` (configuration, identity, versions) is written anew each time: strengths and seeds may have grown.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        # First: whatever a kill leaves behind from here on is this sweep's, and the same command goes on with it.
        self._write("sweep.json", dump_json({"sweep_id": sweep_id, **description}))
        screen_folder = self.folder / "screen"
        there = screen_folder.exists() if self.copy is None else self.copy.place.stamp(f"screen{WHOLE}") is not None
        if not there:
            shutil.rmtree(screen_folder, ignore_errors=True)  # of a start that was killed before the URL had it
            temporary = self.folder / f".screen.{os.getpid()}.tmp"
            temporary.mkdir()
            np.save(temporary / "features.npy", screen.features, allow_pickle=False)
            screen.wells.to_parquet(temporary / "wells.parquet")
            (temporary / "features.json").write_text(dump_json({"names": list(screen.feature_names)}))
            temporary.rename(screen_folder)
            self.publish(screen_folder)
        for name in ("cells", _PACKS, "proposals", "checkpoints"):
            (self.folder / name).mkdir(exist_ok=True)

    def _write(self, name: str, content: bytes | str) -> None:
        """Write a file of the store, whole."""
        if self.copy is None:
            write_atomically(self.folder / name, content)
        else:
            self.copy.write(name, content.encode() if isinstance(content, str) else content)

    def publish(self, *paths: Path) -> None:
        """Take files and whole folders to the URL, as they are in the folder: gone, where they are gone."""
        if self.copy is None:
            return
        for path in paths:
            name = str(path.relative_to(self.folder))
            self.copy.publish(name + WHOLE if path.is_dir() else name)

    def models_folder(self) -> Path:
        """Where kept models are, those at the URL too."""
        if self.copy is not None:
            self.copy.pull_folders("models")
        return self.folder / "models"

    def publish_outputs(self) -> None:
        """Take tables, decision and report to the URL."""
        self.publish(self.results_path, self.units_path, self.decision_path, self.report_path)

    def description(self) -> dict[str, Any]:
        """sweep.json; raises `InputError` where there is none."""
        path = self.folder / "sweep.json"
        if not path.exists():
            raise InputError(f"{self.where}: no sweep here (sweep.json is missing); give the folder of a sweep")
        return read_description(path)

    def screen(self) -> Screen:
        """The stored screen, its features memory-mapped read-only so that all packs of a node share the page cache."""
        folder = self.folder / "screen"
        if self.copy is not None:
            self.copy.pull(f"screen{WHOLE}")
        try:
            features = np.load(folder / "features.npy", mmap_mode="r", allow_pickle=False)
            names = tuple(str(name) for name in read_object(folder / "features.json")["names"])
            wells = read_table(folder / "wells.parquet", REQUIRED)
            return Screen(features=features, feature_names=names, wells=wells)
        except Exception as error:  # noqa: BLE001 - what NumPy raises at a damaged header is any of a dozen
            told = " ".join(str(error).split())[:200]
            remedy = f"remove {folder} and give the run's command again: it is made anew from the screen's own file"
            raise InputError(f"{folder}: damaged ({told}); {remedy}") from None

    @contextmanager
    def owned(self, sweep_id: str) -> Iterator[Lease]:
        """Make the folder and own it for the length of the block; raises as `check`, and where another process does."""
        self.check(sweep_id)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{self.folder}: cannot make the output folder: {error.strerror}") from None
        with owned(self.folder, self._place) as lease:
            self.refresh()
            self.check(sweep_id)  # another sweep may have begun here meanwhile
            yield lease

    def owner(self) -> Owner | None:
        """The process that runs the sweep, as far as can be told at once."""
        return running(self.folder, self._place)

    # ---- cells -------------------------------------------------------------------------------------------------------

    def finished(self, *, retry: bool = False, among: Collection[str] | None = None) -> frozenset[str]:
        """Ids of the finished cells; with `retry`, without those whose status is in `RETRIED`.

        `among`: look at these alone; the others of a sweep at a URL need not come here then.
        """
        ids = frozenset(i for i in self._cell_folders(among) if record_fault(self.cells_folder / i) is None)
        return frozenset(i for i in ids if self.record(i)["status"] not in RETRIED) if retry else ids

    def _cell_folders(self, among: Collection[str] | None = None) -> tuple[str, ...]:
        if self.copy is not None:
            return tuple(sorted(self.copy.pull_folders("cells", among)))
        if not self.cells_folder.is_dir():
            return ()
        names = (path.name for path in self.cells_folder.iterdir() if not path.name.startswith("."))
        return tuple(sorted(name for name in names if among is None or name in among))

    def damage(self) -> tuple[str, ...]:
        """What cannot be read of the finished cells, one line a file: such a cell counts as not finished.

        Damaged values by batch and perturbation cost a cell those alone.
        """
        found = []
        for cell_id in self._cell_folders():
            if (reason := record_fault(self.cells_folder / cell_id)) is not None:
                found.append(f"cells/{cell_id}/record.json: {reason}; the cell counts as not finished")
                continue
            try:
                self._read_units(cell_id)
            except DamagedFileError as error:
                found.append(f"cells/{cell_id}/{error.path.name}: {error.reason}; the cell counts without it")
        return tuple(found)

    def record(self, cell_id: str) -> dict[str, Any]:
        """The result record of a finished cell; raises `DamagedFileError`."""
        return read_record(self.cells_folder / cell_id)

    def records(self, cell_ids: Iterable[str]) -> Iterator[dict[str, Any]]:
        """Result records in the order given."""
        return (self.record(cell_id) for cell_id in cell_ids)

    def curve(self, cell_id: str) -> list[dict[str, float]]:
        """The training curve of a finished cell; empty for controls, and where it cannot be read."""
        try:
            data = read_json(self.cells_folder / cell_id / "curve.json")
        except DamagedFileError:
            return []
        rows = data if isinstance(data, list) else []
        return [row for row in rows if isinstance(row, dict) and all(isinstance(v, int | float) for v in row.values())]

    def embeddings(self, cell_id: str) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """(rows, embeddings): row numbers of the screen, (n,), and their embeddings, (n, e), stored as float16."""
        path = self.cells_folder / cell_id / "embeddings.npz"
        with path.open("rb") as file, np.load(file, allow_pickle=False) as data:  # NumPy leaves a damaged file open
            return data["rows"], data["embeddings"].astype(np.float32)

    def units(self, cell_id: str) -> pd.DataFrame | None:
        """A finished cell's label metrics by batch, cell type and perturbation (`sweeper.metrics.units.COLUMNS`).

        None where there are none: not asked for, not an `ok` cell, written before they were kept, or damaged since.
        """
        try:
            return self._read_units(cell_id)
        except DamagedFileError:
            return None

    def _read_units(self, cell_id: str) -> pd.DataFrame | None:
        path = self.cells_folder / cell_id / "units.parquet"
        return read_table(path, UNIT_COLUMNS) if path.exists() else None

    def write_cell(
        self,
        record: Mapping[str, Any],
        *,
        curve: list[dict[str, float]],
        rows: NDArray[np.int64] | None = None,
        embeddings: NDArray[np.float32] | None = None,
        units: pd.DataFrame | None = None,
        replace: bool = False,
    ) -> bool:
        """Write a finished cell in one rename. False when it is there already (the first result stays).

        `replace` is for a failed cell that is run again; a damaged one gives way unasked.
        """
        cell_id = record["cell_id"]
        final = self.cells_folder / cell_id
        temporary = self.cells_folder / f".{cell_id}.{os.getpid()}.tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        (temporary / "curve.json").write_text(json.dumps(curve, allow_nan=False))
        if rows is not None and embeddings is not None:
            np.savez(temporary / "embeddings.npz", rows=rows, embeddings=embeddings.astype(np.float16))
        if units is not None and len(units):
            units.to_parquet(temporary / "units.parquet", index=False, compression="zstd")
        write_atomically(temporary / "record.json", dump_json(record))
        if self.copy is not None:
            return self._write_there(cell_id, temporary, replace=replace)
        if final.exists() and (replace or record_fault(final) is not None):
            shutil.rmtree(final)
        try:
            temporary.rename(final)
        except OSError:
            shutil.rmtree(temporary, ignore_errors=True)
            if not final.exists():
                raise
            return False
        return True

    def _write_there(self, cell_id: str, temporary: Path, *, replace: bool) -> bool:
        """`write_cell` at a URL."""
        assert self.copy is not None  # noqa: S101 - the caller has looked
        try:
            new = self.copy.publish_cell(cell_id, temporary, replace=replace)
            if not new and cell_id not in self.finished(among={cell_id}):
                new = self.copy.publish_cell(cell_id, temporary, replace=True)  # what is there is damaged
            if new:
                self.copy.keep_cell(cell_id, temporary)
            return new
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def sweep_leftovers(self) -> None:
        """Remove what a killed process left half-written; only the driver calls this, before workers start."""
        for path in self.cells_folder.glob(".*.tmp"):
            shutil.rmtree(path, ignore_errors=True)
        for path in self.folder.glob(".*.tmp"):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()

    # ---- proposals and packs -----------------------------------------------------------------------------------------

    def proposals(self) -> list[Proposal]:
        """The rounds proposed so far, in order."""
        paths = sorted((self.folder / "proposals").glob("round-*.json"))
        found = []
        for path in paths:
            try:
                found.append(Proposal.from_json(read_object(path)))
            except (KeyError, TypeError, ValueError, OverflowError):
                raise InputError(f"{path}: not a round as this version keeps it; sweep into another folder") from None
        return found

    def write_proposal(self, number: int, proposal: Proposal) -> None:
        """Keep round `number` (from 1), so that a restarted sweep follows the same road."""
        self._write(f"proposals/round-{number:03d}.json", dump_json(proposal.to_json()))

    def write_pack(self, pack_id: str, content: Mapping[str, Any]) -> str:
        """Write what a trial needs to know about its pack; returns the path or URL that is given to the trial."""
        name = f"{_PACKS}/{pack_id}.json"
        if self.copy is None:
            write_atomically(self.folder / name, dump_json(content))
        else:
            self.copy.place.put(name, dump_json(content).encode())
        return self.named(self.folder / name)

    def read_pack(self, pack: str) -> dict[str, Any]:
        """What `write_pack` wrote."""
        if self.copy is not None:
            found: dict[str, Any] = json.loads(self.copy.place.read(f"{_PACKS}/{pack.rpartition('/')[2]}"))
            return found
        return read_object(Path(pack))

    def drop_pack(self, pack: str) -> None:
        """Remove a pack that is over."""
        if self.copy is None:
            Path(pack).unlink(missing_ok=True)
        else:
            self.copy.place.delete(f"{_PACKS}/{pack.rpartition('/')[2]}")

    # ---- cells in training -------------------------------------------------------------------------------------------

    def checkpoint_path(self, key: str) -> Path:
        """Where cells in training keep their checkpoint; `key` names the cells."""
        path = self.folder / "checkpoints" / f"{key}.pt"
        if self.copy is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def find_checkpoint(self, key: str) -> Path | None:
        """The checkpoint of cells in training; None where there is none."""
        path = self.checkpoint_path(key)
        if self.copy is not None:
            self.copy.pull(f"checkpoints/{key}.pt")
        return path if path.exists() else None

    def drop_checkpoint(self, key: str) -> None:
        """Remove the checkpoint of cells that are finished."""
        path = self.checkpoint_path(key)
        path.unlink(missing_ok=True)
        self.publish(path)

    def drop_checkpoints(self) -> None:
        """Remove what trainings that are over, or were cut into other packs, left behind; while nothing trains."""
        if self.copy is not None:
            for name in self.copy.place.list("checkpoints"):
                self.copy.place.delete(name)
        for path in (self.folder / "checkpoints").iterdir():
            path.unlink()
