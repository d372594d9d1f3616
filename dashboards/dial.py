"""The strength dial that a report is about, as its figures and tables call it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from sweeper.spoken import dial_of
from trainers.trainer import Dial

_DIAL: ContextVar[Dial | None] = ContextVar("dial", default=None)


def dial() -> Dial:
    """The dial of the trainer that is spoken of; outside `speaking_of`, the first trainer's."""
    return _DIAL.get() or dial_of(None)


def letter() -> str:
    """Its symbol, "λ"."""
    return dial().symbol


@contextmanager
def speaking_of(trainer: str | None) -> Iterator[None]:
    """Figures, tables and texts made inside are about this trainer's dial."""
    token = _DIAL.set(dial_of(trainer))
    try:
        yield
    finally:
        _DIAL.reset(token)


__all__ = ["dial", "letter", "speaking_of"]
