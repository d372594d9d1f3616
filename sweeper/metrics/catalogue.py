"""Which metrics and controls there are, by name: what a plan needs of them, without what computes them.

`registry` and `controls` fill these names in, in this order.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from trainers.errors import InputError

IN_SWEEP = (
    "batch_reader",
    "batch_probe_linear",
    "cilisi",
    "batch_probe_knn",
    "batch_mixing_bras",
    "batch_variance",
    "plate_variance",
    "activity_map",
    "retrieval_map",
    "perturbation_accuracy",
    "in_distribution_accuracy",
    "accuracy_gap",
    "label_nmi",
    "label_ami",
    "nn_accuracy",
    "target_consistency",
    "within_batch_retention",
    "planted_signal_retention",
)
"""A sweep's default panel."""
PLAIN_ACCURACIES = ("plain_accuracy", "in_distribution_plain_accuracy")
"""Shares of wells that are named rightly: of images, and of a ladder's rungs."""
ON_REQUEST = (
    "batch_probe_spread",
    "batch_probe_controls",
    "plate_mixing_bras",
    "plate_cilisi",
    "plate_reader",
    "plate_probe_linear",
    "plate_probe_knn",
    "row_column_ridge",
    "ilisi",
    "asw_batch",
    "tasw_batch",
    "tasw_row",
    "tasw_column",
    "kbet_controls",
    "pcr",
    "graph_connectivity",
    "graph_connectivity_directed",
    "within_batch_activity",
    "nsc_accuracy",
    "nscb_accuracy",
    "target_retrieval_map",
    "nsc_gap",
    "target_recall",
    "pasw",
    "label_ari",
    *PLAIN_ACCURACIES,
)
"""Measured when they are named, and by `sweeper metrics`."""
METRICS = (*IN_SWEEP, *ON_REQUEST)
OF_TARGETS = ("nsc_accuracy", "nscb_accuracy", "nsc_gap")
"""Measured beside, where biology is judged between targets."""
BETWEEN_TARGETS = ("nscb_accuracy", "target_retrieval_map")
"""Biology judged between perturbations that share a target and no batch: it means something where every perturbation
lies in one batch, too."""
CONTROLS = (
    "raw",
    "random",
    "label_shuffled",
    "batch_standardised",
    "plate_control_centred",
    "sphering",
    "identities_permuted",
    "one_hot_jitter",
)
"""Untrained embeddings that every sweep scores beside its own."""


def check_metrics(names: Sequence[str], key: str = "metrics") -> None:
    """Raise `InputError` with the key for a metric that there is not; names the nearest ones."""
    for name in names:
        if name not in METRICS:
            near = get_close_matches(name, METRICS, n=3, cutoff=0.4) or list(METRICS)
            raise InputError(f"{key}: unknown metric {name!r}; nearest: {', '.join(near)}")


__all__ = [
    "BETWEEN_TARGETS",
    "CONTROLS",
    "IN_SWEEP",
    "METRICS",
    "OF_TARGETS",
    "ON_REQUEST",
    "PLAIN_ACCURACIES",
    "check_metrics",
]
