"""Packed screens at URLs: uploaded with the manifest last, and read through a copy on each machine.

::

    <cache>/packed/<digest of the content>/     the copy: one for all sweeps and processes of the machine
    <cache>/packing/<digest of the URL>/        what is packed for a URL, before it goes there
"""

from __future__ import annotations

import fcntl
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

from trainers.errors import InputError, PlaceError
from trainers.screens.images.manifest import IMAGES, MANIFEST, WELLS
from trainers.screens.local_copy import CACHE, cache_folder
from trainers.screens.place import DOOR_PATIENCE, Place, checked_url


def checked_place(url: str) -> str:
    """The URL, once it is seen to be of use.

    Raises:
        InputError: it is not; one line says why.
    """
    try:
        found = str(checked_url(url))
    except ValueError as error:
        raise InputError(f"--out {error}") from None
    Place(found, patience=DOOR_PATIENCE).check()
    return found


def packing_folder(url: str) -> Path:
    """Where a screen is packed that is to go to a URL."""
    return cache_folder() / "packing" / sha256(url.encode()).hexdigest()[:24]


def publish_packed(folder: Path, url: str) -> None:
    """Take a packed screen to a URL; nothing where it is there already.

    Raises:
        InputError: the URL cannot be used.
        PlaceError: it could not be written; the same call does it again.
    """
    place = Place(url)
    content = (folder / MANIFEST).read_bytes()
    try:
        there: bytes | None = place.read(MANIFEST)
    except FileNotFoundError:
        there = None
    if there != content:
        place.delete(MANIFEST)  # what follows is another screen, until it is whole
        place.upload(folder / IMAGES, IMAGES)
        place.upload(folder / WELLS, WELLS)
        place.put(MANIFEST, content)
    with _copying(_digest_of(content)) as copy, suppress(FileExistsError):
        copy.symlink_to(folder, target_is_directory=True)


def packed_copy(url: str) -> Path:
    """The folder of this machine that holds the packed screen of a URL, fetched where it is not here yet.

    Raises:
        InputError: no packed screen there, the URL cannot be read, or the copy cannot be kept.
    """
    place = Place(url)
    try:
        content = place.read(MANIFEST)
    except FileNotFoundError:
        raise InputError(
            f"{url}: holds no packed screen (no {MANIFEST}); `sweeper pack … --out {url}` makes one"
        ) from None
    except PlaceError as error:
        raise InputError(str(error)) from None
    with _copying(_digest_of(content)) as copy:
        if not (copy / MANIFEST).exists():
            _fetch(place, content, copy)
    return copy


def _fetch(place: Place, manifest: bytes, copy: Path) -> None:
    beside = Path(tempfile.mkdtemp(dir=copy.parent, prefix=".coming-"))
    try:
        for name in (IMAGES, WELLS):
            place.download(name, beside / name)
        (beside / MANIFEST).write_bytes(manifest)
        shutil.rmtree(copy, ignore_errors=True)
        beside.rename(copy)
    except PlaceError as error:
        raise InputError(str(error)) from None
    except OSError as error:
        told = error.strerror or error
        raise InputError(
            f"{copy}: cannot keep a copy of {place} there ({told}); set {CACHE} to a larger disk"
        ) from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _digest_of(manifest: bytes) -> str:
    try:
        return str(json.loads(manifest)["fingerprint"]).removeprefix("sha256:")[:24]
    except (ValueError, LookupError, TypeError):
        return sha256(manifest).hexdigest()[:24]  # whoever opens it says what is wrong with it


@contextmanager
def _copying(digest: str) -> Iterator[Path]:
    """The copy's folder, for one process of the machine at a time."""
    copy = cache_folder() / "packed" / digest
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        lock = (copy.parent / f".{digest}.lock").open("w")
    except OSError as error:
        raise InputError(
            f"{copy.parent}: cannot be written to ({error.strerror}); set {CACHE} to another folder"
        ) from None
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield copy


__all__ = ["checked_place", "packed_copy", "packing_folder", "publish_packed"]
