"""Rebuild results.parquet, decision.json and report.html from the stored cells alone."""

from __future__ import annotations

import argparse
from pathlib import Path

from sweeper.cli.common import where

EXAMPLE = """example:
  sweeper report runs/demo"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `sweeper report`."""
    parser.add_argument("folder", type=where, help="the folder or URL of a sweep, or of a comparison")


def run(options: argparse.Namespace) -> int:
    """The verb."""
    import sweeper
    from sweeper.cli.common import warn
    from sweeper.cli.outputs import print_comparison, print_outputs
    from sweeper.findings.stored import damaged_files
    from sweeper.library.comparing import write_comparison
    from sweeper.methods.methods_store import MethodsStore

    if isinstance(options.folder, Path) and (comparison := MethodsStore(options.folder.absolute())).exists:
        print_comparison(comparison, write_comparison(comparison)[0])
        return 0
    sweep = sweeper.open_store(options.folder)
    for damaged in damaged_files(sweep.store):
        warn(damaged)
    print_outputs(sweep.store, sweeper.write_report(sweep))
    return 0
