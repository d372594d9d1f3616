"""Malformed configurations, settings, tables, stores and images at the command line's doors, counted by outcome.

    make fuzz                                      (10,000 inputs; about half an hour of one core)
    python -m benchmarks.fuzz --inputs 500 --door store --seed 3

Every input is made from (seed, number) alone: `--only NUMBER` makes it again and shows what came of it. The result,
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
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.fuzz.doors import Door, doors
from benchmarks.fuzz.outcome import FAULTS, GOOD, Outcome, run

RESULT = Path(__file__).parents[1] / "fuzz.json"


def attempts(given: list[Door], inputs: int) -> list[tuple[Door, int]]:
    """(door, number) of every input, the doors in turn by their shares."""
    total = sum(door.share for door in given)
    return [(door, number) for door in given for number in range(max(1, round(inputs * door.share / total)))]


def tried(door: Door, number: int, seed: int, folder: Path) -> Outcome:
    """Make one input in a fresh folder, read it, and remove it."""
    import numpy as np

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    attempt = door.make(np.random.default_rng([seed, number, *door.name.encode()]), folder)
    return run(attempt)


def fuzz(
    inputs: int, seed: int, *, only: str | None = None, number: int | None = None, minutes: float = float("inf")
) -> dict[str, Any]:
    """Kind of input → its outcomes, and every fault with what made it."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as made:
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        home = Path.cwd()
        os.chdir(made)  # whatever is written relative to here goes with it
        try:
            chosen = [door for door in doors(Path(made)) if only is None or only in door.name]
            counts = {door.name: Counter[str]() for door in chosen}
            faults: list[dict[str, Any]] = []
            for door, at in attempts(chosen, inputs):
                if (number is not None and at != number) or time.monotonic() - began > 60 * minutes:
                    continue
                found = tried(door, at, seed, Path(made) / "input")
                counts[door.name][found.kind] += 1
                if number is not None:
                    print(f"{door.name} {at}: {found.kind}: {found.words}")
                if found.kind in FAULTS:
                    words = found.words.replace(made, "…")
                    faults.append({"door": door.name, "number": at, "kind": found.kind, "words": words})
        finally:
            os.chdir(home)
    return {
        "schema": "fuzz/1",
        "seed": seed,
        "inputs": sum(sum(found.values()) for found in counts.values()),
        "minutes": round((time.monotonic() - began) / 60, 1),
        "outcomes": {name: {kind: found[kind] for kind in (*GOOD, *FAULTS)} for name, found in counts.items()},
        "faults": faults,
    }


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
    parser.add_argument("--minutes", type=float, default=float("inf"), help="start no further input after this long")
    parser.add_argument("--door", help="only kinds whose name holds this; nothing is written")
    parser.add_argument("--only", type=int, metavar="NUMBER", help="only the input of this number; nothing is written")
    given = parser.parse_args()
    found = fuzz(given.inputs, given.seed, only=given.door, number=given.only, minutes=given.minutes)
    print(table(found))
    for fault in found["faults"]:
        print(f"{fault['door']} {fault['number']}: {fault['kind']}: {fault['words']}")
    if given.door is None and given.only is None:
        RESULT.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 1 if found["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
