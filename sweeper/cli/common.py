"""What several verbs share: the configuration argument and the progress line."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweeper.config.sweep_config import SweepConfig
    from sweeper.running.sweep import Event

QUIET_SECONDS = 10.0
"""Without a terminal, progress is printed at most this often."""


def add_config(parser: argparse.ArgumentParser) -> None:
    """CONFIG and --set."""
    parser.add_argument("config", type=Path, metavar="CONFIG.yaml", help="the sweep's configuration")
    add_overrides(parser)


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """--set."""
    parser.add_argument(
        "--set",
        dest="overrides",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="override a key of the configuration, e.g. --set abra.steps=200 --set seeds=3 (repeatable)",
    )


def where(text: str) -> Path | str:
    """The folder or the URL of a sweep, as an argument names it."""
    from trainers.screens.place import checked_url, is_url

    if not is_url(text):
        return Path(text)
    try:
        return checked_url(text)
    except ValueError:
        return text  # the store says what is wrong with it


def read_config(options: argparse.Namespace) -> SweepConfig:
    """The validated configuration that the arguments name."""
    from sweeper.config.sweep_config import load_config

    return load_config(options.config, options.overrides)


def warn(text: str) -> None:
    """One warning on stderr."""
    print(f"warning: {text}", file=sys.stderr, flush=True)


def say(text: str) -> None:
    """One line of progress on stderr."""
    print(text, file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """Seconds for people: 42 s, 3 min 20 s, 2 h 05 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


class Counter:
    """Things done of all, rate and time left, on stderr: rewritten on a terminal, else a line now and then."""

    def __init__(self, unit: str) -> None:
        """`unit`: what is counted, "images"."""
        self._unit = unit
        self._began = self._last = time.monotonic()
        self._at_start: int | None = None
        self._terminal = sys.stderr.isatty()

    def __call__(self, done: int, total: int) -> None:
        """Show how far it is."""
        now = time.monotonic()
        if self._at_start is None:
            self._began, self._at_start = now, done
        finished = done == total
        if not finished and now - self._last < (0.2 if self._terminal else QUIET_SECONDS):
            return
        self._last = now
        elapsed, worked = now - self._began, done - self._at_start
        text = f"{done:,}/{total:,} {self._unit}"
        if worked and elapsed > 1.0:
            text += f", {worked / elapsed:,.0f} a second"
            text += "" if finished else f", about {duration(elapsed / worked * (total - done))} left"
        if self._terminal:
            print(f"\r\033[K{text}", end="\n" if finished else "", file=sys.stderr, flush=True)
        elif not finished or elapsed > QUIET_SECONDS:
            print(text, file=sys.stderr, flush=True)


class ProgressLine:
    """Cells done, in training, and time left, on stderr: a bar on a terminal, else a line now and then."""

    def __init__(self) -> None:
        from sweeper.library.time_left import TimeLeft

        self._began = time.monotonic()
        self._left = TimeLeft(self._began)
        self._at_start = 0
        self._last = 0.0
        self._bar = _Bar() if sys.stderr.isatty() else None

    def __call__(self, event: Event) -> None:
        """Show an event."""
        from sweeper.library.time_left import TimeLeft

        if event.kind in ("warning", "round", "note"):
            self._line(f"warning: {event.note}" if event.kind == "warning" else event.note)
        elif event.kind == "start":
            self._began, self._at_start = time.monotonic(), event.cells_done
            self._left = TimeLeft(self._began)
            self._line(f"{event.cells} cells: {event.cells_done} done, {event.cells - event.cells_done} to do")
        else:
            self._progress(event)

    def _progress(self, event: Event) -> None:
        now = time.monotonic()
        text = self._text(event, now)
        if self._bar is not None:
            self._bar.show(event.cells_done, event.cells, text)
        elif event.kind == "cells" or now - self._last > QUIET_SECONDS:
            self._last = now
            self._line(f"{event.cells_done}/{event.cells} cells, {text}")

    def _text(self, event: Event, now: float) -> str:
        from sweeper.library.time_left import coarse

        worked = event.cells_done - self._at_start + 0.7 * event.training  # scoring comes after training
        left = self._left(now, worked / max(1, event.cells - self._at_start))
        text = f"{event.training:.0f} in training, {duration(now - self._began)}"
        if left is not None and event.cells_done < event.cells:
            text += f", about {duration(coarse(left))} left"
        return text

    def _line(self, text: str) -> None:
        if self._bar is not None:
            self._bar.close()
        print(text, file=sys.stderr, flush=True)


class _Bar:
    """A bar on a terminal: drawn where it is first shown, left as it stands where a line is printed."""

    def __init__(self) -> None:
        self._drawn: Any = None

    def show(self, done: int, total: int, text: str) -> None:
        """Draw it; all done closes it."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        if self._drawn is None:
            columns = (MofNCompleteColumn(), TextColumn("cells"), BarColumn(), TextColumn("{task.fields[text]}"))
            self._drawn = Progress(*columns, console=Console(stderr=True), refresh_per_second=2)
            self._drawn.add_task("", total=total, text=text)
            self._drawn.start()
        self._drawn.update(self._drawn.task_ids[0], completed=done, total=total, text=text)
        if done == total:
            self.close()

    def close(self) -> None:
        """Leave it as it stands."""
        if self._drawn is not None:
            self._drawn.stop()
            self._drawn = None
