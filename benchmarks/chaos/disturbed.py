"""One sweep, disturbed several times and run again until it is done; then everything is counted."""

from __future__ import annotations

import hashlib
import random
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.chaos.faults import BOUND, FAULTS, NEEDS_A_SERVER, Fault
from benchmarks.chaos.surroundings import CELLS, Place, World

COMMANDS = 12
"""How often a sweep's command is given at most."""
LATEST = 25.0
"""A fault strikes up to so many seconds after the one before, or the start; or after a number of further cells."""
GRACE = 15.0
"""Seconds after the last command in which what it started may still leave."""
TICK = 0.1


@dataclass(frozen=True)
class Moment:
    """When a fault strikes: so many seconds after the last one or the start, and so many further finished cells."""

    seconds: float
    cells: int


def planned(seed: int, number: int, *, served: bool, nodes: bool, faults: int = 4) -> tuple[bool, list[Any]]:
    """Of sweep `number`: whether it runs on the cluster, and its faults with their moments.

    Faults are taken in turn, so that each strikes about as often as any other; their order is drawn.
    """
    draw = random.Random(f"{seed} {number}")  # noqa: S311 - not a secret
    on_cluster = nodes and draw.random() < 2 / 3
    able = [fault for fault in FAULTS if fault.cluster in (None, on_cluster)]
    able = [fault for fault in able if served or fault.strike not in NEEDS_A_SERVER]
    chosen = draw.sample(able, faults)
    moments = [
        Moment(draw.uniform(0, LATEST), 0) if draw.random() < 0.4 else Moment(draw.uniform(0, 1), draw.randint(1, 12))
        for _ in chosen
    ]
    return on_cluster, list(zip(chosen, moments, strict=True))


class Disturbed:
    """A sweep that is run and disturbed; `run` gives what came of it."""

    def __init__(self, world: World, name: str, *, on_cluster: bool, draw: random.Random) -> None:
        self._place = Place(world, name, on_cluster=on_cluster)
        self._draw = draw
        self._first: dict[str, int] = {}
        self._hangs = 0
        self._seconds: list[float] = []

    def run(self, faults: Sequence[tuple[Fault, Moment]], decision: str | None) -> dict[str, Any]:
        """Strike, run again, count. `decision`: digest of the undisturbed sweep's; None where this is it."""
        place, waiting = self._place, list(faults)
        struck: list[dict[str, Any]] = []
        codes: list[int] = []
        try:
            while len(codes) < COMMANDS and (not codes or codes[-1] != 0 or waiting):
                if place.world.cluster is not None and place.on_cluster:
                    place.world.cluster.mend()
                codes.append(self._command(waiting, struck))
                if codes[-1] == 0:
                    # What has not struck yet finds nothing to disturb: the sweep is done.
                    struck += [{"fault": fault.name, "hit": False} for fault, _ in waiting]
                    waiting.clear()
            return {
                "name": place.name,
                "cluster": place.on_cluster,
                "faults": struck,
                "codes": codes,
                "seconds": [round(seconds, 1) for seconds in self._seconds],
                **self._counted(decision, finished=codes[-1] == 0),
            }
        finally:
            place.remove()

    def _command(self, waiting: list[tuple[Fault, Moment]], struck: list[dict[str, Any]]) -> int:
        """Give the command once, with the faults whose moment comes; its exit code."""
        place, began = self._place, time.monotonic()
        number = len(place.commands)
        command = place.start()
        since, cells = began, len(place.stamps())
        moved, seen = began, len(self._first)
        while command.poll() is None and time.monotonic() - moved < BOUND:
            self._look()
            if len(self._first) != seen:
                moved, seen = time.monotonic(), len(self._first)
            if waiting:
                fault, moment = waiting[0]
                if time.monotonic() - since >= moment.seconds and len(self._first) - cells >= moment.cells:
                    at = {"fault": fault.name, "command": number, "second": round(time.monotonic() - began, 1)}
                    struck.append({**at, "cells": len(self._first), "hit": fault.strike(place, command, self._draw)})
                    waiting.pop(0)
                    since, cells = time.monotonic(), len(place.stamps())
                    moved = since
            time.sleep(TICK)
        for each in place.commands[number:]:
            try:
                each.wait(max(1.0, BOUND - (time.monotonic() - moved)))
            except psutil.TimeoutExpired:
                self._hangs += 1
                each.kill()
                each.wait()
        self._look()
        self._seconds.append(time.monotonic() - began)
        ended = [each.returncode for each in place.commands[number:]]
        return 0 if 0 in ended else int(ended[0])

    def _look(self) -> None:
        self._place.look()
        for cell, stamp in self._place.stamps().items():
            self._first.setdefault(cell, stamp)

    def _counted(self, decision: str | None, *, finished: bool) -> dict[str, Any]:
        place = self._place
        last = place.stamps()
        told = [place.told(number) for number in range(len(place.commands))]
        found = place.folder / "decision.json"
        digest = hashlib.sha256(found.read_bytes()).hexdigest() if found.exists() else "none"
        runs = mirrored(place) if finished else Counter()
        synced = finished and len(runs) <= CELLS
        if synced:  # a mirror that was away at the end says so, and this is what it says
            place.start("sync").wait(BOUND)
            runs = mirrored(place)
        return {
            "finished": finished and len(last) == CELLS,
            "lost": sum(cell not in last for cell in self._first),
            "trained_again": sum(last.get(cell, stamp) != stamp for cell, stamp in self._first.items()),
            "hangs": self._hangs,
            "decision": digest if decision is None else digest == decision,
            "doubled": sum(count > 1 for count in runs.values()),
            "unmirrored": CELLS + 1 - len(runs),
            "synced": synced,
            "tracebacks": sum("Traceback (most recent call last)" in each for each in told),
            "longest_complaint": max(len(complaint(each)) for each in told),
            "last_words": [complaint(each)[-1:] for each in told],
            **self._orphans(),
        }

    def _orphans(self) -> dict[str, Any]:
        place, until = self._place, time.monotonic() + GRACE
        while True:
            processes = [process.name() for process in place.remains()]
            if place.on_cluster and place.world.cluster is not None:
                processes += [process.name() for process in place.world.cluster.workers()]
            files = [path.name for path in left(place)]
            if not (processes or files) or time.monotonic() > until:
                return {"orphans": processes, "left": files}
            time.sleep(0.5)


def left(place: Place) -> Iterable[Path]:
    """What Ray or a sweep has left behind of temporary files."""
    yield from place.temp.glob("sweep-*")
    yield from place.temp.glob("ray/session_2*")
    yield from (path for path in place.folder.glob(".*") if path.name != ".lease")
    yield from (place.folder / "cells").glob(".*")


def complaint(told: str) -> list[str]:
    """The lines of a command that are its warnings and its error."""
    return [line for line in told.splitlines() if line.startswith(("warning:", "sweeper:"))]


def mirrored(place: Place) -> Counter[str]:
    """How many runs MLflow shows of each cell, and of the sweep itself."""
    from mlflow import MlflowClient

    client = MlflowClient(place.tracking)
    found = client.get_experiment_by_name(f"sweeper/{place.name}")
    if found is None:
        return Counter()
    runs = client.search_runs([found.experiment_id], max_results=1000)
    return Counter(run.data.tags.get("sweeper.cell_id", "the sweep") for run in runs)
