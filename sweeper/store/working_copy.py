"""A sweep at a URL as a folder of this machine: read from there, written to the URL first.

::

    <url>/sweep.json, proposals/…, results.parquet, …     as in a folder
    <url>/screen.tar, cells/<cell id>.tar, models/….tar   a folder that appears whole: one object

The URL is the truth. What is here was there: an object is written, then the file or folder here. What changed there,
by its tag, is fetched anew, and what is gone there goes here. Several processes of a machine share a copy.
"""

from __future__ import annotations

import io
import shutil
import tarfile
import tempfile
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote, unquote

from sweeper.errors import InputError
from trainers.screens.local_copy import CACHE, copy_folder
from trainers.screens.place import Place, Stamp

WHOLE = ".tar"
_TAGS, _COMING = ".tags", ".coming"
_AT_ONCE = 16


class WorkingCopy:
    """The copy of a sweep at a URL. Making it touches nothing."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.folder = copy_folder(place.url)

    # ---- from the URL ------------------------------------------------------------------------------------------------

    def pull(self, *names: str) -> None:
        """Fetch objects by name, as far as they are there and not here already."""
        stamps = {name: self.place.stamp(name) for name in names}
        self._pull({name: stamp for name, stamp in stamps.items() if stamp is not None})
        self._forget({name for name, stamp in stamps.items() if stamp is None})

    def pull_level(self, under: str = "") -> None:
        """Fetch every object of a level."""
        listed = self.place.list(under, deep=False)
        self._pull(listed)
        prefix = f"{under}/" if under else ""
        here = {name for name in self._tags() if name.startswith(prefix) and "/" not in name[len(prefix) :]}
        self._forget(here - listed.keys())

    def pull_folders(self, under: str, among: Collection[str] | None = None) -> frozenset[str]:
        """Fetch the folders below `under` (of these names); returns the names that are there."""
        prefix = f"{under}/"
        listed = {
            name: stamp
            for name, stamp in self.place.list(under, deep=False).items()
            if name.endswith(WHOLE) and (among is None or name[len(prefix) : -len(WHOLE)] in among)
        }
        self._pull(listed)
        return frozenset(name[len(prefix) : -len(WHOLE)] for name in listed)

    def _pull(self, listed: Mapping[str, Stamp]) -> None:
        known = self._tags()
        changed = [
            (name, known.get(name), _digest(stamp))
            for name, stamp in listed.items()
            if known.get(name) != _digest(stamp) or not self._here(name).exists()
        ]
        if not changed:
            return
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            try:
                list(pool.map(self._fetch, *zip(*changed, strict=True)))
            except BaseException:
                self.place.given_up = True
                pool.shutdown(cancel_futures=True)
                raise

    def _fetch(self, name: str, old: str | None, new: str) -> None:
        with self._coming() as beside, suppress(FileNotFoundError):  # gone since it was listed
            self.place.download(name, beside / "object")
            if name.endswith(WHOLE):
                (beside / "whole").mkdir()
                with suppress(tarfile.TarError), tarfile.open(beside / "object") as archive:
                    archive.extractall(beside / "whole", filter="data")  # damaged: whoever reads it misses a file
                self._swap(beside / "whole", self._here(name))
            else:
                self._swap(beside / "object", self._here(name))
            self._tag(name, old, new)

    def _forget(self, names: set[str]) -> None:
        """Remove here what is no longer there."""
        known = self._tags()
        for name in names & known.keys():
            self._tag(name, known[name], None)
            here = self._here(name)
            shutil.rmtree(here, ignore_errors=True) if here.is_dir() else here.unlink(missing_ok=True)

    # ---- to the URL --------------------------------------------------------------------------------------------------

    def write(self, name: str, content: bytes) -> None:
        """Write a file there and here."""
        self.place.put(name, content)
        with self._coming() as beside:
            (beside / "object").write_bytes(content)
            self._swap(beside / "object", self._here(name))
        self._tag_as_there(name)

    def publish(self, name: str) -> None:
        """Write there what is here, a file or (`WHOLE`) a folder; what is gone here is removed there."""
        here = self._here(name)
        if not here.exists():
            self.place.delete(name)
            self._forget({name})
            return
        if name.endswith(WHOLE):
            with self._coming() as beside:
                with tarfile.open(beside / "object", "w") as archive:
                    archive.add(here, arcname=".")
                self.place.upload(beside / "object", name)
        else:
            self.place.upload(here, name)
        self._tag_as_there(name)

    def publish_cell(self, cell_id: str, folder: Path, *, replace: bool) -> bool:
        """Write a cell's folder there, in one object. False where it is there already, and not to be replaced."""
        name, packed = f"cells/{cell_id}{WHOLE}", io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            archive.add(folder, arcname=".")
        if replace:
            self.place.put(name, packed.getvalue())
            return True
        return self.place.put_new(name, packed.getvalue())

    def keep_cell(self, cell_id: str, folder: Path) -> None:
        """Take the folder of a cell that is published as the one here."""
        name = f"cells/{cell_id}{WHOLE}"
        self._swap(folder, self._here(name))
        self._tag_as_there(name)

    # ---- here --------------------------------------------------------------------------------------------------------

    def _here(self, name: str) -> Path:
        return self.folder / name.removesuffix(WHOLE)

    @contextmanager
    def _coming(self) -> Iterator[Path]:
        """A folder of this process on the disk of the copy."""
        parent = self.folder / _COMING
        try:
            parent.mkdir(parents=True, exist_ok=True)
            beside = Path(tempfile.mkdtemp(dir=parent))
        except OSError as error:
            raise InputError(
                f"{self.folder}: no copy of {self.place} can be kept there ({error.strerror}); set {CACHE} to a folder "
                "with room"
            ) from None
        try:
            yield beside
        finally:
            shutil.rmtree(beside, ignore_errors=True)

    def _swap(self, new: Path, here: Path) -> None:
        """Put a file or folder in its place. Another process may do the same at the same moment, with the same."""
        here.parent.mkdir(parents=True, exist_ok=True)
        if not new.is_dir():
            new.replace(here)
            return
        with self._coming() as aside:
            with suppress(FileNotFoundError):
                here.rename(aside / "old")
            with suppress(OSError):
                new.rename(here)
        if not here.exists():
            raise OSError(f"{here}: cannot be put in its place")

    def _tags(self) -> dict[str, str]:
        """Name → tag of the objects that are here."""
        home = self.folder / _TAGS
        entries = [entry.name.split("@") for entry in home.iterdir()] if home.is_dir() else []
        return {unquote(name): tag for name, tag in entries}

    def _tag_as_there(self, name: str) -> None:
        stamp = self.place.stamp(name)
        self._tag(name, self._tags().get(name), None if stamp is None else _digest(stamp))

    def _tag(self, name: str, old: str | None, new: str | None) -> None:
        """Note it by the name of an empty file: all of them are read at once."""
        home, quoted = self.folder / _TAGS, quote(name, safe="")
        home.mkdir(parents=True, exist_ok=True)
        if old is not None and old != new:
            (home / f"{quoted}@{old}").unlink(missing_ok=True)
        if new is not None:
            (home / f"{quoted}@{new}").touch()


def _digest(stamp: Stamp) -> str:
    return sha256(stamp.tag.encode()).hexdigest()[:16]


__all__ = ["WHOLE", "WorkingCopy"]
