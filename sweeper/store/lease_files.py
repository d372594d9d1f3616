"""Where leases are kept: small numbered files of which each is created once, in a folder or at a URL."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from trainers.screens.place import DOOR_PATIENCE, Place

FOLDER = ".lease"


class LeaseFiles(Protocol):
    """Files by their number. Whatever storage does not do is an OSError."""

    def latest(self) -> int | None:
        """The highest number; None where there is none."""

    def read(self, number: int) -> str:
        """Its content; raises FileNotFoundError."""

    def touched(self, number: int) -> float:
        """Unix seconds of the last write, by the clock of the storage; raises FileNotFoundError."""

    def create(self, number: int, text: str) -> None:
        """Write one that is not there; raises FileExistsError where it is."""

    def replace(self, number: int, text: str) -> None:
        """Write it anew: readers see the old content or the new."""

    def touch(self, number: int, text: str) -> None:
        """Renew the time of one that holds `text`."""

    def remove_until(self, number: int) -> None:
        """Remove this one and those before it."""


class FolderLeases:
    """In a folder on disk, NFS included."""

    def __init__(self, folder: Path) -> None:
        self._home = folder / FOLDER

    def _path(self, number: int) -> Path:
        return self._home / f"{number:06d}.json"

    def latest(self) -> int | None:
        """As in `LeaseFiles`."""
        return max((int(path.stem) for path in self._home.glob("[0-9]*.json")), default=None)

    def read(self, number: int) -> str:
        """As in `LeaseFiles`."""
        return self._path(number).read_text(encoding="utf-8")

    def touched(self, number: int) -> float:
        """As in `LeaseFiles`."""
        return self._path(number).stat().st_mtime

    def create(self, number: int, text: str) -> None:
        """As in `LeaseFiles`."""
        self._home.mkdir(exist_ok=True)
        _write(self._path(number), text, "x")

    def replace(self, number: int, text: str) -> None:
        """As in `LeaseFiles`."""
        path = self._path(number)
        beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        _write(beside, text, "w")
        beside.replace(path)

    def touch(self, number: int, text: str) -> None:
        """As in `LeaseFiles`."""
        del text
        os.utime(self._path(number))

    def remove_until(self, number: int) -> None:
        """As in `LeaseFiles`."""
        for path in self._home.glob("*.json"):
            if path.stem <= f"{number:06d}":
                path.unlink(missing_ok=True)


class PlaceLeases:
    """At a URL. An object's time is that of its last write, so that a touch writes it again.

    Without patience: the owner shows life again at its next heartbeat, and one that ends does not wait for storage.
    """

    def __init__(self, place: Place) -> None:
        self._place = Place(place.url, patience=DOOR_PATIENCE)

    def _name(self, number: int) -> str:
        return f"{FOLDER}/{number:06d}.json"

    def _numbers(self) -> list[int]:
        return sorted(int(name[len(FOLDER) + 1 : -len(".json")]) for name in self._place.list(FOLDER))

    def latest(self) -> int | None:
        """As in `LeaseFiles`."""
        return max(self._numbers(), default=None)

    def read(self, number: int) -> str:
        """As in `LeaseFiles`."""
        return self._place.read(self._name(number)).decode()

    def touched(self, number: int) -> float:
        """As in `LeaseFiles`."""
        if (stamp := self._place.stamp(self._name(number))) is None:
            raise FileNotFoundError(self._name(number))
        return stamp.modified

    def create(self, number: int, text: str) -> None:
        """As in `LeaseFiles`."""
        if not self._place.put_new(self._name(number), text.encode()):
            raise FileExistsError(self._name(number))

    def replace(self, number: int, text: str) -> None:
        """As in `LeaseFiles`."""
        self._place.put(self._name(number), text.encode())

    def touch(self, number: int, text: str) -> None:
        """As in `LeaseFiles`."""
        self.replace(number, text)

    def remove_until(self, number: int) -> None:
        """As in `LeaseFiles`."""
        for old in self._numbers():
            if old <= number:
                self._place.delete(self._name(old))


def _write(path: Path, text: str, mode: str) -> None:
    with path.open(mode, encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def lease_files(folder: Path, place: Place | None) -> LeaseFiles:
    """Those of a sweep: at its URL where it has one, else in its folder."""
    return FolderLeases(folder) if place is None else PlaceLeases(place)


__all__ = ["FOLDER", "LeaseFiles", "lease_files"]
