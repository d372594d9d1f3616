"""Everything that is looked at, in the order in which a sweep would need it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from sweeper.config.sections import ExecutorOptions
from sweeper.doctor.machine import installed_checks, processor_check
from sweeper.errors import InputError
from sweeper.examined import Check
from sweeper.running.surroundings import check_environment, cluster_address
from trainers.screens.place import DOOR_PATIENCE, Place

if TYPE_CHECKING:
    from sweeper.config.sweep_config import SweepConfig
    from sweeper.planning.prepared import Prepared


def examine(config: SweepConfig | None, *, nodes: int = 1) -> Iterator[Check]:
    """Look at this machine, and where there is a configuration at what it asks for. Lazily: Ray comes last.

    `nodes`: how many the Ray must have at least.

    Leaves nothing behind, but for one run in the experiment "sweeper/doctor" of an MLflow server.
    """
    yield from installed_checks()
    yield processor_check()
    prepared = None
    if config is not None:
        yield from _of_config(config)
        prepared = yield from _screen(config)
        if prepared is not None:
            from sweeper.doctor.places import room_check

            yield room_check(prepared)
    elif os.environ.get("MLFLOW_TRACKING_URI"):
        yield _tracking(None, Path.cwd())
    yield from _ray(config, prepared, nodes)


def _of_config(config: SweepConfig) -> Iterator[Check]:
    from sweeper.doctor.places import place_checks, storage_checks

    yield from storage_checks(config.where) if isinstance(config.where, Path) else place_checks(config.where)
    if config.tracking.enabled:
        yield _tracking(config.tracking.uri, config.output)


def _screen(config: SweepConfig) -> Generator[Check, None, Prepared | None]:
    from sweeper.planning.prepared import prepare

    try:
        prepared = prepare(config, embed=False)
    except InputError as error:
        yield Check("screen", "wrong", str(error))
        return None
    rows, features = prepared.screen.features.shape
    yield Check("screen", "ok", f"{rows} rows × {features} features, {prepared.identity['data'][:19]}…")
    return prepared


def _tracking(uri: str | None, folder: Path) -> Check:
    from sweeper.mirror.address import sqlite_path
    from sweeper.mirror.trial_run import try_tracking

    try:
        found = try_tracking(uri, folder)
    except InputError as error:
        return Check("mlflow", "wrong", f"{error}; start it, or set tracking.uri, or tracking.enabled: false")
    local = sqlite_path(found) is not None
    return Check("mlflow", "ok", found if local else f"{found}: a run and an artefact are written and read")


def _ray(config: SweepConfig | None, prepared: Prepared | None, nodes: int) -> Iterator[Check]:
    from sweeper.doctor.places import nearest_folder
    from sweeper.running.executor import RayLostError, survey_ray
    from sweeper.running.node_checks import node_checks

    options = ExecutorOptions() if config is None else config.executor
    where = Path(tempfile.gettempdir()) if config is None else config.where
    if isinstance(where, Path):
        where = nearest_folder(where)
        if not os.access(where, os.W_OK):
            return  # said already
    try:
        check_environment()
        if isinstance(where, str):
            Place(where, patience=DOOR_PATIENCE).check()
        found = survey_ray(options, where, data=() if prepared is None else prepared.data_files())
    except (InputError, RayLostError) as error:
        yield Check("ray", "wrong", f"Ray: {error}" if isinstance(error, RayLostError) else str(error))
        return
    address = cluster_address()
    whose = f"the cluster at {address}" if address else "a Ray of its own starts here"
    joined = len(found["nodes"])
    yield Check("ray", "ok", f"{whose}: {joined} node{'s' if joined > 1 else ''}")
    if joined < nodes:
        yield Check(
            "ray", "wrong", f"{joined} of {nodes} nodes have joined; wait, or read the log of their `ray start`"
        )
    yield _token(address)
    shared = config is not None
    yield from (check for check in node_checks(found, options) if shared or check.name != "storage")


def _token(address: str) -> Check:
    if not address or os.environ.get("RAY_AUTH_MODE", "token") == "token":
        return Check("token", "ok", "Ray's token authentication is on")
    return Check(
        "token",
        "note",
        "Ray's token authentication is off: whoever reaches the cluster may run anything there; start it and every "
        "client with RAY_AUTH_MODE=token",
    )
