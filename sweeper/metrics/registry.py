"""The panel's registry: every metric under its name, its standing, and one call that measures several.

Those marked `in_sweep` are a sweep's default panel and come first; the others are measured when named, and by
`sweeper metrics`.

What decides in a sweep. Technical: the strongest of five readers (`batch_reader`), alone. What any detector of a batch
sees, a reader can be fitted to, and its scale is not used up where mixing and variance are at their ceilings: the mean
of the four detectors of T's batch part (`composites`) halves or loses what the reader sees. On simulated screens whose
cause is known (benchmarks/causes.py) it counts the removal of a weak shift, which the mean of four does not, and none
where there is no batch; on JUMP it rises by 0.09 from λ = 0 to the largest, the mean of four by 0.04. It is no noisier:
on the demo's screen both rise by 10 standard deviations between seeds. The other three are measured beside it: a batch
that is gone for readers and not for them would be seen.

Biological: from best to largest strength, retrieval, activity and perturbation accuracy lose 10 seed deviations on a
simulated screen and 20 on the real table (no activity there: no negative controls). The parts of B that can be measured
lose 8.5 and 21: clusters (AMI) and shared targets add noise (0.03 and 0.04 there, retrieval 0.02) and no power. So B is
reported beside, and the three decide.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from sweeper.metrics.biological import accuracy, clustering, plain_accuracy, planted, retention, retrieval, target
from sweeper.metrics.catalogue import check_metrics
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
            target.RETRIEVAL,
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
    """Which metrics of a panel are primary: what a sweep decides with is recorded with its cells and stays (`tidy`)."""
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
    check_metrics(names)
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
