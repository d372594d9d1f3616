"""Share of active perturbations: the significance behind `activity_map`, for a final report.

Not in the panel: thousands of null rankings a design make it too slow to measure at every cell.
"""

from __future__ import annotations

import tempfile

import numpy as np
import pandas as pd
from copairs import map as copairs_map

from sweeper.metrics.biological.retrieval import activity_ranking
from sweeper.metrics.evaluation import Evaluation
from sweeper.metrics.ranking import Ranking

# With 2 replicates the false discovery rate is not controlled: pure noise is called active up to 5 %.
MIN_QUERIES = 3


def activity_fraction(evaluation: Evaluation, *, null_size: int = 10_000, fdr: float = 0.05) -> pd.DataFrame:
    """Which perturbations are found before their negative controls more often than chance.

    The average precisions are those of `activity_map`; p-values and their Benjamini-Hochberg correction are copairs
    0.5's (a later copairs draws another null). Comparable only under one design.

    Returns:
        One row a perturbation with at least 3 queries, by name: perturbation, queries, mean_average_precision,
        p_value, corrected_p_value, active (corrected p < `fdr`). The fraction is the mean of `active`; no rows when
        there is nothing to test.
    """
    ranking, _ = activity_ranking(evaluation)
    table = _table(ranking, evaluation)
    if table.empty:
        return pd.DataFrame(columns=["perturbation", "queries", *_COPAIRS, "active"])
    with tempfile.TemporaryDirectory() as cache:  # copairs' shared cache makes results depend on what ran before
        found = copairs_map.mean_average_precision(
            table,
            ["perturbation"],
            null_size=null_size,
            threshold=fdr,
            seed=evaluation.seed,
            progress_bar=False,
            max_workers=1,
            cache_dir=cache,
        )
    found = found.assign(queries=found["indices"].map(len), active=found["below_corrected_p"])
    active: pd.DataFrame = found[["perturbation", "queries", *_COPAIRS, "active"]]
    return active.sort_values("perturbation", ignore_index=True)


_COPAIRS = ["mean_average_precision", "p_value", "corrected_p_value"]


def _table(ranking: Ranking, evaluation: Evaluation) -> pd.DataFrame:
    """The ranking in copairs' columns, of perturbations with enough queries."""
    perturbation = evaluation.test_wells["perturbation"].to_numpy(dtype=str)[ranking.queries]
    _, code, count = np.unique(perturbation, return_inverse=True, return_counts=True)
    return pd.DataFrame(
        {
            "perturbation": perturbation,
            "average_precision": ranking.precision,
            "normalized_average_precision": ranking.normalised,
            "n_pos_pairs": ranking.positives,
            "n_total_pairs": ranking.candidates,
        }
    )[count[code] >= MIN_QUERIES].reset_index(drop=True)


__all__ = ["MIN_QUERIES", "activity_fraction"]
