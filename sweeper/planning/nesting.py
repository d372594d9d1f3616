"""How far perturbations, and their targets, are nested in batches."""

from __future__ import annotations

import pandas as pd

from sweeper.decision.verdict.confounded import Nesting
from sweeper.metrics.biological.target_sets import split_targets


def nesting(wells: pd.DataFrame) -> Nesting:
    """Of a table of wells with batch, perturbation, control_type and target."""
    treated = wells[wells["control_type"] != "negative"]
    named = treated.loc[treated["target"].notna(), ["target", "batch"]].drop_duplicates().astype(str)
    pairs = [(target, batch) for text, batch in named.itertuples(index=False) for target in split_targets(text)]
    targets = pd.DataFrame(pairs, columns=["target", "batch"])
    of_perturbations, of_targets = _places(treated, "perturbation"), _places(targets, "target")
    return Nesting(
        batches=wells["batch"].nunique(),
        perturbations=len(of_perturbations),
        spanning=int((of_perturbations > 1).sum()),
        targets=len(of_targets),
        spanning_targets=int((of_targets > 1).sum()),
    )


def _places(wells: pd.DataFrame, column: str) -> pd.Series:
    """In how many batches each value of the column lies."""
    places: pd.Series = wells[[column, "batch"]].drop_duplicates()[column].value_counts()
    return places


__all__ = ["nesting"]
