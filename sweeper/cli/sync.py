"""Mirror a stored sweep to MLflow again: what a server that was away has missed, or the whole of it to another one.

Safe to repeat: a cell has one run, whatever happens. Where the sweep's folder was moved or copied, the artefacts in its
SQLite file are found again.
"""

from __future__ import annotations

import argparse

from sweeper.cli.common import where

EXAMPLE = """examples:
  sweeper sync runs/demo
  MLFLOW_TRACKING_URI=http://127.0.0.1:5000 sweeper sync runs/demo
  sweeper sync runs/demo --uri http://127.0.0.1:5000"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `sweeper sync`."""
    parser.add_argument("folder", type=where, help="the folder or URL of a sweep")
    parser.add_argument("--uri", help="tracking URI (default: the sweep's own, else MLFLOW_TRACKING_URI)")


def run(options: argparse.Namespace) -> int:
    """The verb."""
    import sweeper
    from sweeper.cli.outputs import print_mlflow
    from sweeper.errors import SweepFailedError
    from sweeper.library.syncing import sync
    from sweeper.mirror.tracking import MirrorError

    store = sweeper.open_store(options.folder).store
    try:
        done = sync(store, uri=options.uri)
    except MirrorError as error:
        raise SweepFailedError(f"{error}; the same command goes on") from None
    print(f"cells:    {done.finished}, {done.written} of them mirrored now")
    print_mlflow(done.mlflow)
    return 0
