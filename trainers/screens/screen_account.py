"""The account of how a table was read: what counts as a feature, what was left out and why, which column says what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

_UNSCALED = (
    "features are not standardised ({share:.0%} of them lie more than 3 standard deviations from 0): standardise "
    "them, (x − mean) / standard deviation per plate"
)


@dataclass(frozen=True)
class Account:
    """How a table was read.

    Attributes:
        source: name of the file.
        rows: number of rows read.
        features: number of features.
        families: family → number of its features.
        left_out: reason → columns of the file that are no features.
        columns: canonical column → the file's column, or how it comes about.
        notes: what was found and done on the way: candidates passed over, separators, matrices, missing values.
        warnings: what a user should look at.
        far_from_zero: share of the features whose mean lies more than 3 standard deviations from 0.
    """

    source: str
    rows: int
    features: int
    families: Mapping[str, int] = field(default_factory=dict)
    left_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    far_from_zero: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        found = asdict(self)
        return found | {
            "left_out": {reason: list(names) for reason, names in self.left_out.items()},
            "notes": list(self.notes),
            "warnings": list(self.warnings),
        }

    @property
    def unscaled(self) -> str | None:
        """A warning where most features are on a raw scale, far from zero."""
        return _UNSCALED.format(share=self.far_from_zero) if self.far_from_zero > 0.5 else None


__all__ = ["Account"]
