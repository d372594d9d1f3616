"""The image demo, confounded by design and balanced, and its other road: what the documentation quotes.

python benchmarks/images_demo.py        runs what the result file lacks; --one: one run of it; --again: everything anew

Each run is the command line of a user; a run that is stopped goes on from its own folder.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pandas as pd
from summaries import at_strength

import sweeper
from sweeper.arms.observed import strength_composites

VIEW, MARGIN = "held_out_plates", 0.0
FEW = [
    "views=[{view: held_out_plates, fraction: 0.5}]",
    "strengths.adversarial_weight=[3, 300]",
    "seeds=2",
    "sham.enabled=false",
]
TRAINED = ["trainer=abra_images", "frozen=null", *FEW]
BALANCED = ["simulate_images.imbalance=0"]
RUNS: dict[str, list[str]] = {
    "confounded": [],
    "balanced": [*BALANCED, "views=[{view: held_out_plates, fraction: 0.5}]"],
    "confounded, trained": TRAINED,
    "balanced, trained": [*TRAINED, *BALANCED],
}
RESULT = Path(__file__).with_suffix(".json")


class ProcessorSeconds(threading.Thread):
    """Processor seconds of everything that inherits a mark in its environment, workers of Ray included, from /proc.

    Looked at every second: what a process used in its last second, and shorter processes, are missed.
    """

    def __init__(self, mark: str) -> None:
        super().__init__(daemon=True)
        self._mark = mark.encode()
        self._seconds: dict[str, float] = {}
        self._over = threading.Event()

    def run(self) -> None:
        """Until `total` is asked for."""
        while not self._over.wait(1.0):
            for path in Path("/proc").glob("[0-9]*"):
                try:
                    if self._mark in (path / "environ").read_bytes():
                        used = (path / "stat").read_text().rpartition(")")[2].split()[11:13]
                        self._seconds[path.name] = sum(map(int, used)) / os.sysconf("SC_CLK_TCK")
                except OSError:  # it ended, or is another user's
                    continue

    def total(self) -> float:
        """Seconds seen."""
        self._over.set()
        self.join()
        return sum(self._seconds.values())


def main() -> None:
    """Run, summarise, write the result file."""
    again = "--again" in sys.argv[1:]
    found: dict[str, Any] = json.loads(RESULT.read_text()) if RESULT.exists() and not again else {"runs": {}}
    for name, overrides in RUNS.items():
        if name not in found["runs"]:
            found["runs"][name] = _run(name, overrides, again=again)
            found["command"] = "make benchmark-images-demo"
            RESULT.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
            if "--one" in sys.argv[1:]:
                break
        print(name, json.dumps(found["runs"][name]["strengths"]))


def _run(name: str, overrides: list[str], *, again: bool) -> dict[str, Any]:
    folder = Path("runs") / f"benchmark_images_{name.replace(', ', '_')}"
    both = (folder, folder.with_name(f"{folder.name}-screen"))
    if again:
        for path in both:
            shutil.rmtree(path, ignore_errors=True)
    fresh = not any(path.exists() for path in both)
    words = ["demo", "--images", *(word for key in [f"folder={folder}", *overrides] for word in ("--set", key))]
    load, began = os.getloadavg()[0], time.monotonic()
    mark = f"SWEEPER_BENCHMARK_{os.getpid()}_{folder.name}"
    processor = ProcessorSeconds(f"{mark}=1")
    processor.start()
    subprocess.run([sys.executable, "-m", "sweeper", *words], check=True, env={**os.environ, mark: "1"})
    wall, used = time.monotonic() - began, processor.total()
    results = pd.read_parquet(folder / "results.parquet")
    decision = sweeper.open_store(folder).decision
    own = results[results["trainer"] == decision.trainer]
    composites = strength_composites(results, view=VIEW, trainer=decision.trainer)
    biology = composites[composites["margin"] == MARGIN].set_index("adversarial_weight")["biological"]
    cells = results.drop_duplicates("cell_id")
    records = [json.loads(path.read_text()) for path in folder.glob("cells/*/record.json")]
    trained = [record["seconds"] for record in records if record["trainer"] == decision.trainer]
    probe = results[(results["view"] == VIEW) & (results["metric"] == "batch_probe_linear")]
    curve = decision.views[VIEW].margins[0]
    return {
        "overrides": overrides,
        "wall_seconds": round(wall, 1) if fresh else None,
        "processor_seconds": round(used, 1) if fresh else None,
        "machine": {"cpus": os.cpu_count(), "load_average": round(load, 1)},
        "cells": {str(status): int(count) for status, count in cells["status"].value_counts().items()},
        "seconds_a_trained_cell": {
            key: round(sum(seconds[key] for seconds in trained) / len(trained), 2) for key in ("train", "score")
        },
        "chance_of_the_probe": round(float(probe["chance"].mean()), 3),
        "strengths": [
            {
                **at_strength(own, view=VIEW, weight=float(weight), margin=MARGIN),
                "biology": round(float(value), 3),
                "loss": round(1 - float(value) / float(biology.max()), 3),
            }
            for weight, value in biology.items()
        ],
        "state": curve.state,
        "estimate": {"safe_up_to": curve.safe_up_to, "unsafe_from": curve.unsafe_from} if curve.estimate else None,
        "sentence": decision.sentence,
    }


if __name__ == "__main__":
    main()
