"""Several methods on one screen, from a configuration or a table to the report that compares them.

read the screen once → a sweep of each method, prepared → own the folder → run them as one → decide each, compare all
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from sweeper.decision import Decision
from sweeper.decision.methods.comparison import Comparison, compare_methods
from sweeper.decision.methods.comparison_text import headline
from sweeper.errors import InputError, SweepFailedError
from sweeper.findings.stored import all_records, deciding_units, raise_if_nothing_trained, stored_config
from sweeper.library.outputs import Outputs, write_outputs
from sweeper.library.planned import Plan, planned
from sweeper.library.stored_sweep import StoredSweep
from sweeper.methods.methods_config import MethodsConfig, is_table, load_methods, table_methods
from sweeper.methods.methods_store import MethodsStore
from sweeper.methods.screen_defaults import settled_by
from sweeper.mirror.address import check_tracking
from sweeper.mirror.mirroring import ComparisonLevel, SweepMirror, prepared_subject
from sweeper.mirror.tracking import Mirror, MirrorError, ParentStatus
from sweeper.planning.description import sweep_description
from sweeper.planning.prepared import Prepared, load_table, prepare
from sweeper.running.surroundings import check_environment, storage_line, storage_trouble
from sweeper.running.sweep import Event, run_sweeps
from sweeper.store.lease import owned
from sweeper.store.results import to_parquet_bytes, units
from sweeper.store.store import Store, dump_json, write_atomically

Tell = Callable[[Event], None]


class StoredMethods:
    """A comparison in its folder. What is read is kept: open it again to see what has been added since."""

    def __init__(self, store: MethodsStore) -> None:
        self.store = store

    def __repr__(self) -> str:
        return f"<comparison of {', '.join(self.sweeps)} in {self.folder}>"

    @property
    def folder(self) -> Path:
        """Where it is."""
        return self.store.folder

    @cached_property
    def sweeps(self) -> dict[str, StoredSweep]:
        """Method → its sweep, the simplest first."""
        return {method: StoredSweep(store) for method, store in self.store.stores().items()}

    @cached_property
    def comparison(self) -> Comparison:
        """Every method on its own dial, and the one that is advised.

        Raises:
            InputError: none has been made yet.
        """
        found = self.store.comparison()
        if found is None:
            raise InputError(f"{self.folder}: no comparison yet; the same call goes on")
        return found

    @property
    def sentence(self) -> str:
        """The comparison's headline."""
        return headline(self.comparison)

    @cached_property
    def results(self) -> pd.DataFrame:
        """Every metric of every cell, with a column `method`."""
        return pd.read_parquet(self.store.results_path)

    @property
    def report_path(self) -> Path:
        """The report."""
        return self.store.report_path


