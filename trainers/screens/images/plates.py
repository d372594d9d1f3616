"""Plate folders: image files laid out by batch, plate, well and site, with a metadata table; RxRx1 is one of them.

RxRx1 (www.rxrx.ai/rxrx1) is licensed CC BY-NC-SA 4.0: read it where it lies, never ship it or what is packed from it.
"""

from __future__ import annotations

import math
from pathlib import Path
from string import Formatter
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, field_validator

from trainers.errors import InputError, raise_problems
from trainers.screens.conventions import find_columns
from trainers.screens.files import read_table
from trainers.screens.images.image_files import Conversion
from trainers.screens.images.listing import Listing
from trainers.screens.names import nearest
from trainers.screens.screen_spec import check_columns
from trainers.screens.table import make_wells
from trainers.screens.text import as_text
from trainers.screens.well_columns import find_wells, refuse_duplicates

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


def list_plates(spec: PlateFolder) -> Listing:
    """List a plate folder; no image is looked for yet.

    Raises:
        InputError: the folder, the table, a column or a field of the pattern is wrong, or a row has no perturbation.
    """
    if not spec.path.is_dir():
        raise InputError(f"{spec.path}: no such folder of images")
    path = spec.path / spec.metadata
    table = read_table(path, described=None).metadata
    columns = find_columns(table, spec.columns, {})
    raise_problems(path, columns.problems)
    chosen = columns.chosen
    if spec.unlabelled == "drop":
        table = table[as_text(table[chosen["perturbation"]]).notna().to_numpy()].reset_index(drop=True)
    found = find_wells(table, spec.columns, spec.negative_controls)
    raise_problems(path, found.problems)
    wells = make_wells(found.wells)
    refuse_duplicates(path, wells)
    spelled = {name: as_text(table[column]).astype(object) for name, column in chosen.items()}
    spelled |= {str(name): as_text(table[name]).astype(object) for name in table.columns if name not in spelled}
    fields = {field for _, field, _, _ in Formatter().parse(spec.pattern) if field is not None}
    # A file a channel, or one file that holds them all.
    numbered = list(enumerate(spec.channels, 1)) if fields & {"channel", "name"} else [(0, "")]
    files = [_paths(path, spec.pattern, spelled | {"channel": str(n), "name": name}) for n, name in numbered]
    layout = "rxrx1" if (spec.pattern, spec.channels) == (RXRX1_PATTERN, RXRX1_CHANNELS) else "plates"
    conversion = Conversion(spec.signed, spec.float_range)
    paths = np.column_stack(files)
    return Listing(layout, spec.path, wells, paths, spec.channels, conversion, chosen, found.warnings)


def _paths(path: Path, pattern: str, values: dict[str, pd.Series | str]) -> pd.Series:
    """The pattern, filled in for all rows at once."""
    rows = next(value for value in values.values() if isinstance(value, pd.Series))
    text = pd.Series("", index=rows.index, dtype=object)
    for literal, field, style, conversion in Formatter().parse(pattern):
        text = text + literal
        if field is None:
            continue
        if field not in values or style or conversion:
            raise InputError(f"pattern {pattern!r}: no value for {{{field}}} in {path}; {nearest(field, list(values))}")
        value = values[field]
        if isinstance(value, pd.Series) and value.isna().any():
            row = int(value.isna().to_numpy().argmax()) + 1
            raise InputError(f"{path}: {field!r} is empty in row {row}, and the pattern {pattern!r} needs it")
        text = text + value
    return text


__all__ = ["RXRX1_CHANNELS", "RXRX1_COLUMNS", "RXRX1_PATTERN", "PlateFolder", "list_plates"]
