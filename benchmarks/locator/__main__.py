"""Does the located over-correction point hold its promises where the truth is known, and do other methods?

    make benchmark-locator      (an hour or more of one core; stop and start as you like)

It writes benchmarks/locator.json and from that, as `--tables` alone does, the tables of benchmarks/README.md, which
state aims, data, estimands, methods and performance measures, and benchmarks/locator.svg. Each block of repetitions is
a file under `--work`, kept over a stop: `--minutes 7 --part`, as often as needed, then once without either.
"""

from __future__ import annotations

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.locator import confounding, oracle, wells
from benchmarks.locator.figure import write_figure
from benchmarks.locator.study import BLOCK, DESIGNS, GATES, blocks, cells, results, run_block
from benchmarks.locator.tables import README, measure, summary, write_tables

RESULT = Path(__file__).parents[1] / "locator.json"
FIGURE = RESULT.with_suffix(".svg")
DEFAULT = RESULT.with_name("locator_default.json")
ORACLE = RESULT.with_name("locator_oracle.json")
SHOWN = (
    "flat",
    "improving",
    "drop δ",
    "drop 2 δ",
    "drop 2 δ, early",
    "drop 3 δ",
    "plateau-drop",
    "umbrella",
    "slow",
    "late",
)


def main() -> None:
    """Run what is missing, then write the result file and the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="start no further block after this long")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--work", type=Path, default=Path("runs/locator"))
    parser.add_argument("--confounded", type=int, default=200, help="sweeps of each confounded design")
    parser.add_argument("--data-sets", type=int, default=200, help="simulated screens scored by the panel")
    parser.add_argument("--part", action="store_true", help="write no result yet")
    parser.add_argument("--tables", action="store_true", help="run nothing")
    parser.add_argument(
        "--default",
        action="store_true",
        help="only what the default method does, on the gates' shapes: locator_default",
    )
    parser.add_argument(
        "--design",
        choices=list(DESIGNS),
        help="only this design, in the gates' setting; all other cells keep their committed rows",
    )
    parser.add_argument("--oracle", action="store_true", help="only what the best possible test could see")
    given = parser.parse_args()
    if given.oracle:
        found = oracle.measure(given.work)
        ORACLE.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        README.write_text(oracle.with_table(README.read_text(encoding="utf-8"), found), encoding="utf-8")
        return
    if given.default:
        DEFAULT.write_text(json.dumps(default(given), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        return
    if given.design:
        renew(given)
    elif not given.tables:
        until = time.monotonic() + 60 * given.minutes
        run(given.work, given.repetitions, given.processes, until)
        if given.part:
            wells.measure_all(given.work / "wells", given.data_sets, until)
            return
        RESULT.write_text(json.dumps(document(given), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    write_tables(RESULT)
    write_figure(json.loads(RESULT.read_text(encoding="utf-8"))["cells"], GATES.name, FIGURE)


def default(given: argparse.Namespace) -> list[dict[str, Any]]:
    """The default method on shapes with and without a loss; as many blocks as the time allows, the same of each."""
    until = time.monotonic() + 60 * given.minutes
    wanted = [cell for cell in cells() if cell.design == "grid" and cell.setting == GATES and cell.shape in SHOWN]
    for block in range(-(-given.repetitions // BLOCK)):
        for cell in wanted:
            if time.monotonic() <= until:
                run_block(given.work, cell, "locator", block)
    keys = ("repetitions", "true", "reported", "not_reached", "poor_fit", "contradicts", "coverage", "unsafe")
    keys += ("unsafe_decided", "unsafe_default", "bounded_default", "bracket_valid")
    found = []
    for cell in wanted:
        if rows := results(given.work, cell, "locator"):
            measured = measure(rows, cell.truth)
            found.append({"shape": cell.shape, "setting": cell.setting.name} | {key: measured.get(key) for key in keys})
    return found


def renew(given: argparse.Namespace) -> None:
    """Run the locator on one design as long as the time allows, and put its rows in the place of the committed ones."""
    until = time.monotonic() + 60 * given.minutes
    wanted = [cell for cell in cells() if cell.design == given.design and cell.setting == GATES]
    for block in range(-(-given.repetitions // BLOCK)):
        for cell in wanted:
            if time.monotonic() <= until:
                run_block(given.work, cell, "locator", block)
    committed = json.loads(RESULT.read_text(encoding="utf-8"))
    fresh = {row_key(row): row for row in summary(given.work, wanted)}
    committed["cells"] = [fresh.get(row_key(row), row) for row in committed["cells"]]
    RESULT.write_text(json.dumps(committed, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def row_key(row: dict[str, Any]) -> tuple[str, ...]:
    """What a row of the result is about."""
    return tuple(row[key] for key in ("setting", "design", "shape", "method"))


def document(given: argparse.Namespace) -> dict[str, Any]:
    """All tiers, from what was measured so far; the screens of tier B are completed."""
    return {
        "cells": summary(given.work),
        "confounded": confounding.summary(given.confounded),
        "wells": wells.summary(given.work / "wells", given.data_sets, float("inf")),
    }


def run(folder: Path, repetitions: int, processes: int, until: float) -> None:
    """Run every block that is missing, in order, until the time is up."""
    todo = list(blocks(repetitions))
    if processes == 1:
        for number, (cell, method, block) in enumerate(todo):
            if time.monotonic() > until:
                return
            if run_block(folder, cell, method, block) and method == "locator":
                print(f"{number + 1} of {len(todo)}: {cell.setting.name}, {cell.design}, {cell.shape}", flush=True)
        return
    with ProcessPoolExecutor(processes) as pool:
        list(pool.map(partial(_until, folder, until), todo))


def _until(folder: Path, until: float, task: tuple) -> None:
    if time.monotonic() <= until:
        run_block(folder, *task)


if __name__ == "__main__":
    main()
