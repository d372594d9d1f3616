"""Put a new batch through a kept model, without a refit, and say whether it lies inside what was tested.

The table is read as the sweep's was; its features must be the model's, in any order. Every distance of the batch (where
its features lie, how they vary and go together, where it lies in the embedding) is held against the distances of the
training batches from each other; the report is written beside the output as .drift.json. Rows of a batch that lies
outside are written too, with Metadata_outside = True.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from sweeper.cli.common import where

EXAMPLE = """examples:
  sweeper apply runs/demo/models/strength-3-margin-0.1 july.parquet              to july.corrected.parquet
  sweeper apply runs/demo july.parquet -o july.h5ad                              the advised model of a sweep
  sweeper apply runs/demo july.parquet --seed 0 --missing median

exit codes: 0 inside what was tested · 2 the input is wrong (one line says what) ·
            3 outside: corrected, written and marked, but nothing says that it is right"""

EXIT_OUTSIDE = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `sweeper apply`."""
    parser.add_argument("model", type=where, help="the folder of a kept model, or of a sweep (its advised model)")
    parser.add_argument("table", type=Path, help="the new batch: .parquet, .csv, .tsv (.gz), .h5ad, .gct or .npz")
    parser.add_argument(
        "-o", "--out", type=Path, help=".parquet, .csv, .csv.gz or .h5ad (default: TABLE.corrected.parquet)"
    )
    parser.add_argument("--seed", type=int, help="one seed, as it was trained (default: the mean of all)")
    parser.add_argument(
        "--missing",
        choices=("refuse", "drop_rows", "median"),
        help="what to do with features that lack values (default: as the sweep's screen did)",
    )


def run(options: argparse.Namespace) -> int:
    """The verb."""
    import sweeper
    from sweeper.cli.common import warn
    from sweeper.kept.drift_text import drift_lines

    stem = options.table.name.split(".")[0]
    out = options.out or options.table.with_name(f"{stem}.corrected.parquet")
    found = sweeper.apply(options.model, options.table, seed=options.seed, missing=options.missing, out=out)
    for note in found.notes:
        warn(note)
    for line in drift_lines(found):
        print(line)
    rows, width = found.corrected.embedding.shape
    print(f"{out}: {rows} rows, {width} columns of the embedding" + (", some marked outside" if found.outside else ""))
    return EXIT_OUTSIDE if found.outside else 0
