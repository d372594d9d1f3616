"""The share of wall time that is neither training nor scoring, beside a plain Ray Tune script; and very large sweeps.

    make benchmark-overhead        (about half an hour on 2 free cores; writes benchmarks/overhead.json)

Every entry runs in a process of its own, one after another, and only where the machine is free: times of one that is
shared mean nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.overhead.large import large
from benchmarks.overhead.sweeps import plain_tune, swept
from sweeper.installed import versions

RESULT = Path(__file__).parents[1] / "overhead.json"
BUSY = 3.0
"""Load average above which nothing is measured."""
WAYS = {"sweep": swept, "plain Ray Tune": plain_tune, "large": large}
ENTRIES = (
    ("sweep", 16),
    ("plain Ray Tune", 16),
    ("sweep", 200),
    ("sweep", 1000),
    ("large", 1000),
    ("large", 10000),
)


def measured(way: str, cells: int) -> dict[str, Any]:
    """One entry, in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="overhead-") as folder:
        command = [sys.executable, "-m", "benchmarks.overhead", "--one", way, str(cells), folder]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=3600, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {"way": way, **found}


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=10_000, help="leave out what has more cells than this")
    parser.add_argument("--anyway", action="store_true", help=f"measure although the load is above {BUSY:g}")
    parser.add_argument("--one", nargs=3, metavar=("WAY", "CELLS", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        way, cells, folder = options.one
        print(json.dumps(WAYS[way](int(cells), Path(folder) / "sweep")))
        return
    load = os.getloadavg()[0]
    if load > BUSY and not options.anyway:
        raise SystemExit(f"the load is {load:.1f}: nothing was measured (--anyway measures all the same)")
    rows = []
    for way, cells in ENTRIES:
        if cells <= options.most:
            rows.append(measured(way, cells))
            print(rows[-1], flush=True)
    a_cell = {row["way"]: row["overhead_seconds_a_cell"] for row in rows if "overhead_seconds_a_cell" in row}
    result = {
        "command": "make benchmark-overhead",
        "machine": {"cpus": os.cpu_count(), "machine": platform.machine(), "load_before": round(load, 1)},
        "versions": versions(),
        "rows": rows,
        "times_less_a_cell_than_plain": round(a_cell["plain Ray Tune"] / a_cell["sweep"], 1),
    }
    RESULT.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
