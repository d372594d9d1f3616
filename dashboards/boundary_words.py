"""The boundary between training and test wells, in words: what the splits crossed, and what they did not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_WORDS = {"cell_type": "cell type", "well": "well position"}
_INSIDE = ("plate", "well")


def boundary(held_out: Mapping[str, Any] | None) -> str:
    """Which boundary a view tested and which it did not, with counts; "" when what it held out is not known.

    Args:
        held_out: as `sweeper.findings.crossed_boundary.crossed_boundary`, with the word for a batch under "batch".
    """
    if not held_out or not held_out["levels"]:
        return ""
    levels: Mapping[str, Sequence[int]] = held_out["levels"]
    words = {**_WORDS, "batch": held_out["batch"]}
    crossed = [name for name, (new, count) in levels.items() if count and new == count and name not in _INSIDE]
    if crossed:
        said = ", and with it ".join(f"{words.get(name, name)} ({_count(levels[name])})" for name in reversed(crossed))
        lead = f"Out-of-distribution boundary tested: {said}."
    else:
        inside = next((name for name in _INSIDE if name in levels and levels[name][0] == levels[name][1]), None)
        what = f": {words.get(inside, inside)}s were held out inside batches seen in training" if inside else ""
        lead = f"No out-of-distribution boundary was crossed{what}."
    others = [name for name in levels if name not in (*crossed, *_INSIDE)]
    if others:
        said = "; ".join(f"{words.get(name, name)} ({_count(levels[name])})" for name in others)
        lead += f" Not crossed{' as a whole' if any(levels[name][0] for name in others) else ''}: {said}."
    return lead


def _count(level: Sequence[int]) -> str:
    new, count = level
    return f"{new} of {count} test units new to training"


def optimism(held_out: Mapping[str, Any] | None) -> str:
    """Why the in-distribution reference flatters, where it holds sites of wells that were learnt from; else ""."""
    if not held_out:
        return ""
    shared, rows = held_out["shared_wells"]
    if not shared:
        return ""
    return (
        f"The in-distribution reference is optimistic: {shared} of its {rows} rows are other sites of wells that were "
        "learnt from. The drop shown is larger than it would be from unseen wells of the same batches."
    )


__all__ = ["boundary", "optimism"]
