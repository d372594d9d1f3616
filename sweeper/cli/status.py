"""How far a sweep is: cells by status, rounds, time left while it runs, and the decision so far.

--watch draws it anew until nothing is missing and nobody runs it. --json is for programs.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from sweeper.cli.common import where

if TYPE_CHECKING:
    from sweeper.library.sweep_standing import Standing

EXAMPLE = """examples:
  sweeper status runs/demo
  sweeper status runs/demo --watch      drawn anew every 2 seconds
  sweeper status runs/demo --json       one object; with --watch one a line"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `sweeper status`."""
    parser.add_argument("folder", type=where, help="the folder or URL of a sweep, or of a comparison of methods")
    parser.add_argument(
        "--watch",
        metavar="SECONDS",
        type=float,
        nargs="?",
        const=2.0,
        help="draw it anew until it is done (default: 2)",
    )
    parser.add_argument("--json", action="store_true", help="plain values for programs")


def run(options: argparse.Namespace) -> int:
    """The verb."""
    from sweeper.methods.methods_store import MethodsStore

    comparison = MethodsStore(options.folder.absolute()) if isinstance(options.folder, Path) else None
    if comparison is not None and comparison.exists:
        for place, store in enumerate(comparison.stores().values()):
            print("\n" if place and not options.json else "", end="")
            _warn(store.folder, options)
            _tell(_standing(store.folder), as_json=options.json, watched=True)
        return 0
    _warn(options.folder, options)
    if options.watch is None:
        _tell(_standing(options.folder), as_json=options.json)
        return 0
    if options.json or not sys.stdout.isatty():
        _follow(options.folder, options.watch, as_json=options.json)
    else:
        _draw(options.folder, options.watch)
    return 0


def _warn(folder: Path | str, options: argparse.Namespace) -> None:
    """What cannot be read, before the rest is looked at: it may be what the rest fails on."""
    import sweeper
    from sweeper.cli.common import warn
    from sweeper.findings.stored import damaged_files

    for damaged in () if options.json else damaged_files(sweeper.open_store(folder).store):
        warn(damaged)


def _tell(now: Standing, *, as_json: bool, watched: bool = False) -> None:
    import json

    if as_json:
        print(json.dumps(now.to_json(), ensure_ascii=False, indent=None if watched else 1), flush=True)
        return
    for line in lines(now):
        print(line, flush=True)


def _follow(folder: Path | str, seconds: float, *, as_json: bool) -> None:
    """Without a terminal: told again where something has changed."""
    last: Standing | None = None
    while True:
        now = _standing(folder)
        if now != last:
            _tell(now, as_json=as_json, watched=True)
        last = now
        if _over(now):
            return
        time.sleep(seconds)


def _draw(folder: Path | str, seconds: float) -> None:
    from rich.console import Group
    from rich.live import Live
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.text import Text

    bar = Progress(TextColumn("cells"), BarColumn(), MofNCompleteColumn())
    task = bar.add_task("cells", total=None)
    with Live(refresh_per_second=4) as live:
        while True:
            now = _standing(folder)
            bar.update(task, completed=now.done, total=now.planned)
            live.update(Group(Text("\n".join(lines(now))), bar))
            if _over(now):
                return
            time.sleep(seconds)


def _standing(folder: Path | str) -> Standing:
    import sweeper
    from sweeper.library.sweep_standing import standing

    return standing(sweeper.open_store(folder))


def _over(now: Standing) -> bool:
    return now.running is None


def lines(now: Standing) -> Iterator[str]:
    """For people."""
    from sweeper.cli.common import duration
    from sweeper.library.time_left import coarse

    yield f"{now.name} ({now.sweep_id}) in {now.folder}"
    left = "" if not now.seconds_left else f", about {duration(coarse(now.seconds_left))} left"
    yield f"cells:    {now.done} of {now.planned} done{left}"
    for status, count in now.statuses.items():
        yield f"          {count} {status}"
    for cell, status, reason in now.lost:
        yield f"          {cell} {status}: {reason}"
    if now.running is not None:
        yield f"running:  process {now.running}"
    yield from now.rounds
    if now.state is not None:
        note = " (made before the missing cells)" if now.stale else ""
        yield f"decision: {now.state}{note}\n          {now.sentence}"
        if now.following:
            yield f"next:     {now.following}"
    else:
        unread = any(line.startswith("decision.json") for line in now.damaged)
        yield "decision: cannot be read" if unread else "decision: not made yet"
    for model in now.models:
        yield f"model:    {model}"
