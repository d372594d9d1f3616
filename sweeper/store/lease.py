"""Who owns a sweep's folder: one process at a time, on any shared storage; one that died does not keep it.

::

    <folder>/.lease/000007.json     host, process, since when; the highest number owns the sweep, or owned it last

The next number is created exclusively, which NFS does atomically too (flock it often does not), and a number is never
given twice: whoever loses the race for it looks again. The owner touches its file every `HEARTBEAT` seconds. The next
driver goes on where it let go of the sweep, where its process is gone (seen from the same machine), or where its file
stood still for `STALE` seconds, and still did while it was watched: the clocks of two hosts may differ.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from sweeper.errors import InputError, SweepFailedError

FOLDER = ".lease"
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
    """The ownership of a folder, until `release` or the end of this process; `check` now and then."""

    def __init__(self, path: Path, owner: Owner) -> None:
        self._path = path
        self._owner = owner
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
                _write(self._path, replace(self._owner, released=True))

    def _beat(self) -> None:
        while not self._ended.wait(HEARTBEAT):
            with suppress(OSError):  # storage that is away for a while; what follows shows whether we are the owner
                if (found := _latest(self._path.parent)) is not None and found != self._path:
                    owner = _read(found)
                    told = "another process" if owner is None else f"process {owner.pid} on {owner.host}"
                    self._lost = f"{self._path.parent.parent}: {told} has taken this sweep over; this run ends"
                    return
                os.utime(self._path)


@contextmanager
def owned(folder: Path) -> Iterator[Lease]:
    """Own the folder, which exists, for the length of the block.

    Raises:
        OwnedError: another process does; nothing has been changed then.
        InputError: the folder cannot be written to.
    """
    lease = _take(folder)
    try:
        yield lease
    finally:
        lease.release()


def _take(folder: Path) -> Lease:
    home = folder / FOLDER
    owner = _this_process()
    try:
        home.mkdir(exist_ok=True)
        while True:
            latest = _latest(home)
            if latest is not None and _is_held(latest):
                raise OwnedError(_refusal(folder, latest))
            number = 1 if latest is None else int(latest.stem) + 1
            path = home / f"{number:06d}.json"
            try:
                _write(path, owner, new=True)
            except FileExistsError:
                continue  # somebody was faster
            if _latest(home) != path:  # a number that was free again: its owner is of long ago
                path.unlink(missing_ok=True)
                continue
            for old in home.glob("*.json"):
                if old.stem < path.stem:
                    old.unlink(missing_ok=True)
            return Lease(path, owner)
    except OSError as error:
        raise InputError(f"{home}: cannot write there: {error.strerror or error}") from None


def running(folder: Path) -> Owner | None:
    """The process that runs the sweep in a folder, as far as can be told at once; None where none does."""
    if (latest := _latest(folder / FOLDER)) is None:
        return None
    try:
        owner, touched = _read(latest), latest.stat().st_mtime
    except FileNotFoundError:
        return None
    if owner is None or owner.released:
        return None
    gone = owner.is_gone() if owner.is_here else time.time() - touched > STALE
    return None if gone else owner


def _latest(home: Path) -> Path | None:
    return max(home.glob("[0-9]*.json"), default=None)


def _is_held(path: Path) -> bool:
    """Whether the latest lease is of a process that lives."""
    try:
        owner, touched = _read(path), path.stat().st_mtime
        if owner is not None and owner.released:
            return False
        if owner is not None and owner.is_here:
            return not owner.is_gone()
        if time.time() - touched < STALE:
            return True
        time.sleep(WATCH)
        return path.stat().st_mtime != touched
    except FileNotFoundError:
        return False  # replaced meanwhile: the number that follows is taken, too


def _refusal(folder: Path, path: Path) -> str:
    owner = _read(path)
    if owner is None:
        return f"{folder}: another process runs this sweep (it has just begun); wait for it or stop it"
    line = f"{folder}: another process runs this sweep: {owner.pid} on {owner.host}, since {owner.since}"
    if not owner.is_here:
        line += f" (one that died is followed {STALE + WATCH:.0f} s after its last sign of life)"
    return f"{line}; wait for it or stop it"


def _read(path: Path) -> Owner | None:
    """The owner that the file names; None where it says nothing (yet)."""
    try:
        return Owner(**json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _write(path: Path, owner: Owner, *, new: bool = False) -> None:
    """`new`: fails where the file is there; otherwise readers see the old content or the new."""
    target = path if new else path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with target.open("x" if new else "w", encoding="utf-8") as file:
        json.dump(asdict(owner), file)
        file.flush()
        os.fsync(file.fileno())
    if not new:
        target.replace(path)


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
