"""A sweep from its configuration to its report, under one owner from the first byte to the last.

    check the surroundings, read the screen → own the folder → open the mirror → train what is missing → decide, report

Nothing is written before the folder is owned: a second driver that is refused has changed nothing, here or in MLflow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sweeper.config.sweep_config import SweepConfig
from sweeper.errors import SweepFailedError
from sweeper.findings.stored import raise_if_nothing_trained
from sweeper.library.outputs import Outputs, write_outputs
from sweeper.library.stored_sweep import StoredSweep
from sweeper.mirror.address import check_tracking
from sweeper.mirror.mirroring import SweepMirror, prepared_subject
from sweeper.planning.description import sweep_description
from sweeper.planning.prepared import Prepared, prepare
from sweeper.running.surroundings import check_environment, storage_trouble
from sweeper.running.sweep import Event, run_sweep
from sweeper.store.store import Store

if TYPE_CHECKING:
    from sweeper.store.lease import Lease

Tell = Callable[[Event], None]


@dataclass(frozen=True)
class Launched:
    """A sweep that has run to its end."""

    store: Store
    outputs: Outputs
    mlflow: str | None
    """How to look at it in MLflow: a command, or an address; None where it is not mirrored."""


def run(
    config: SweepConfig, *, progress: bool = False, retry_failed: bool = False, tell: Tell | None = None
) -> StoredSweep:
    """Run what is missing of a sweep, mirror it to MLflow, decide and report. The same call resumes and extends.

    >>> sweep = sweeper.run(sweeper.load_config("sweep.yaml"))
    >>> len(sweep.cells), set(sweep.cells["status"])
    (33, {'ok'})

    Args:
        config: what `load_config` read.
        progress: show a bar (tqdm: in a notebook as a widget, in a terminal on stderr).
        retry_failed: run cells that failed or ran out of memory again.
        tell: called with every event, in this thread; see `Event`.

    Raises:
        InputError: something is wrong with the configuration, the screen, the folder or the surroundings (Ray, MLflow),
            or another process runs this sweep; then nothing has been changed.
        SweepFailedError: the sweep could not go on, or not one trained cell is ok.
    """
    from sweeper.library.progress_bar import ProgressBar

    with ProgressBar(shown=progress) as bar:

        def show(event: Event) -> None:
            bar.show(event)
            if tell is not None:
                tell(event)

        store = launch(config, tell=show, retry_failed=retry_failed, command=["sweeper.run"]).store
    raise_if_nothing_trained(store)
    return StoredSweep(store)


def launch(config: SweepConfig, *, tell: Tell, retry_failed: bool = False, command: Sequence[str] = ()) -> Launched:
    """`run` for callers that print; warnings are events of kind "warning"."""
    check_environment()
    if config.tracking.enabled:
        check_tracking(config.tracking.uri, config.output)
    prepared = prepare(config)

    def warn(text: str) -> None:
        tell(Event(kind="warning", note=text))

    for warning in prepared.warnings:
        warn(warning)
    store = prepared.store
    try:
        with store.owned(prepared.sweep_id) as lease:
            mirror = SweepMirror(prepared_subject(prepared), warn=warn) if config.tracking.enabled else None
            store.create(
                sweep_id=prepared.sweep_id, description=sweep_description(prepared, command), screen=prepared.screen
            )
            outputs = _mirrored(prepared, mirror, lease, tell, retry_failed)
    except SweepFailedError:
        raise
    except Exception as error:
        if (full := storage_trouble(error, store.folder)) is None:
            raise
        raise SweepFailedError(
            f"{store.folder}: {full}; finished cells are kept: make room, then the same command continues"
        ) from error
    return Launched(store, outputs, None if mirror is None else mirror.mirror.ui_command)


def _mirrored(prepared: Prepared, mirror: SweepMirror | None, lease: Lease, tell: Tell, retry_failed: bool) -> Outputs:
    """Run and report, with the mirror told as cells finish, and closed however it ends."""

    def follow(event: Event) -> None:
        tell(event)
        if mirror is not None and event.new:
            mirror.tell(event.new)

    try:
        run_sweep(prepared, retry_failed=retry_failed, tell=follow, tick=lease.check)
        lease.check()
        outputs = write_outputs(prepared.store)
    except BaseException as error:
        if mirror is not None and not lease.lost:
            mirror.stop("FAILED" if isinstance(error, Exception) else "KILLED")
        raise
    if mirror is not None:
        mirror.finish(outputs.decision, metrics=outputs.headline)
    return outputs
