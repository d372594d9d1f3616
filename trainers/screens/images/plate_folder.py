"""A folder of images and how its files are named: a section of a configuration. Imports no pandas."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from trainers.screens.screen_spec import check_columns

RXRX1_CHANNELS = ("nuclei", "ER", "actin", "nucleoli", "mitochondria", "golgi")

RXRX1_COLUMNS = {
    "batch": "experiment",
    "plate": "plate",
    "well": "well",
    "site": "site",
    "perturbation": "sirna_id",
    "control_type": "well_type",
    "cell_type": "cell_type",
}

RXRX1_PATTERN = "images/{batch}/Plate{plate}/{well}_s{site}_w{channel}.png"


class PlateFolder(BaseModel):
    """A folder of images and its metadata table. The defaults are those of the 6-channel RxRx1 release."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path = Field(description="The folder.")
    metadata: Path = Field(
        default=Path("metadata.csv"),
        description="Table with one row a site (.csv, .csv.gz, .parquet), relative to the folder.",
    )
    pattern: str = Field(
        default=RXRX1_PATTERN,
        description="Path of a site's files below the folder. {batch}, {plate}, {well}, {site} and every column of the "
        "table stand for the row's value as the table spells it, {channel} for 1, 2, … and {name} for the channel's "
        "name. Without {channel} and {name} one file holds all channels (colours of a PNG, pages of a TIFF).",
    )
    channels: tuple[str, ...] = Field(
        default=RXRX1_CHANNELS, min_length=1, description="Names of the channels, in the files' order."
    )
    columns: dict[str, str | None] = Field(
        default=dict(RXRX1_COLUMNS), description="Canonical column → column of the table, as for profiles."
    )
    negative_controls: tuple[str, ...] = Field(
        default=(), description="Perturbations that are negative controls, beside those the table marks."
    )
    unlabelled: Literal["fail", "drop"] = Field(
        default="fail", description="What to do with rows that name no perturbation."
    )
    signed: Literal["refuse", "clip"] = Field(
        default="refuse", description="TIFFs of signed integers: refuse, or clip: pixels below 0 are packed as 0."
    )
    float_range: tuple[float, float] | None = Field(
        default=None,
        description="TIFFs of floating point: [low, high] are packed as 0 and 65,535, linearly, what lies beyond is "
        "clipped; none: refused.",
    )

    @field_validator("float_range")
    @classmethod
    def _check_range(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not (math.isfinite(value[1] - value[0]) and value[0] < value[1]):
            raise ValueError(f"expected [low, high] with low below high, got {list(value)}")
        return value

    @field_validator("columns")
    @classmethod
    def _check_columns(cls, columns: dict[str, str | None]) -> dict[str, str | None]:
        """As `check_columns`."""
        return check_columns(columns)


__all__ = ["RXRX1_CHANNELS", "RXRX1_COLUMNS", "RXRX1_PATTERN", "PlateFolder"]
