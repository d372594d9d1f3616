"""Ray's Jobs API: a sweep handed to the head of a cluster, its log, and what became of it. Knows Ray.

The job is `sweeper run sweep.yaml` in a folder that holds nothing but that file, the resolved configuration: data and
results are named by absolute paths, which the cluster must see. The driver of a sweep so runs beside the head, and
whoever submitted it may go home.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from sweeper.config.sweep_config import SweepConfig
from sweeper.errors import InputError, SweepFailedError

CONFIG = "sweep.yaml"
STOPPED = 130
RETRIES, PAUSE_SECONDS = 5, 3.0
"""How often a log that was cut off is taken up again, and the pause before."""
NO_AGENT, AGENT_TRIES = "No available agent", 20


class Cluster:
    """A cluster's job server.

    Args:
        address: of the dashboard, e.g. "http://10.0.0.5:8265".

    Raises:
        InputError: nothing answers there, it is no Ray, or it refuses the token.
    """

    def __init__(self, address: str) -> None:
        if not address.startswith(("http://", "https://")):
            raise InputError(f"--address {address}: expected http://host:8265, the address of the Ray dashboard")
        self.address = address.rstrip("/")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):  # the client would take them in place of what is given
            os.environ.pop(name, None)
        with self._reported():
            from ray.job_submission import JobSubmissionClient

            for name in ("ray.dashboard.modules.dashboard_sdk", "ray._private.runtime_env.packaging"):
                logging.getLogger(name).setLevel(logging.WARNING)  # they tell of the upload
            self._client = JobSubmissionClient(self.address)

    def submit(self, config: SweepConfig, *, retry_failed: bool = False) -> str:
        """Start the sweep as a job; returns its id. Raises `InputError` as the class."""
        job = f"sweeper-{re.sub(r'[^A-Za-z0-9_-]', '-', config.name)}-{secrets.token_hex(4)}"
        with tempfile.TemporaryDirectory(prefix="sweep-job-") as folder, self._reported():
            Path(folder, CONFIG).write_text(resolved_yaml(config), encoding="utf-8")
            for attempt in range(AGENT_TRIES):
                try:
                    self._client.submit_job(
                        entrypoint=f"sweeper run {CONFIG}{' --retry-failed' if retry_failed else ''}",
                        submission_id=job,
                        runtime_env={"working_dir": folder, "env_vars": job_environment()},
                        metadata={"sweep": config.name, "folder": str(config.where)},
                    )
                    break
                except RuntimeError as error:  # a head that has just started answers before it takes jobs
                    if NO_AGENT not in str(error) or attempt == AGENT_TRIES - 1:
                        raise
                    time.sleep(PAUSE_SECONDS)
        return job

    def follow(self, job: str, write: Callable[[str], None]) -> None:
        """Pass on the job's log until the job has ended; a connection that is cut off is taken up again.

        Raises:
            SweepFailedError: the cluster does not answer any more.
        """
        told, failures = 0, 0
        while True:
            try:
                told = asyncio.run(self._tail(job, told, write))
                if self._ended(job):
                    return
            except Exception as error:  # noqa: BLE001 - aiohttp, requests and Ray raise what they like
                failures += 1
                if failures > RETRIES:
                    raise SweepFailedError(
                        f"{self.address} does not answer any more ({_first_line(error)}); the job may go on there"
                    ) from None
            time.sleep(PAUSE_SECONDS if failures else 0.2)

    async def _tail(self, job: str, told: int, write: Callable[[str], None]) -> int:
        """The log from its character `told` on; returns how many were told in all."""
        seen = 0
        async for text in self._client.tail_job_logs(job):
            seen += len(text)
            if seen > told:
                write(text[max(0, len(text) - (seen - told)) :])
                told = seen
        return told

    def _ended(self, job: str) -> bool:
        return bool(self._client.get_job_status(job).is_terminal())

    def exit_code(self, job: str) -> int:
        """Exit code of a job that has ended: the sweep's own; 130 where the job was stopped.

        Raises:
            SweepFailedError: it did not come so far as to start; the message says why.
        """
        info: Any = self._client.get_job_info(job)
        if str(info.status) == "STOPPED":
            return STOPPED
        if info.driver_exit_code is not None:
            return int(info.driver_exit_code)
        if str(info.status) == "SUCCEEDED":
            return 0
        raise SweepFailedError(f"job {job} failed: {_first_line(info.message or 'no reason is given')}")

    def commands(self, job: str) -> dict[str, str]:
        """The commands that follow and stop the job."""
        return {
            "follow": f"ray job logs --address {self.address} --follow {job}",
            "stop": f"ray job stop --address {self.address} {job}",
        }

    @contextmanager
    def _reported(self) -> Iterator[None]:
        """Whatever goes wrong at a request, in one line."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - requests' errors, Ray's own, and bare RuntimeErrors
            told = _first_line(error)
            if "authentication" in str(error).lower() or "token" in str(error).lower():
                told += "; set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH (or RAY_AUTH_TOKEN) to the cluster's token"
            raise InputError(f"--address {self.address}: {told}") from None


def resolved_yaml(config: SweepConfig) -> str:
    """The configuration with absolute paths, as a file that `sweeper run` reads."""
    return yaml.safe_dump({**config.model_dump(mode="json"), "folder": str(config.where)}, sort_keys=False)


def job_environment() -> dict[str, str]:
    """What goes along of this environment: the tracking server, without a password (the dashboard shows it)."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    return {"MLFLOW_TRACKING_URI": uri} if uri and "@" not in uri else {}


def _first_line(error: object) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
