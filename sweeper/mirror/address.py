"""Where MLflow is: the tracking URI of a sweep, and whether anything answers there. Imports no MLflow."""

from __future__ import annotations

import os
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from trainers.errors import InputError

_PROBE_SECONDS = 5.0


def resolve_uri(configured: str | None, environment: Mapping[str, str], folder: Path) -> str:
    """The tracking URI of a sweep: the config's, else `MLFLOW_TRACKING_URI`, else SQLite in the sweep's folder.

    Raises:
        InputError: the URI is a file store, or names a SQLite file by a relative path.
    """
    sources = {"tracking uri of the config": configured, "MLFLOW_TRACKING_URI": environment.get("MLFLOW_TRACKING_URI")}
    for source, uri in sources.items():
        if uri and uri.strip():
            return _checked(uri.strip().rstrip("/"), source)
    if "?" in str(folder):
        raise InputError(f"folder {str(folder)!r}: the path of a SQLite file cannot hold '?'; choose another folder")
    return f"sqlite:///{folder.absolute() / 'mlflow.db'}"


def _checked(uri: str, source: str) -> str:
    scheme = urlsplit(uri).scheme.lower()
    if uri != "databricks" and (len(scheme) < 2 or scheme == "file"):
        raise InputError(
            f"{source}: {masked(uri)!r} is a file store, which MLflow no longer serves; "
            "write sqlite:////absolute/path/mlflow.db or http://host:5000"
        )
    database = sqlite_path(uri)
    if database is not None and not database.is_absolute():
        named = str(database) not in ("", ".", ":memory:")
        example = f"sqlite:///{database.absolute()}" if named else "sqlite:////absolute/path/mlflow.db"
        raise InputError(
            f"{source}: {uri!r} is relative to whichever folder a process happens to run in; write {example}"
        )
    return uri


def sqlite_path(uri: str) -> Path | None:
    """The file of a SQLite URI; None for any other store."""
    if not (matched := re.match(r"sqlite(?:\+\w+)?:(?://)?/?([^?]*)", uri, re.IGNORECASE)):
        return None
    return Path(matched[1])


def artefact_root(uri: str, folder: Path) -> str | None:
    """Beside a SQLite file, in the sweep's folder for another database; a server decides for itself (None)."""
    scheme = urlsplit(uri).scheme
    if uri == "databricks" or scheme in ("http", "https", "databricks"):
        return None
    database = sqlite_path(uri)
    return ((database.parent if database else folder.absolute()) / "mlartifacts").as_uri()


def check_tracking(configured: str | None, folder: Path) -> str:
    """The tracking URI in use, once it is seen to be of use: says within seconds what MLflow would retry for minutes.

    Writes nothing. Arguments and errors as `resolve_uri`; also raises InputError where a server does not answer, or a
    file is no database.
    """
    uri = resolve_uri(configured, os.environ, folder)
    try:
        if (database := sqlite_path(uri)) is not None:
            if database.exists() and not _is_sqlite(database):
                raise InputError(f"cannot open MLflow at {uri}: that file is not a SQLite database; name another")
        elif uri.startswith(("http://", "https://")):
            parts = urlsplit(f"{uri}/health")
            probe = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()  # urllib takes no user in a URL
            urllib.request.urlopen(probe, timeout=_PROBE_SECONDS).close()  # noqa: S310 - scheme checked above
    except urllib.error.HTTPError as error:
        error.close()  # it answers; whether it is an MLflow server shows next
    except (OSError, ValueError) as error:  # ValueError: an address that is none
        reason = getattr(error, "reason", error)
        if not isinstance(reason, ssl.SSLError):  # MLflow may know the certificate
            raise InputError(f"cannot open MLflow at {masked(uri)}: {first_line(reason)}") from error
    return uri


def _is_sqlite(database: Path) -> bool:
    with database.open("rb") as stream:
        return stream.read(16) in (b"", b"SQLite format 3\x00")


def first_line(error: object) -> str:
    """The first line of what an error says, passwords masked."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return masked(lines[0])[:300]


def masked(text: str) -> str:
    """`text` without the passwords of its addresses."""
    return re.sub(r"(://[^:/@\s]*:)[^@/\s]+@", r"\1***@", text)
