"""Clustering agreement: do clusters found without labels follow the perturbations?"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from sweeper.metrics.evaluation import Evaluation, Float64Array, Measurement, Metric
from sweeper.metrics.layout import Absence, Layout
from sweeper.metrics.resampling import Weighted
from sweeper.metrics.silhouette import label_silhouettes
from sweeper.metrics.units import query_units
from trainers.base import IntArray

_STARTS = 3
_NUDGE = 1e-4
_KEPT = 11_000  # rows whose products with one another, 0.5 GB, are kept while seeding


def label_nmi(evaluation: Evaluation) -> Measurement:
    """Normalised mutual information (arithmetic mean) of k-means clusters and perturbations, in [0, 1]; 1 is best.

    k-means on the unit rows of the scored wells, K = number of perturbations, 3 starts. Chance is far from 0 (0.80
    with 4 wells a perturbation): the floor, and the chance level of raw, is the mean over permuted labels.
    """
    if (absence := evaluation.once(too_few)) is not None:
        return Measurement.absent(absence)
    found = evaluation.once(_clusters)
    rng = np.random.default_rng([evaluation.seed, 2])
    labels, clusters = (np.unique(codes, return_inverse=True)[1] for codes in found)
    shuffled = (rng.permutation(labels) for _ in range(evaluation.options.permutations))
    raw, *permuted = (_nmi(own, clusters) for own in (labels, *shuffled))
    floor = float(np.mean(permuted))
    return Measurement(raw, floor=floor, raw=raw, chance=floor)


def _nmi(labels: IntArray, clusters: IntArray) -> float:
    """Mutual information over the mean entropy of two labellings 0, 1, … of the same rows."""
    count = int(clusters.max()) + 1
    entropies = []
    for codes in (labels, clusters, labels * count + clusters):
        size = np.bincount(codes)
        share = size[size > 0] / len(codes)
        entropies.append(-float(np.sum(share * np.log(share))))
    of_labels, of_clusters, together = entropies
    mean = 0.5 * (of_labels + of_clusters)
    return max(of_labels + of_clusters - together, 0.0) / mean if mean > 0 else 1.0


def label_ami(evaluation: Evaluation) -> Measurement:
    """Adjusted mutual information of the same clusters (Vinh et al., JMLR 2010): 0 at chance, 1 at best."""
    if (absence := evaluation.once(too_few)) is not None:
        return Measurement.absent(absence)
    found = evaluation.once(_clusters)
    from sklearn.metrics import adjusted_mutual_info_score

    raw = float(adjusted_mutual_info_score(*found))
    return Measurement(raw, raw=raw, chance=0.0, weighted=_weighted_ami(*found, raw, evaluation.count("perturbation")))


def _weighted_ami(labels: IntArray, clusters: IntArray, ami: float, count: int) -> Weighted:
    """AMI when perturbations are weighted: linear in the weights, about every perturbation once.

    A perturbation that is drawn twice would be two labels in one cluster, and one that is not drawn leaves its cluster
    empty: the AMI of such a resample is lower than of any screen with as many perturbations. So each perturbation has
    its influence instead, the slope of the AMI in its weight (infinitesimal jackknife; Efron, The Jackknife, the
    Bootstrap and Other Resampling Plans, 1982, ch. 6). The expectation under chance stays as it is.
    """
    from scipy.sparse import csr_array

    table = csr_array((np.ones(len(labels)), (labels, clusters)), shape=(count, int(clusters.max()) + 1))
    inside = table.copy()
    size = np.bincount(labels, minlength=count).astype(np.float64)
    inside.data = table.data * np.log(table.data / size[table.nonzero()[0]])
    within: Float64Array = np.asarray(inside.sum(axis=1)).ravel()

    def parts(weights: Float64Array) -> tuple[Float64Array, Float64Array]:
        """(r,) mutual information, and mean of the entropies of labels and clusters."""
        held, shares = np.asarray(weights @ table), weights * size
        total = shares.sum(axis=1)
        of_clusters, of_labels = (
            np.log(total) - np.sum(counts * np.log(np.where(counts > 0, counts, 1.0)), axis=1) / total
            for counts in (held, shares)
        )
        return of_clusters + weights @ within / total, 0.5 * (of_clusters + of_labels)

    shared, bound = parts(np.ones((1, count)))
    # ami = (shared - chance) / (bound - chance)
    chance = float((shared[0] - ami * bound[0]) / (1.0 - ami)) if ami < 1.0 else 0.0
    judged = np.flatnonzero(size)
    slope = np.zeros(count)
    if bound[0] > chance:
        nudged = np.ones((2, len(judged), count))
        nudged[0, np.arange(len(judged)), judged] += _NUDGE
        nudged[1, np.arange(len(judged)), judged] -= _NUDGE
        above, below = ((shared - chance) / (bound - chance) for shared, bound in map(parts, nudged))
        slope[judged] = (above - below) / (2.0 * _NUDGE)

    def weighted(weights: Float64Array) -> Float64Array:
        of = weights[:, judged]
        total = of.sum(axis=1, keepdims=True)
        # Slopes sum to about 0: twice every weight is the same screen.
        mean = np.divide(of * len(judged), total, out=np.ones_like(of), where=total > 0)
        return np.where(total[:, 0] > 0, ami + (mean - 1.0) @ slope[judged], np.nan)

    return weighted


def label_ari(evaluation: Evaluation) -> Measurement:
    """Adjusted Rand index of the same clusters (Hubert & Arabie, J Classif 1985): 0 at chance, 1 at best."""
    if (absence := evaluation.once(too_few)) is not None:
        return Measurement.absent(absence)
    found = evaluation.once(_clusters)
    from sklearn.metrics import adjusted_rand_score

    raw = float(adjusted_rand_score(*found))
    return Measurement(raw, raw=raw, chance=0.0)


def pasw(evaluation: Evaluation) -> Measurement:
    """Perturbation silhouette, (s + 1) / 2 of the mean Euclidean s over the scored wells, in [0, 1]; 1 is best.

    The label silhouette of scIB (Luecken et al., Nat Methods 2022, doi:10.1038/s41592-021-01336-8). Its range in use
    is narrow and its chance level, the floor, below 0.5. Compact round classes win, so a supervised collapse does.
    """
    if (absence := evaluation.once(too_few)) is not None:
        return Measurement.absent(absence)
    found = evaluation.once(label_silhouettes)["perturbation"]
    raw, floor = (found.mean + 1.0) / 2.0, (found.chance + 1.0) / 2.0
    # A mean over wells, not over perturbations: one group.
    rows, whole = np.flatnonzero(evaluation.scored), np.zeros(len(found.wells), dtype=np.int64)
    units = query_units(
        evaluation.test_wells, rows, (found.wells + 1.0) / 2.0, groups=whole, axes=evaluation.options.units
    )
    return Measurement(raw, floor=floor, raw=raw, chance=floor, units=units)


def too_few(layout: Layout) -> Absence | None:
    """Why nothing can be clustered."""
    labels = layout.code("perturbation")[layout.scored]
    count = len(np.unique(labels))
    if count < 2 or len(labels) <= count:
        return Absence("fewer than 2 scored perturbations, or no more wells than perturbations, among the test rows")
    return None


def _clusters(evaluation: Evaluation) -> tuple[IntArray, IntArray]:
    """Perturbation and cluster of every scored well."""
    labels = evaluation.code("perturbation")[evaluation.scored]
    count = len(np.unique(labels))
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    rows = evaluation.unit[evaluation.scored].astype(np.float32)
    starts = seeds(rows, count, starts=_STARTS, rng=np.random.default_rng([evaluation.seed, 14]))
    with warnings.catch_warnings():
        # Fewer distinct rows than clusters: fewer clusters is then the right answer.
        warnings.simplefilter("ignore", ConvergenceWarning)
        fits = [KMeans(count, init=rows[start], n_init=1, random_state=0).fit(rows) for start in starts]
    best = min(fits, key=lambda fitted: float(fitted.inertia_))
    return labels, best.labels_.astype(np.int64)


def seeds(rows: NDArray[np.float32], count: int, *, starts: int, rng: np.random.Generator) -> IntArray:
    """(starts, count) numbers of the (n, e) rows that several runs of k-means begin with.

    Greedy k-means++ (Arthur & Vassilvitskii, SODA 2007): each next seed is the best of 2 + ln(count) candidates drawn
    with a probability that grows with the squared distance to the nearest seed so far. The starts share one matrix
    product a step, or one product in all; with many clusters seeding is most of the work.
    """
    square = np.einsum("ne,ne->n", rows, rows)
    turned = np.ascontiguousarray(rows.T)
    trials, each = 2 + int(np.log(count)), np.arange(starts)
    # One large product is far cheaper than many small ones, where its result may be kept.
    asked = starts * (1 + trials * (count - 1))
    products = rows @ turned if len(rows) <= _KEPT and asked > len(rows) else None

    def squared(chosen: IntArray) -> NDArray[np.float32]:
        found: NDArray[np.float32] = rows[chosen] @ turned if products is None else products[chosen]
        found *= -2.0
        found += square[chosen][:, None]
        found += square
        np.maximum(found, 0.0, out=found)
        return found

    chosen = np.empty((starts, count), dtype=np.int64)
    chosen[:, 0] = rng.integers(len(rows), size=starts)
    closest = squared(chosen[:, 0])
    for step in range(1, count):
        total = closest.cumsum(axis=1, dtype=np.float64)
        draws = rng.random((starts, trials)) * total[:, -1:]
        drawn = np.stack([np.searchsorted(sums, own) for sums, own in zip(total, draws, strict=True)])
        reduced = squared(drawn.ravel()).reshape(starts, trials, -1)
        np.minimum(reduced, closest[:, None], out=reduced)
        best = reduced.sum(axis=2).argmin(axis=1)
        chosen[:, step], closest = drawn[each, best], reduced[each, best]
    return chosen


NMI = Metric(
    name="label_nmi",
    role="biological",
    standing="parity",
    title="Clusters follow perturbations (NMI)",
    direction="1: clusters are the perturbations; floor: permuted labels",
    function=label_nmi,
    absent=too_few,
)
AMI = Metric(
    name="label_ami",
    role="biological",
    standing="secondary",
    title="Clusters follow perturbations (AMI)",
    direction="1: clusters are the perturbations; 0: chance",
    function=label_ami,
    absent=too_few,
)
ARI = Metric(
    name="label_ari",
    role="biological",
    standing="parity",
    in_sweep=False,
    title="Clusters follow perturbations (ARI)",
    direction="1: clusters are the perturbations; 0: chance",
    function=label_ari,
    absent=too_few,
)
PASW = Metric(
    name="pasw",
    role="biological",
    standing="parity",
    in_sweep=False,
    title="Perturbation silhouette (pASW)",
    direction="1: perturbations are compact and apart; floor: permuted perturbations",
    function=pasw,
    absent=too_few,
)
