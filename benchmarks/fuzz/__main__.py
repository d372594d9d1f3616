"""Malformed configurations, settings, tables, stores and images at the command line's doors, counted by outcome.

    make fuzz                                      (10,000 inputs; ten minutes of one core)
    python -m benchmarks.fuzz --inputs 10000 --door store --only 17      one input again

Every input is made from (door, number, seed) alone. The result,
benchmarks/fuzz.json, and the table that is printed have a row a kind of input. The exit code is 1 where anything but
a result or one clear line came out.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fuzz.doors import SHARES, Make, doors
from benchmarks.fuzz.outcome import FAULTS, GOOD, Outcome, run

RESULT = Path(__file__).parents[1] / "fuzz.json"


def fuzz(inputs: int, seed: int, *, only: str = "", number: int | None = None, processes: int = 1) -> dict[str, Any]:
    """Kind of input → its outcomes, and every fault with what made it."""
    names = [(name, count) for name, count in shares(inputs) if only in name]
    if processes == 1:
        found = [_one_door((name, count, seed, number)) for name, count in names]
    else:
        with ProcessPoolExecutor(processes) as pool:
            found = list(pool.map(_one_door, [(name, count, seed, number) for name, count in names]))
    return {
        "schema": "fuzz/1",
        "seed": seed,
        "outcomes": {name: counts for (name, _), (counts, _) in zip(names, found, strict=True)},
        "faults": [fault for _, faults in found for fault in faults],
    }


def shares(inputs: int) -> list[tuple[str, int]]:
    """(door, number of its inputs)."""
    total = sum(SHARES.values())
    return [(name, max(1, round(inputs * share / total))) for name, share in SHARES.items()]


def _one_door(task: tuple[str, int, int, int | None]) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """The outcomes of one kind, and its faults, which are printed as they are found."""
    name, count, seed, number = task
    counts, faults, home = Counter[str](), [], Path.cwd()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as made:
        os.chdir(made)  # whatever is written relative to here goes with it
        try:
            door = doors(Path(made))[name]
            for at in range(count) if number is None else [number]:
                found = tried(name, door, at, seed, Path(made) / "input")
                counts[found.kind] += 1
                if found.kind in FAULTS:
                    words = found.words.replace(made, "…")
                    faults.append({"door": name, "number": at, "kind": found.kind, "words": words})
                    print(f"{name} {at}: {found.kind}: {words}", flush=True)
        finally:
            os.chdir(home)
    return {kind: counts[kind] for kind in (*GOOD, *FAULTS)}, faults


def tried(name: str, make: Make, number: int, seed: int, folder: Path) -> Outcome:
    """Make one input in a fresh folder and read it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return run(make(np.random.default_rng([seed, number, *name.encode()]), folder))


def table(document: dict[str, Any]) -> str:
    """Kind × number × outcome, as Markdown."""
    kinds = [*GOOD, *FAULTS]
    lines = [f"| input | tried | {' | '.join(kinds)} |", "|---" * (len(kinds) + 2) + "|"]
    for name, found in document["outcomes"].items():
        lines.append(f"| {name} | {sum(found.values()):,} | {' | '.join(str(found[kind]) for kind in kinds)} |")
    totals = [sum(found[kind] for found in document["outcomes"].values()) for kind in kinds]
    return "\n".join([*lines, f"| all | {sum(totals):,} | {' | '.join(map(str, totals))} |"])


def main() -> int:
    """Try them, print the table and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--door", default="", help="only kinds whose name holds this: their rows of the result alone")
    parser.add_argument("--only", type=int, metavar="NUMBER", help="only the input of this number; nothing is written")
    given = parser.parse_args()
    found = fuzz(given.inputs, given.seed, only=given.door, number=given.only, processes=given.processes)
    print(table(found))
    if given.only is None:
        kept = json.loads(RESULT.read_text(encoding="utf-8")) if given.door and RESULT.exists() else found
        new = set(found["outcomes"])
        kept["outcomes"] |= found["outcomes"]
        kept["faults"] = [fault for fault in kept["faults"] if fault["door"] not in new] + found["faults"]
        RESULT.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 1 if found["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
