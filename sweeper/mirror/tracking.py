"""The MLflow mirror: one parent run a sweep, one child run a cell, keyed by the cell's id and safe to repeat.

The result store is the truth; this is a copy of it for browsing. Only the driver process writes, through
`MlflowClient` alone: no fluent API, no active run, so neither `MLFLOW_RUN_ID` nor `MLFLOW_EXPERIMENT_*` in the
environment can divert a run. Workers never open the database. Importing this module imports no MLflow.
"""

from __future__ import annotations

import json
import math
import posixpath
import re
import secrets
import shlex
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from sweeper.mirror.address import artefact_root, check_tracking, masked, sqlite_path
from sweeper.mirror.client import open_client, quiet_creation, reported_as
from sweeper.mirror.moved import follow_artefacts
from sweeper.mirror.saved_view import LOCAL, TAG, view_address, view_state
from trainers.errors import InputError

if TYPE_CHECKING:
    from mlflow.entities import Metric, Run

    from sweeper.mirror.logged_model import MirroredModel

ParentStatus = Literal["FINISHED", "FAILED", "KILLED"]

_CELL_STATUS = {"ok": "FINISHED", "failed": "FAILED", "collapsed": "FAILED", "oom": "FAILED"}
_OPEN_STATUS = ("RUNNING", "SCHEDULED")
_EXTENDED = "sweeper.param."
_NOTE = "mlflow.note.content"
_KIND, _RUNS = "mlflow.experimentKind", "custom_model_development"
"""Without it MLflow takes an experiment for one of generative AI, and opens it on evaluations in place of runs."""
# `log_batch` takes 1000 metrics, 100 params, 100 tags and 1000 entities in all, in at most 1 MB of JSON.
_METRICS, _TEXTS, _MAX_TEXT, _MAX_KEY = 800, 100, 4000, 250
_PAGE = 1000
_AT_ONCE = 8
"""Requests that are on their way to a server at once."""
_PARENT, _CELL_ID = "mlflow.parentRunId", "sweeper.cell_id"
_WRITER, _SEVERAL = "sweeper.writer", "several"
"""Tag of the parent: who mirrors this sweep now; empty: nobody."""


class MirrorError(Exception):
    """Writing to MLflow failed in mid-sweep; nothing in the result store is lost, and a later mirror catches up."""


@dataclass(frozen=True, kw_only=True)
class MirroredCell:
    """One finished cell in plain values.

    Attributes:
        cell_id: content hash of the cell; the key of the mirror.
        name: the run's name, for people.
        status: "ok", "failed", "collapsed" or "oom".
        params: trainer, adversarial_weight, margin, seed, split, …; None values are left out.
        metrics: by name, e.g. "technical/batch_probe_linear"; non-finite values are left out.
        curve: training curve, one mapping a point with "step" and floats; logged as "training/<key>" at that step.
        artefacts: small files to attach, e.g. the result record.
        tags: further tags.
        started, ended: Unix seconds of the training, so that MLflow shows its duration rather than the mirror's.
    """

    cell_id: str
    name: str
    status: str
    params: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    curve: Sequence[Mapping[str, float]] = ()
    artefacts: Sequence[Path] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    started: float | None = None
    ended: float | None = None

    def __post_init__(self) -> None:
        if self.status not in _CELL_STATUS:
            raise ValueError(f"cell {self.cell_id}: status must be one of {sorted(_CELL_STATUS)}, got {self.status!r}")


@dataclass(frozen=True)
class _Child:
    """What the tracking store already holds of one cell."""

    run_id: str
    run_status: str
    cell_status: str | None
    start_time: int
    artifact_uri: str


