"""The faults: what each one hits, and how it is mended afterwards. A fault that finds nothing to hit says so."""

from __future__ import annotations

import errno
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import psutil

from benchmarks.chaos.cluster import is_actor
from benchmarks.chaos.surroundings import Place

BOUND = 300.0
"""Seconds without a further cell, a fault or an end after which a command is taken for hanging.

An undisturbed one takes 15 in all on a free machine; the study also runs on one that is busy ten times over.
"""


@dataclass(frozen=True)
class Fault:
    """A fault; `strike` returns False where there was nothing to hit."""

    name: str
    strike: Callable[[Place, psutil.Popen, random.Random], bool]
    cluster: bool | None = None
    """Only on a cluster, only on a Ray of the sweep's own, or (None) on both."""


def _kill(processes: list[psutil.Process], draw: random.Random, how: signal.Signals = signal.SIGKILL) -> bool:
    if not processes:
        return False
    with suppress(psutil.NoSuchProcess):
        draw.choice(processes).send_signal(how)
        return True
    return False


def _named(place: Place, *names: str) -> list[psutil.Process]:
    found = []
    for process in place.remains():
        with suppress(psutil.Error):
            if process.name() in names:
                found.append(process)
    return found


def _actors(place: Place) -> list[psutil.Process]:
    if place.on_cluster:
        assert place.world.cluster is not None  # noqa: S101 - else it would not run there
        return place.world.cluster.workers()
    return [process for process in place.remains() if is_actor(process.name())]


def _worker(place: Place, _: psutil.Popen, draw: random.Random) -> bool:
    return _kill(_actors(place), draw)


def _actor(place: Place, _: psutil.Popen, draw: random.Random) -> bool:
    return _kill(_actors(place), draw, signal.SIGTERM)


def _local_raylet(place: Place, _: psutil.Popen, draw: random.Random) -> bool:
    return _kill(_named(place, "raylet"), draw)


def _local_head(place: Place, _: psutil.Popen, draw: random.Random) -> bool:
    return _kill(_named(place, "gcs_server"), draw)


def _ray_driver(place: Place, _: psutil.Popen, draw: random.Random) -> bool:
    found = [process for process in place.remains() if "sweeper.running.ray_driver" in process.cmdline()]
    return _kill(found, draw)


def _driver(_: Place, command: psutil.Popen, draw: random.Random) -> bool:
    return _kill([command], draw)


def _interrupt(_: Place, command: psutil.Popen, draw: random.Random) -> bool:
    return _kill([command], draw, draw.choice([signal.SIGINT, signal.SIGTERM]))


def _interrupt_twice(_: Place, command: psutil.Popen, draw: random.Random) -> bool:
    _kill([command], draw, signal.SIGINT)
    time.sleep(draw.uniform(0, 1))
    _kill([command], draw, signal.SIGINT)
    return True


def _node(place: Place, _: psutil.Popen, draw: random.Random) -> bool:
    cluster, space = place.world.cluster, draw.choice(place.world.spaces)
    assert cluster is not None  # noqa: S101 - a fault of clusters
    cluster.raylet(space.name).kill()
    time.sleep(draw.uniform(0, 5))
    cluster.start_worker(space)
    return True


def _head(place: Place, command: psutil.Popen, draw: random.Random) -> bool:
    cluster = place.world.cluster
    assert cluster is not None  # noqa: S101 - a fault of clusters
    draw.choice([cluster.head_store, lambda: cluster.raylet("head")])().kill()
    with suppress(psutil.TimeoutExpired):
        command.wait(BOUND)
    cluster.start()
    return True


def _cut(place: Place, _: psutil.Popen, draw: random.Random) -> bool:
    cluster, space = place.world.cluster, draw.choice(place.world.spaces)
    assert cluster is not None  # noqa: S101 - a fault of clusters
    space.cable("down")
    time.sleep(draw.uniform(1, 15))
    space.cable("up")
    time.sleep(1)
    cluster.mend()
    return True


def _mlflow(place: Place, _: psutil.Popen, draw: random.Random) -> bool:
    server = place.world.mlflow
    assert server is not None  # noqa: S101 - else it is not drawn
    server.stop(signal.SIGKILL)
    time.sleep(draw.uniform(0, 5))
    server.start()
    return True


def _postgres(place: Place, _: psutil.Popen, draw: random.Random) -> bool:
    server = place.world.postgres
    assert server is not None  # noqa: S101 - else it is not drawn
    server.stop(signal.SIGKILL)
    time.sleep(draw.uniform(0, 5))
    server.start()
    return True


def _full(place: Place, command: psutil.Popen, _: random.Random) -> bool:
    """Until the command ends: no byte is left on its disk."""
    ballast = place.world.disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 20))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
    with suppress(psutil.TimeoutExpired):
        command.wait(BOUND)
    ballast.unlink()
    return True


def _second(place: Place, command: psutil.Popen, _: random.Random) -> bool:
    """The same command once more; the study waits for both."""
    place.start()
    return command.is_running()


FAULTS = (
    Fault("kill −9 of a worker", _worker),
    Fault("kill of an actor (TERM)", _actor),
    Fault("kill −9 of a node's raylet", _node, cluster=True),
    Fault("a node's network is cut for 1 to 15 s", _cut, cluster=True),
    Fault("kill −9 of the head (GCS or raylet)", _head, cluster=True),
    Fault("kill −9 of the own Ray's raylet", _local_raylet, cluster=False),
    Fault("kill −9 of the own Ray's head", _local_head, cluster=False),
    Fault("kill −9 of the process that drives Ray", _ray_driver),
    Fault("kill −9 of the sweep", _driver),
    Fault("interrupt (INT or TERM)", _interrupt),
    Fault("interrupt, twice", _interrupt_twice),
    Fault("kill −9 of the MLflow server, back in 0 to 5 s", _mlflow),
    Fault("kill −9 of Postgres, back in 0 to 5 s", _postgres),
    Fault("the disk is full", _full),
    Fault("a second driver at once", _second),
)
NEEDS_A_SERVER = (_mlflow, _postgres)
