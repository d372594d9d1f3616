"""Write a simulated screen (screen.parquet) and its ground truth (truth.json, truth.npz) into a folder."""

from __future__ import annotations

import argparse
from pathlib import Path

EXAMPLE = """examples:
  sweeper simulate runs/simulated
  sweeper simulate runs/simulated --set batches=10 --set plates_per_batch=4 --set wells_per_plate=384 --set features=500
  sweeper simulate runs/hard --set overlap=0.9 --set imbalance=0.5 --set seed=7"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `sweeper simulate`."""
    parser.add_argument("folder", type=Path, help="where to write")
    parser.add_argument("--overwrite", action="store_true", help="replace a simulated screen that is there")
    parser.add_argument(
        "--set",
        dest="overrides",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="a key of the simulation; `sweeper validate --keys` lists them under simulate.",
    )


def run(options: argparse.Namespace) -> int:
    """The verb."""
    from sweeper.config import build_simulation
    from trainers.screens.simulate import simulate, write_simulation

    simulation = simulate(build_simulation(options.overrides))
    write_simulation(simulation, options.folder, overwrite=options.overwrite)
    rows, features = simulation.screen.features.shape
    print(f"{options.folder / 'screen.parquet'}: {rows} wells × {features} features")
    print(f"{options.folder / 'truth.json'}: ground truth")
    return 0
