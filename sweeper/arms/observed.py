"""The two objectives of a search: technical and biological composite of each strength, from the tidy table.

They are made of the primary metrics, not of T and B of the whole panel (`sweeper.metrics.composites`): a search is to
train where the curves that decide turn, and what decides are the primaries. T and B move half as far with strength and
carry more noise (`sweeper.metrics.registry` has the figures), and a part that one screen lacks would change the
objective.
"""

from __future__ import annotations

import pandas as pd


def strength_composites(results: pd.DataFrame, *, view: str, trainer: str) -> pd.DataFrame:
    """Mean anchored primary metrics of every strength of the trainer.

    Each metric is anchored to (value − floor) / (ceiling − floor), averaged over splits, seeds and then the metrics of
    a role (docs/explanation/metrics.md; not clipped). Higher is better.

    Returns:
        One row a strength: adversarial_weight, margin, technical, biological; NaN where nothing could be measured
        (failed or collapsed cells only).
    """
    trained = results[(results["trainer"] == trainer) & (results["view"] == view) & results["primary"]]
    anchored = (trained["value"] - trained["floor"]) / (trained["ceiling"] - trained["floor"])
    keys = ["adversarial_weight", "margin"]
    by_metric = trained.assign(anchored=anchored).groupby([*keys, "role", "metric"], sort=True)["anchored"].mean()
    by_role = by_metric.groupby([*keys, "role"], sort=True).mean().reset_index()
    table = by_role.pivot_table(index=keys, columns="role", values="anchored", dropna=False)
    return table.reindex(columns=["technical", "biological"]).reset_index()
