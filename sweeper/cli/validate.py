"""Check a configuration, its screen and every split, and say what would be swept. Writes nothing."""

from __future__ import annotations

import argparse
from pathlib import Path

from sweeper.cli.account import account_lines
from sweeper.cli.common import add_overrides, warn
from sweeper.cli.methods import add_methods, asks_for_methods, read_methods
from sweeper.cli.outlook import foresight_lines, view_line

EXAMPLE = """examples:
  sweeper validate profiles.parquet --methods harmony,sphering,center
  sweeper validate configs/jump_source3.yaml
  sweeper validate --keys                        every key of a configuration, its default and its meaning"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `sweeper validate`."""
    parser.add_argument("config", type=Path, metavar="CONFIG.yaml", nargs="?", help="the sweep's configuration")
    parser.add_argument("--keys", action="store_true", help="print every key with its default and meaning")
    add_methods(parser)
    add_overrides(parser)


def run(options: argparse.Namespace) -> int:
    """The verb."""
    from sweeper.config.sweep_config import documented_keys, load_config
    from sweeper.errors import InputError

    if options.keys:
        from sweeper.methods.methods_config import KEY, MEANING

        print(f"{KEY}\n    {MEANING}")
        for key, default, meaning in documented_keys():
            print(f"{key}{f' = {default}' if default else ''}\n    {meaning}")
        return 0
    if options.config is None:
        raise InputError("validate: give a CONFIG.yaml, or --keys")
    if asks_for_methods(options):
        return _methods(options)
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


def _methods(options: argparse.Namespace) -> int:
    """The same of a comparison: its screen once, and each method on it."""
    from sweeper.library.comparing import prepare_methods

    prepared = prepare_methods(read_methods(options), embed=False)
    for warning in prepared.warnings:
        warn(warning)
    print("\n".join(account_lines(prepared.sweeps[0].account)))
    for sweep in prepared.sweeps:
        cells = sweep.known_cells()
        print(
            f"{sweep.config.trainer}: {len(sweep.config.strengths.grid())} strengths → {len(cells)} cells with controls"
        )
    print("valid")
    return 0
