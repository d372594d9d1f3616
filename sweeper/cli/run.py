"""Run what is missing of a sweep, mirror it to MLflow, decide and report. The same command resumes and extends.

With a table and --methods no configuration is needed: each method is swept on its own dial, and all are compared.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from sweeper.cli.common import ProgressLine, add_config, read_config
from sweeper.cli.methods import add_methods, asks_for_methods, read_methods

if TYPE_CHECKING:
    from sweeper.config.sweep_config import SweepConfig
    from sweeper.methods.methods_config import MethodsConfig

EXAMPLE = """examples:
  sweeper run profiles.parquet --methods harmony,sphering,center   no configuration: which correction, how strongly?
  sweeper run profiles.parquet --methods combat --set screen.negative_controls=DMSO
  sweeper run configs/jump_source3.yaml
  sweeper run configs/jump_source3.yaml --set seeds=8              more seeds: only the new cells run
  RAY_ADDRESS=10.0.0.5:6379 sweeper run my.yaml                    on a running Ray cluster
  MLFLOW_TRACKING_URI=http://127.0.0.1:5000 sweeper run my.yaml    mirrored to an MLflow server"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `sweeper run`."""
    add_config(parser)
    add_methods(parser)
    parser.add_argument("--retry-failed", action="store_true", help="run cells that failed or ran out of memory again")
    add_anyway(parser)


def run(options: argparse.Namespace) -> int:
    """The verb."""
    if asks_for_methods(options):
        return compare(read_methods(options), retry_failed=options.retry_failed)
    return sweep(read_config(options), retry_failed=options.retry_failed, anyway=options.anyway)


def add_anyway(parser: argparse.ArgumentParser) -> None:
    """The option that trains what no decision can come out of."""
    parser.add_argument("--anyway", action="store_true", help="train although no view can decide")


def sweep(config: SweepConfig, *, retry_failed: bool = False, anyway: bool = False) -> int:
    """Everything from a configuration to its report."""
    from sweeper.cli.outputs import print_mlflow, print_outputs
    from sweeper.findings.stored import raise_if_nothing_trained
    from sweeper.library.launch import launch
    from sweeper.planning.description import command_line

    done = launch(config, command=command_line(), retry_failed=retry_failed, anyway=anyway, tell=ProgressLine())
    print_outputs(done.store, done.outputs)
    for kept in done.kept:
        print(f"model:    {done.store.named(kept.folder)}")
    print_mlflow(done.mlflow)
    raise_if_nothing_trained(done.store)
    return 0


def compare(config: MethodsConfig, *, retry_failed: bool = False) -> int:
    """Everything from several methods to the report that compares them."""
    from sweeper.cli.account import account_lines
    from sweeper.cli.outputs import print_comparison, print_mlflow
    from sweeper.library.comparing import launch_methods, prepare_methods
    from sweeper.planning.description import command_line

    prepared = prepare_methods(config)
    print("\n".join(account_lines(prepared.sweeps[0].account)))
    print(f"methods:   {', '.join(prepared.config.sweeps)}; results in {prepared.config.output}", flush=True)
    comparison, _, mlflow = launch_methods(
        prepared, command=command_line(), retry_failed=retry_failed, tell=ProgressLine()
    )
    print_comparison(prepared.store, comparison)
    print_mlflow(mlflow)
    return 0
