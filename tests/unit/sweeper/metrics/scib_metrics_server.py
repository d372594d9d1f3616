"""scib-metrics in a process of its own: JAX starts threads, and its libraries warn; neither may touch other tests.

Reads (function, arguments) from the pipe whose file number is its argument, answers with the result, ends with it.
"""

from __future__ import annotations

import sys
import warnings
from multiprocessing.connection import Connection
from typing import Any

warnings.simplefilter("ignore")

import numpy as np  # noqa: E402
import scib_metrics  # noqa: E402
from scib_metrics.nearest_neighbors import NeighborsResults  # noqa: E402
from scipy.sparse.csgraph import connected_components  # noqa: E402


def connectivity_of_scib(near: NeighborsResults, labels: Any) -> float:
    """scib 1.1's loop over labels, on the symmetric graph that scanpy hands it (UMAP's connectivities)."""
    graph = near.knn_graph_connectivities.tocsr()
    shares = []
    for label in np.unique(labels):
        inside = graph[labels == label][:, labels == label]
        _, component = connected_components(inside, connection="strong")
        shares.append(np.bincount(component).max() / inside.shape[0])
    return float(np.mean(shares))


FUNCTIONS = {
    "silhouette_label": scib_metrics.silhouette_label,
    "silhouette_batch": scib_metrics.silhouette_batch,
    "bras": scib_metrics.bras,
    "lisi": lambda index, distance, labels: scib_metrics.lisi_knn(NeighborsResults(index, distance), labels),
    "ilisi": lambda index, distance, labels: scib_metrics.ilisi_knn(NeighborsResults(index, distance), labels),
    "kbet": lambda index, distance, labels: scib_metrics.kbet(NeighborsResults(index, distance), labels)[0],
    "pcr": scib_metrics.utils.principal_component_regression,
    "directed": lambda index, distance, labels: scib_metrics.graph_connectivity(
        NeighborsResults(index, distance), labels
    ),
    "undirected": lambda index, distance, labels: connectivity_of_scib(NeighborsResults(index, distance), labels),
}


def main() -> None:
    """Answer until the pipe is closed."""
    pipe = Connection(int(sys.argv[1]))
    while True:
        try:
            name, arguments, options = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(np.asarray(FUNCTIONS[name](*arguments, **options)))
        except ValueError as error:
            pipe.send(error)


if __name__ == "__main__":
    main()
