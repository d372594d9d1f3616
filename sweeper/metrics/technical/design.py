"""What a design can tell of the batch, and batches dealt out anew inside it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np

from sweeper.metrics.layout import Absence, Layout
from trainers.base import IntArray

Factor = Literal["batch", "plate"]
"""What a technical metric looks for; plates lie in batches, so what a batch leaves is seen in its plates, too."""


def unidentifiable(layout: Layout, factor: Factor = "batch") -> Absence | None:
    """Why an effect of batch, or of plate, cannot be told from phenotype on the test rows, or None.

    What plates show holds what their batches show: where batches cannot be told from phenotype, neither can plates.
    """
    if factor == "plate" and layout.count("batch") > 1 and (absence := unidentifiable(layout)) is not None:
        return absence
    batch = layout.code(factor)
    batches = int(batch.max()) + 1
    if batches < 2:
        return Absence(f"not identifiable: one {factor} among the test rows", f"hold out 2 {_PLURAL[factor]} or more")
    perturbation = layout.code("perturbation")
    pairs = len(np.unique(perturbation * batches + batch))
    if pairs == perturbation.max() + 1:
        return Absence(
            f"not identifiable: every perturbation is in one {factor} only, and no control is shared",
            "put controls into every batch",
        )
    if pairs == batches and perturbation.max() > 0:  # one perturbation in every batch is a shared control
        return Absence(f"not identifiable: every {factor} holds one perturbation only")
    return None


def plate_unidentifiable(layout: Layout) -> Absence | None:
    """`unidentifiable` of plates."""
    return unidentifiable(layout, "plate")


_PLURAL = {"batch": "batches", "plate": "plates"}


def permuted_within(codes: IntArray, groups: IntArray, *, count: int, seed: tuple[int, int]) -> Iterator[IntArray]:
    """`count` times the (n,) codes, permuted inside each of the (n,) groups.

    Batches permuted inside perturbations are what a technical metric reads when batches are mixed as well as this
    design allows: the ceiling that keeps a number comparable between designs.
    """
    rng = np.random.default_rng(seed)
    order = np.argsort(groups, kind="stable")
    for _ in range(count):
        permuted = np.empty_like(codes)
        permuted[order] = codes[np.lexsort((rng.random(len(codes)), groups))]
        yield permuted


def by_size(groups: IntArray) -> Iterator[IntArray]:
    """(g, m) row numbers of the g groups of m rows each, for every size m: equal groups are worked on at once."""
    order = np.argsort(groups, kind="stable")
    size = np.bincount(groups)
    start = np.cumsum(size) - size
    for m in np.unique(size[size > 0]):
        yield order[start[size == m][:, None] + np.arange(m)]


__all__ = ["Factor", "by_size", "permuted_within", "plate_unidentifiable", "unidentifiable"]
