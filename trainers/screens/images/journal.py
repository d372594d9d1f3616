"""The journal of a packing: which chunks are on disk, so that a killed packing is gone on with."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from trainers.screens.atomic import write_whole
from trainers.screens.images.pack_plan import PackPlan

JOURNAL = "packing.jsonl"


class Chunk(NamedTuple):
    """A finished chunk: its number, the digest of its files, the checksum of its pixels, its bad sites."""

    number: int
    source: str
    sha256: str
    bad: tuple[tuple[int, str, str], ...]
    """(row of the plan's listing, relative path, reason) of sites that could not be decoded; their pixels are 0."""
    clipped: int = 0
    """Samples of its usable sites that lay outside what was declared."""


def journal_head(folder: Path) -> dict[str, Any] | None:
    """What the folder's unfinished packing is made of; None if there is none, or its first line was never finished."""
    try:
        first = (folder / JOURNAL).read_text(encoding="utf-8").split("\n", 1)
        head: dict[str, Any] = json.loads(first[0])
    except (FileNotFoundError, ValueError):
        return None
    return head if len(first) == 2 else None


def read_journal(folder: Path, plan: PackPlan) -> dict[int, Chunk]:
    """Number → chunk, for the finished chunks of this plan whose files are as they were."""
    if journal_head(folder) != plan.content:
        return {}
    chunks: dict[int, Chunk] = {}
    for text in (folder / JOURNAL).read_text(encoding="utf-8").split("\n")[1:-1]:  # the last was cut off, or is empty
        number, source, sha256, bad, *clipped = json.loads(text)
        if source == plan.chunk_source(number):
            named = tuple((row, path, reason) for row, path, reason in bad)
            chunks[number] = Chunk(number, source, sha256, named, *clipped)
    return chunks


@contextmanager
def open_journal(folder: Path, plan: PackPlan, finished: Mapping[int, Chunk]) -> Iterator[Callable[[Chunk], None]]:
    """Begin the journal again with what is finished, then append lines that are on disk when the call returns.

    It is rewritten, not only appended to: a kill may have left half a line at its end.
    """
    lines = [plan.content, *(finished[number] for number in sorted(finished))]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    write_whole(folder / JOURNAL, lambda file: file.write(text.encode()))
    with (folder / JOURNAL).open("a", encoding="utf-8") as file:

        def write(chunk: Chunk) -> None:
            file.write(json.dumps(chunk) + "\n")
            file.flush()
            os.fsync(file.fileno())

        yield write


__all__ = ["JOURNAL", "Chunk", "journal_head", "open_journal", "read_journal"]
