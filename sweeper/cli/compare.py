"""Compare sweeps: what each advises, one plane, and where their wells are the same the difference, paired by seed.

Sweeps of other trainers, settings or features of the same wells are comparable; of others it is said why they are not.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from sweeper.cli.common import where

EXAMPLE = """examples:
  sweeper compare runs/abra runs/sphering
  sweeper compare runs/abra runs/center runs/deep -o compared.html --json compared.json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `sweeper compare`."""
    parser.add_argument("folders", type=where, nargs="+", metavar="SWEEP", help="folders or URLs of two or more sweeps")
    parser.add_argument("-o", "--out", type=Path, metavar="FILE.html", help="one page: table, plane, differences")
    parser.add_argument("--json", type=Path, metavar="FILE", help="plain values")


def run(options: argparse.Namespace) -> int:
    """The verb."""
    import sweeper
    from dashboards.compared_sweeps import comparison_lines, comparison_page
    from sweeper.store.store import dump_json, write_atomically

    found = sweeper.compare(*options.folders)
    for line in comparison_lines(found):
        print(line)
    if options.out is not None:
        write_atomically(options.out, comparison_page(found))
        print(f"\npage:     {options.out}")
    if options.json is not None:
        write_atomically(options.json, dump_json(found.to_json()))
    return 0
