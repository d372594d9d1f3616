"""The errors that trainers raise.

::

    Exception
    ├── InputError              one line: what is wrong, where, what would be right (exit code 2)
    │   ├── InputProblemsError  several about one file; the command line prints one line each
    │   └── (sweeper.errors)    StoreMismatchError, …
    ├── PlaceError              one line: storage at a URL, and what it did not do
    └── OutOfMemoryError        one line: the device's memory is too small, and what would need less
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


class InputError(Exception):
    """Input that a user can mend; one line: what is wrong, where (file, key, row), what would be right."""


class InputProblemsError(InputError):
    """Several things that are wrong with one file; as text, one line."""

    def __init__(self, where: str, problems: Sequence[str]) -> None:
        """`where`: the file."""
        self.where, self.problems = where, tuple(problems)
        listed = "; ".join(f"({number}) {problem}" for number, problem in enumerate(self.problems, 1))
        super().__init__(f"{where}: {len(self.problems)} problems: {listed}")


class PlaceError(OSError):
    """Storage at a URL did not do what it was asked; one line, without secrets."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(url, reason)
        self.url, self.reason = url, reason

    def __str__(self) -> str:
        return f"{self.url}: {self.reason}"


class OutOfMemoryError(RuntimeError):
    """A cell does not fit into the device's memory; one line with what would need less."""


def raise_problems(path: Path, problems: Sequence[str]) -> None:
    """Raise `InputError` where there is a problem, `InputProblemsError` where there are several."""
    if len(problems) == 1:
        raise InputError(f"{path}: {problems[0]}")
    if problems:
        raise InputProblemsError(str(path), problems)
