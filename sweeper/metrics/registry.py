"""The panel's registry: every metric under its name, its standing, and one call that measures several.

Those marked `in_sweep` are a sweep's default panel and come first; the others are measured when named, and by
`sweeper metrics`.

Why these five decide in a sweep. Measured on the real table of configs/jump_source3.yaml (7 strengths, 6 seeds, both
views) and on a simulated screen (overlap 0.9, batch shift 1.5; 8 strengths, 4 seeds), with an encoder with a hidden
layer and mini-batches of 8 items a batch, anchored: how far the level means move with strength, over the standard
deviation between seeds within a strength.

- Technical: the linear probe moves most (0.28 on held-out plates of the real table, 13 seed deviations; simulated 0.31
  and 24). CiLISI moves less but is quiet (0.07 and 10; 0.08 and 13); their mean keeps both (0.17 and 14; 0.19 and 24;
  new batches of the real table 0.09 and 6). BRAS has as little range and more noise (0.05 and 9; 0.06 and 5), and falls
  again where phenotypes fade: with it instead of CiLISI the mean moves less (0.15 and 12; 0.14 and 13; new batches 0.03
  and 2). All four parts of T together are as quiet as probe and CiLISI but move half as far (0.08), close to the
  smallest change that counts; explained variance hardly moves at all (0.02).
- Biological: from best to largest strength, retrieval, activity and perturbation accuracy lose 10 seed deviations on
  the simulated screen and 20 on the real table (no activity there: no negative controls). The parts of B that can be
  measured lose 8.5 and 21: clusters (AMI) and shared targets add noise (0.03 and 0.04 there, retrieval 0.02) and no
  power.

The figures for new batches of the real table, part of what speaks for CiLISI over BRAS, rest on the first fold of
three alone.

So T and B (`composites`) are reported beside, and the five decide.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from types import MappingProxyType

from sweeper.metrics.biological import accuracy, clustering, plain_accuracy, planted, retention, retrieval, target
from sweeper.metrics.evaluation import Evaluation, Measurement, Metric, require_finite
from sweeper.metrics.technical import (
    batch_probe,
    batch_reader,
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
            batch_reader.BATCH,
            batch_probe.LINEAR,
            lisi.CILISI,
            batch_probe.KNN,
            mixing.BRAS,
            variance.BATCH,
            variance.PLATE,
            retrieval.ACTIVITY,
            retrieval.RETRIEVAL,
            accuracy.PERTURBATION,
            accuracy.IN_DISTRIBUTION,
            accuracy.GAP,
            clustering.NMI,
            clustering.AMI,
            retrieval.NEAREST,
            target.TARGET,
            retention.RETENTION,
            planted.PLANTED,
            batch_probe.SPREAD,
            batch_probe.CONTROLS,
            mixing.PLATE,
            lisi.PLATE_CILISI,
            batch_reader.PLATE,
            batch_probe.PLATE_LINEAR,
            batch_probe.PLATE_KNN,
            position.RIDGE,
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
            target.NSC_GAP,
            target.RECALL,
            clustering.PASW,
            clustering.ARI,
            plain_accuracy.PLAIN,
            plain_accuracy.IN_DISTRIBUTION,
        )
    }
)


BATCH_READER = batch_reader.BATCH.name
STANDS_IN = ("batch_probe_linear", "cilisi")
"""The technical metrics that decide where a panel has no batch reader: those of sweeps before it, and of panels that a
configuration names without it."""


def decisive(names: Iterable[str]) -> frozenset[str]:
    """Which metrics of a panel are primary: what a sweep decides with is recorded with its cells, and stays."""
    named = frozenset(names)
    primary = {name for name in named if name in REGISTRY and REGISTRY[name].primary}
    if BATCH_READER not in named:
        primary -= {name for name in primary if REGISTRY[name].role == "technical"}
        primary |= named & frozenset(STANDS_IN)
    return frozenset(primary)


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
        require_finite(f"{part} embeddings", getattr(evaluation, part))
    return [(metric, metric.function(evaluation)) for metric in metrics]


__all__ = ["BATCH_READER", "REGISTRY", "STANDS_IN", "decisive", "measure", "resolve"]