@dataclass(frozen=True, eq=False)
class PreparedMethods:
    """A comparison whose screen has been read; nothing has been written."""

    config: MethodsConfig
    sweeps: tuple[Prepared, ...]
    notes: tuple[str, ...]

    @property
    def store(self) -> MethodsStore:
        """Its folder (which may not exist yet)."""
        return MethodsStore(self.config.output)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user should look at, each line once."""
        return tuple(dict.fromkeys((*self.notes, *(line for sweep in self.sweeps for line in sweep.warnings))))

    def plans(self) -> dict[str, Plan]:
        """Method → what would be run; the controls are of the first alone."""
        return {sweep.config.trainer: planned(sweep) for sweep in self.sweeps}


def prepare_methods(config: MethodsConfig, *, embed: bool = True) -> PreparedMethods:
    """Read the screen once and prepare every method on it.

    Raises:
        InputError: as `prepare`, of the first method that it concerns.
    """
    notes: tuple[str, ...] = ()
    table = None
    if config.first.images is None:
        table = load_table(config.first)
        config, notes = settled_by(config, *table)
    sweeps = tuple(prepare(sweep, embed=embed, table=table) for sweep in config.sweeps.values())
    MethodsStore(config.output).check(config.comparison_id)
    return PreparedMethods(config, sweeps, notes)


def run_methods(
    source: MethodsConfig | Path | str,
    methods: Sequence[str] | None = None,
    *,
    folder: Path | str | None = None,
    overrides: Sequence[str] = (),
    progress: bool = False,
    retry_failed: bool = False,
    tell: Tell | None = None,
) -> StoredMethods:
    """Sweep several methods on one screen, each on its own dial, and compare them. The same call resumes and extends.

    >>> small = ["seeds=3", "sham.enabled=false", "tracking.enabled=false"]
    >>> found = sweeper.run_methods("profiles.parquet", ["center", "combat"], overrides=small)
    >>> [verdict.method for verdict in found.comparison.methods]
    ['center', 'combat']

    Args:
        source: a table, with `methods`; or the YAML of a comparison, or what `load_methods` read of one.
        methods: names of trainers, for a table.
        folder: where the results of a table go; None: beside it, into <name>_methods.
        overrides: KEY=VALUE of the configuration, e.g. "seeds=5".
        progress: show a bar.
        retry_failed: run cells that failed or ran out of memory again.
        tell: called with every event, in this thread.

    Raises:
        InputError: something is wrong with the methods, the configuration, the screen, the folder or the surroundings;
            then nothing has been changed.
        SweepFailedError: a sweep could not go on, or a method has not one cell that is ok.
    """
    from sweeper.library.progress_bar import ProgressBar

    config = methods_of(source, methods, folder=folder, overrides=overrides)
    with ProgressBar(shown=progress) as bar:

        def show(event: Event) -> None:
            bar.show(event)
            if tell is not None:
                tell(event)

        launch_methods(prepare_methods(config), tell=show, retry_failed=retry_failed, command=["sweeper.run_methods"])
    return StoredMethods(MethodsStore(config.output))


def methods_of(
    source: MethodsConfig | Path | str,
    methods: Sequence[str] | None = None,
    *,
    folder: Path | str | None = None,
    overrides: Sequence[str] = (),
) -> MethodsConfig:
    """What `run_methods` compares; arguments and errors as there."""
    if isinstance(source, MethodsConfig):
        return source
    if not is_table(Path(source)):
        if methods is not None:
            raise InputError(f"{source}: a configuration names its own methods; give methods with a table")
        return load_methods(source, [*overrides, *([] if folder is None else [f"folder={folder}"])])
    if methods is None:
        raise InputError(f"{source}: a table; name the methods to compare, e.g. harmony, sphering and center")
    return table_methods(source, methods, folder=folder, overrides=overrides)


def open_methods(folder: Path | str) -> StoredMethods:
    """The comparison in a folder, finished or not.

    >>> sorted(sweeper.open_methods("profiles_methods").sweeps)
    ['center', 'combat']

    Raises:
        InputError: there is none.
    """
    found = StoredMethods(MethodsStore(Path(folder).absolute()))
    found.store.description()
    return found


def launch_methods(
    prepared: PreparedMethods, *, tell: Tell, retry_failed: bool = False, command: Sequence[str] = ()
) -> tuple[Comparison, dict[str, Outputs], tuple[str, ...]]:
    """Run what is missing, decide and compare; returns also how to look at it in MLflow.

    Raises:
        InputError, SweepFailedError: as `run_methods`.
    """
    check_environment()
    config, store = prepared.config, prepared.store
    tracking = config.first.tracking
    if tracking.enabled:
        check_tracking(tracking.uri, config.output)

    def warn(text: str) -> None:
        tell(Event(kind="warning", note=text))

    for warning in prepared.warnings:
        warn(warning)
    try:
        config.output.mkdir(parents=True, exist_ok=True)
        with ExitStack() as held:
            leases = [held.enter_context(owned(config.output))]
            leases += [held.enter_context(sweep.store.owned(sweep.sweep_id)) for sweep in prepared.sweeps]
            store.create(config.comparison_id, tuple(config.sweeps), _description(prepared, command))
            for sweep in prepared.sweeps:
                sweep.store.create(
                    sweep_id=sweep.sweep_id, description=sweep_description(sweep, command), screen=sweep.screen
                )
            mirrors = _Mirrors(prepared, warn) if tracking.enabled else None

            def tick() -> None:
                for lease in leases:
                    lease.check()

            def follow(event: Event) -> None:
                tell(event)
                if mirrors is not None and event.new:
                    mirrors.tell(event)

            try:
                run_sweeps(prepared.sweeps, retry_failed=retry_failed, tell=follow, tick=tick)
                tick()
                for sweep in prepared.sweeps:
                    raise_if_nothing_trained(sweep.store)
                comparison, outputs = write_comparison(store)
            except BaseException as error:
                if mirrors is not None:
                    mirrors.stop("FAILED" if isinstance(error, Exception) else "KILLED")
                raise
            if mirrors is not None:
                mirrors.finish(outputs, comparison)
    except SweepFailedError:
        raise
    except OSError as error:
        if (trouble := storage_trouble(error, config.output)) is None:
            raise
        raise SweepFailedError(storage_line(config.output, trouble)) from error
    return comparison, outputs, () if mirrors is None else mirrors.top.ways


def write_comparison(store: MethodsStore) -> tuple[Comparison, dict[str, Outputs]]:
    """Write every method's outputs, comparison.json, comparison.parquet and report.html, from the stores alone.

    Raises:
        InputError: a method has no finished cell.
    """
    from dashboards.comparison_report import write_comparison_report

    description, stores = store.description(), store.stores()
    outputs = {method: write_outputs(own) for method, own in stores.items()}
    comparison = stored_comparison(description, stores, {method: found.decision for method, found in outputs.items()})
    tables = [found.results.assign(method=method) for method, found in outputs.items()]
    write_atomically(store.results_path, to_parquet_bytes(pd.concat(tables, ignore_index=True)))
    write_atomically(store.comparison_path, dump_json(comparison.to_json()))
    write_comparison_report(comparison, description, store.report_path)
    return comparison, outputs


def stored_comparison(
    description: dict[str, Any], stores: dict[str, Store], decisions: dict[str, Decision]
) -> Comparison:
    """The comparison, from the stores alone."""
    from sweeper.findings.stored import results_table

    configs = {method: stored_config(own) for method, own in stores.items()}
    settings = next(iter(configs.values())).decision
    about_new = deciding_units(next(iter(stores.values())), settings) is not None
    return compare_methods(
        decisions,
        {method: results_table(own) for method, own in stores.items()},
        {method: units(all_records(own), own.units) for method, own in stores.items()} if about_new else None,
        name=str(description["name"]),
        dials={method: config.how.dials for method, config in configs.items()},
        refit={method: not config.how.inductive(config.trainer_settings) for method, config in configs.items()},
        settings=settings,
        confidence=float(description["confidence"]),
    )


def _description(prepared: PreparedMethods, command: Sequence[str]) -> dict[str, Any]:
    import json

    return {
        "name": prepared.config.name,
        "confidence": prepared.config.confidence,
        "given": json.loads(json.dumps(prepared.config.given, default=str)),
        "command": list(command),
        "notes": list(prepared.warnings),
    }


class _Mirrors:
    """One run for the comparison, one below it for each method."""

    def __init__(self, prepared: PreparedMethods, warn: Callable[[str], None]) -> None:
        config = prepared.config
        self._warn = warn
        experiment = f"sweeper/{config.name}"
        self.top = Mirror(
            uri=config.first.tracking.uri,
            sweep_id=config.comparison_id,
            name=config.name,
            folder=config.output,
            params={"methods": ", ".join(config.sweeps), "wells": len(prepared.sweeps[0].screen.wells)},
            tags={"sweeper.level": "methods"},
            experiment=experiment,
        )
        level = ComparisonLevel(run_id=self.top.parent_run_id, experiment=experiment, folder=config.output)
        self._of = {
            sweep.config.trainer: SweepMirror(prepared_subject(sweep, level), warn=warn) for sweep in prepared.sweeps
        }
        self._store = prepared.store

    def tell(self, event: Event) -> None:
        """Queue finished cells, each where it belongs."""
        for mirror in self._of.values():
            mirror.tell(event.new)

    def stop(self, status: ParentStatus) -> None:
        """Close what was opened, within seconds."""
        for mirror in self._of.values():
            mirror.stop(status)
        with suppress(MirrorError):
            self.top.finish(artefacts=[], metrics={}, tags={}, status=status)

    def finish(self, outputs: dict[str, Outputs], comparison: Comparison) -> None:
        """Mirror whatever is not mirrored yet, and the comparison."""
        for method, mirror in self._of.items():
            mirror.finish(outputs[method].decision, metrics=outputs[method].headline)
        paths = (self._store.report_path, self._store.comparison_path, self._store.results_path)
        try:
            self.top.finish(
                artefacts=[path for path in paths if path.exists()],
                metrics={},
                tags={"sweeper.sentence": headline(comparison)[:4000]},
                status="FINISHED",
            )
        except MirrorError as error:
            self._warn(f"MLflow mirror: {error}; the comparison's own results are complete")


__all__ = ["StoredMethods", "launch_methods", "open_methods", "prepare_methods", "write_comparison"]
