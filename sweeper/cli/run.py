"""Run what is missing of a sweep, mirror it to MLflow, decide and report. The same command resumes and extends."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Literal

from sweeper.cli.common import ProgressLine, add_config, read_config, warn

if TYPE_CHECKING:
    from sweeper.config.sweep_config import SweepConfig
    from sweeper.running.sweep import Event

EXAMPLE = """examples:
  sweeper run configs/jump_source3.yaml
  sweeper run configs/jump_source3.yaml --set seeds=8              more seeds: only the new cells run
  RAY_ADDRESS=10.0.0.5:6379 sweeper run my.yaml                    on a running Ray cluster
  MLFLOW_TRACKING_URI=http://127.0.0.1:5000 sweeper run my.yaml    mirrored to an MLflow server"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `sweeper run`."""
    add_config(parser)
    parser.add_argument("--retry-failed", action="store_true", help="run cells that failed or ran out of memory again")


def run(options: argparse.Namespace) -> int:
    """The verb."""
    return sweep(read_config(options), retry_failed=options.retry_failed)


def sweep(config: SweepConfig, *, retry_failed: bool = False) -> int:
    """Everything from a configuration to its report."""
    from sweeper.cli.outputs import print_outputs, write_outputs
    from sweeper.findings.stored import raise_if_nothing_trained
    from sweeper.mirror.mirroring import SweepMirror
    from sweeper.planning.description import command_line
    from sweeper.planning.prepared import prepare
    from sweeper.running.executor import check_environment
    from sweeper.running.sweep import run_sweep

    check_environment()
    prepared = prepare(config)
    for warning in prepared.warnings:
        warn(warning)
    mirror = SweepMirror(prepared, warn=warn) if config.tracking.enabled else None
    show = ProgressLine()

    def tell(event: Event) -> None:
        show(event)
        if mirror is not None and event.new:
            mirror.tell(event.new)

    status: Literal["FINISHED", "FAILED", "KILLED"] = "KILLED"
    outputs = None
    try:
        run_sweep(prepared, command=command_line(), retry_failed=retry_failed, tell=tell)
        outputs = write_outputs(prepared.store)
        status = "FINISHED"
    except Exception:
        status = "FAILED"
        raise
    finally:
        if mirror is not None:
            if outputs is None:
                mirror.finish(None, status=status)
            else:
                mirror.finish(outputs.decision, status=status, metrics=outputs.headline)
    print_outputs(prepared.store, outputs)
    if mirror is not None:
        print(f"MLflow:   {mirror.mirror.ui_command}")
    raise_if_nothing_trained(prepared.store)
    return 0
