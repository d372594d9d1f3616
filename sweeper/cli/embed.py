"""Write the whole screen corrected: every row of the table with all its metadata, and its embedding.

Seeds are averaged after each is turned onto the first (orthogonal Procrustes), unless --seed names one. The column
Metadata_row_digest ties every row to the row that was read. In an .h5ad the embedding is obsm["X_sweeper"].
"""

from __future__ import annotations

import argparse
from pathlib import Path

from sweeper.cli.common import where

EXAMPLE = """examples:
  sweeper embed runs/demo                                    the advised strength, to runs/demo/corrected.parquet
  sweeper embed runs/demo -o corrected.h5ad                  for scanpy
  sweeper embed runs/demo --strength 3 --seed 0 -o one.csv   another strength, one seed as it was trained"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `sweeper embed`."""
    parser.add_argument("folder", type=where, help="the folder or URL of a sweep")
    parser.add_argument("-o", "--out", type=Path, help=".parquet, .csv, .csv.gz or .h5ad (default: corrected.parquet)")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--strength", metavar="λ[,m]", help="a trained strength (default: the advised one)")
    which.add_argument("--model", type=Path, metavar="FOLDER", help="a kept model of this sweep")
    parser.add_argument("--seed", type=int, help="one seed, as it was trained (default: the mean of all)")


def run(options: argparse.Namespace) -> int:
    """The verb."""
    import sweeper
    from sweeper.cli.common import warn
    from sweeper.kept.strengths import parse_strength

    sweep = sweeper.open_store(options.folder)
    strength = None if options.strength is None else parse_strength(options.strength, sweep.store)
    out = options.out or sweep.folder / "corrected.parquet"
    found = sweeper.embed(sweep, strength=strength, seed=options.seed, model=options.model, out=out)
    if options.out is None:
        sweep.store.publish(out)
    for note in found.notes:
        warn(note)
    rows, width = found.embedding.shape
    written = options.out or sweep.store.named(out)
    print(f"{written}: {rows} rows, {len(found.metadata.columns)} metadata columns, {width} of the embedding")
    print(f"{found.source['trainer']} at {found.source['strength']}, seed: {found.source['seed']}")
    return 0
