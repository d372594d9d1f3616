"""Check a configuration, its screen and every split, and say what would be swept. Writes nothing."""

from __future__ import annotations

import argparse
from pathlib import Path

from sweeper.cli.account import account_lines
from sweeper.cli.common import add_overrides, warn
from sweeper.cli.outlook import foresight_lines, view_line

EXAMPLE = """examples:
  sweeper validate configs/jump_source3.yaml
  sweeper validate --keys                        every key of a configuration, its default and its meaning"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `sweeper validate`."""
    parser.add_argument("config", type=Path, metavar="CONFIG.yaml", nargs="?", help="the sweep's configuration")
    parser.add_argument("--keys", action="store_true", help="print every key with its default and meaning")
    add_overrides(parser)


def run(options: argparse.Namespace) -> int:
    """The verb."""
    from sweeper.config.sweep_config import documented_keys, load_config
    from sweeper.errors import InputError

    if options.keys:
        for key, default, meaning in documented_keys():
            print(f"{key}{f' = {default}' if default else ''}\n    {meaning}")
        return 0
    if options.config is None:
        raise InputError("validate: give a CONFIG.yaml, or --keys")
    from sweeper.planning.images import open_images
    from sweeper.planning.prepared import prepare

    prepared = prepare(load_config(options.config, options.overrides), embed=False)
    for warning in prepared.warnings:
        warn(warning)
    wells = prepared.screen.wells
    cells = prepared.known_cells()
    rows, features = prepared.screen.features.shape
    fingerprint = f"{prepared.identity['data'][:19]}…"
    if prepared.config.images is not None:
        images = open_images(prepared.config)
        _, channels, height, width = images.images.shape
        print(
            f"images:    {rows} of {channels} channels ({', '.join(images.channels)}), {width}×{height}, {fingerprint}"
        )
    else:
        print(f"screen:    {rows} rows × {features} features, {fingerprint}")
        print("\n".join(account_lines(prepared.account)))
    for column in ("batch", "plate", "perturbation", "target", "cell_type"):
        if wells[column].notna().any():
            from sweeper.metrics.biological.target_sets import count_targets

            count = count_targets(wells[column]) if column == "target" else wells[column].nunique()
            print(f"           {count} {column}")
    kinds = wells["control_type"].value_counts()
    print(f"controls:  {kinds.get('negative', 0)} negative, {kinds.get('positive', 0)} positive")
    for view, folds in prepared.folds.items():
        print(view_line(prepared, view, folds))
        print(f"design:    {prepared.designs[view].line}")
        print("\n".join(foresight_lines(prepared.foresight.views[view])))
    grid = prepared.config.strengths.grid()
    print(f"strengths: {len(grid)} × {len(prepared.config.seeds)} seeds → {len(cells)} cells with controls")
    print("valid")
    return 0
