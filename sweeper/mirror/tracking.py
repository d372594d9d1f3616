"""The MLflow mirror: one parent run a sweep, one child run a cell, keyed by the cell's id and safe to repeat.

The result store is the truth; this is a copy of it for browsing. Only the driver process writes, through
`MlflowClient` alone: no fluent API, no active run, so neither `MLFLOW_RUN_ID` nor `MLFLOW_EXPERIMENT_*` in the
environment can divert a run. Workers never open the database. Importing this module imports no MLflow.
"""

from __future__ import annotations

import json
import logging
import math
import os
import posixpath
import re
import shlex
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from trainers.errors import InputError

if TYPE_CHECKING:
    from mlflow.entities import Metric, Run

    from sweeper.mirror.logged_model import MirroredModel

ParentStatus = Literal["FINISHED", "FAILED", "KILLED"]

# A user's own value wins. MLflow's default patience (7 retries of 120 s, exponential pauses) would stall the driver for
# minutes at every call when a server goes away in mid-sweep; and it prints two lines to stdout for every finished run.
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
_CELL_STATUS = {"ok": "FINISHED", "failed": "FAILED", "collapsed": "FAILED", "oom": "FAILED"}
_OPEN_STATUS = ("RUNNING", "SCHEDULED")
_EXTENDED = "sweeper.param."
_NOTE = "mlflow.note.content"
_KIND, _RUNS = "mlflow.experimentKind", "custom_model_development"
"""Without it MLflow takes an experiment for one of generative AI, and opens it on evaluations in place of runs."""
# `log_batch` takes 1000 metrics, 100 params, 100 tags and 1000 entities in all, in at most 1 MB of JSON.
_METRICS, _TEXTS, _MAX_TEXT, _MAX_KEY = 800, 100, 4000, 250
_PAGE = 1000
_PROBE_SECONDS = 5.0


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
    ) -> None:
        self._uri = check_tracking(uri, folder)
        self._sweep_id = sweep_id
        for key, value in _ENVIRONMENT.items():
            os.environ.setdefault(key, value)
        with _reported_as(InputError, f"cannot open MLflow at {self.uri}"), _quiet_creation():
            from mlflow import MlflowClient

            if (database := _sqlite_path(self._uri)) is not None:
                database.parent.mkdir(parents=True, exist_ok=True)
            self._client = MlflowClient(tracking_uri=self._uri)
            self._experiment_id = self._open_experiment(experiment or f"sweeper/{name}", folder)
            parent, self._children = self._find_runs()
            self.parent_run_id = self._open_parent(parent, name, params, tags)

    @property
    def uri(self) -> str:
        """The tracking URI in use, any password masked."""
        return _masked(self._uri)

    @property
    def ui_command(self) -> str:
        """The command that shows the store in a browser; behind a server, the address of the parent run."""
        if self._uri.startswith(("http://", "https://")):
            return f"{self.uri}/#/experiments/{self._experiment_id}/runs/{self.parent_run_id}"
        return f"mlflow ui --backend-store-uri {shlex.quote(self.uri)}"

    def log_cells(self, cells: Iterable[MirroredCell]) -> int:
        """Mirror the cells that are not there yet, each as a child run; return how many were written.

        A cell whose run is finished, or failed in the same way, is skipped; a run that a crash left open is completed;
        a failed run is replaced when a retry of its cell ended otherwise. Repeating the call is always safe.

        Raises:
            MirrorError: the store did not take a cell; the cells before it are written.
        """
        written = 0
        for cell in cells:
            known = self._children.get(cell.cell_id)
            if known is not None and _is_settled(known, cell.status):
                continue
            with _reported_as(MirrorError, f"cell {cell.name}: MLflow at {self.uri}"):
                self._write_cell(cell, known)
            written += 1
        return written

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
        with _reported_as(MirrorError, f"sweep {self._sweep_id}: MLflow at {self.uri}"):
            try:
                parent = self._client.get_run(self.parent_run_id)
                new, changed = _new_params(parent, params)
                noted = {_NOTE: note} if note else {}
                measured = _metrics(metrics, (), timestamp=_milliseconds(None))
                self._log(self.parent_run_id, measured, new, {**tags, **changed, **noted})
                if note:
                    self._client.set_experiment_tag(self._experiment_id, _NOTE, _text(note))
                self._attach(self.parent_run_id, artefacts)
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

        with _reported_as(MirrorError, f"sweep {self._sweep_id}: MLflow at {self.uri}"):
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

        with _reported_as(MirrorError, f"models of sweep {self._sweep_id}: MLflow at {self.uri}"), _quiet_creation():
            log_models(
                self._client, models, experiment=self._experiment_id, run=self.parent_run_id, registered=registered
            )

    def _open_experiment(self, name: str, folder: Path) -> str:
        from mlflow.exceptions import MlflowException

        found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                return self._client.create_experiment(
                    name, artifact_location=_artefact_root(self._uri, folder), tags={_KIND: _RUNS}
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
        return str(found.experiment_id)

    def _find_runs(self) -> tuple[Run | None, dict[str, _Child]]:
        """The parent and the children of this sweep; the first where there are duplicates."""
        parent: Run | None = None
        children: dict[str, _Child] = {}
        for run in sorted(self._search(), key=_age):
            tags = run.data.tags
            if tags.get("sweeper.kind") == "sweep":
                parent = parent or run
            elif (cell_id := tags.get("sweeper.cell_id")) is not None:
                children.setdefault(cell_id, _child(run))
        return parent, children

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

    def _open_parent(self, found: Run | None, name: str, params: Mapping[str, Any], tags: Mapping[str, str]) -> str:
        if found is None:
            identity = {"sweeper.sweep_id": self._sweep_id, "sweeper.kind": "sweep", "mlflow.source.name": "sweeper"}
            found = self._client.create_run(self._experiment_id, tags=identity, run_name=name)
        run_id = str(found.info.run_id)
        if found.info.status != "RUNNING":
            self._client.update_run(run_id, status="RUNNING")
        new, changed = _new_params(found, params)
        self._log(run_id, [], new, {**tags, **changed})
        return run_id

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
        self._attach(known.run_id, cell.artefacts)
        run_status = _CELL_STATUS[cell.status]
        self._client.set_terminated(known.run_id, run_status, end_time=_milliseconds(cell.ended))
        self._children[cell.cell_id] = replace(known, run_status=run_status, cell_status=cell.status)

    def _child_of(self, cell: MirroredCell) -> _Child:
        """The cell's run: a new one, unless another writer (of a copy of the folder) has made it since we opened."""
        found = min(self._search(cell_id=cell.cell_id), key=_age, default=None)
        if found is None:
            identity = {
                "mlflow.parentRunId": self.parent_run_id,
                "mlflow.source.name": "sweeper",
                "sweeper.sweep_id": self._sweep_id,
                "sweeper.kind": "cell",
                "sweeper.cell_id": cell.cell_id,
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

    def _attach(self, run_id: str, artefacts: Sequence[Path]) -> None:
        for path in artefacts:
            self._client.log_artifact(run_id, str(path))


def resolve_uri(configured: str | None, environment: Mapping[str, str], folder: Path) -> str:
    """The tracking URI of a sweep: the config's, else `MLFLOW_TRACKING_URI`, else SQLite in the sweep's folder.

    Raises:
        InputError: the URI is a file store, or names a SQLite file by a relative path.
    """
    sources = {"tracking uri of the config": configured, "MLFLOW_TRACKING_URI": environment.get("MLFLOW_TRACKING_URI")}
    for source, uri in sources.items():
        if uri and uri.strip():
            return _checked(uri.strip().rstrip("/"), source)
    if "?" in str(folder):
        raise InputError(f"folder {str(folder)!r}: the path of a SQLite file cannot hold '?'; choose another folder")
    return f"sqlite:///{folder.absolute() / 'mlflow.db'}"


def _checked(uri: str, source: str) -> str:
    scheme = urlsplit(uri).scheme.lower()
    if uri != "databricks" and (len(scheme) < 2 or scheme == "file"):
        raise InputError(
            f"{source}: {_masked(uri)!r} is a file store, which MLflow no longer serves; "
            "write sqlite:////absolute/path/mlflow.db or http://host:5000"
        )
    database = _sqlite_path(uri)
    if database is not None and not database.is_absolute():
        named = str(database) not in ("", ".", ":memory:")
        example = f"sqlite:///{database.absolute()}" if named else "sqlite:////absolute/path/mlflow.db"
        raise InputError(
            f"{source}: {uri!r} is relative to whichever folder a process happens to run in; write {example}"
        )
    return uri


def _sqlite_path(uri: str) -> Path | None:
    """The file of a SQLite URI; None for any other store."""
    if not (matched := re.match(r"sqlite(?:\+\w+)?:(?://)?/?([^?]*)", uri, re.IGNORECASE)):
        return None
    return Path(matched[1])


def _artefact_root(uri: str, folder: Path) -> str | None:
    """Beside a SQLite file, in the sweep's folder for another database; a server decides for itself (None)."""
    scheme = urlsplit(uri).scheme
    if uri == "databricks" or scheme in ("http", "https", "databricks"):
        return None
    database = _sqlite_path(uri)
    return ((database.parent if database else folder.absolute()) / "mlartifacts").as_uri()


def check_tracking(configured: str | None, folder: Path) -> str:
    """The tracking URI in use, once it is seen to be of use: says within seconds what MLflow would retry for minutes.

    Writes nothing. Arguments and errors as `resolve_uri`; also raises InputError where a server does not answer, or a
    file is no database.
    """
    uri = resolve_uri(configured, os.environ, folder)
    try:
        if (database := _sqlite_path(uri)) is not None:
            if database.exists() and not _is_sqlite(database):
                raise InputError(f"cannot open MLflow at {uri}: that file is not a SQLite database; name another")
        elif uri.startswith(("http://", "https://")):
            parts = urlsplit(f"{uri}/health")
            probe = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()  # urllib takes no user in a URL
            urllib.request.urlopen(probe, timeout=_PROBE_SECONDS).close()  # noqa: S310 - scheme checked above
    except urllib.error.HTTPError as error:
        error.close()  # it answers; whether it is an MLflow server shows next
    except (OSError, ValueError) as error:  # ValueError: an address that is none
        reason = getattr(error, "reason", error)
        if not isinstance(reason, ssl.SSLError):  # MLflow may know the certificate
            raise InputError(f"cannot open MLflow at {_masked(uri)}: {_first_line(reason)}") from error
    return uri


def _is_sqlite(database: Path) -> bool:
    with database.open("rb") as stream:
        return stream.read(16) in (b"", b"SQLite format 3\x00")


@contextmanager
def _reported_as(kind: type[Exception], where: str) -> Iterator[None]:
    """Turn whatever MLflow, a database driver or the network raises into one line of `kind`."""
    from alembic.util.exc import CommandError  # a database that a newer MLflow has written
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (
        MlflowException,
        SQLAlchemyError,
        CommandError,
        ImportError,
        OSError,
    ) as error:  # OSError: files and requests' errors
        raise kind(f"{where}: {_first_line(error)}") from error


def _first_line(error: object) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return _masked(lines[0])[:300]


def _masked(text: str) -> str:
    return re.sub(r"(://[^:/@\s]*:)[^@/\s]+@", r"\1***@", text)


@contextmanager
def _quiet_creation() -> Iterator[None]:
    """Creating tables and models tells of every step on stderr; keep warnings only, and only meanwhile."""
    loggers = [logging.getLogger(name) for name in ("mlflow.store.db.utils", "alembic", "mlflow.pyfunc")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _age(run: Run) -> tuple[int, str]:
    """Orders runs by their start; the id settles it between copies of one training."""
    return run.info.start_time, run.info.run_id


def _child(run: Run) -> _Child:
    return _Child(run.info.run_id, run.info.status, run.data.tags.get("sweeper.status"), run.info.start_time)


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
