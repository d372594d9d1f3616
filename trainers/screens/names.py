"""Names in messages: the nearest existing names, and the first few of many."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


def first_few(names: Iterable[object], limit: int = 3) -> str:
    """The first `limit` names, quoted, then how many more there are: "'a', 'b', 'c' and 4 more"."""
    listed = [repr(str(name)) for name in names]
    shown = ", ".join(listed[:limit])
    return f"{shown} and {len(listed) - limit} more" if len(listed) > limit else shown


def nearest(name: str, existing: Sequence[str], limit: int = 3) -> str:
    """What to say after "'x' does not exist": the names closest to `name` (case is ignored), else the first few."""
    if not existing:
        return "there are none"
    folded: dict[str, str] = {}
    for candidate in existing:
        folded.setdefault(candidate.casefold(), candidate)
    close = [folded[match] for match in get_close_matches(name.casefold(), list(folded), n=limit, cutoff=0.6)]
    return f"nearest: {first_few(close)}" if close else f"existing: {first_few(existing)}"


__all__ = ["first_few", "nearest"]
