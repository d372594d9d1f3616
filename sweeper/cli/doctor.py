"""Look at everything a sweep needs before hours are spent: packages, disk, MLflow, Ray and every node of a cluster.

Each line is `ok`, `note` (it runs, but look) or `wrong`, which says what to do. Exit code 1 where something is wrong.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from sweeper.cli.common import add_overrides

if TYPE_CHECKING:
    from sweeper.examined import Check

EXAMPLE = """examples:
  sweeper doctor                                       this machine alone
  sweeper doctor my.yaml                               and what the sweep asks for
  RAY_ADDRESS=10.0.0.5:6379 sweeper doctor my.yaml     and every node of the cluster
  RAY_ADDRESS=10.0.0.5:6379 sweeper doctor my.yaml --nodes 4   wrong while fewer have joined
  sweeper doctor my.yaml --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `sweeper doctor`."""
    parser.add_argument("config", type=Path, metavar="CONFIG.yaml", nargs="?", help="the sweep's configuration")
    parser.add_argument("--json", action="store_true", help="one JSON object: ok, and every check with its state")
    parser.add_argument("--nodes", type=int, metavar="N", help="how many nodes the Ray must have at least")
    add_overrides(parser)


def run(options: argparse.Namespace) -> int:
    """The verb."""
    from sweeper.doctor.examine import examine
    from sweeper.errors import InputError

    config = None
    if options.config is not None:
        from sweeper.config.sweep_config import load_config

        config = load_config(options.config, options.overrides)
    elif options.overrides:
        raise InputError("doctor: --set changes a configuration; give a CONFIG.yaml with it")
    checks = []
    for check in examine(config, nodes=options.nodes or 1):
        checks.append(check)
        if not options.json:
            print(_line(check), flush=True)
    fine = all(check.state != "wrong" for check in checks)
    if options.json:
        print(json.dumps({"ok": fine, "checks": [vars(check) for check in checks]}, indent=1, ensure_ascii=False))
    return 0 if fine else 1


def _line(check: Check) -> str:
    return f"{check.state:<6}{check.name + ':':<10} {' '.join(check.text.split())}"
