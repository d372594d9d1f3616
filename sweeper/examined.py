"""What was looked at before a sweep, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what: "versions", "storage", "data", "executor", "clock", …
        state: "ok"; "note": a sweep runs, but a person should know; "wrong": it would not run, or not well.
        text: what was found and, unless it is ok, what to do.
    """

    name: str
    state: Literal["ok", "note", "wrong"]
    text: str
