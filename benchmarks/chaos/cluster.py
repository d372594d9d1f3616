"""A Ray cluster of real nodes: a head without processors, and workers of one each in namespaces of their own."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from benchmarks.chaos.network import Namespace
from benchmarks.mirror.servers import free_port

PATIENCE = 200.0
QUICK_DEATH = {
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "4",
    "RAY_worker_niceness": "0",
}
"""A node that is cut off counts as dead after some 5 s instead of a minute, so that more of them fit into an hour."""


class Cluster:
    """Head and workers, each a process group of `ray start --block` that can be killed and started again."""

    def __init__(self, spaces: list[Namespace]) -> None:
        self._spaces = spaces
        self._nodes: dict[str, subprocess.Popen[bytes]] = {}
        self.folder = Path(tempfile.mkdtemp(prefix="cr-", dir="/tmp"))
        self._port = 0
        self._token = secrets.token_hex(32)

    @property
    def environment(self) -> dict[str, str]:
        """What a client needs."""
        return {
            "RAY_ADDRESS": f"{_own_address()}:{self._port}",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": self._token,
        }

    def start(self) -> None:
        """Start it anew, and wait until all nodes are there."""
        self.stop()
        self._port = free_port()
        head = ["--head", f"--port={self._port}", "--num-cpus=0", "--include-dashboard=false"]
        self._node("head", [*head, f"--temp-dir={self.folder}", "--disable-usage-stats"], [])
        self._wait(1)
        for number, space in enumerate(self._spaces, start=2):  # nodes that start at once give one name to two sockets
            self.start_worker(space, nodes=number)

    def start_worker(self, space: Namespace, *, nodes: int = 0) -> None:
        """Start the node of a namespace, in place of the one that was there; wait until there are `nodes` (0: all)."""
        self._end(space.name)
        where = [f"--address={_own_address()}:{self._port}", f"--node-ip-address={space.address}"]
        self._node(space.name, [*where, "--num-cpus=1"], space.prefix)
        self._wait(nodes or 1 + len(self._spaces))

    def raylet(self, name: str) -> psutil.Process:
        """The raylet of a node, "head" or a namespace's name."""
        return self._process(name, "raylet")

    def head_store(self) -> psutil.Process:
        """The head's control store."""
        return self._process("head", "gcs_server")

    def workers(self) -> list[psutil.Process]:
        """Processes of workers that hold a pack's actor."""
        found = []
        for node in self._nodes.values():
            with suppress(psutil.NoSuchProcess):
                for process in psutil.Process(node.pid).children(recursive=True):
                    with suppress(psutil.NoSuchProcess):
                        if is_actor(process.name()):
                            found.append(process)
        return found

    def mend(self) -> None:
        """Start again what does not run: a node that was cut off for too long ends itself."""
        if "head" not in self._nodes or self._nodes["head"].poll() is not None:
            self.start()
        for space in self._spaces:
            if self._nodes[space.name].poll() is not None:
                self.start_worker(space)

    def stop(self) -> None:
        """End all of it."""
        for name in list(self._nodes):
            self._end(name)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()

    def _process(self, node: str, name: str) -> psutil.Process:
        family = psutil.Process(self._nodes[node].pid).children(recursive=True)
        return next(process for process in family if process.name() == name)

    def _node(self, name: str, arguments: list[str], prefix: list[str]) -> None:
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--object-store-memory=80000000"]
        environment = {**os.environ, **QUICK_DEATH, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self._token}
        environment.pop("RAY_ADDRESS", None)
        with (self.folder / f"{name}.log").open("wb") as log:
            self._nodes[name] = subprocess.Popen(
                [*prefix, *command, *arguments], env=environment, start_new_session=True, stdout=log, stderr=log
            )

    def _wait(self, count: int) -> None:
        """Until so many nodes are there."""
        program = (
            "import ray,sys,time;ray.init(log_to_driver=False,logging_level='ERROR')\n"
            f"while sum(n['Alive'] for n in ray.nodes())<{count}: time.sleep(.2)"
        )
        deadline = time.monotonic() + PATIENCE
        while True:
            with suppress(OSError):
                socket.create_connection((_own_address(), self._port), timeout=1).close()
                break
            if time.monotonic() > deadline:
                raise RuntimeError(f"the head did not come up: {self._told('head')}")
            time.sleep(0.2)
        while True:
            environment = {**os.environ, **self.environment}
            with suppress(subprocess.TimeoutExpired):
                left = max(1.0, deadline - time.monotonic())
                done = subprocess.run(
                    [sys.executable, "-c", program], env=environment, capture_output=True, timeout=left, check=False
                )
                if done.returncode == 0:
                    return
            if time.monotonic() > deadline:
                raise RuntimeError(f"not all nodes came up: {[self._told(name) for name in self._nodes]}")
            time.sleep(0.5)

    def _told(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")[-1000:]

    def _end(self, name: str) -> None:
        node = self._nodes.pop(name, None)
        if node is None:
            return
        family = [psutil.Process(node.pid)] if node.poll() is None else []
        with suppress(psutil.NoSuchProcess):
            family += family[0].children(recursive=True) if family else []
        family += [each for each in psutil.process_iter() if _is_of(each, node.pid)]
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(family, timeout=5)
        with suppress(subprocess.TimeoutExpired):
            node.wait(5)


def is_actor(name: str) -> bool:
    """Whether a process of this name holds a pack: Ray names it by what it does; 15 characters are kept."""
    return name.startswith(("ray::PackTrain", "ray::ResourceTr"))


def _is_of(process: psutil.Process, session: int) -> bool:
    """Whether a process belongs to the session that a node was started as."""
    try:
        return os.getsid(process.pid) == session
    except OSError:
        return False


def _own_address() -> str:
    """The address that Ray takes for this machine's."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("8.8.8.8", 80))
        address: str = probe.getsockname()[0]
        return address


@contextmanager
def running_cluster(spaces: list[Namespace]) -> Iterator[Cluster]:
    """A cluster for the length of the block."""
    cluster = Cluster(spaces)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(cluster.folder, ignore_errors=True)
