"""Which method is simpler: the one place that says so."""

from __future__ import annotations

from collections.abc import Iterable

SIMPLEST_FIRST = ("center", "combat", "sphering", "harmony", "cpdistiller", "abra", "abra_images")
"""By what a user must run, keep and explain: a shift, a shrunk shift, one linear map, a map a cluster, a network."""


def rank(method: str) -> tuple[int, str]:
    """Sorts methods, the simplest first; those of other packages come last, by name."""
    at = SIMPLEST_FIRST.index(method) if method in SIMPLEST_FIRST else len(SIMPLEST_FIRST)
    return at, method


def by_simplicity(methods: Iterable[str]) -> list[str]:
    """The methods, the simplest first."""
    return sorted(methods, key=rank)


__all__ = ["SIMPLEST_FIRST", "by_simplicity", "rank"]
