"""How far a sweep is: cells by status, per view, and the decision so far."""

from __future__ import annotations

import argparse
from pathlib import Path

EXAMPLE = """example:
  sweeper status runs/demo"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `sweeper status`."""
    parser.add_argument("folder", type=Path, help="the folder of a sweep")


def run(options: argparse.Namespace) -> int:
    """The verb."""
    import sweeper
    from sweeper.cli.common import warn
    from sweeper.findings.stored import damaged_files, planned_rounds, readable_decision
    from sweeper.library.rounds import kept_rounds, proposed_next
    from sweeper.library.stored_sweep import MISSING

    sweep = sweeper.open_store(options.folder)
    store = sweep.store
    for damaged in damaged_files(store):
        warn(damaged)
    cells = sweep.cells
    finished = cells[cells["status"] != MISSING]
    missing = len(cells) - len(finished)
    print(f"{sweep.name} ({store.description()['sweep_id']}) in {store.folder}")
    print(f"cells:    {len(finished)} of {len(cells)} done")
    for status, count in finished["status"].value_counts().sort_index().items():
        print(f"          {count} {status}")
    for cell in finished[finished["status"] != "ok"].sort_values("cell_id").itertuples():
        print(f"          {cell.cell_id} {cell.status}: {cell.reason}")
    done = set(finished["cell_id"])
    rounds = planned_rounds(store)
    counts = [(sum(cell.cell_id in done for cell in planned), len(planned)) for _, planned in rounds]
    for line in kept_rounds([proposal for proposal, _ in rounds], counts):
        print(line)
    if (decision := readable_decision(store)) is not None:
        note = " (made before the missing cells)" if missing else ""
        print(f"decision: {decision.rule.state}{note}\n          {decision.sentence}")
        if following := proposed_next(store):
            print(f"next:     {following}")
    else:
        print("decision: cannot be read" if store.decision_path.exists() else "decision: not made yet")
    return 0
