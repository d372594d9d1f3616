"""Where a screen is and how its table is to be read: the section `screen` of a configuration. Imports no pandas."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from trainers.screens.names import nearest

COLUMNS = (
    "batch",
    "plate",
    "well",
    "perturbation",
    "control_type",
    "target",
    "cell_type",
    "row",
    "column",
    "site",
)
"""The columns of a screen that a file's columns can be named for."""
IDENTIFYING = ("batch", "plate", "well", "perturbation")

Missing = Literal["refuse", "drop_features", "drop_rows", "median"]
Meaning = Literal["treatment", "negative", "positive", "drop"]


class FeaturePatterns(BaseModel):
    """Which columns are features, where the rule is not to decide."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    include: tuple[str, ...] = Field(
        default=(), description="Only columns of these patterns (Cells_*, emb_*); empty: those of the rule."
    )
    exclude: tuple[str, ...] = Field(default=(), description="No column of these patterns.")


class ScreenSpec(BaseModel):
    """Where a screen is and how to read its columns."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path = Field(
        description="A .parquet, .csv, .tsv (.gz), .h5ad, .gct or .npz file, relative to the config file."
    )
    columns: dict[str, str | None] = Field(
        default_factory=dict,
        description="Canonical column → column of the file, where the conventions of the field do not find it; "
        "null for a column that is not to be read.",
    )
    features: tuple[str, ...] | FeaturePatterns | None = Field(
        default=None,
        description="Feature columns, or {include: [PATTERN, …], exclude: [PATTERN, …]}; null: by rule (CellProfiler "
        "compartments, numbered families, list columns, else the block of decimal numbers).",
    )
    negative_controls: tuple[str, ...] = Field(
        default=(), description="Perturbations that are negative controls, e.g. DMSO, beside those the file marks."
    )
    control_words: dict[str, Meaning] = Field(
        default_factory=dict,
        description="What further words of the control column mean: treatment, negative, positive, or drop (leave "
        "these rows out), e.g. {empty: drop}.",
    )
    missing: Missing = Field(
        default="refuse",
        description="Features with missing values: refuse the table, drop_features, drop_rows, or fill in the "
        "feature's median.",
    )
    matrix: str | None = Field(
        default=None,
        description="Matrix of an .h5ad file (X, layers/NAME, obsm/KEY) or array of an .npz; null: X, or the only one.",
    )
    separator: str | None = Field(
        default=None, min_length=1, max_length=1, description="Between the fields of a CSV; null: found in the header."
    )
    decimal: Literal[".", ","] | None = Field(
        default=None, description="Before a fraction in a CSV; null: a point, or a comma where that is beyond doubt."
    )

    @field_validator("columns")
    @classmethod
    def _check_columns(cls, columns: dict[str, str | None]) -> dict[str, str | None]:
        """As `check_columns`."""
        return check_columns(columns)


def check_columns(columns: dict[str, str | None]) -> dict[str, str | None]:
    """Only canonical columns can be named, and those that identify a row cannot be left out; raises ValueError."""
    for name, column in columns.items():
        if name not in COLUMNS:
            raise ValueError(f"{name!r} is no column of a screen; {nearest(name, list(COLUMNS))}")
        if column is None and name in IDENTIFYING:
            raise ValueError(f"{name!r} cannot be left out")
    return columns


__all__ = ["COLUMNS", "IDENTIFYING", "FeaturePatterns", "Meaning", "Missing", "ScreenSpec", "check_columns"]
