"""Decoding processes: a task's results in the order they are done, in this process where one worker is asked for."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for_connection
from types import TracebackType
from typing import Self, TypeVar

from trainers.errors import InputError

Task = TypeVar("Task")
Result = TypeVar("Result")

_AHEAD = 2
"""Tasks handed out for each worker: enough that none waits, few enough that an error stops the rest soon."""


class Workers:
    """A pool of processes, used as a context."""

    def __init__(self, count: int) -> None:
        """`count` ≥ 1 processes; 1 works in this one."""
        if count < 1:
            raise InputError(f"workers must be at least 1, got {count}")
        self.count = count
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        """Processes start with the first task."""
        if self.count > 1:
            # Spawned, not forked: the caller may have started torch's threads.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self.count, mp_context=context, initializer=_end_with_parent)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for what is running, drop what is not."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def run(self, function: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[tuple[int, Result]]:
        """(number of the task, its result), in the order they are done.

        Raises:
            InputError: a process died (out of memory, killed).
        """
        if self._pool is None:
            yield from ((number, function(task)) for number, task in enumerate(tasks))
            return
        waiting: dict[Future[Result], int] = {}
        following = iter(enumerate(tasks))
        try:
            while True:
                for number, task in following:
                    waiting[self._pool.submit(function, task)] = number
                    if len(waiting) >= _AHEAD * self.count:
                        break
                if not waiting:
                    return
                for done in wait(waiting, return_when=FIRST_COMPLETED).done:
                    yield waiting.pop(done), done.result()
        except BrokenProcessPool:
            raise InputError(
                "a decoding process died (killed, or out of memory); finished chunks are kept, the same command "
                "continues, with fewer --workers if memory was short"
            ) from None


def _end_with_parent() -> None:
    """End this process when its parent is gone, kill −9 included: else it would wait for tasks for ever."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_watch, args=(parent.sentinel,), daemon=True).start()


def _watch(sentinel: int) -> None:
    wait_for_connection([sentinel])
    os._exit(1)


__all__ = ["Workers"]
