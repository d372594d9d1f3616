"""Sweeps that are disturbed at random moments and run again until they are done: what is lost, doubled, left or hangs.

    make chaos          (root, Debian's postgresql; an hour on 2 free cores; goes on where benchmarks/chaos.json ends)

One head and two workers of Ray in network namespaces of their own, an MLflow server on Postgres, a disk of 60 MB; each
is started once and mended after what hit it. A sweep of 33 cells meets four faults, drawn by seed and number, one after
another at moments drawn the same way, in two thirds on the cluster, else on a Ray of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.chaos.disturbed import Disturbed, planned
from benchmarks.chaos.faults import BOUND
from benchmarks.chaos.surroundings import world
from benchmarks.chaos.table import table
from sweeper.installed import versions

RESULT = Path(__file__).parents[1] / "chaos.json"
SEED = 16
NODES = 2


def main() -> None:
    """Go on with the study, and write after every sweep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sweeps", type=int, default=100, help="how many there are to be in all")
    parser.add_argument("--minutes", type=float, default=60.0, help="begin no further one after so many")
    parser.add_argument("--result", type=Path, default=RESULT)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # servers, namespaces and the disk are removed then, too
    until = time.monotonic() + 60 * options.minutes
    document = json.loads(options.result.read_text(encoding="utf-8")) if options.result.exists() else begun()
    with world(NODES) as around:
        if document["decision"] is None:
            calm = Disturbed(around, "calm", on_cluster=True, draw=random.Random(0)).run([], None)  # noqa: S311
            document["decision"], document["undisturbed_seconds"] = calm["decision"], calm["seconds"][0]
            write(options.result, document)
        while (number := len(document["sweeps"])) < options.sweeps and time.monotonic() < until:
            on_cluster, faults = planned(SEED, number, served=True, nodes=True)
            draw = random.Random(f"{SEED} {number} strikes")  # noqa: S311 - not a secret
            sweep = Disturbed(around, f"chaos{number}", on_cluster=on_cluster, draw=draw)
            document["sweeps"].append(
                {"number": number, "load": os.getloadavg()[0], **sweep.run(faults, document["decision"])}
            )
            print(json.dumps(document["sweeps"][-1], ensure_ascii=False), flush=True)
            write(options.result, document)


def begun() -> dict[str, Any]:
    """A study without a sweep."""
    machine = {"cpus": os.cpu_count(), "nodes": 1 + NODES}
    return {
        "command": "make chaos",
        "seed": SEED,
        "bound_seconds": BOUND,
        **machine,
        "versions": versions(),
        "decision": None,
        "sweeps": [],
    }


def write(path: Path, document: dict[str, Any]) -> None:
    """The result so far, and its table."""
    document["table"] = table(document)
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
