"""Dry run: which cells are done and which are missing, and about how long they will take. Writes nothing."""

from __future__ import annotations

import argparse

from sweeper.cli.common import add_config, duration, read_config
from sweeper.cli.rounds import proposed_next, upcoming_rounds

EXAMPLE = """examples:
  sweeper plan configs/jump_source3.yaml
  sweeper plan configs/jump_source3.yaml --set seeds=8 --no-estimate"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `sweeper plan`."""
    add_config(parser)
    parser.add_argument("--no-estimate", action="store_true", help="do not train a few steps to estimate the time")


def run(options: argparse.Namespace) -> int:
    """The verb."""
    from sweeper.estimate import estimate, local_workers
    from sweeper.sweep import prepare

    prepared = prepare(read_config(options))
    config = prepared.config
    cells = prepared.known_cells()
    done = prepared.store.finished()
    missing = [cell for cell in cells if cell.cell_id not in done]
    trained = [cell for cell in missing if not cell.is_control]
    print(f"sweep:     {config.name} ({prepared.sweep_id}) in {prepared.store.folder}")
    grid = config.strengths.grid()
    weights = sorted({weight for weight, _ in grid})
    shape = f"{len(weights)} adversarial weights × {len(grid) // len(weights)} margins × {len(config.seeds)} seeds"
    print(f"strengths: {shape}")
    print(f"           λ = {', '.join(f'{weight:g}' for weight in weights)}")
    for view, folds in prepared.folds.items():
        print(f"view:      {view}, {folds} split{'s' if folds > 1 else ''} a seed")
        print(f"design:    {prepared.designs[view].line}")
    print(
        f"cells:     {len(cells)}: {len(cells) - len(missing)} done, {len(missing)} missing ({len(trained)} to train)"
    )
    rounds = upcoming_rounds(prepared)
    for item in rounds:
        print(item.line)
    if following := proposed_next(prepared.store):
        print(f"next:      {following}")
    further = sum(item.cells for item in rounds)
    if missing and not options.no_estimate:
        workers = local_workers(config.executor)
        found = estimate(prepared, missing, further=further, workers=workers)
        parts = {
            "training": found.training,
            "controls": found.controls,
            "later rounds at their most": found.rounds,
            "MLflow": found.mirror,
            "start, decision and report": found.rest,
        }
        listed = ", ".join(f"{name} {duration(seconds)}" for name, seconds in parts.items() if seconds)
        where = f"{workers} worker{'s' if workers > 1 else ''} of this machine"
        print(f"estimate:  about {duration(found.total)} on {where}: {listed}")
    return 0