class Mirror:
    """The tracking store opened for one sweep; used by one thread of one process.

    Opening finds or creates the experiment and the parent run, and reads once which cells are there already. A parent
    left by an interrupted or finished sweep is set running again.

    Args:
        uri: tracking URI of the config, or None; see `resolve_uri`.
        sweep_id: identity of the sweep; the same id always finds the same parent.
        name: name of the sweep, for people: the parent's name.
        folder: the sweep's folder; holds the database and the artefacts where no URI is given.
        params: parameters of the sweep. MLflow never changes a parameter: one that differs from an earlier run of the
            same sweep (an extension, say) is written as the tag "sweeper.param.<name>".
        tags: tags of the parent.
        experiment: name of the experiment; "sweeper/<name>" by default.
        above: id of the run that the parent is a child of; None: of none.

    Raises:
        InputError: the store cannot be reached or opened.
    """

    def __init__(
        self,
        *,
        uri: str | None,
        sweep_id: str,
        name: str,
        folder: Path,
        params: Mapping[str, Any],
        tags: Mapping[str, str],
        experiment: str | None = None,
        above: str | None = None,
    ) -> None:
        self._uri = check_tracking(uri, folder)
        self._sweep_id = sweep_id
        with reported_as(InputError, f"cannot open MLflow at {self.uri}"), quiet_creation():
            if (database := sqlite_path(self._uri)) is not None and (root := artefact_root(self._uri, folder)):
                follow_artefacts(database, root)
            self._client = open_client(self._uri)
            self._experiment_id = self._open_experiment(experiment or f"sweeper/{name}", folder)
            parent = self._only(self._search(kind="sweep"))
            # Another process may mirror a copy of the folder. MLflow has no unique key, so that runs are made, looked
            # for, and made one: whoever comes later says so first and then reads, and so sees what is there, or is
            # seen by who is at it.
            self._alone = parent is None or not parent.data.tags.get(_WRITER)
            self._token = secrets.token_hex(8)
            self.parent_run_id, self._parent_artifacts = self._open_parent(
                parent, name, params, {**tags, _WRITER: self._token}, above
            )
            self._children = self._find_children()

    @property
    def uri(self) -> str:
        """The tracking URI in use, any password masked."""
        return masked(self._uri)

    @property
    def _served(self) -> bool:
        return self._uri.startswith(("http://", "https://"))

    @property
    def ui_command(self) -> str:
        """The command that shows the store in a browser; behind a server, the address of the parent run."""
        if self._served:
            return f"{self.uri}/#/experiments/{self._experiment_id}/runs/{self.parent_run_id}"
        return f"mlflow ui --backend-store-uri {shlex.quote(self.uri)}"

    @property
    def ways(self) -> tuple[str, str]:
        """`ui_command`, and where a browser then shows the cells with λ, m, seed, T and B."""
        return self.ui_command, view_address(self.uri if self._served else LOCAL, self._experiment_id)

    def log_cells(self, cells: Iterable[MirroredCell]) -> int:
        """Mirror the cells that are not there yet, each as a child run; return how many were written.

        A cell whose run is finished, or failed in the same way, is skipped; a run that a crash left open is completed;
        a failed run is replaced when a retry of its cell ended otherwise. Repeating the call is always safe.

        Raises:
            MirrorError: the store did not take a cell; some of the others are written.
        """
        remaining = iter(cells)
        written = 0
        while some := tuple(islice(remaining, _AT_ONCE * 2)):
            new = [cell for cell in {cell.cell_id: cell for cell in some}.values() if not self._has(cell)]
            if not new:
                continue
            where = f"cell {new[0].name}: MLflow at {self.uri}"
            with reported_as(MirrorError, where):
                self._alone = self._alone and self._is_writer()
            self._write_all(new)
            with reported_as(MirrorError, where):
                self._alone = self._alone and self._is_writer()
                if not self._alone:
                    found = [self._only(self._search(cell_id=cell.cell_id)) for cell in new]
                    self._children |= {run.data.tags[_CELL_ID]: _child(run) for run in found if run is not None}
            self._write_all([cell for cell in new if not self._has(cell)])  # those whose other run was kept
            written += len(new)
        return written

    def _write_all(self, cells: Sequence[MirroredCell]) -> None:
        if self._served:
            # Most of a request's time is the server's: several are on their way at once.
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                list(pool.map(self._write_reported, cells))
        else:
            for cell in cells:
                self._write_reported(cell)

    def _has(self, cell: MirroredCell) -> bool:
        known = self._children.get(cell.cell_id)
        return known is not None and _is_settled(known, cell.status)

    def _write_reported(self, cell: MirroredCell) -> None:
        with reported_as(MirrorError, f"cell {cell.name}: MLflow at {self.uri}"):
            self._write_cell(cell, self._children.get(cell.cell_id))

    def _is_writer(self) -> bool:
        """Whether nobody else has opened this sweep since; whoever has is told that there are several."""
        parent = self._client.get_run(self.parent_run_id)
        if parent.info.lifecycle_stage != "active":
            raise MirrorError(f"sweep {self._sweep_id}: MLflow at {self.uri}: its run there was deleted meanwhile")
        found = parent.data.tags.get(_WRITER)
        if found == self._token:
            return True
        if found != _SEVERAL:
            self._client.set_tag(self.parent_run_id, _WRITER, _SEVERAL)
        return False

    def finish(
        self,
        *,
        artefacts: Sequence[Path],
        metrics: Mapping[str, float],
        tags: Mapping[str, str],
        status: ParentStatus,
        params: Mapping[str, Any] = MappingProxyType({}),
        note: str = "",
    ) -> None:
        """Attach the sweep's own results to the parent and close it, even where an artefact cannot be attached.

        `note` is what the page of the run and that of the experiment say in words.

        Raises:
            MirrorError: the store did not take all of it.
        """
        with reported_as(MirrorError, f"sweep {self._sweep_id}: MLflow at {self.uri}"):
            try:
                if not self._alone:
                    self._find_children()  # what another writer left when it was killed
                parent = self._client.get_run(self.parent_run_id)
                new, changed = _new_params(parent, params)
                noted = {_NOTE: note} if note else {}
                measured = _metrics(metrics, (), timestamp=_milliseconds(None))
                self._log(self.parent_run_id, measured, new, {**tags, **changed, **noted, _WRITER: ""})
                if note:
                    self._client.set_experiment_tag(self._experiment_id, _NOTE, _text(note))
                self._attach(self._parent_artifacts, artefacts)
            finally:
                self._client.set_terminated(self.parent_run_id, status)

    def log_dataset(self, *, name: str, digest: str, source: str, profile: Mapping[str, Any]) -> None:
        """The screen as an input of the parent, once.

        Args:
            digest: of its content, 36 characters at most.
            source: where it was read.

        Raises:
            MirrorError: the store did not take it.
        """
        from mlflow.entities import Dataset, DatasetInput, InputTag

        with reported_as(MirrorError, f"sweep {self._sweep_id}: MLflow at {self.uri}"):
            described = json.dumps(profile, sort_keys=True)
            dataset = Dataset(name=name, digest=digest, source_type="local", source=source, profile=described)
            tags = [InputTag("mlflow.data.context", "sweep")]
            self._client.log_inputs(self.parent_run_id, [DatasetInput(dataset, tags)])

    def log_models(self, models: Sequence[MirroredModel], *, registered: str) -> None:
        """Kept models, those that are not there yet, and the alias of the advised one.

        Raises:
            MirrorError: the store did not take one.
        """
        from sweeper.mirror.logged_model import log_models

        with reported_as(MirrorError, f"models of sweep {self._sweep_id}: MLflow at {self.uri}"), quiet_creation():
            log_models(
                self._client, models, experiment=self._experiment_id, run=self.parent_run_id, registered=registered
            )

    def _open_experiment(self, name: str, folder: Path) -> str:
        from mlflow.exceptions import MlflowException

        found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                return self._client.create_experiment(
                    name, artifact_location=artefact_root(self._uri, folder), tags={_KIND: _RUNS, TAG: view_state()}
                )
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another sweep has just created it
                    raise
                found = self._client.get_experiment_by_name(name)
        if found is None or found.lifecycle_stage != "active":
            raise InputError(
                f"MLflow at {self.uri}: experiment {name!r} is deleted; restore it with `mlflow experiments restore` "
                "or give the sweep another name"
            )
        if _KIND not in found.tags:
            self._client.set_experiment_tag(found.experiment_id, _KIND, _RUNS)
        if found.tags.get(TAG) != view_state():
            self._client.set_experiment_tag(found.experiment_id, TAG, view_state())
        return str(found.experiment_id)

    def _find_children(self) -> dict[str, _Child]:
        """The runs of the cells by id, one each, and all of them below the parent."""
        found: dict[str, list[Run]] = {}
        for run in self._search():
            if (cell_id := run.data.tags.get(_CELL_ID)) is not None:
                found.setdefault(cell_id, []).append(run)
        children = {}
        for cell_id, runs in found.items():
            kept = self._only(runs)
            assert kept is not None  # noqa: S101 - each list has one
            children[cell_id] = _child(kept)
            if kept.data.tags.get(_PARENT) != self.parent_run_id:
                self._client.set_tag(kept.info.run_id, _PARENT, self.parent_run_id)
        return children

    def _only(self, runs: Iterable[Run]) -> Run | None:
        """The oldest run, which every writer takes for the one; the others are deleted (and can be restored)."""
        ordered = sorted(runs, key=_age)
        for other in ordered[1:]:
            self._client.delete_run(other.info.run_id)
        return ordered[0] if ordered else None

    def _search(self, **tags: str) -> Iterator[Run]:
        """Runs of this sweep with these "sweeper." tags."""
        wanted = {"sweep_id": self._sweep_id, **tags}
        token: str | None = None
        while True:
            page = self._client.search_runs(
                [self._experiment_id],
                filter_string=" AND ".join(f"tags.`sweeper.{key}` = '{value}'" for key, value in wanted.items()),
                max_results=_PAGE,
                page_token=token,
            )
            yield from page
            token = page.token
            if not token:
                return

    def _open_parent(
        self,
        found: Run | None,
        name: str,
        params: Mapping[str, Any],
        tags: Mapping[str, str],
        above: str | None,
    ) -> tuple[str, str]:
        """The parent's run id, and where its artefacts are."""
        if found is None:
            identity = {"sweeper.sweep_id": self._sweep_id, "sweeper.kind": "sweep", "mlflow.source.name": "sweeper"}
            identity |= {} if above is None else {_PARENT: above}
            made = self._client.create_run(self._experiment_id, tags=identity, run_name=name)
            found = self._only(self._search(kind="sweep")) or made
        run_id = str(found.info.run_id)
        if found.info.status != "RUNNING":
            self._client.update_run(run_id, status="RUNNING")
        new, changed = _new_params(found, params)
        self._log(run_id, [], new, {**tags, **changed})
        return run_id, str(found.info.artifact_uri)

    def _write_cell(self, cell: MirroredCell, known: _Child | None) -> None:
        if known is not None and known.run_status not in _OPEN_STATUS:
            # Parameters and metric histories cannot be taken back, so the retry gets a run of its own.
            self._client.delete_run(known.run_id)
            del self._children[cell.cell_id]
            known = None
        if known is None:
            known = self._child_of(cell)
            self._children[cell.cell_id] = known
        # The run's own start as timestamp makes a repeated point identical to the first, which MLflow then drops.
        metrics = _metrics(cell.metrics, cell.curve, timestamp=known.start_time)
        self._log(known.run_id, metrics, cell.params, {**cell.tags, "sweeper.status": cell.status})
        self._attach(known.artifact_uri, cell.artefacts)
        run_status = _CELL_STATUS[cell.status]
        self._client.set_terminated(known.run_id, run_status, end_time=_milliseconds(cell.ended))
        self._children[cell.cell_id] = replace(known, run_status=run_status, cell_status=cell.status)

    def _child_of(self, cell: MirroredCell) -> _Child:
        """The cell's run: a new one, unless another writer (of a copy of the folder) has made it since we opened."""
        found = None if self._alone else self._only(self._search(cell_id=cell.cell_id))
        if found is None:
            identity = {
                _PARENT: self.parent_run_id,
                "mlflow.source.name": "sweeper",
                "sweeper.sweep_id": self._sweep_id,
                "sweeper.kind": "cell",
                _CELL_ID: cell.cell_id,
            }
            found = self._client.create_run(
                self._experiment_id, start_time=_milliseconds(cell.started), tags=identity, run_name=cell.name
            )
        return _child(found)

    def _log(self, run_id: str, metrics: Sequence[Metric], params: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """Everything of a run in as few requests as `log_batch` allows."""
        from mlflow.entities import Param, RunTag

        metric = iter(metrics)
        param = iter([Param(_name(key), _text(value)) for key, value in params.items() if value is not None])
        tag = iter([RunTag(_name(key), _text(value)) for key, value in tags.items()])
        while any(batch := (list(islice(metric, _METRICS)), list(islice(param, _TEXTS)), list(islice(tag, _TEXTS)))):
            self._client.log_batch(run_id, *batch, synchronous=True)

    def _attach(self, artifact_uri: str, artefacts: Sequence[Path]) -> None:
        """As `log_artifact`, without asking for the run first: we know where its artefacts are."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        repository = get_artifact_repository(artifact_uri, tracking_uri=self._uri)
        for path in artefacts:
            repository.log_artifact(str(path))  # type: ignore[no-untyped-call]


def _age(run: Run) -> tuple[int, str]:
    """Orders runs by their start; the id settles it between copies of one training."""
    return run.info.start_time, run.info.run_id


def _child(run: Run) -> _Child:
    info = run.info
    return _Child(info.run_id, info.status, run.data.tags.get("sweeper.status"), info.start_time, info.artifact_uri)


def _new_params(run: Run, params: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    """Parameters that a run does not have yet, and tags for those that it has with another value."""
    earlier = {**run.data.params, **_extended(run.data.tags)}
    texts = {_name(key): _text(value) for key, value in params.items() if value is not None}
    new = {key: text for key, text in texts.items() if key not in earlier}
    return new, {_EXTENDED + key: text for key, text in texts.items() if earlier.get(key, text) != text}


def _extended(tags: Mapping[str, str]) -> dict[str, str]:
    """The parameters that an earlier run of the sweep had to write as tags."""
    return {key.removeprefix(_EXTENDED): text for key, text in tags.items() if key.startswith(_EXTENDED)}


def _is_settled(child: _Child, cell_status: str) -> bool:
    if child.run_status in _OPEN_STATUS:
        return False
    return child.run_status == "FINISHED" or child.cell_status == cell_status


def _metrics(values: Mapping[str, float], curve: Sequence[Mapping[str, float]], *, timestamp: int) -> list[Metric]:
    """Finite values at step 0 and the curve at its own steps, under names MLflow accepts."""
    from mlflow.entities import Metric

    points = [(_name(key), float(value), 0) for key, value in values.items()]
    for index, point in enumerate(curve):
        step = int(point.get("step", index))
        points += [(_name(f"training/{key}"), float(value), step) for key, value in point.items() if key != "step"]
    return [Metric(name, value, timestamp, step) for name, value, step in points if math.isfinite(value)]


def _name(key: str) -> str:
    """`key` in the characters MLflow allows: "recall@5" → "recall_at_5"; also a plain relative path."""
    allowed = re.sub(r"[^/\w.\- :]", "_", key.replace("@", "_at_"))
    path = posixpath.normpath(allowed.replace("..", "_")).strip("/")
    return (path if path not in ("", ".") else "_")[:_MAX_KEY]


def _text(value: object) -> str:
    text = str(value)
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 1] + "…"


def _milliseconds(seconds: float | None) -> int:
    return int((time.time() if seconds is None else seconds) * 1000)
