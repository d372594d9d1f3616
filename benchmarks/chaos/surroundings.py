"""What a disturbed sweep runs in: servers and a cluster that are started once, a small disk, and a place of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.chaos.cluster import Cluster, running_cluster
from benchmarks.chaos.network import Namespace, namespaces
from benchmarks.mirror.servers import MLflow, Postgres, running_mlflow

MARK = "SWEEPER_CHAOS"
"""Every process that a command starts inherits it."""
CELLS = 33
CONFIG = """\
simulate:
  {batches: 3, plates_per_batch: 2, wells_per_plate: 96, features: 16, perturbations: 8, targets: 4,
   controls_per_plate: 8, latent: 4, seed: 5}
views: [{view: held_out_plates, fraction: 0.5}]
strengths: {adversarial_weight: [1, 10], margin: [0.2]}
seeds: 3
optuna: {rounds: 0}
sham: {enabled: false}
pseudo: {enabled: false}
confirm: {seeds: 0}
abra: {steps: 500, hidden_widths: [], embedding_dim: 8, groups: 4}
executor: {pack_size: 2, max_failures: 5}
metrics: [batch_probe_linear, perturbation_accuracy]
"""
"""33 cells; 5 to 10 s of training where the machine is free."""


@dataclass(frozen=True)
class World:
    """Servers, cluster and disk, for all sweeps of a study."""

    disk: Path
    mlflow: MLflow | None = None
    postgres: Postgres | None = None
    cluster: Cluster | None = None
    spaces: tuple[Namespace, ...] = ()


@contextmanager
def world(nodes: int) -> Iterator[World]:
    """MLflow on Postgres, a cluster of a head and `nodes` workers, and a disk that can be filled. Needs root."""
    with ExitStack() as stack:
        postgres = Postgres()
        stack.callback(postgres.remove)
        postgres.start()
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-")))
        disk = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="disk-")))
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=60m", "tmpfs", str(disk)], check=True)
        stack.callback(lambda: subprocess.run(["umount", "-l", str(disk)], check=True))
        mlflow = stack.enter_context(running_mlflow(postgres.address, folder))
        spaces = stack.enter_context(namespaces(nodes))
        cluster = stack.enter_context(running_cluster(spaces))
        yield World(disk, mlflow, postgres, cluster, tuple(spaces))


class Place:
    """Where one sweep runs: its folder, its temp folder, its environment, and how its command reads."""

    def __init__(self, world: World, name: str, *, on_cluster: bool) -> None:
        self.world, self.name, self.on_cluster = world, name, on_cluster
        self.folder = world.disk / name
        self.temp = Path(tempfile.mkdtemp(prefix="ct-", dir="/tmp"))
        self.logs = Path(tempfile.mkdtemp(prefix="chaos-told-"))
        self.config = self.logs / "sweep.yaml"
        self.config.write_text(f"name: {name}\n{CONFIG}", encoding="utf-8")
        self.commands: list[psutil.Popen] = []
        self._family: set[psutil.Process] = set()

    @property
    def tracking(self) -> str:
        """Where it is mirrored: the study's server, or a database of its own."""
        return f"sqlite:///{self.logs}/mlflow.db" if self.world.mlflow is None else self.world.mlflow.uri

    @property
    def environment(self) -> dict[str, str]:
        """Of a command; MLflow gives up soon where its server is away, as it waits for it anyway."""
        redirecting = {"RAY_ADDRESS", "RAY_TMPDIR", "MLFLOW_TRACKING_URI"}
        found = {key: value for key, value in os.environ.items() if key not in redirecting}
        found |= {MARK: self.name, "TMPDIR": str(self.temp), "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
        found["MLFLOW_TRACKING_URI"] = self.tracking
        if self.on_cluster and self.world.cluster is not None:
            found |= self.world.cluster.environment
        return found

    def start(self, verb: str = "run") -> psutil.Popen:
        """Give the command; what it says goes to a file."""
        subject = self.config if verb == "run" else self.folder
        where = ("--set", f"folder={self.folder}") if verb == "run" else ()
        with (self.logs / f"{len(self.commands)}.txt").open("wb") as told:
            process = psutil.Popen(
                [sys.executable, "-m", "sweeper", verb, str(subject), *where],
                cwd=self.logs, env=self.environment, stdin=subprocess.DEVNULL, stdout=told, stderr=told,
            )  # fmt: skip
        self.commands.append(process)
        return process

    def told(self, number: int = -1) -> str:
        """What the command of this number said."""
        return (self.logs / f"{range(len(self.commands))[number]}.txt").read_text(errors="replace")

    def stamps(self) -> dict[str, int]:
        """When each finished cell was written."""
        found = {}
        for path in (self.folder / "cells").glob("[!.]*/record.json"):
            try:
                found[path.parent.name] = path.stat().st_mtime_ns
            except FileNotFoundError:
                continue
        return found

    def look(self) -> None:
        """Remember who descends from the commands: Ray's workers write over their environment."""
        for command in self.commands:
            with suppress(psutil.NoSuchProcess):
                self._family.update(command.children(recursive=True))

    def remains(self) -> list[psutil.Process]:
        """Living processes that commands of this sweep have started, wherever they belong now."""
        self.look()
        found = {process for process in self._family if process.is_running()}
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get(MARK) == self.name:
                    found.add(process)
        return [process for process in found if _lives(process)]

    def remove(self) -> None:
        """Remove all of it."""
        for process in self.remains():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        for folder in (self.folder, self.temp, self.logs):
            shutil.rmtree(folder, ignore_errors=True)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
