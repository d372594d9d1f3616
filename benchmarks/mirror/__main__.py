"""Cells a second into a real MLflow server with a login on a real Postgres, and into SQLite; what browsing then takes.

    make benchmark-mirror        (Debian's postgresql; a few minutes on 2 cores; writes benchmarks/mirror.json)

Client, server and Postgres share this machine, so that "cells a second" is that of all three on its processors; CPU
time a cell says which of them costs what. A cell is what a sweep writes: 24 metrics, a curve of 8 points of 3 values, 6
parameters, the versions as tags, and its record of 12 kB as artefact.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from benchmarks.mirror.servers import running_mlflow, running_postgres
from sweeper.installed import versions
from sweeper.mirror.tracking import Mirror, MirroredCell

RESULT = Path(__file__).parents[1] / "mirror.json"
BUSY = 3.0
"""Load average above which nothing is measured."""


def cells(count: int, record: Path) -> list[MirroredCell]:
    """What a sweep would mirror."""
    tags = {f"version.{name}": version for name, version in versions().items()}
    return [
        MirroredCell(
            cell_id=f"{number:032x}",
            name=f"abra λ={number} seed 0 held_out_plates/0",
            status="ok",
            params={"trainer": "abra", "adversarial_weight": number, "margin": 0.2, "seed": 0, "split": "a", "fold": 0},
            metrics={f"technical/metric_{metric}": 0.1 + metric / 100 for metric in range(24)},
            curve=[{"step": step, "loss": 1 / step, "accuracy": 0.5, "critic": 0.1} for step in range(1, 9)],
            artefacts=(record,),
            tags=tags,
            started=1.7e9,
            ended=1.7e9 + 5,
        )
        for number in range(count)
    ]


def cpu_seconds(server: int | None) -> dict[str, float]:
    """Processor seconds so far of this process, the MLflow server and Postgres."""

    def used(processes: list[psutil.Process]) -> float:
        return sum(sum(process.cpu_times()[:2]) for process in processes)

    found = {"client": used([psutil.Process()])}
    if server is not None:
        process = psutil.Process(server)
        found["server"] = used([process, *process.children(recursive=True)])
        found["postgres"] = used([each for each in psutil.process_iter(["name"]) if each.info["name"] == "postgres"])
    return found


@contextmanager
def login(password: str) -> Iterator[None]:
    """Name and password for the client."""
    os.environ |= {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": password}
    try:
        yield
    finally:
        for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
            del os.environ[name]


def measure(uri: str, folder: Path, count: int, server: int | None) -> dict[str, Any]:
    """Mirror `count` cells of a new sweep, mirror them again, and browse them."""
    record = folder / "record.json"
    record.write_text(json.dumps({"metrics": ["x" * 100] * 120}))
    given = cells(count, record)

    def opened() -> Mirror:
        return Mirror(uri=uri, sweep_id=f"id{count}", name=f"of {count}", folder=folder, params={}, tags={})

    mirror = opened()
    before, began = cpu_seconds(server), time.perf_counter()
    written = mirror.log_cells(given)
    seconds = time.perf_counter() - began
    after = cpu_seconds(server)
    mirror.finish(artefacts=[], metrics={}, tags={}, status="FINISHED")
    assert written == count  # noqa: S101 - else the figures are of something else
    again = timed(lambda: opened().log_cells(given))
    listed = timed(lambda: mirror._client.search_runs([mirror._experiment_id], max_results=100))
    parent = timed(lambda: mirror._client.get_run(mirror.parent_run_id))
    return {
        "cells": count,
        "cells_a_second": round(count / seconds, 1),
        "cpu_milliseconds_a_cell": {name: round(1e3 * (after[name] - before[name]) / count, 1) for name in after},
        "seconds_to_mirror_again": round(again, 2),
        "seconds_of_the_list_page": round(listed, 3),
        "seconds_of_the_parent": round(parent, 3),
    }


def timed(call: Callable[[], object]) -> float:
    """Wall seconds of a call."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, nargs="+", default=[200, 1000])
    parser.add_argument("--anyway", action="store_true", help=f"measure although the load is above {BUSY:g}")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    if load > BUSY and not options.anyway:
        raise SystemExit(f"the load is {load:.1f}: nothing was measured (--anyway measures all the same)")
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder, password = Path(name), os.urandom(12).hex()
        with (
            running_postgres() as database,
            running_mlflow(database, folder, workers=2, password=password) as server,
            login(password),
        ):
            for count in options.cells:
                found = measure(server.uri, folder, count, server.pid)
                rows.append({"store": "server with a login, 2 workers, on Postgres", **found})
                print(rows[-1], flush=True)
        found = measure(f"sqlite:///{folder}/mlflow.db", folder, min(options.cells), None)
        rows.append({"store": "SQLite", **found})
        print(rows[-1])
    machine = {"cpus": os.cpu_count(), "machine": platform.machine(), "load": [round(load, 1), os.getloadavg()[0]]}
    result = {"command": "make benchmark-mirror", **machine, "versions": versions(), "rows": rows}
    RESULT.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
