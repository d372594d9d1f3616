"""Look at every file of a listing before any is decoded: what is missing or truncated, and what shape they share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from trainers.base import IntArray
from trainers.errors import InputError
from trainers.screens.images.chunks import survey_chunk
from trainers.screens.images.image_files import Header, words
from trainers.screens.images.listing import Listing
from trainers.screens.images.workers import Workers

_SITES_A_TASK = 256

Advance = Callable[[int], None]
"""Told how many further sites are done."""


@dataclass(frozen=True, eq=False)
class Survey:
    """What a listing's files are.

    Attributes:
        header: what every usable file says of itself.
        stamps: (n, f, 2) bytes and modification time of each file; 0 where a file is bad.
        bad: (row, relative path, reason) of the first file of each site that cannot be used, by row.
    """

    header: Header
    stamps: IntArray
    bad: tuple[tuple[int, str, str], ...]


def survey(listing: Listing, workers: Workers, advance: Advance = lambda _: None) -> Survey:
    """Read all headers.

    Raises:
        InputError: no file can be used; or those that can differ in size, bit depth or channel count, or have
            another channel count than the listing says, neither 8 nor 16 bits, or samples that are not unsigned and
            for which nothing is declared.
    """
    starts = range(0, len(listing), _SITES_A_TASK)
    tasks = [(str(listing.root), listing.paths[start : start + _SITES_A_TASK]) for start in starts]
    stamps = np.zeros((*listing.paths.shape, 2), dtype=np.int64)
    bad: list[tuple[int, str, str]] = []
    kinds: Counter[Header] = Counter()
    example: dict[Header, str] = {}
    for number, (found, reasons, headers) in workers.run(survey_chunk, tasks):
        start = starts[number]
        stamps[start : start + len(found)] = found
        bad.extend((start + row, path, reason) for row, path, reason in reasons)
        for header, (count, path) in headers.items():
            kinds[header] += count
            example[header] = min(path, example.get(header, path))
        advance(len(found))
    bad.sort()
    if not kinds:
        raise InputError(f"{listing.root}: none of {len(listing)} images can be used (first: {bad[0][1]}: {bad[0][2]})")
    return Survey(_only_kind(listing, kinds, example), stamps, tuple(bad))


def describe_bad(bad: tuple[tuple[int, str, str], ...] | list[tuple[int, str, str]], total: int) -> str:
    """Files that cannot be used, counted by reason, the first few by name."""
    reasons = Counter(reason for _, _, reason in bad)
    counted = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common(4))
    shown = ", ".join(f"{path}: {reason}" for _, path, reason in bad[:3])
    more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
    return f"{len(bad)} of {total} images cannot be used ({counted}): {shown}{more}"


def _only_kind(listing: Listing, kinds: Counter[Header], example: dict[Header, str]) -> Header:
    """The header that all files share."""
    header = max(kinds, key=lambda kind: (kinds[kind], kind))
    odd = sorted((example[kind], kind) for kind in kinds if kind != header)
    if odd:
        path, kind = odd[0]
        raise InputError(
            f"{listing.root}: mixed files: {kinds[header]} of {kinds.total()} are {words(header)}, the others are not "
            f"(first: {path} is {words(kind)}); a packed screen holds one kind"
        )
    if header.channels != listing.channels_per_file:
        raise InputError(
            f"{listing.root}: files hold {words(header)}, expected {listing.channels_per_file} (first: "
            f"{example[header]}); the listing has the channels {', '.join(listing.channels)}"
        )
    if header.sample == "signed" and header.bits in (8, 16) and listing.conversion.signed == "refuse":
        raise InputError(
            f"{listing.root}: files hold {words(header)} (first: {example[header]}); expected unsigned: save them "
            "unsigned, or declare signed: clip (pixels below 0 become 0)"
        )
    if header.sample == "float" and header.bits == 32:
        if listing.conversion.float_range is None:
            raise InputError(
                f"{listing.root}: files hold {words(header)} (first: {example[header]}); expected integers: save them "
                "as 16-bit unsigned, or declare float_range: [low, high] (packed as 0 and 65,535)"
            )
        return header
    if (
        header.bits not in (8, 16)
        or header.sample == "float"
        or (header.bits == 16 and header.channels > 1 and _is_png(example[header]))
    ):
        raise InputError(
            f"{listing.root}: files hold {words(header)} (first: {example[header]}); expected 8 bits, or 16 bits in "
            "TIFF or in PNG of one channel"
        )
    return header


def _is_png(path: str) -> bool:
    return path.lower().endswith(".png")


__all__ = ["Advance", "Survey", "describe_bad", "survey"]
