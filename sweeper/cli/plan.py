"""Dry run: which cells are done and which are missing, and about how long they will take. Writes nothing."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from sweeper.cli.account import account_lines
from sweeper.cli.common import add_config, duration, read_config
from sweeper.cli.methods import add_methods, asks_for_methods, read_methods
from sweeper.cli.outlook import foresight_lines, view_line

if TYPE_CHECKING:
    from sweeper.library.planned import Plan
    from sweeper.methods.methods_config import MethodsConfig

EXAMPLE = """examples:
  sweeper plan profiles.parquet --methods harmony,sphering,center
  sweeper plan configs/jump_source3.yaml
  sweeper plan configs/jump_source3.yaml --set seeds=8 --no-estimate"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `sweeper plan`."""
    add_config(parser)
    add_methods(parser)
    parser.add_argument(
        "--no-estimate",
        action="store_true",
        help="do not estimate the time",
    )


def run(options: argparse.Namespace) -> int:
    """The verb."""
    import sweeper

    if asks_for_methods(options):
        return _methods(read_methods(options), timed=not options.no_estimate)
    print_plan(sweeper.plan(read_config(options)), timed=not options.no_estimate)
    return 0


def _methods(config: MethodsConfig, *, timed: bool) -> int:
    """The dry run of a comparison: every method's own, one after another."""
    from sweeper.cli.common import warn
    from sweeper.library.comparing import prepare_methods

    prepared = prepare_methods(config, embed=False)
    for line in prepared.notes:
        warn(line)
    print(f"methods:   {', '.join(prepared.config.sweeps)}; results in {prepared.config.output}")
    for plan in prepared.plans().values():
        print()
        print_plan(plan, timed=timed)
    if len(prepared.sweeps) > 1:
        print(f"\nThe controls are scored once, for all {len(prepared.sweeps)} methods.")
    return 0


def print_plan(plan: Plan, *, timed: bool = True) -> None:
    """What is done of a sweep, what is missing and, with `timed`, about how long it will take."""
    from sweeper.arms.arm import Arm
    from sweeper.library.rounds import proposed_next

    prepared, cells, missing = plan.prepared, plan.known, plan.missing
    config = prepared.config
    trained = [cell for cell in missing if not cell.is_control]
    print(f"sweep:     {config.name} ({prepared.sweep_id}) in {prepared.store.where}")
    print("\n".join(account_lines(prepared.account)))
    grid = config.strengths.grid()
    weights = sorted({weight for weight, _ in grid})
    dials, margins = config.how.dials, len(grid) // len(weights)
    beside = f" × {margins} of the {dials[1].name}" if len(dials) > 1 else ""
    shape = f"{len(weights)} of the {dials[0].name}{beside} × {len(config.seeds)} seeds"
    print(f"strengths: {shape}")
    print(f"           {dials[0].symbol} = {', '.join(f'{weight:g}' for weight in weights)}")
    for view, folds in prepared.folds.items():
        print(view_line(prepared, view, folds))
        print(f"design:    {prepared.designs[view].line}")
        print("\n".join(foresight_lines(prepared.foresight.views[view], brief=True)))
    print(
        f"cells:     {len(cells)}: {len(cells) - len(missing)} done, {len(missing)} missing ({len(trained)} to train)"
    )
    if config.ladder is not None:
        rungs = sum(cell.arm is Arm.LADDER for cell in cells)
        names = ", ".join(rung.name for rung in config.ladder.rungs)
        print(f"ladder:    {rungs} of them: {names}; selected on {', '.join(config.ladder.select_on)}")
    for item in plan.upcoming:
        print(item.line)
    if following := proposed_next(prepared.store):
        print(f"next:      {following}")
    if missing and timed:
        found, workers = plan.estimate(), plan.workers
        parts = {
            "embedding": found.embedding,
            "training": found.training,
            "controls": found.controls,
            "later rounds at their most": found.rounds,
            "MLflow": found.mirror,
            "start, decision and report": found.rest,
        }
        listed = ", ".join(f"{name} {duration(seconds)}" for name, seconds in parts.items() if seconds)
        where = f"{workers} worker{'s' if workers > 1 else ''} of this machine"
        print(f"estimate:  about {duration(found.total)} on {where}: {listed}")
