"""Decode every file of a listing once, in parallel, into a packed screen; a killed packing is gone on with.

While packing, the folder holds images.npy and packing.jsonl, the journal. A chunk's pixels are on disk before its line
in the journal is. manifest.json comes last, so nothing half-written is ever opened.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from trainers.base import IntArray
from trainers.errors import InputError
from trainers.screens.atomic import write_whole
from trainers.screens.images.chunks import DecodeTask, decode_chunk
from trainers.screens.images.journal import JOURNAL, Chunk, journal_head, open_journal, read_journal
from trainers.screens.images.listing import Listing
from trainers.screens.images.manifest import (
    FORMAT,
    IMAGES,
    MANIFEST,
    WELLS,
    Manifest,
    content_fingerprint,
    read_manifest,
    write_manifest,
)
from trainers.screens.images.pack_plan import OnBad, PackPlan, PackProgress, Progress, plan_pack
from trainers.screens.images.survey import describe_bad
from trainers.screens.images.workers import Workers
from trainers.screens.table import wells_digest

LOCK = ".lock"


def pack(
    listing: Listing,
    folder: Path,
    *,
    workers: int = 1,
    on_bad: OnBad = "fail",
    overwrite: bool = False,
    progress: Progress = lambda _: None,
) -> Manifest:
    """Pack a listing into a folder; the same call after a kill goes on, and after success changes nothing.

    Args:
        listing: what to pack.
        folder: created if absent.
        workers: decoding processes, ≥ 1.
        on_bad: "fail" when a file is missing, truncated or corrupt, or "drop" its site and name it in the manifest.
            Where only decoding finds a file corrupt, the last usable sites move into the places of dropped ones.
        overwrite: replace another packed screen, or another half-packed one, in the folder.
        progress: called as headers are read and images are packed.

    Raises:
        InputError: as `plan_pack`; the folder holds another screen; too little disk space; corrupt files with "fail".
    """
    with Workers(workers) as pool:
        plan = plan_pack(listing, pool, on_bad=on_bad, progress=progress)
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            present = _present(folder, plan, overwrite)
            if present is not None:
                return present
            chunks = _decode_all(plan, folder, pool, on_bad, progress)
            return _finish(plan, folder, chunks)


def _decode_all(plan: PackPlan, folder: Path, pool: Workers, on_bad: OnBad, progress: Progress) -> list[Chunk]:
    """Decode the chunks that the journal lacks; all chunks, in order."""
    lacking = plan.missing_bytes(folder)
    if lacking:
        raise InputError(
            f"{folder}: packing needs {plan.total_bytes / 1e9:.1f} GB and the disk is {lacking / 1e9:.1f} GB short"
        )
    finished = _finished(plan, folder, on_bad)
    if not finished:
        _create_images(folder / IMAGES, plan)
    tasks = [_task(plan, folder, number) for number in range(plan.chunks) if number not in finished]
    packed = len(plan.listing) - sum(len(task.paths) for task in tasks)
    progress(PackProgress("decode", packed, len(plan.listing), plan.image_bytes))
    with open_journal(folder, plan, finished) as write:
        for index, done in pool.run(decode_chunk, tasks):
            number = tasks[index].number
            start = number * plan.chunk_rows
            named = tuple((start + row, path, reason) for row, path, reason in done.bad)
            finished[number] = Chunk(number, plan.chunk_source(number), done.sha256, named, done.clipped)
            write(finished[number])
            packed += len(tasks[index].paths)
            progress(PackProgress("decode", packed, len(plan.listing), plan.image_bytes))
    chunks = [finished[number] for number in range(plan.chunks)]
    corrupt = _corrupt(chunks)
    if corrupt and on_bad == "fail":
        raise InputError(
            f"{plan.listing.root}: {describe_bad(corrupt, len(plan.listing))}; mend them and give the same command "
            "again, or leave them out (--on-bad drop)"
        )
    return chunks


def _finished(plan: PackPlan, folder: Path, on_bad: OnBad) -> dict[int, Chunk]:
    """Number → chunk of what need not be decoded again."""
    finished = read_journal(folder, plan)
    corrupt = len(_corrupt(finished.values()))
    if on_bad == "fail":
        finished = {number: chunk for number, chunk in finished.items() if not chunk.bad}
    images = folder / IMAGES
    pixels = images.stat().st_size - plan.offset if images.exists() else 0
    whole = pixels == plan.total_bytes
    # An array that was cut to its usable rows already serves only the call that would cut it again.
    cut = len(finished) == plan.chunks and pixels == plan.total_bytes - corrupt * plan.image_bytes
    return finished if whole or cut else {}


def _finish(plan: PackPlan, folder: Path, chunks: Sequence[Chunk]) -> Manifest:
    """Close the gaps that corrupt sites leave, then write wells and manifest."""
    corrupt = _corrupt(chunks)
    order = _closed_gaps(len(plan.listing), np.array([row for row, _, _ in corrupt], dtype=np.int64))
    if not len(order):
        raise InputError(f"{plan.listing.root}: {describe_bad(corrupt, len(plan.listing))}; nothing is left")
    checksums = [chunk.sha256 for chunk in chunks]
    if corrupt:
        checksums = _close_gaps(plan, folder / IMAGES, order, checksums)
    wells = plan.listing.wells.iloc[order].reset_index(drop=True)
    write_whole(folder / WELLS, lambda target: wells.to_parquet(target, index=False))
    content: dict[str, Any] = {
        "wells": wells_digest(wells),
        "channels": plan.listing.channels,
        "shape": (len(order), *plan.shape[1:]),
        "dtype": plan.dtype.name,
        "checksums": tuple(checksums),
    }
    manifest = Manifest(
        format=FORMAT,
        fingerprint=content_fingerprint(content),
        source=plan.source,
        layout=plan.listing.layout,
        chunk_rows=plan.chunk_rows,
        columns=dict(plan.listing.columns),
        clipped=sum(chunk.clipped for chunk in chunks),
        dropped=(*plan.bad, *(f"{path}: {reason}" for _, path, reason in corrupt)),
        **content,
    )
    write_manifest(folder, manifest)
    (folder / JOURNAL).unlink(missing_ok=True)
    return manifest


def _close_gaps(plan: PackPlan, path: Path, order: IntArray, checksums: Sequence[str]) -> list[str]:
    """Move images into the gaps and cut the file; the checksums of the chunks as they are then."""
    size, rows, count = plan.image_bytes, plan.chunk_rows, len(order)
    moved = np.flatnonzero(order != np.arange(count))
    with path.open("r+b", buffering=0) as file:
        # A move reads beyond the new end and writes below it, so until the file is cut it may be done twice.
        if os.fstat(file.fileno()).st_size == plan.offset + plan.total_bytes:
            for row in moved:
                pixels = os.pread(file.fileno(), size, plan.offset + int(order[row]) * size)
                os.pwrite(file.fileno(), pixels, plan.offset + int(row) * size)
            os.fsync(file.fileno())
            os.ftruncate(file.fileno(), plan.offset + count * size)
        os.pwrite(file.fileno(), plan.npy_header(count), 0)
        os.fsync(file.fileno())
        closed = list(checksums[: -(-count // rows)])
        for number in {int(row) // rows for row in moved} | {(count - 1) // rows}:
            length = min(rows, count - number * rows) * size
            pixels = os.pread(file.fileno(), length, plan.offset + number * rows * size)
            closed[number] = hashlib.sha256(pixels).hexdigest()
    return closed


def _closed_gaps(total: int, gaps: IntArray) -> IntArray:
    """Which decoded row each row of the closed array holds: the last usable rows fill the gaps."""
    kept = total - len(gaps)
    order = np.arange(kept)
    order[gaps[gaps < kept]] = np.setdiff1d(np.arange(kept, total), gaps)
    return order


def _corrupt(chunks: Iterable[Chunk]) -> list[tuple[int, str, str]]:
    """(row, path, reason) of the sites that could not be decoded, by row."""
    return sorted(bad for chunk in chunks for bad in chunk.bad)


def _present(folder: Path, plan: PackPlan, overwrite: bool) -> Manifest | None:
    """The manifest if the folder already holds this packed screen; else clears the way, or refuses."""
    if overwrite:
        for name in (MANIFEST, JOURNAL, IMAGES, WELLS):  # the manifest first: without it nothing is opened
            (folder / name).unlink(missing_ok=True)
        return None
    manifest = read_manifest(folder)
    if manifest is not None:
        if manifest.source != plan.source:
            raise InputError(f"{folder}: holds another packed screen, or its files changed since; overwrite it?")
        return manifest
    head = journal_head(folder)
    if head is not None and head != plan.content:
        raise InputError(f"{folder}: holds another screen's unfinished packing; name another folder, or overwrite")
    if head is None and not (folder / JOURNAL).exists() and (folder / IMAGES).exists():
        raise InputError(f"{folder / IMAGES}: already there, and of no packing; name another folder, or overwrite")
    return None


def _create_images(path: Path, plan: PackPlan) -> None:
    """The array's file in full length, without pixels."""
    with path.open("wb") as file:
        file.write(plan.npy_header(len(plan.listing)))
        file.truncate(plan.offset + plan.total_bytes)
        os.fsync(file.fileno())


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One packing a folder at a time; the lock goes with its process."""
    with (folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(f"{folder}: another process is packing into it") from None
        yield


def _task(plan: PackPlan, folder: Path, number: int) -> DecodeTask:
    start = number * plan.chunk_rows
    paths = plan.listing.paths[start : start + plan.chunk_rows]
    offset = plan.offset + start * plan.image_bytes
    return DecodeTask(number, folder / IMAGES, offset, plan.listing.root, paths, plan.header, plan.listing.conversion)


__all__ = ["OnBad", "PackProgress", "Progress", "pack"]
