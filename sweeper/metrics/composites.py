"""The anchored composites T (technical) and B (biological) of one embedding, and their geometric mean.

T is the mean over factors (batch; plate; row and column) of the mean of a factor's parts: mixing inside a label
(BRAS), mixing of neighbourhoods (CiLISI), decodability (the strongest of five readers) and variance explained; row and
column have the last alone. B is the mean of activity, retrieval, shared targets and clusters. Each
part is anchored by its own floor and ceiling, (value - floor) / (ceiling - floor) within [0, 1], never by the other
embeddings that happen to be compared. The two are objectives beside each other; where one number is needed it is
√(T·B), which, unlike a weighted sum, is 0 for an embedding of pure noise. In a sweep the metrics of standing "primary"
decide: the strongest reader of the batch, and three label metrics, see `registry`.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

TECHNICAL: Mapping[str, Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "batch": {
            "mixing": ("batch_mixing_bras",),
            "local mixing": ("cilisi",),
            "probe": ("batch_reader",),
            "variance": ("batch_variance",),
        },
        "plate": {
            "mixing": ("plate_mixing_bras",),
            "local mixing": ("plate_cilisi",),
            "probe": ("plate_reader",),
            "variance": ("plate_variance",),
        },
        "row and column": {"ridge": ("row_column_ridge",)},
    }
)
"""Factor → part → its metrics; the worst of a part's metrics counts."""

DETECTORS = tuple(name for names in TECHNICAL["batch"].values() for name in names)
"""What T's batch factor is read from."""

STAND_INS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "batch_reader": ("batch_probe_linear", "batch_probe_knn"),
        "plate_reader": ("plate_probe_linear", "plate_probe_knn"),
    }
)
"""What a part is read from in panels without its metric, as those of older sweeps are."""

BIOLOGICAL: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "activity": ("activity_map",),
        "retrieval": ("retrieval_map",),
        "targets": ("target_consistency",),
        "clusters": ("label_ami",),
    }
)
"""Part → its metrics."""


@dataclass(frozen=True)
class Composites:
    """T, B and √(T·B) of one embedding, each in [0, 1], higher is better.

    Attributes:
        technical: T; None when no part of it could be measured.
        biological: B; None when no part of it could be measured.
        geometric: √(T·B); None when one of them is.
        factors: factor → mean of its parts, of the factors with a measured part.
        parts: "batch: mixing", "retrieval", … → anchored value.
        absent: part → why it is in no mean.
        intervals: "technical", "biological", "geometric" → 95 % bootstrap interval, of those that have one; see
            `sweeper.metrics.bootstrap`.
    """

    technical: float | None
    biological: float | None
    geometric: float | None
    factors: Mapping[str, float]
    parts: Mapping[str, float]
    absent: Mapping[str, str]
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "technical": self.technical,
            "biological": self.biological,
            "geometric": self.geometric,
            "factors": dict(self.factors),
            "parts": dict(self.parts),
            "absent": dict(self.absent),
            "intervals": {name: list(interval) for name, interval in self.intervals.items()},
        }


def anchored(value: float, floor: float, ceiling: float) -> float:
    """(value - floor) / (ceiling - floor): 0 at chance or worst, 1 at best; not clipped. NaN without a range."""
    return (value - floor) / (ceiling - floor) if ceiling > floor else math.nan


def composites(rows: Iterable[Mapping[str, Any]]) -> Composites:
    """T and B of the rows of a panel (`Panel.rows`, or the metrics of a cell's record).

    A part with no measurable metric is left out of its mean and named with its reason; with several metrics the worst
    of the measurable ones counts. Two embeddings are comparable when the same parts are absent.
    """
    by_name = {row["metric"]: row for row in rows}
    parts: dict[str, float] = {}
    absent: dict[str, str] = {}
    factors: dict[str, float] = {}
    for factor, members in TECHNICAL.items():
        keys = [f"{factor}: {part}" for part in members]
        for key, names in zip(keys, members.values(), strict=True):
            _place(key, names, by_name, parts, absent)
        if (mean := _mean([parts[key] for key in keys if key in parts])) is not None:
            factors[factor] = mean
    for part, names in BIOLOGICAL.items():
        _place(part, names, by_name, parts, absent)
    technical = _mean(list(factors.values()))
    biological = _mean([parts[part] for part in BIOLOGICAL if part in parts])
    return Composites(
        technical=technical,
        biological=biological,
        geometric=None if technical is None or biological is None else math.sqrt(technical * biological),
        factors=factors,
        parts=parts,
        absent=absent,
    )


def sources(names: Iterable[str], measured: Container[str]) -> tuple[str, ...]:
    """Those of a part's metrics that were measured; what stands in for them where none was."""
    names = tuple(names)
    own = tuple(name for name in names if name in measured)
    return own or tuple(other for name in names for other in STAND_INS.get(name, ()) if other in measured)


def _place(
    key: str,
    names: tuple[str, ...],
    by_name: Mapping[str, Mapping[str, Any]],
    parts: dict[str, float],
    absent: dict[str, str],
) -> None:
    """Put the part among the measured or among the absent ones."""
    found = [by_name[name] for name in sources(names, by_name)]
    values = [
        anchored(row["value"], row["floor"], row["ceiling"])
        if _known(row["floor"]) and _known(row["ceiling"])
        else math.nan
        for row in found
        if _known(row["value"])
    ]
    measured = [value for value in values if math.isfinite(value)]
    if measured:
        parts[key] = min(max(min(measured), 0.0), 1.0)
    elif values:
        absent[key] = "no floor below a ceiling is stated"
    else:
        absent[key] = "; ".join(dict.fromkeys(str(row["reason"]) for row in found)) or "not measured"


def _known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


__all__ = ["BIOLOGICAL", "DETECTORS", "STAND_INS", "TECHNICAL", "Composites", "anchored", "composites", "sources"]
