"""Graph connectivity: do the wells of a perturbation hang together in the neighbour graph?

Filed under batch by scIB, but it reads no batch: both a lost phenotype and a batch effect take it down. The two common
implementations differ by up to 0.7 on the same data, so both are here under their own names.
"""

from __future__ import annotations

import numpy as np

from sweeper.metrics.evaluation import Evaluation, Measurement, Metric
from sweeper.metrics.layout import Absence, Layout
from sweeper.metrics.neighbours import nearest_wells
from sweeper.metrics.technical.design import permuted_within
from trainers.base import IntArray

_NEIGHBOURS = 15  # the well itself counted


def graph_connectivity(evaluation: Evaluation) -> Measurement:
    """Mean share of a perturbation's wells in its largest connected component, in (0, 1]; higher is better.

    scIB (Luecken et al., Nat Methods 2022, doi:10.1038/s41592-021-01336-8) in the convention of scib: the union of
    each well's 14 nearest others in Euclidean distance, undirected. The graph holds all test wells; the mean is over
    the scored perturbations. The floor, and the chance level of raw, is the value with perturbations permuted over
    all wells; it is near 1 / wells for small labels and rises to 1 for frequent ones.
    """
    return _connectivity(evaluation, strong=False)


def graph_connectivity_directed(evaluation: Evaluation) -> Measurement:
    """As `graph_connectivity`, in the stricter convention of scib-metrics: directed edges, strong components."""
    return _connectivity(evaluation, strong=True)


def _connectivity(evaluation: Evaluation, *, strong: bool) -> Measurement:
    if (absence := evaluation.once(unconnected)) is not None:
        return Measurement.absent(absence)
    label, wanted = evaluation.code("perturbation"), _wanted(evaluation)
    graph = evaluation.once(nearest_wells)[0][:, : _NEIGHBOURS - 1]
    raw = connectivity(graph, label, wanted, strong=strong)
    shuffles = permuted_within(
        label, np.zeros_like(label), count=evaluation.options.permutations, seed=(evaluation.seed, 12)
    )
    floor = float(np.mean([connectivity(graph, shuffled, wanted, strong=strong) for shuffled in shuffles]))
    return Measurement(raw, floor=floor, raw=raw, chance=floor)


def unconnected(layout: Layout) -> Absence | None:
    """Why no perturbation can hang together."""
    if len(_wanted(layout)) < 2 or len(layout.test_wells) < _NEIGHBOURS:
        return Absence(f"fewer than 2 perturbations of 2 wells, or than {_NEIGHBOURS} test rows")
    return None


def _wanted(layout: Layout) -> IntArray:
    """Codes of the scored perturbations of 2 wells or more."""
    label = layout.code("perturbation")
    wanted: IntArray = np.unique(label[layout.scored])
    return wanted[np.bincount(label)[wanted] > 1]


def connectivity(index: IntArray, label: IntArray, wanted: IntArray, *, strong: bool) -> float:
    """Mean over the `wanted` labels of the share of their rows in one component of the (n, k) neighbour graph."""
    from scipy.sparse import csr_array

    n, count = index.shape
    start, end = np.repeat(np.arange(n), count), index.ravel()
    # Edges between labels out: the components that are left lie inside one label each.
    inside = label[start] == label[end]
    edges = csr_array((np.ones(int(inside.sum())), (start[inside], end[inside])), shape=(n, n))
    from scipy.sparse.csgraph import connected_components

    _, component = connected_components(edges, directed=True, connection="strong" if strong else "weak")
    size = np.bincount(component)[component]
    largest = np.zeros(label.max() + 1)
    np.maximum.at(largest, label, size)
    return float(np.mean(largest[wanted] / np.bincount(label)[wanted]))


UNDIRECTED = Metric(
    name="graph_connectivity",
    role="technical",
    standing="parity",
    in_sweep=False,
    title="Graph connectivity, undirected (scib); joint, diagnostic",
    direction="1: the wells of a perturbation hang together; floor: permuted perturbations",
    function=graph_connectivity,
    absent=unconnected,
)
DIRECTED = Metric(
    name="graph_connectivity_directed",
    role="technical",
    standing="parity",
    in_sweep=False,
    title="Graph connectivity, directed (scib-metrics); joint, diagnostic",
    direction="1: the wells of a perturbation reach one another; floor: permuted perturbations",
    function=graph_connectivity_directed,
    absent=unconnected,
)
