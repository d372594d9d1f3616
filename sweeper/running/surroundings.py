"""What a run needs around it: a Ray that answers, refused before anything is read or made; room on the disk."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import tempfile
from contextlib import suppress
from pathlib import Path

from sweeper.errors import InputError, PlaceError
from trainers.screens.place import is_url

MAX_TEMP_DIR = 45
"""Ray's socket path fails above this many characters of temp dir."""
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
ROOM = 2**20
"""With fewer bytes left on the disk, whatever failed is put down to it: not every library passes the reason on."""
PROBE_SECONDS = 5.0
"""How long a cluster's head may take to accept a connection."""


def cluster_address() -> str:
    """RAY_ADDRESS of a running cluster; empty: a Ray of our own."""
    address = os.environ.get("RAY_ADDRESS", "").strip()
    return "" if address == "local" else address


def check_environment() -> None:
    """Refuse what Ray would fail on only after minutes, or never. Raises `InputError`."""
    if len(temporary := os.environ.get("RAY_TMPDIR", "")) > MAX_TEMP_DIR:
        raise InputError(f"RAY_TMPDIR={temporary}: over {MAX_TEMP_DIR} characters, Ray's sockets would fail there")
    address = cluster_address()
    if not address:
        return
    if address.startswith("ray://"):
        raise InputError(
            f"RAY_ADDRESS={address}: Ray Client is not supported; run the same command on the cluster, "
            "e.g. `ray job submit -- sweeper run …`, or give host:6379"
        )
    head = _noted_address() if address == "auto" else address
    if head is None:
        return  # Ray looks for its processes then
    host, colon, port = head.rpartition(":")
    if not colon:
        raise InputError(f"RAY_ADDRESS={address}: expected host:port of a Ray head, auto, or nothing for its own")
    try:
        socket.create_connection((host, int(port)), timeout=PROBE_SECONDS).close()
    except (OSError, ValueError, OverflowError) as error:
        raise InputError(
            f"RAY_ADDRESS={address}: nothing answers at {host}:{port} ({error}); give host:port of a Ray head"
        ) from None


def _noted_address() -> str | None:
    """Where the Ray that was last started on this machine said it would be."""
    folder = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"  # noqa: S108 - as Ray itself looks
    try:
        return Path(folder, "ray", "ray_current_cluster").read_text(encoding="utf-8").strip()
    except OSError:
        return None


def scratch_parent() -> str | None:
    """Where a temp folder of ours is short enough for Ray's sockets; None: wherever Python makes them."""
    common = tempfile.gettempdir()
    return common if len(common) + len("/sweep-12345678") <= MAX_TEMP_DIR else "/tmp"  # noqa: S108


def storage_trouble(error: BaseException, folder: Path) -> str | None:
    """What a full, read-only or overdrawn disk did, or storage that is away; None where it is something else."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, PlaceError):
            return seen.reason
        if isinstance(seen, OSError) and seen.errno in FULL:
            return os.strerror(seen.errno)
        seen = seen.__cause__ or seen.__context__
    with suppress(OSError):  # no such folder, where results go to a URL
        if shutil.disk_usage(folder).free < ROOM:
            return os.strerror(errno.ENOSPC)
    return None


def storage_line(where: object, trouble: str) -> str:
    """What is said of a sweep whose storage failed it; `trouble` as `storage_trouble` found it."""
    remedy = "mend that" if is_url(str(where)) else "make room"
    return f"{where}: {trouble}; finished cells are kept: {remedy}, then the same command continues"
