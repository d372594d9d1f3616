"""A view of a sweep's cells that MLflow keeps in a tag of the experiment: what its "Share" makes, under a key of ours.

The cells that have a strength, λ, m, seed, T and B first, most of the batch removed on top. MLflow reads the tag as
plain JSON, and a version that does not know it shows its usual page. Which half of its pages a browser is shown,
generative AI or model training, MLflow 3.17 keeps in the browser and not in the experiment: the address says it.
"""

from __future__ import annotations

import json

KEY = "sweeper"
TAG = f"mlflow.sharedViewState.{KEY}"
LOCAL = "http://127.0.0.1:5000"
"""Where `mlflow ui` serves unless told otherwise."""
TRAINED = "tags.`sweeper.kind` = 'cell' and params.`adversarial_weight` != 'none'"
"""Cells that have a strength: MLflow takes a run without the parameter for one that does not match."""
NAME = "attributes.`Run Name`"
WIDTHS = {
    NAME: 260,
    "params.`adversarial_weight`": 150,
    "params.`margin`": 80,
    "params.`seed`": 80,
    "metrics.`composite/T`": 120,
    "metrics.`composite/B`": 120,
    "tags.`sweeper.status`": 120,
    "params.`split`": 160,
}
"""Column → pixels, in the order of the view."""


def view_state() -> str:
    """The tag's value."""
    return json.dumps(
        {
            "searchFilter": TRAINED,
            "orderByKey": "metrics.`composite/T`",
            "orderByAsc": False,
            "selectedColumns": [column for column in WIDTHS if column != NAME],
            "columnOrder": list(WIDTHS),
            "columnWidths": WIDTHS,
        }
    )


def view_address(server: str, experiment: str) -> str:
    """Where the MLflow at `server` shows the view of an experiment."""
    return f"{server}/#/experiments/{experiment}/runs?workflowType=machine_learning&viewStateShareKey={KEY}"


__all__ = ["LOCAL", "TAG", "WIDTHS", "view_address", "view_state"]
