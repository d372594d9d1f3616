"""MLflow's client, opened with patience that fits a sweep, and its errors in one line."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sweeper.mirror.address import first_line, sqlite_path

if TYPE_CHECKING:
    from mlflow import MlflowClient

# A user's own value wins. MLflow's default patience (7 retries of 120 s, exponential pauses) would stall the driver for
# minutes at every call when a server goes away in mid-sweep; and it prints two lines to stdout for every finished run.
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


def open_client(uri: str) -> MlflowClient:
    """The client of a tracking store; the folder of a SQLite file is made."""
    _set_environment()
    from mlflow import MlflowClient

    if (database := sqlite_path(uri)) is not None:
        database.parent.mkdir(parents=True, exist_ok=True)
    return MlflowClient(tracking_uri=uri)


def _set_environment() -> None:
    for key, value in ENVIRONMENT.items():
        os.environ.setdefault(key, value)


@contextmanager
def reported_as(kind: type[Exception], where: str) -> Iterator[None]:
    """Turn whatever MLflow, a database driver or the network raises into one line of `kind`."""
    _set_environment()  # before MLflow is first imported
    from alembic.util.exc import CommandError  # a database that a newer MLflow has written
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (
        MlflowException,
        SQLAlchemyError,
        CommandError,
        ImportError,
        OSError,
    ) as error:  # OSError: files and requests' errors
        raise kind(f"{where}: {first_line(error)}") from error


@contextmanager
def quiet_creation() -> Iterator[None]:
    """Creating tables and models tells of every step on stderr; keep warnings only, and only meanwhile."""
    loggers = [logging.getLogger(name) for name in ("mlflow.store.db.utils", "alembic", "mlflow.pyfunc")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
