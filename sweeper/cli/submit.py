"""Run a sweep as a job of a Ray cluster: it goes on when this terminal closes. Follows its log, and ends as it ends.

The configuration travels; data and results stay where their paths say, on storage that the cluster sees. The cluster
has this package installed. A sweep that is submitted again resumes.
"""

from __future__ import annotations

import argparse
import os
import sys

from sweeper.cli.common import add_config, read_config
from sweeper.cli.interrupts import EXIT_INTERRUPTED

EXAMPLE = """examples:
  sweeper submit my.yaml --address http://10.0.0.5:8265
  sweeper submit my.yaml --address http://10.0.0.5:8265 --no-wait
  RAY_AUTH_TOKEN_PATH=token sweeper submit my.yaml --address https://ray.example.org   with the cluster's token

Ctrl-C leaves the job running and prints the commands that follow and stop it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `sweeper submit`."""
    add_config(parser)
    parser.add_argument(
        "--address",
        default=os.environ.get("RAY_API_SERVER_ADDRESS"),
        help="of the Ray dashboard, http://host:8265 (default: RAY_API_SERVER_ADDRESS)",
    )
    parser.add_argument("--no-wait", action="store_true", help="do not follow the job: print its id and return")
    parser.add_argument("--retry-failed", action="store_true", help="run cells that failed or ran out of memory again")


def run(options: argparse.Namespace) -> int:
    """The verb."""
    from sweeper.errors import InputError
    from sweeper.running.jobs import Cluster

    if not options.address:
        raise InputError("submit: give --address http://host:8265, the address of the Ray dashboard")
    config = read_config(options)
    cluster = Cluster(options.address)
    job = cluster.submit(config, retry_failed=options.retry_failed)
    print(f"job:      {job}\nresults:  {config.where} (as the cluster sees it)", flush=True)
    commands = cluster.commands(job)
    if options.no_wait:
        _tell(commands)
        return 0
    try:
        cluster.follow(job, _write)
        return cluster.exit_code(job)
    except KeyboardInterrupt:
        print(f"\nsweeper: no longer followed; job {job} goes on", file=sys.stderr)
        _tell(commands)
        return EXIT_INTERRUPTED


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _tell(commands: dict[str, str]) -> None:
    for what, command in commands.items():
        print(f"{what + ':':<9} {command}", flush=True)
