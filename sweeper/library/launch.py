"""A sweep from its configuration to its report, under one owner from the first byte to the last.

    check the surroundings, read the screen → own the folder → open the mirror → train what is missing → decide, report

Nothing is written before the folder is owned: a second driver that is refused has changed nothing, here or in MLflow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sweeper.config.sweep_config import SweepConfig
from sweeper.errors import InputError, SweepFailedError, UndecidableError
from sweeper.findings.stored import raise_if_nothing_trained
from sweeper.kept.keeping import Kept, keep_strengths
from sweeper.kept.strengths import kept_strengths, trained_strengths
from sweeper.library.outputs import Outputs, write_outputs
from sweeper.library.stored_sweep import StoredSweep
from sweeper.mirror.address import check_tracking, sqlite_path
from sweeper.mirror.mirroring import SweepMirror, prepared_subject
from sweeper.planning.description import sweep_description
from sweeper.planning.prepared import Prepared, prepare
from sweeper.running.surroundings import check_environment, storage_line, storage_trouble
from sweeper.running.sweep import Event, run_sweep
from sweeper.store.store import Store

if TYPE_CHECKING:
    from sweeper.decision import Decision
    from sweeper.store.lease import Lease

Tell = Callable[[Event], None]


@dataclass(frozen=True)
class Launched:
    """A sweep that has run to its end."""

    store: Store
    outputs: Outputs
    kept: tuple[Kept, ...]
    """Models that are kept."""
    mlflow: tuple[str, ...]
    """How to look at it in MLflow: a command, or its run's address; and the view of its cells. Empty: not mirrored."""


def run(
    config: SweepConfig,
    *,
    progress: bool = False,
    retry_failed: bool = False,
    anyway: bool = False,
    tell: Tell | None = None,
) -> StoredSweep:
    """Run what is missing of a sweep, mirror it to MLflow, decide and report. The same call resumes and extends.

    >>> sweep = sweeper.run(sweeper.load_config("sweep.yaml"))
    >>> len(sweep.cells), set(sweep.cells["status"])
    (33, {'ok'})

    Args:
        config: what `load_config` read.
        progress: show a bar (tqdm: in a notebook as a widget, in a terminal on stderr).
        retry_failed: run cells that failed or ran out of memory again.
        anyway: train although no decision can come out of any view (`Plan.foresight`).
        tell: called with every event, in this thread; see `Event`.

    Raises:
        InputError: something is wrong with the configuration, the screen, the folder or the surroundings (Ray, MLflow),
            another process runs this sweep, or no view can decide; then nothing has been changed.
        SweepFailedError: the sweep could not go on, or not one trained cell is ok.
    """
    from sweeper.library.progress_bar import ProgressBar

    with ProgressBar(shown=progress) as bar:

        def show(event: Event) -> None:
            bar.show(event)
            if tell is not None:
                tell(event)

        done = launch(config, tell=show, retry_failed=retry_failed, anyway=anyway, command=["sweeper.run"])
        store = done.store
    raise_if_nothing_trained(store)
    return StoredSweep(store)


def launch(
    config: SweepConfig,
    *,
    tell: Tell,
    retry_failed: bool = False,
    anyway: bool = False,
    command: Sequence[str] = (),
) -> Launched:
    """`run` for callers that print; warnings are events of kind "warning"."""
    check_environment()
    tracking = check_tracking(config.tracking.uri, config.output) if config.tracking.enabled else None
    prepared = prepare(config)

    def warn(text: str) -> None:
        tell(Event(kind="warning", note=text))

    for warning in (*prepared.warnings, *_own_tracking(config, tracking)):
        warn(warning)
    for warning in _outlook(prepared, anyway=anyway):
        warn(warning)
    store = prepared.store
    try:
        with store.owned(prepared.sweep_id) as lease:
            mirror = SweepMirror(prepared_subject(prepared), warn=warn) if config.tracking.enabled else None
            store.create(
                sweep_id=prepared.sweep_id, description=sweep_description(prepared, command), screen=prepared.screen
            )
            outputs, kept = _mirrored(prepared, mirror, lease, tell, retry_failed)
    except SweepFailedError:
        raise
    except Exception as error:
        if (trouble := storage_trouble(error, store.folder)) is None:
            raise
        raise SweepFailedError(storage_line(store.where, trouble)) from error
    return Launched(store, outputs, kept, () if mirror is None else mirror.mirror.ways)


def _own_tracking(config: SweepConfig, tracking: str | None) -> Iterator[str]:
    """What is to be known where results go to a URL and MLflow's database cannot."""
    if tracking is not None and config.output != config.where and (database := sqlite_path(tracking)) is not None:
        yield (
            f"MLflow is kept on this machine alone, in {database}: SQLite cannot lie at {config.where}; set "
            "MLFLOW_TRACKING_URI to a server that others see"
        )


def _outlook(prepared: Prepared, *, anyway: bool) -> tuple[str, ...]:
    """What the views cannot decide; () where nothing is left to train.

    Raises:
        UndecidableError: no view can decide, and `anyway` is not given.
    """
    finished = prepared.store.finished()
    if all(cell.is_control or cell.cell_id in finished for cell in prepared.known_cells()):
        return ()
    found = prepared.foresight
    if found.hopeless and not anyway:
        raise UndecidableError(f"{prepared.config.name}: {found.refusal}. Nothing was trained; --anyway trains it")
    return found.warnings


def _mirrored(
    prepared: Prepared, mirror: SweepMirror | None, lease: Lease, tell: Tell, retry_failed: bool
) -> tuple[Outputs, tuple[Kept, ...]]:
    """Run, report and keep, with the mirror told as cells finish, and closed however it ends."""

    def follow(event: Event) -> None:
        tell(event)
        if mirror is not None and event.new:
            mirror.tell(event.new)

    try:
        run_sweep(prepared, retry_failed=retry_failed, tell=follow, tick=lease.check)
        lease.check()
        outputs = write_outputs(prepared.store)
        kept = keep_after(prepared.store, prepared.config, outputs.decision, tell=tell, tick=lease.check)
    except BaseException as error:
        if mirror is not None and not lease.lost:
            mirror.stop("FAILED" if isinstance(error, Exception) else "KILLED")
        raise
    if mirror is not None:
        mirror.finish(outputs.decision, metrics=outputs.headline, kept=kept)
    return outputs, kept


def keep_after(
    store: Store, config: SweepConfig, decision: Decision, *, tell: Tell, tick: Callable[[], None]
) -> tuple[Kept, ...]:
    """Keep what the configuration asks for; what goes wrong is a warning, and costs the sweep nothing."""
    wanted = kept_strengths(config.keep, decision, trained_strengths(store, config))
    if not wanted:
        if config.keep != "none":
            note = f"no strength is advised, and no model kept; `sweeper keep {store.where} --strength …` keeps one"
            tell(Event(kind="note", note=note))
        return ()
    if (why := config.how.not_kept(config.trainer_settings)) is not None:
        tell(Event(kind="note", note=f"no model is kept: {config.trainer} cannot be kept: {why}"))
        return ()

    def say(text: str) -> None:
        tell(Event(kind="note", note=f"keeping {text}"))

    try:
        return tuple(keep_strengths(store, wanted, tell=say, tick=tick))
    except (InputError, SweepFailedError, OSError) as error:
        tell(Event(kind="warning", note=f"no model is kept: {error}; `sweeper keep {store.where}` tries again"))
        return ()
