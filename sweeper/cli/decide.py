"""Decide again from a finished sweep's store, or decide on any tidy table, and say the rule.

A table (CSV, TSV, Parquet) has one row a metric of a run, with the columns adversarial_weight, margin, seed, metric,
role (technical or biological) and value (higher is better; empty: not measured). Optional columns: floor (value at
chance; without it 0 is assumed, and the certainty is lowered), ceiling (best value; without it 1), view, fold, status
(ok, failed, collapsed, oom), primary, trainer, reason. Both groups of metrics are needed: one alone never decides.

Nothing is written but the file named by --json. A sweep's own decision.json is never replaced by one made with other
settings than those declared before the sweep.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeper.cli.common import where

if TYPE_CHECKING:
    from sweeper.decision import Decision

EXAMPLE = """examples:
  sweeper decide runs/demo                                        the declared decision, from the stored cells
  sweeper decide runs/demo --delta 0.05 --method posterior        what another δ and method would have said
  sweeper decide runs/demo --view held_out_batches --json other.json
  sweeper decide --table sweep.csv --delta 0.10 --json decision.json
  sweeper decide --table sweep.parquet --view new_batches --set confidence=0.9"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `sweeper decide`."""
    parser.add_argument("folder", type=where, nargs="?", help="the folder or URL of a sweep")
    parser.add_argument("--table", type=Path, metavar="FILE", help="a tidy table instead: .csv, .tsv (.gz) or .parquet")
    parser.add_argument("--delta", type=float, metavar="SHARE", help="loss of biology that counts (default 0.10)")
    parser.add_argument("--view", metavar="VIEW", help="the evaluation view that decides")
    parser.add_argument("--method", metavar="METHOD", help="combined (default), posterior or bracket")
    parser.add_argument("--trainer", metavar="NAME", help="whose rows of the table are judged, where it has several")
    parser.add_argument(
        "--set",
        dest="overrides",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="another key of the decision; `sweeper validate --keys` lists them (repeatable)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the decision here, too")


def run(options: argparse.Namespace) -> int:
    """The verb."""
    import sweeper
    from sweeper.cli.common import warn
    from sweeper.config.given import with_overrides
    from sweeper.decision.input.decision_settings import decision_settings
    from sweeper.decision.words.printed import printed
    from sweeper.errors import InputError
    from sweeper.store.store import dump_json, write_atomically

    if (options.folder is None) == (options.table is None):
        raise InputError("decide: give either the folder of a sweep or --table FILE")
    if options.trainer is not None and options.table is None:
        raise InputError("--trainer: a sweep has one; it goes with --table only")
    named = {"delta": options.delta, "deciding_view": options.view, "method": options.method}
    given = {key: value for key, value in named.items() if value is not None}
    _check_target(options.json)

    def checked(data: dict[str, Any], source: str) -> dict[str, Any]:
        decision_settings({"deciding_view": "any", **data, **given}, source)
        return {**data, **given}

    changes = with_overrides(checked, {}, options.overrides, "decide")  # a wrong key shows before anything is read
    view = changes.pop("deciding_view", None)
    if options.folder is not None:
        from sweeper.findings.stored import damaged_files

        for damaged in damaged_files(sweeper.open_store(options.folder).store):
            warn(damaged)
    if options.folder is None:
        decision = _of_table(options, view, changes)
    else:
        decision = sweeper.decide(options.folder, view=view, **changes)
    if options.json is not None:
        _refuse_replacing(options.json, options.folder, decision)
    print(printed(decision))
    if options.json is not None:
        write_atomically(options.json, dump_json(decision.to_json()))
        print(f"\ndecision: {options.json}")
    return 0


def _of_table(options: argparse.Namespace, view: str | None, changes: dict[str, Any]) -> Decision:
    import pandas as pd

    from sweeper.decision.input.tidy import TEXT_COLUMNS, decide_table
    from trainers.screens.files import read_table

    raw = read_table(options.table, described=TEXT_COLUMNS)
    frame = pd.concat([raw.metadata, raw.measured], axis=1)
    return decide_table(frame, view=view, trainer=options.trainer, source=str(options.table), **changes)


def _check_target(path: Path | None) -> None:
    """Before anything is computed: whether the file could be written."""
    from sweeper.errors import InputError

    if path is not None and not path.absolute().parent.is_dir():
        raise InputError(f"--json {path}: its folder does not exist")
    if path is not None and path.is_dir():
        raise InputError(f"--json {path}: is a folder, expected a file")


def _refuse_replacing(path: Path, folder: Path | str | None, decision: Decision) -> None:
    """A sweep's decision.json is the one declared before it, and no other."""
    from sweeper.errors import InputError
    from sweeper.store.store import Store

    home = path.resolve().parent
    if path.resolve() != Store(home).decision_path or not (home / "sweep.json").exists():
        return
    if not isinstance(folder, Path) or folder.resolve() != home:
        raise InputError(f"--json {path}: holds the decision of the sweep in {home.name}; choose another file")
    if decision.departures:
        changed = ", ".join(item.setting for item in decision.departures)
        raise InputError(
            f"--json {path}: holds the decision declared before the sweep, and these settings depart from it "
            f"({changed}); choose another file"
        )
