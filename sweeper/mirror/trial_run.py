"""Whether an MLflow server takes what a sweep would write: a run of its own, always the same one."""

from __future__ import annotations

import secrets
from pathlib import Path

from sweeper.mirror.address import artefact_root, check_tracking, masked, sqlite_path
from sweeper.mirror.client import open_client, quiet_creation, reported_as
from trainers.errors import InputError

EXPERIMENT = "sweeper/doctor"


def try_tracking(configured: str | None, folder: Path) -> str:
    """The tracking URI in use, any password masked, after something was written and read there.

    A server gets one run, in the experiment "sweeper/doctor", and the same one every time. A SQLite file gets nothing:
    whether it can be written is a matter of its folder.

    Raises:
        InputError: nothing answers, it refuses, or its artefacts cannot be written.
    """
    uri = check_tracking(configured, folder)
    if sqlite_path(uri) is not None:
        return uri
    shown, token = masked(uri), secrets.token_hex(8)
    with reported_as(InputError, f"MLflow at {shown}"), quiet_creation():
        client = open_client(uri)
        found = client.get_experiment_by_name(EXPERIMENT)
        experiment = (
            str(found.experiment_id)
            if found is not None
            else client.create_experiment(EXPERIMENT, artifact_location=artefact_root(uri, folder))
        )
        runs = client.search_runs([experiment], max_results=1)
        run = runs[0] if runs else client.create_run(experiment, run_name="doctor")
        client.set_tag(run.info.run_id, "sweeper.probe", token)
        client.log_text(run.info.run_id, token, "probe.txt")
        client.set_terminated(run.info.run_id, "FINISHED")
        if client.get_run(run.info.run_id).data.tags.get("sweeper.probe") != token:
            raise InputError(f"MLflow at {shown}: does not give back what was written")
    return shown
