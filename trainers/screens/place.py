"""Storage by URL: the few operations that a store needs, on S3, Google Cloud Storage or whatever else fsspec knows.

::

    s3://bucket/prefix     S3 and what speaks it; endpoint and credentials from the environment (AWS_ENDPOINT_URL, …)
    gs://bucket/prefix     Google Cloud Storage
    file:///folder         an ordinary folder, and treated as one

An object appears whole or not at all: one PUT, or one multi-part upload. `put_new` is atomic too (`If-None-Match: *`).
Whatever is throttled or cut off is tried again for `PATIENCE` seconds. Nothing of fsspec is imported before a place of
this kind is made.
"""

from __future__ import annotations

import errno
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from trainers.errors import InputError, PlaceError
from trainers.screens.names import nearest

PATIENCE = 90.0
"""Seconds that storage may be away, or refuse because of too many requests, before that is an error."""
DOOR_PATIENCE = 5.0
"""The same where a command begins: whoever gave the URL is still there."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 5.0

SCHEMES = {"s3": ("s3fs", "pip install 'sweeper[s3]'"), "gs": ("gcsfs", "pip install gcsfs")}
"""Scheme → the package that speaks it, and how it is installed."""
_LOCAL = "file"
# Never a matter of time. botocore's names: whatever they derive from differs between versions.
_LASTING = ("NoCredentialsError", "PartialCredentialsError", "ParamValidationError", "InvalidRegionError")

_OWN_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""What goes wrong on this machine where an object is fetched."""

Value = TypeVar("Value")


@dataclass(frozen=True)
class Stamp:
    """What tells one content of an object from the next, and when it was written."""

    tag: str
    modified: float
    """Unix seconds by the clock of the storage."""


def is_url(text: object) -> bool:
    """Whether text names storage by URL; a path does not hold "://"."""
    return isinstance(text, str) and "://" in text


def checked_url(text: str) -> str | Path:
    """A URL as it is kept: without a slash at the end; a path where it is of this machine's files.

    Raises:
        ValueError: a scheme that is not known, or no bucket; says what would be right.
    """
    parts, told = urlsplit(text), without_credentials(text)
    if parts.scheme == _LOCAL:
        if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
            raise ValueError(f"{told}: expected file:///absolute/folder")
        return Path(unquote(parts.path))
    if parts.scheme not in SCHEMES:
        known = [*SCHEMES, _LOCAL]
        raise ValueError(f"{told}: storage of kind {parts.scheme!r} is not known; {nearest(parts.scheme, known)}")
    if "@" in parts.netloc:
        raise ValueError(f"{told}: holds credentials; they belong into the environment")
    if not parts.netloc or parts.query or parts.fragment:
        raise ValueError(f"{text}: expected {parts.scheme}://bucket/folder")
    return text.rstrip("/")


