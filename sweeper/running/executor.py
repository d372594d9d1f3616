"""Packs of cells on Ray, seen from the sweep: a process of its own drives Ray, this one watches it.

Ray can hang for ever where a raylet or its head dies, and ends in pages of tracebacks where a disk is full. The process
that imports it (`ray_driver`) is therefore one that can be ended from outside at any moment: it is started again, at
most `RESTARTS` times a sweep, and goes on with the packs that are not finished. What is finished is in the store.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sweeper.config.sections import ExecutorOptions
from sweeper.errors import InputError, SweepFailedError
from sweeper.installed import VERSIONED
from sweeper.planning.cells import PackPlan
from sweeper.running.node_checks import REFUSED, node_checks
from sweeper.running.surroundings import check_environment, cluster_address, scratch_parent, storage_line

DRIVER = ("-m", "sweeper.running.ray_driver")
RESTARTS = 3
"""How often Ray is started again in a sweep."""
START_SECONDS = 240.0
"""How long Ray may take to start, or a cluster to be joined: 10 s, or minutes where the machine is overloaded."""
SILENCE_SECONDS = 40.0
"""Without a sign of life for so long, the driver of Ray is taken for hanging."""
LEAVE_SECONDS = 2.0
END_SECONDS = 5.0
"""How long a process that no longer speaks may take to be gone."""
TICK_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where the execution stands, told after every report of a trial."""

    training: Mapping[str, float]
    """Pack id → share of its training that is done, for the packs in flight."""


@dataclass(frozen=True, kw_only=True)
class PackFailure:
    """A pack whose worker died more often than allowed."""

    pack: PackPlan
    reason: str
    out_of_memory: bool


class RayLostError(Exception):
    """Ray, or the process that drives it, is gone; the message says how."""


class Executor:
    """Ray for the length of a `with` block, on this machine or on the cluster in RAY_ADDRESS."""

    def __init__(
        self,
        options: ExecutorOptions,
        where: Path | str,
        *,
        data: Sequence[Path] = (),
        warn: Callable[[str], None] = lambda _: None,
        tick: Callable[[], None] = lambda: None,
    ) -> None:
        """`where`: folder or URL of the results; `data`: files that every node reads; `warn` is told of restarts and of
        nodes that are not as they should be; `tick` is called at least every `TICK_SECONDS` and may raise.
        """
        self._options = options
        self._where = where
        self._data = tuple(data)
        self._warned: set[str] = set()
        self._warn = warn
        self._tick = tick
        self._restarts = 0
        self._driver: _Driver | None = None

    def __enter__(self) -> Self:
        self._started()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._driver is not None:
            self._driver.end()

    @property
    def workers(self) -> int:
        """How many packs run at once."""
        return self._started().workers

    def run(
        self,
        packs: Sequence[tuple[PackPlan, str]],
        *,
        on_progress: Callable[[Progress], None],
        on_pack: Callable[[PackPlan], None],
        reuse_actors: bool = True,
    ) -> list[PackFailure]:
        """Run each (pack, its file) as one trial. Returns the packs that could not be finished.

        A fresh actor a trial (`reuse_actors` False) pays for its imports every time; it is for comparison only.

        `on_pack` is called in this thread when a pack ended and its finished cells are in the store.

        Raises:
            SweepFailedError: Ray was lost too often, or the store's disk is full; what is finished is kept.
        """
        waiting = {file: pack for pack, file in packs}
        while waiting:
            driver = self._started()
            try:
                return driver.run(waiting, reuse_actors, on_progress=on_progress, on_pack=on_pack, tick=self._tick)
            except RayLostError as lost:
                self._lost(lost)
        return []

    def _started(self) -> _Driver:
        """The driver of Ray, started (again) where there is none."""
        while self._driver is None:
            try:
                check_environment()  # a cluster that has gone is no use waiting for
                self._driver = self._start()
            except RayLostError as lost:
                self._lost(lost)
            except InputError as error:
                if not self._restarts:
                    raise
                raise SweepFailedError(
                    f"Ray was lost and is not to be had again: {error}; finished cells are kept, the same command "
                    "continues"
                ) from None
        return self._driver

    def _start(self) -> _Driver:
        driver = _Driver(self._options, self._where)
        try:
            self._judge(driver.survey(self._data, self._tick))
            driver.start(self._tick)
        except BaseException:
            driver.end()
            raise
        return driver

    def _judge(self, found: Mapping[str, Any]) -> None:
        """Refuse nodes on which the sweep would fail, or come out otherwise; warn of others, once."""
        for check in node_checks(found, self._options):
            if check.state == "wrong" and check.name in REFUSED:
                raise InputError(check.text)
            if check.state != "ok" and check.text not in self._warned:
                self._warned.add(check.text)
                self._warn(check.text)

    def _lost(self, lost: RayLostError) -> None:
        if self._driver is not None:
            self._driver.end()
            self._driver = None
        if self._restarts == RESTARTS:
            raise SweepFailedError(
                f"Ray was lost {RESTARTS + 1} times, at last because {lost}; finished cells are kept, the same command "
                "continues"
            ) from None
        self._restarts += 1
        self._warn(f"Ray was lost: {lost}; started again ({self._restarts} of {RESTARTS}), finished cells are kept")


