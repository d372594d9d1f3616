"""Who owns a sweep: one process at a time, on any shared storage; one that died does not keep it.

::

    <folder>/.lease/000007.json     host, process, since when; the highest number owns the sweep, or owned it last

The next number is created exclusively, which NFS does atomically too (flock it often does not), as object stores do,
and a number is never given twice: whoever loses the race for it looks again. The owner touches its file every
`HEARTBEAT` seconds. The next driver goes on where it let go of the sweep, where its process is gone (seen from the same
machine), or where its file stood still for `STALE` seconds, and still did while it was watched: the clocks of two hosts
may differ.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from sweeper.errors import InputError, PlaceError, SweepFailedError
from sweeper.store.lease_files import FOLDER, LeaseFiles, lease_files
from trainers.screens.place import Place

HEARTBEAT = 10.0
"""Seconds between an owner's signs of life."""
STALE = 60.0
"""An owner on another machine without a sign of life for so long is looked at closely."""
WATCH = 25.0
"""Seconds of that look; an owner that lives shows at least two signs in it."""


@dataclass(frozen=True, kw_only=True)
class Owner:
    """The process that holds a sweep, or held it last."""

    host: str
    place: str
    """The machine since it was started, and its process namespace: where the process number means something."""
    pid: int
    started: float
    """Unix seconds at which the process began: its number may be given again."""
    since: str
    released: bool = False

    @property
    def is_here(self) -> bool:
        """Whether its process could be seen from this one."""
        return self.place == _place()

    def is_gone(self) -> bool:
        """Whether the process has ended; to be asked where it `is_here`."""
        import psutil

        try:
            process = psutil.Process(self.pid)
            return process.status() == psutil.STATUS_ZOMBIE or abs(process.create_time() - self.started) > 2.0
        except psutil.NoSuchProcess:
            return True


class OwnedError(InputError):
    """Another process runs the sweep; the message says which, where and since when."""


class Lease:
    """The ownership of a sweep, until `release` or the end of this process; `check` now and then."""

    def __init__(self, files: LeaseFiles, number: int, text: str, where: str) -> None:
        self._files, self._number, self._text, self._where = files, number, text, where
        self._lost: str | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="sweep-lease", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise `SweepFailedError` where another driver, which took this one for dead, has the sweep now."""
        if self._lost is not None:
            raise SweepFailedError(self._lost)

    @property
    def lost(self) -> bool:
        """Whether another driver has the sweep now."""
        return self._lost is not None

    def release(self) -> None:
        """Let go. Where even that cannot be written, the end of the process says it."""
        self._ended.set()
        self._thread.join()
        if self._lost is None:
            with suppress(OSError):
                self._files.replace(self._number, json.dumps({**json.loads(self._text), "released": True}))

    def _beat(self) -> None:
        while not self._ended.wait(HEARTBEAT):
            with suppress(OSError):  # storage that is away for a while; what follows shows whether we are the owner
                if (found := self._files.latest()) is not None and found != self._number:
                    owner = _read(self._files, found)
                    told = "another process" if owner is None else f"process {owner.pid} on {owner.host}"
                    self._lost = f"{self._where}: {told} has taken this sweep over; this run ends"
                    return
                self._files.touch(self._number, self._text)


@contextmanager
def owned(folder: Path, place: Place | None = None) -> Iterator[Lease]:
    """Own a sweep for the length of the block: in its folder, which exists, or at its URL.

    Raises:
        OwnedError: another process does; nothing has been changed then.
        InputError: the folder or the place cannot be written to.
    """
    lease = _take(lease_files(folder, place), str(place or folder))
    try:
        yield lease
    finally:
        lease.release()


def _take(files: LeaseFiles, where: str) -> Lease:
    text = json.dumps(asdict(_this_process()))
    try:
        while True:
            latest = files.latest()
            if latest is not None and _is_held(files, latest):
                raise OwnedError(_refusal(files, latest, where))
            number = 1 if latest is None else latest + 1
            try:
                files.create(number, text)
            except FileExistsError:
                continue  # somebody was faster
            if files.latest() != number:  # a number that was free again: its owner is of long ago
                files.remove_until(number)
                continue
            files.remove_until(number - 1)
            return Lease(files, number, text, where)
    except PlaceError as error:
        raise InputError(str(error)) from None
    except OSError as error:
        raise InputError(f"{where}/{FOLDER}: cannot write there: {error.strerror or error}") from None


def running(folder: Path, place: Place | None = None) -> Owner | None:
    """The process that runs a sweep, as far as can be told at once; None where none does."""
    files = lease_files(folder, place)
    if (latest := files.latest()) is None:
        return None
    try:
        owner, touched = _read(files, latest), files.touched(latest)
    except FileNotFoundError:
        return None
    if owner is None or owner.released:
        return None
    gone = owner.is_gone() if owner.is_here else time.time() - touched > STALE
    return None if gone else owner


def _is_held(files: LeaseFiles, number: int) -> bool:
    """Whether the latest lease is of a process that lives."""
    try:
        owner, touched = _read(files, number), files.touched(number)
        if owner is not None and owner.released:
            return False
        if owner is not None and owner.is_here:
            return not owner.is_gone()
        if time.time() - touched < STALE:
            return True
        time.sleep(WATCH)
        return files.touched(number) != touched
    except FileNotFoundError:
        return False  # replaced meanwhile: the number that follows is taken, too


def _refusal(files: LeaseFiles, number: int, where: str) -> str:
    owner = _read(files, number)
    if owner is None:
        return f"{where}: another process runs this sweep (it has just begun); wait for it or stop it"
    line = f"{where}: another process runs this sweep: {owner.pid} on {owner.host}, since {owner.since}"
    if not owner.is_here:
        line += f" (one that died is followed {STALE + WATCH:.0f} s after its last sign of life)"
    return f"{line}; wait for it or stop it"


def _read(files: LeaseFiles, number: int) -> Owner | None:
    """The owner that the file names; None where it says nothing (yet)."""
    try:
        return Owner(**json.loads(files.read(number)))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _this_process() -> Owner:
    import psutil

    return Owner(
        host=socket.gethostname(),
        place=_place(),
        pid=os.getpid(),
        started=psutil.Process().create_time(),
        since=f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC",
    )


def _place() -> str:
    """Two containers may share a host's name, and two machines as well."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return socket.gethostname()