class Place:
    """A folder at a URL. Names are relative to it, with slashes.

    Raises:
        InputError: the package that speaks the scheme is not installed.
    """

    def __init__(self, url: str, *, patience: float = PATIENCE) -> None:
        """`patience`: seconds that a request may be refused or unanswered before that is an error."""
        self.url = url.rstrip("/")
        self._patience = patience
        self.given_up = False
        """Set where nobody waits any more: what other threads try is not tried again."""

    def __repr__(self) -> str:
        return self.url

    @cached_property
    def files(self) -> Any:
        """The file system of fsspec; it pickles, and takes credentials from the environment where it is opened."""
        import fsspec

        scheme = urlsplit(self.url).scheme
        try:
            return fsspec.filesystem(scheme, use_listings_cache=False, **_OPTIONS.get(scheme, {}))
        except ImportError:
            package, how = SCHEMES[scheme]
            raise InputError(f"{self.url}: the package {package} is not installed; {how}") from None

    def path(self, name: str) -> str:
        """Of an object, as the file system names it."""
        root = self.url.partition("://")[2]
        return f"{root}/{name}" if name else root

    def check(self) -> None:
        """Say what is wrong with it. Writes nothing.

        Raises:
            InputError: no such bucket, no credentials or no right to list it, or nothing answers.
        """
        try:
            self.names()
        except PlaceError as error:
            raise InputError(str(error)) from None

    def names(self) -> frozenset[str]:
        """What is at its top: objects and folders.

        Raises:
            InputError: no such bucket.
        """
        try:
            listed = self._tried(lambda: self.files.ls(self.path(""), detail=False))
        except FileNotFoundError as error:
            if _code(error) == "NoSuchBucket":  # else a folder that nothing has been written to yet
                raise InputError(f"{self.url}: there is no such bucket; make it, or mend its name") from None
            return frozenset()
        return frozenset(path.rstrip("/").rpartition("/")[2] for path in listed)

    def list(self, under: str = "", *, deep: bool = True) -> dict[str, Stamp]:
        """The objects below `under`, however deep; without `deep`, those of its own level, folders left out."""

        def found() -> dict[str, Any]:
            options: dict[str, Any] = {} if deep else {"maxdepth": 1}
            try:
                listed: dict[str, Any] = self.files.find(self.path(under), detail=True, **options)
            except FileNotFoundError:
                return {}
            return listed

        root = self.path("") + "/"
        return {path.lstrip("/").removeprefix(root): _stamp(facts) for path, facts in self._tried(found).items()}

    def stamp(self, name: str) -> Stamp | None:
        """Of one object; None where there is none."""
        try:
            return _stamp(self._tried(lambda: self.files.info(self.path(name))))
        except FileNotFoundError:
            return None

    def read(self, name: str) -> bytes:
        """The content of an object; raises FileNotFoundError."""
        content: bytes = self._tried(lambda: self.files.cat_file(self.path(name)))
        return content

    def put(self, name: str, content: bytes) -> None:
        """Write an object, or replace it."""
        self._tried(lambda: self.files.pipe_file(self.path(name), content))

    def put_new(self, name: str, content: bytes) -> bool:
        """Write an object that is not there. False where it is there, with another content."""
        try:
            self._tried(lambda: self.files.pipe_file(self.path(name), content, mode="create"))
        except FileExistsError:
            # Ours, where the answer to a first try was lost.
            return self.read(name) == content
        return True

    def upload(self, source: Path, name: str) -> None:
        """Write a file of any size."""
        self._tried(lambda: self.files.put_file(str(source), self.path(name)))

    def download(self, name: str, target: Path) -> None:
        """Into a file that is not there yet; raises FileNotFoundError where there is no such object."""
        self._tried(lambda: self.files.get_file(self.path(name), str(target)))

    def delete(self, name: str) -> None:
        """Remove an object; none is fine."""
        with suppress(FileNotFoundError):
            self._tried(lambda: self.files.rm_file(self.path(name)))

    def _tried(self, action: Callable[[], Value]) -> Value:
        """Its value, tried again while the storage is away or throttles; FileNotFound and FileExists are answers.

        Raises:
            PlaceError: anything else.
        """
        until, pause = time.monotonic() + self._patience, _FIRST_PAUSE
        while True:
            try:
                return action()
            except (FileNotFoundError, FileExistsError, InputError):
                raise
            except Exception as error:
                if _is_precondition(error):
                    raise FileExistsError(self.url) from None
                if isinstance(error, OSError) and error.errno in _OWN_DISK:
                    raise
                if self.given_up or _lasts(error) or time.monotonic() + pause > until:
                    raise PlaceError(self.url, _reason(error)) from error
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)


_OPTIONS: dict[str, dict[str, Any]] = {
    # One try a request: how often and how long is decided above, for throttling and dead connections alike.
    "s3": {"config_kwargs": {"retries": {"max_attempts": 1}, "connect_timeout": 5, "read_timeout": 30}},
}


def _stamp(facts: Any) -> Stamp:
    modified = next((facts[key] for key in ("LastModified", "updated", "created", "mtime") if facts.get(key)), 0.0)
    seconds = modified if isinstance(modified, int | float) else modified.timestamp()
    tag = next((str(facts[key]) for key in ("ETag", "etag", "md5Hash") if facts.get(key)), str(modified))
    return Stamp(f"{tag.strip(chr(34))}-{facts['size']}", float(seconds))


def _code(error: BaseException) -> str:
    """A provider's own word for an error ("SlowDown"); "" where it has none."""
    seen: BaseException | None = error
    while seen is not None:
        answer = getattr(seen, "response", None)
        if isinstance(answer, dict) and answer.get("Error", {}).get("Code"):
            return str(answer["Error"]["Code"])
        seen = seen.__cause__
    return ""


def _is_precondition(error: BaseException) -> bool:
    return _code(error) == "PreconditionFailed" or getattr(error, "code", None) in (412, "412")


def _lasts(error: BaseException) -> bool:
    """Whether trying again is of no use."""
    return isinstance(error, PermissionError | ValueError | NotImplementedError) or type(error).__name__ in _LASTING


def _reason(error: BaseException) -> str:
    name = type(error).__name__
    said = without_credentials((str(error).strip().splitlines() or [name])[0])[:200]
    if name in ("NoCredentialsError", "PartialCredentialsError"):
        return "no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    if isinstance(error, PermissionError):
        return f"refused ({said}); check the credentials in the environment and their rights"
    if "Connect" in name or "Timeout" in name:
        return f"does not answer ({said})"
    return said


def without_credentials(text: str) -> str:
    """The text with what stands before the @ of its URLs left out."""
    return re.sub(r"(://)[^/@\s]+@", r"\1***@", text)


__all__ = ["DOOR_PATIENCE", "PATIENCE", "SCHEMES", "Place", "Stamp", "checked_url", "is_url", "without_credentials"]
