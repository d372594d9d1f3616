"""Plate folders: image files laid out by batch, plate, well and site, with a metadata table; RxRx1 is one of them.

RxRx1 (www.rxrx.ai/rxrx1) is licensed CC BY-NC-SA 4.0: read it where it lies, never ship it or what is packed from it.
"""

from __future__ import annotations

from pathlib import Path
from string import Formatter

import numpy as np
import pandas as pd

from trainers.errors import InputError, raise_problems
from trainers.screens.conventions import find_columns
from trainers.screens.files import read_table
from trainers.screens.images.image_files import Conversion
from trainers.screens.images.listing import Listing
from trainers.screens.images.plate_folder import RXRX1_CHANNELS, RXRX1_PATTERN, PlateFolder
from trainers.screens.names import nearest
from trainers.screens.table import make_wells
from trainers.screens.text import as_text
from trainers.screens.well_columns import find_wells, refuse_duplicates


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


__all__ = ["list_plates"]
