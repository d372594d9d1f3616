"""One call of the command line in this process, and what a user would have seen of it."""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import io
import signal
import traceback
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeper.cli import main

SECONDS = 60
"""A call that takes longer hangs: of the processor, or `PATIENCE` times as long by the clock, as others may be busy."""
PATIENCE = 5
_SIGNALS = signal.SIGALRM, signal.SIGPROF
GOOD = ("done", "nothing to score", "refused with the reason")
FAULTS = (
    "traceback",
    "more than one line",
    "a library's warning",
    "hang",
    "half-written",
    "features changed in silence",
)


@dataclass(frozen=True)
class Attempt:
    """One call.

    Attributes:
        arguments: of the command line.
        written: folder or file that may exist afterwards only if the call was done.
        kept: a folder whose files a refused call must leave as they are.
        touched: columns that were changed; None where no table was.
        dimensions: features of the changed table, as its columns are named.
    """

    arguments: Sequence[str]
    written: Path | None = None
    kept: Path | None = None
    touched: tuple[str, ...] | None = None
    dimensions: int = 0


@dataclass(frozen=True)
class Outcome:
    """What came of it: one of `GOOD` or of `FAULTS`, and the words that say so."""

    kind: str
    words: str = ""


class _HangError(BaseException):
    pass


def _stop(*_: object) -> None:
    raise _HangError


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    before = [signal.signal(kind, _stop) for kind in _SIGNALS]
    signal.alarm(PATIENCE * SECONDS)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    faulthandler.dump_traceback_later(3 * PATIENCE * SECONDS, exit=True)  # a loop in a library hears no signal
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.alarm(0)
        signal.setitimer(signal.ITIMER_PROF, 0)
        for kind, handler in zip(_SIGNALS, before, strict=True):
            signal.signal(kind, handler)


def run(attempt: Attempt) -> Outcome:
    """Call the command line and judge what came out."""
    before = _state(attempt.kept)
    out, err = io.StringIO(), io.StringIO()
    with warnings.catch_warnings(record=True) as foreign:
        warnings.simplefilter("always")
        try:
            with _limited(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = main(list(attempt.arguments))
        except _HangError:
            return Outcome("hang", f"more than {SECONDS} s")
        except SystemExit as left:
            return Outcome("traceback", f"the parser left with {left.code}: {err.getvalue()[-200:]}")
        except Exception as error:  # noqa: BLE001 - that is what is looked for
            last = traceback.extract_tb(error.__traceback__)[-1]
            ours = [f for f in traceback.extract_tb(error.__traceback__) if "site-packages" not in f.filename]
            where = ours[-1] if ours else last
            told = " ".join(str(error).split())[:160]
            return Outcome("traceback", f"{Path(where.filename).name}:{where.name}: {type(error).__name__}: {told}")
        gc.collect(0)  # a file left open tells of itself now
    lines = [line for line in err.getvalue().splitlines() if not line.startswith("warning: ")]
    shown = f"{out.getvalue()}\n{err.getvalue()}"
    if foreign:
        first = foreign[0]
        told = " ".join(str(first.message).split())[:160]
        return Outcome("a library's warning", f"{Path(first.filename).name}: {first.category.__name__}: {told}")
    if code not in (0, 1, 2) or (code == 2 and len([line for line in lines if line.startswith("sweeper: ")]) != 1):
        return Outcome("more than one line", f"exit code {code}: {' / '.join(lines)[:300]}")
    # Several problems of a table are a list under the line that counts them.
    if code == 2 and any(not line.startswith("  ") for line in lines[1:]):
        return Outcome("more than one line", " / ".join(lines)[:300])
    if code == 2 and ((attempt.written is not None and attempt.written.exists()) or _state(attempt.kept) != before):
        return Outcome("half-written", " / ".join(lines)[:300])
    if code == 0 and attempt.touched is not None and (silent := _silent(attempt, shown)):
        return Outcome("features changed in silence", silent)
    return Outcome(GOOD[code], lines[-1] if code == 2 else "")


def _silent(attempt: Attempt, shown: str) -> str:
    """That another number of features was scored and no touched column is named; "" otherwise."""
    found = next((line for line in shown.splitlines() if "dimensions" in line), "")
    if f" {attempt.dimensions} dimensions" in found or any(name and name in shown for name in attempt.touched or ()):
        return ""
    touched = ", ".join(attempt.touched or ()) or "none"
    return f"{attempt.dimensions} features in the table; touched {touched}; {found[-80:]}"


def _state(folder: Path | None) -> Any:
    """Names, sizes and contents of a folder."""
    if folder is None:
        return None
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


__all__ = ["FAULTS", "GOOD", "Attempt", "Outcome", "run"]
