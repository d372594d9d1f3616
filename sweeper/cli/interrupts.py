"""Ctrl-C and a scheduler's SIGTERM: the first ends the verb in good order, the second ends the process."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

EXIT_INTERRUPTED = 130
LINE = b"sweeper: interrupted; finished cells are kept, the same command continues\n"


class Interrupts:
    """Counts the signals of a verb."""

    def __init__(self) -> None:
        self.seen = False
        self._told = False

    def tell(self) -> None:
        """The one line, once; safe in a signal handler."""
        if not self._told:
            self._told = True
            os.write(2, LINE)

    def handle(self, *_: object) -> None:
        """Raise KeyboardInterrupt the first time; end the process the second."""
        if self.seen:
            self.tell()
            os._exit(EXIT_INTERRUPTED)  # what drives Ray sees its stdin end, and leaves with all that it started
        self.seen = True
        raise KeyboardInterrupt


@contextmanager
def interruptible() -> Iterator[Interrupts]:
    """Handle both signals for the length of the block; once one has come, until the process ends.

    One that is ignored (SIGINT is in what a script runs in the background) stays so.
    """
    interrupts = Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield interrupts
        return
    wanted = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, interrupts.handle) for number in wanted}
    try:
        yield interrupts
    finally:
        if not interrupts.seen:
            for number, handler in before.items():
                signal.signal(number, handler)
