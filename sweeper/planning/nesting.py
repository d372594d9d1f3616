"""Perturbations, and targets, nested in batches: whether anything lies in several, so that it can be told from these."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from sweeper.metrics.biological.target_sets import split_targets

FEWEST = 2
"""Perturbations, or targets, in several batches that a metric needs to compare."""


@dataclass(frozen=True, kw_only=True)
class Nesting:
    """How many treated perturbations of a screen, and how many of their targets, lie in several batches.

    Attributes:
        batches: of the screen.
        perturbations, spanning: of them, and those in two batches or more; negative controls are not counted.
        targets, spanning_targets: the same of targets; one spans where two of its perturbations do between them.
    """

    batches: int
    perturbations: int
    spanning: int
    targets: int
    spanning_targets: int

    @property
    def nested(self) -> bool:
        """Phenotype cannot be told from batch by comparing perturbations with themselves."""
        return self.batches > 1 and self.spanning < FEWEST

    @property
    def targets_nested(self) -> bool:
        """Nor by comparing perturbations that share a target."""
        return self.batches > 1 and self.spanning_targets < FEWEST

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def nesting(wells: pd.DataFrame) -> Nesting:
    """Of a table of wells with batch, perturbation, control_type and target."""
    treated = wells[wells["control_type"] != "negative"]
    named = treated[treated["target"].notna()]
    texts = named["target"].astype(str)
    targets = named.assign(target=[sorted(split_targets(text)) for text in texts]).explode("target").dropna()
    counts = [_places(frame, column) for frame, column in ((treated, "perturbation"), (targets, "target"))]
    return Nesting(
        batches=wells["batch"].nunique(),
        perturbations=len(counts[0]),
        spanning=int((counts[0] > 1).sum()),
        targets=len(counts[1]),
        spanning_targets=int((counts[1] > 1).sum()),
    )


def _places(wells: pd.DataFrame, column: str) -> pd.Series:
    """In how many batches each value of the column lies."""
    places: pd.Series = wells[[column, "batch"]].drop_duplicates()[column].value_counts()
    return places


__all__ = ["FEWEST", "Nesting", "nesting"]
