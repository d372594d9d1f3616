"""How far a sweep is: cells by status, per view, and the decision so far."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from sweeper.cli.rounds import kept_rounds, proposed_next

EXAMPLE = """example:
  sweeper status runs/demo"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `sweeper status`."""
    parser.add_argument("folder", type=Path, help="the folder of a sweep")


def run(options: argparse.Namespace) -> int:
    """The verb."""
    from sweeper.findings.stored import all_records, planned_cells, planned_rounds, stored_decision
    from sweeper.store.store import Store

    store = Store(options.folder.absolute())
    description = store.description()
    cells = planned_cells(store)
    records = all_records(store)
    done = {record["cell_id"] for record in records}
    missing = [cell for cell in cells if cell.cell_id not in done]
    print(f"{description['name']} ({description['sweep_id']}) in {store.folder}")
    print(f"cells:    {len(cells) - len(missing)} of {len(cells)} done")
    for status, count in sorted(Counter(record["status"] for record in records).items()):
        print(f"          {count} {status}")
    for record in records:
        if record["status"] != "ok":
            print(f"          {record['cell_id']} {record['status']}: {record['reason']}")
    rounds = planned_rounds(store)
    counts = [(sum(cell.cell_id in done for cell in planned), len(planned)) for _, planned in rounds]
    for line in kept_rounds([proposal for proposal, _ in rounds], counts):
        print(line)
    if (decision := stored_decision(store)) is not None:
        note = " (made before the missing cells)" if missing else ""
        print(f"decision: {decision.rule.state}{note}\n          {decision.sentence}")
        if following := proposed_next(store):
            print(f"next:     {following}")
    else:
        print("decision: not made yet")
    return 0
