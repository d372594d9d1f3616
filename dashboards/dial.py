"""The dials that a report is about, as its figures and tables call them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from dashboards.formatting import number
from sweeper.spoken import dials_of
from trainers.trainer import Dial

_DIALS: ContextVar[tuple[Dial, ...] | None] = ContextVar("dials", default=None)


def dials() -> tuple[Dial, ...]:
    """The dials of the trainer that is spoken of; outside `speaking_of`, the first trainer's."""
    return _DIALS.get() or dials_of(None)


def dial() -> Dial:
    """The strength dial."""
    return dials()[0]


def second_dial() -> Dial | None:
    """The dial beside the strength, a margin; None where the trainer has one dial."""
    return dials()[1] if len(dials()) > 1 else None


def letter() -> str:
    """The strength dial's symbol, "λ"."""
    return dial().symbol


def axis_title() -> str:
    """Title of a strength axis."""
    return f"{dial().title} (log scale)" if dial().scale == "log" else dial().title


def at_second(setting: float | None, before: str = "") -> str:
    """A setting of the second dial in words, "margin 0.3", behind `before`; "" where there is no such dial."""
    found = second_dial()
    return "" if found is None or setting is None else f"{before}{found.word} {number(setting)}"


def second_title() -> str:
    """Title of an axis of the second dial, "margin m"; "" where there is no such dial."""
    found = second_dial()
    return "" if found is None else f"{found.word} {found.symbol}"


@contextmanager
def speaking_of(trainer: str | None) -> Iterator[None]:
    """Figures, tables and texts made inside are about this trainer's dials."""
    token = _DIALS.set(dials_of(trainer))
    try:
        yield
    finally:
        _DIALS.reset(token)


__all__ = ["at_second", "axis_title", "dial", "dials", "letter", "second_dial", "second_title", "speaking_of"]
