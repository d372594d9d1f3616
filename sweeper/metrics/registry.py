"""The panel's registry: every metric under its name, and one call that measures several.

Those marked `in_sweep` are a sweep's default panel and come first; the others are measured when named, and by
`sweeper metrics`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from types import MappingProxyType

import numpy as np

from sweeper.metrics.biological import accuracy, clustering, retrieval, target
from sweeper.metrics.evaluation import Evaluation, Measurement, Metric
from sweeper.metrics.technical import (
    batch_probe,
    connectivity,
    kbet,
    lisi,
    mixing,
    position,
    silhouette,
    variance,
)
from trainers.errors import InputError

REGISTRY: Mapping[str, Metric] = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            batch_probe.LINEAR,
            mixing.BRAS,
            retrieval.ACTIVITY,
            retrieval.RETRIEVAL,
            accuracy.PERTURBATION,
            accuracy.IN_DISTRIBUTION,
            accuracy.GAP,
            clustering.NMI,
            clustering.AMI,
            retrieval.NEAREST,
            target.TARGET,
            batch_probe.KNN,
            batch_probe.SPREAD,
            batch_probe.CONTROLS,
            variance.BATCH,
            variance.PLATE,
            position.RIDGE,
            lisi.CILISI,
            lisi.ILISI,
            silhouette.ASW,
            silhouette.TASW_BATCH,
            silhouette.TASW_ROW,
            silhouette.TASW_COLUMN,
            kbet.KBET,
            variance.PCR,
            connectivity.UNDIRECTED,
            connectivity.DIRECTED,
            retrieval.WITHIN,
            target.NSC,
            target.NSCB,
            target.RECALL,
            clustering.PASW,
            clustering.ARI,
        )
    }
)


def resolve(names: Sequence[str]) -> tuple[Metric, ...]:
    """The metrics of these names, in this order.

    Raises:
        InputError: an unknown name; names the nearest ones.
    """
    for name in names:
        if name not in REGISTRY:
            near = get_close_matches(name, REGISTRY, n=3, cutoff=0.4) or list(REGISTRY)
            raise InputError(f"metrics: unknown metric {name!r}; nearest: {', '.join(near)}")
    return tuple(REGISTRY[name] for name in names)


def measure(evaluation: Evaluation, names: Sequence[str]) -> list[tuple[Metric, Measurement]]:
    """Measure the named metrics in order; deterministic given the evaluation.

    A metric that these data cannot identify gives value None and its reason; the panel goes on.

    Raises:
        InputError: an unknown name, or embeddings that are not finite.
    """
    metrics = resolve(names)
    for part in ("test", "train", "validation"):
        if not np.isfinite(getattr(evaluation, part)).all():
            raise InputError(
                f"metrics: {part} embeddings are not finite; an embedding that fails the gate is not scored"
            )
    return [(metric, metric.function(evaluation)) for metric in metrics]


__all__ = ["REGISTRY", "measure", "resolve"]