def survey_ray(
    options: ExecutorOptions, where: Path | str, *, data: Sequence[Path] = (), tick: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """Start or join Ray, look at its nodes, and leave: the facts that `node_checks` reads.

    Args:
        where: a folder that exists, or a URL; a file is written there, and removed.

    Raises:
        InputError: the cluster cannot be joined.
        RayLostError: Ray did not start.
    """
    driver = _Driver(options, where)
    try:
        return driver.survey(data, tick)
    finally:
        driver.end()


class _Driver:
    """One process that drives Ray, and what it says."""

    def __init__(self, options: ExecutorOptions, where: Path | str) -> None:
        self._options = options
        self._where = where
        self._said: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._complaints: deque[str] = deque(maxlen=30)
        self.workers = 0
        address = cluster_address()
        # A folder of our own: nobody else can read it, and nothing stays behind.
        own = not address and not os.environ.get("RAY_TMPDIR")
        self._scratch = Path(tempfile.mkdtemp(prefix="sweep-", dir=scratch_parent()))
        # What this process can import, a trainer of another package say, that one can, too.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        if own:
            environment["RAY_TMPDIR"] = str(self._scratch)
        self._process = subprocess.Popen(  # noqa: S603 - a module of ours
            [sys.executable, *DRIVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,  # Ctrl-C is for the sweep, which then ends this
            text=True,
            encoding="utf-8",
        )
        self._threads = [threading.Thread(target=follow, daemon=True) for follow in (self._listen, self._note)]
        for thread in self._threads:
            thread.start()

    def survey(self, data: Sequence[Path], tick: Callable[[], None]) -> dict[str, Any]:
        """Wait until Ray is up, and look at its nodes.

        Raises:
            InputError: the cluster cannot be joined.
            RayLostError: Ray did not start.
        """
        self._say(
            {
                "options": self._options.model_dump(mode="json"),
                "folder": str(self._where),
                "scratch": str(self._scratch),
                "versioned": list(VERSIONED),
                "data": [str(path) for path in data],
            }
        )
        while (told := self._next(START_SECONDS, tick))["kind"] != "survey":
            pass
        found: dict[str, Any] = told["found"]
        return found

    def start(self, tick: Callable[[], None]) -> None:
        """Wait until packs can be run. Raises `RayLostError`."""
        while (told := self._next(START_SECONDS, tick))["kind"] != "ready":
            pass
        self.workers = int(told["workers"])

    def run(
        self,
        waiting: dict[str, PackPlan],
        reuse_actors: bool,
        *,
        on_progress: Callable[[Progress], None],
        on_pack: Callable[[PackPlan], None],
        tick: Callable[[], None],
    ) -> list[PackFailure]:
        """As `Executor.run`; packs that ended are taken from `waiting`. Raises `RayLostError` too."""
        packs, training = dict(waiting), dict[str, float]()
        self._say({"packs": list(packs), "reuse_actors": reuse_actors})
        while True:
            told = self._next(SILENCE_SECONDS, tick)
            if told["kind"] == "progress":
                training[packs[told["pack"]].pack_id] = told["fraction"]
                on_progress(Progress(training=dict(training)))
            elif told["kind"] == "pack":
                pack = packs[told["pack"]]
                training.pop(pack.pack_id, None)
                waiting.pop(told["pack"], None)
                on_pack(pack)
                on_progress(Progress(training=dict(training)))
            elif told["kind"] == "done":
                return [
                    PackFailure(
                        pack=packs[failure["pack"]],
                        reason=failure["reason"],
                        out_of_memory=failure["out_of_memory"],
                    )
                    for failure in told["failures"]
                ]

    def end(self) -> None:
        """End the process and whatever it started, within seconds, and remove what they leave in the temp folder."""
        import psutil

        family: list[psutil.Process] = []
        with suppress(psutil.NoSuchProcess):
            family = psutil.Process(self._process.pid).children(recursive=True)
        with suppress(OSError):
            assert self._process.stdin is not None  # noqa: S101 - a pipe
            self._process.stdin.close()  # the driver leaves by itself, if it can
        try:
            self._process.wait(LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(family, timeout=LEAVE_SECONDS)
        for thread in self._threads:
            thread.join(LEAVE_SECONDS)
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _say(self, message: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None  # noqa: S101 - a pipe
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        except OSError:
            raise RayLostError(self._end_of_process()) from None

    def _next(self, patience: float, tick: Callable[[], None]) -> dict[str, Any]:
        """What the driver says next, whatever it is but an error; silence is one."""
        until = time.monotonic() + patience
        while True:
            tick()
            try:
                told = self._said.get(timeout=TICK_SECONDS)
            except queue.Empty:
                if time.monotonic() > until:
                    raise RayLostError(f"it gave no sign of life for {patience:.0f} s") from None
                continue
            if told is None:
                raise RayLostError(self._end_of_process())
            if told["kind"] == "input":
                raise InputError(told["reason"])
            if told["kind"] == "storage":
                raise SweepFailedError(storage_line(self._where, told["reason"]))
            if told["kind"] == "lost":
                raise RayLostError(told["reason"])
            return told

    def _end_of_process(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(END_SECONDS)
        code = self._process.returncode
        if code is not None and code < 0:
            return f"its driver was killed by signal {-code}"  # what it said before is not why
        self._threads[1].join(END_SECONDS)
        last = next((line for line in reversed(self._complaints) if line.strip()), "")
        return f"its driver ended with {code}" + (f" ({last.strip()[:200]})" if last else "")

    def _listen(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - a pipe
        with self._process.stdout as lines:
            for line in lines:
                with suppress(ValueError):
                    self._said.put(json.loads(line))
        self._said.put(None)

    def _note(self) -> None:
        assert self._process.stderr is not None  # noqa: S101 - a pipe
        with self._process.stderr as lines:
            self._complaints.extend(lines)
