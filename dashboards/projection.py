"""Embeddings in two dimensions: PCA, and UMAP where it is installed."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweeper.findings.stored_embeddings import EmbeddedRun

Array = NDArray[np.float64]
MOST_WELLS = 600
NAMED = 8
"""Batches and perturbations with a colour of their own."""
_NEIGHBOURS = 15
SWITCH = "SWEEPER_UMAP"
"""0 in this variable of the environment leaves UMAP out: it compiles itself anew in every process, 15 s."""


@dataclass(frozen=True, eq=False)
class Projection:
    """Wells in the plane, one plane an embedding.

    Attributes:
        method: "PCA" or "UMAP".
        wells, of: drawn, and there are.
        batches, perturbations: (n,) names; controls: (n,) whether a negative control.
        named_batches, named_perturbations: those with a colour of their own.
        labels: of the embeddings, and
        planes: (n, 2) of each, its longer side 2 about 0; explained: share of variance that it shows, None in UMAP.
    """

    method: str
    wells: int
    of: int
    batches: tuple[str, ...]
    perturbations: tuple[str, ...]
    controls: tuple[bool, ...]
    named_batches: tuple[str, ...]
    named_perturbations: tuple[str, ...]
    labels: tuple[str, ...]
    planes: tuple[Array, ...]
    explained: tuple[float | None, ...]


def project(
    run: EmbeddedRun, labels: Sequence[str], *, first: Sequence[str] = (), method: str = "PCA", seed: int = 0
) -> Projection:
    """A run's embeddings in the plane, each by itself: directions of two planes are not the same.

    Args:
        run: two or more embeddings of the same wells.
        labels: their names.
        first: perturbations to name before others.
        method: "PCA", or "UMAP" (needs umap-learn).
        seed: which wells, where there are more than can be drawn; and of UMAP.
    """
    count = len(run.wells)
    chosen = np.arange(count)
    if count > MOST_WELLS:
        chosen = np.sort(np.random.default_rng(seed).choice(count, MOST_WELLS, replace=False))
    wells = run.wells.iloc[chosen]
    controls = (wells["control_type"] == "negative").to_numpy()
    drawn = [_pca(vectors) if method == "PCA" else (_umap(vectors, seed), None) for vectors in run.vectors]
    perturbations = wells["perturbation"].astype(str)
    treated = perturbations[~controls]
    ahead = [name for name in first if name in set(treated)][: NAMED // 2]
    return Projection(
        method=method,
        wells=len(chosen),
        of=count,
        batches=tuple(wells["batch"].astype(str)),
        perturbations=tuple(perturbations),
        controls=tuple(controls.tolist()),
        named_batches=tuple(sorted(_most(wells["batch"].astype(str)))),
        named_perturbations=tuple(dict.fromkeys([*ahead, *_most(treated)]))[:NAMED],
        labels=tuple(labels),
        planes=tuple(_scaled(plane[chosen]) for plane, _ in drawn),
        explained=tuple(share for _, share in drawn),
    )


def has_umap() -> bool:
    """Whether umap-learn is installed, can be used (a mere folder of that name is not it) and SWEEPER_UMAP is not 0."""
    if os.environ.get(SWITCH) == "0":
        return False
    try:
        return hasattr(_imported(), "UMAP")
    except ImportError:
        return False


def _imported() -> Any:
    """umap-learn, which warns of TensorFlow that it does without."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import umap
    return umap


def _most(names: pd.Series) -> tuple[str, ...]:
    """The most frequent, ties by name."""
    counts = names.value_counts()
    return tuple(sorted(counts.index, key=lambda name: (-counts[name], name))[:NAMED])


def _pca(vectors: NDArray[np.float32]) -> tuple[Array, float]:
    """The first two principal components, (n, 2), each with its largest loading positive, and their share."""
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    left, sizes, right = np.linalg.svd(centred, full_matrices=False)
    signs = np.sign(right[np.arange(len(sizes)), np.abs(right).argmax(axis=1)])
    total = float((sizes**2).sum())
    plane = np.zeros((len(vectors), 2))
    shown = min(2, len(sizes))
    plane[:, :shown] = (left * sizes * signs)[:, :shown]
    return plane, float((sizes[:2] ** 2).sum()) / total if total else 0.0


def _umap(vectors: NDArray[np.float32], seed: int) -> Array:
    neighbours = min(_NEIGHBOURS, len(vectors) - 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries below it, which are not ours to mend
        method = _imported().UMAP(n_components=2, n_neighbors=neighbours, random_state=seed, n_jobs=1)
        fitted = method.fit_transform(vectors)
    return np.asarray(fitted, dtype=np.float64)


def _scaled(plane: Array) -> Array:
    low, high = plane.min(axis=0), plane.max(axis=0)
    side = float((high - low).max()) or 1.0
    scaled: Array = np.round(2 * (plane - (low + high) / 2) / side, 3)
    return scaled


__all__ = ["Projection", "has_umap", "project"]
