"""RxRx1-WILDS through `wilds`' own dataset class: labels, metadata and published splits come from the dataset object.

WILDS (Koh et al., ICML 2021) scores single images over all classes. RxRx1 is licensed CC BY-NC-SA 4.0: read it where
it lies, never ship it or what is packed from it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from trainers.errors import InputError
from trainers.screens.files import read_table
from trainers.screens.images.listing import Listing
from trainers.screens.images.plate_folder import RXRX1_CHANNELS
from trainers.screens.table import make_wells
from trainers.screens.well_columns import describe_wells

if TYPE_CHECKING:
    from wilds.datasets.rxrx1_dataset import RxRx1Dataset

FOLDER = "rxrx1_v1.0"
CHANNELS = RXRX1_CHANNELS[:3]
MIXED_TO_TEST = "split_mixed_to_test"
"""Column of WILDS' mixed-to-test scheme; "split" is the official one. Rows that a scheme leaves out are null."""

_COLUMNS = {
    "batch": "experiment",
    "plate": "plate",
    "well": "well",
    "site": "site",
    "perturbation": "sirna_id",
    "control_type": "well_type",
    "cell_type": "cell_type",
}


def list_wilds(root: Path, *, download: bool = False, mixed_to_test: bool = False) -> Listing:
    """List RxRx1-WILDS; no image is looked for yet.

    Args:
        root: what `wilds` calls root_dir, the folder that holds (or will hold) rxrx1_v1.0.
        download: let `wilds` download what is absent (7.4 GB).
        mixed_to_test: also read the mixed-to-test scheme, into the column `split_mixed_to_test`. In that scheme both
            sites of a well lie on both sides of the split, as published.

    Raises:
        InputError: absent and no download, or metadata that `wilds` cannot read.
    """
    root = root.parent if root.name == FOLDER else root
    if not download and not (root / FOLDER).is_dir():
        raise InputError(f"{root}: holds no {FOLDER}; name the folder that does, or allow the download")
    dataset = _open(root, "official", download)
    fields = {name: dataset.metadata_array[:, number].numpy() for number, name in enumerate(dataset.metadata_fields)}
    metadata = pd.DataFrame({name: fields[name] for name in ("plate", "site")})
    for name in ("cell_type", "experiment", "well"):
        metadata[name] = np.array(dataset.metadata_map[name], dtype=object)[fields[name]]
    metadata["sirna_id"] = dataset.y_array.numpy()
    metadata["well_type"] = _well_types(dataset, metadata)
    metadata["split"] = _split_names(dataset)
    if mixed_to_test:
        metadata[MIXED_TO_TEST] = _split_names(_open(root, "mixed-to-test", download=False))
    wells = make_wells(describe_wells(Path(dataset.data_dir) / "metadata.csv", metadata, _COLUMNS, ()))
    # The dataset gives images, not their paths, which is what a listing is made of; hence the private name.
    paths = np.array(dataset._input_array, dtype=object)[:, None]
    return Listing("wilds", Path(dataset.data_dir), wells, paths, CHANNELS, columns=_COLUMNS)


def _open(root: Path, scheme: str, download: bool) -> RxRx1Dataset:
    """The dataset object; what it says of broken input, in one line."""
    from wilds.datasets.rxrx1_dataset import RxRx1Dataset

    try:
        # wilds assigns into columns of its table, which pandas forbids where copies are made on write.
        with pd.option_context("mode.copy_on_write", False):
            return RxRx1Dataset(root_dir=str(root), download=download, split_scheme=scheme)
    except FileNotFoundError as error:
        absent = f"{error.filename} is missing" if error.filename else "RELEASE_v1.0.txt is missing"
        raise InputError(f"{root / FOLDER}: {absent}; complete the folder, or allow the download") from None
    except (AssertionError, AttributeError, KeyError, TypeError, ValueError) as error:
        reason = str(error) or "sirna_id must number the classes 0, 1, … without a gap, and experiments be named alike"
        raise InputError(
            f"{root / FOLDER / 'metadata.csv'}: wilds cannot read it ({scheme} splits): {reason}"
        ) from None


def _split_names(dataset: RxRx1Dataset) -> Any:
    """(n,) names of the split of each row, None where the scheme leaves the row out."""
    names = {number: name for name, number in dataset.split_dict.items()}
    return np.array([names.get(number) for number in dataset.split_array], dtype=object)


def _well_types(dataset: RxRx1Dataset, metadata: pd.DataFrame) -> Any:
    """(n,) treatment, positive_control or negative_control: the one column that the dataset object leaves out."""
    path = Path(dataset.data_dir) / "metadata.csv"
    table = read_table(path, described=None).metadata
    for name in ("experiment", "well", "site"):
        if not (table[name] == metadata[name].astype(str)).all():
            raise InputError(f"{path}: its rows are not those of the dataset object (column {name!r})")
    if "well_type" not in table:
        raise InputError(f"{path}: no column 'well_type'; controls are told by it")
    return table["well_type"].to_numpy()


__all__ = ["CHANNELS", "FOLDER", "MIXED_TO_TEST", "list_wilds"]
