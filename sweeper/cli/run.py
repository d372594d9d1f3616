"""Run what is missing of a sweep, mirror it to MLflow, decide and report. The same command resumes and extends."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from sweeper.cli.common import ProgressLine, add_config, read_config

if TYPE_CHECKING:
    from sweeper.config.sweep_config import SweepConfig

EXAMPLE = """examples:
  sweeper run configs/jump_source3.yaml
  sweeper run configs/jump_source3.yaml --set seeds=8              more seeds: only the new cells run
  RAY_ADDRESS=10.0.0.5:6379 sweeper run my.yaml                    on a running Ray cluster
  MLFLOW_TRACKING_URI=http://127.0.0.1:5000 sweeper run my.yaml    mirrored to an MLflow server"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `sweeper run`."""
    add_config(parser)
    parser.add_argument("--retry-failed", action="store_true", help="run cells that failed or ran out of memory again")
    add_anyway(parser)


def run(options: argparse.Namespace) -> int:
    """The verb."""
    return sweep(read_config(options), retry_failed=options.retry_failed, anyway=options.anyway)


def add_anyway(parser: argparse.ArgumentParser) -> None:
    """The option that trains what no decision can come out of."""
    parser.add_argument("--anyway", action="store_true", help="train although no view can decide")


def sweep(config: SweepConfig, *, retry_failed: bool = False, anyway: bool = False) -> int:
    """Everything from a configuration to its report."""
    from sweeper.cli.outputs import print_outputs
    from sweeper.findings.stored import raise_if_nothing_trained
    from sweeper.library.launch import launch
    from sweeper.planning.description import command_line

    done = launch(config, command=command_line(), retry_failed=retry_failed, anyway=anyway, tell=ProgressLine())
    print_outputs(done.store, done.outputs)
    for kept in done.kept:
        print(f"model:    {kept.folder}")
    if done.mlflow is not None:
        print(f"MLflow:   {done.mlflow}")
    raise_if_nothing_trained(done.store)
    return 0
