"""Write a simulated screen and its ground truth into a folder: profiles, or images in the layout of a real screen."""

from __future__ import annotations

import argparse
from pathlib import Path

from sweeper.cli.common import Counter

EXAMPLE = """examples:
  sweeper simulate runs/simulated
  sweeper simulate runs/larger --set batches=12 --set plates_per_batch=4 --set wells_per_plate=384 --set features=500
  sweeper simulate runs/hard --set overlap=0.9 --set imbalance=0.5 --set seed=7
  sweeper simulate runs/images --images wilds          as RxRx1-WILDS: 3 channels in a PNG
  sweeper simulate runs/images6 --images rxrx1 --set size=128 --set radius=12
  sweeper simulate --keys --images wilds               every key of --set, its default and its meaning"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `sweeper simulate`."""
    parser.add_argument("folder", type=Path, nargs="?", help="where to write")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="the same, as an option")
    parser.add_argument(
        "--images", choices=("wilds", "rxrx1"), help="write images in this layout; without it, a table of profiles"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a simulated screen that is there")
    parser.add_argument(
        "--set",
        dest="overrides",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="a key of the simulation; --keys lists them",
    )
    parser.add_argument("--keys", action="store_true", help="print every key with its default and meaning")


def run(options: argparse.Namespace) -> int:
    """The verb."""
    from sweeper.errors import InputError

    if options.keys:
        return _keys(options)
    if options.folder is None:
        options.folder = options.out
    elif options.out is not None:
        raise InputError("simulate: give the folder once, as FOLDER or as --out FOLDER")
    if options.folder is None:
        raise InputError("simulate: give a FOLDER to write into, or --keys")
    return _images(options) if options.images else _profiles(options)


def _profiles(options: argparse.Namespace) -> int:
    from sweeper.config.sweep_config import build_simulation
    from trainers.screens.simulated_screen import simulate, write_simulation

    simulation = simulate(build_simulation(options.overrides))
    write_simulation(simulation, options.folder, overwrite=options.overwrite)
    rows, features = simulation.screen.features.shape
    print(f"{options.folder / 'screen.parquet'}: {rows} wells × {features} features")
    print(f"{options.folder / 'truth.json'}: ground truth")
    return 0


def _images(options: argparse.Namespace) -> int:
    from sweeper.config.sweep_config import build_image_simulation
    from trainers.screens.images.image_simulation import draw_simulation
    from trainers.screens.images.simulated_images import CHANNELS_OF, write_images

    spec = build_image_simulation([f"channels={CHANNELS_OF[options.images]}", *options.overrides])
    path = write_images(
        draw_simulation(spec), options.folder, options.images, overwrite=options.overwrite, progress=Counter("images")
    )
    print(f"{path}: {spec.batches} batches, {spec.channels} channels of {spec.size}×{spec.size}")
    print(f"{options.folder / 'truth.json'}: ground truth")
    return 0


def _keys(options: argparse.Namespace) -> int:
    from sweeper.config.sweep_config import documented_keys
    from trainers.screens.images.image_simulation_spec import ImageSimulationSpec
    from trainers.screens.simulation_spec import SimulationSpec

    for key, default, meaning in documented_keys(ImageSimulationSpec if options.images else SimulationSpec):
        print(f"{key} = {default}\n    {meaning}")
    return 0
