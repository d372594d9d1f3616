"""Simulated image screens in memory, or written as the real ones are, for the real readers to read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from trainers.errors import InputError
from trainers.screens.atomic import write_whole
from trainers.screens.images.image_screen import ImageScreen
from trainers.screens.images.image_simulation import ImageSimulation
from trainers.screens.images.manifest import in_memory_screen
from trainers.screens.images.plate_folder import RXRX1_CHANNELS
from trainers.screens.images.render import render, render_all
from trainers.screens.images.wilds_rxrx1 import FOLDER
from trainers.screens.table import make_wells

Layout = Literal["wilds", "rxrx1"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
CHANNELS_OF: dict[Layout, Literal[3, 6]] = {"wilds": 3, "rxrx1": 6}

_WELL_TYPES = {"treatment": "treatment", "positive": "positive_control", "negative": "negative_control"}


def simulated_wells(simulation: ImageSimulation) -> pd.DataFrame:
    """The wells of the screen, with the columns that `list_wilds` gives them, `split` included; nothing is rendered."""
    wells = simulation.wells.assign(split=simulation.wells["dataset"].astype(object)).drop(columns=["dataset"])
    wells.loc[(wells["split"] == "train") & (wells["site"] == 2), "split"] = "id_test"
    return make_wells(wells)


def simulated_screen(simulation: ImageSimulation) -> ImageScreen:
    """The screen in memory."""
    channels = RXRX1_CHANNELS[: simulation.spec.channels]
    return in_memory_screen(simulated_wells(simulation), render_all(simulation), channels)


def write_images(
    simulation: ImageSimulation,
    folder: Path,
    layout: Layout,
    *,
    overwrite: bool = False,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Path:
    """Write the images, metadata.csv (last) and the known answer (truth.json, truth.npz).

    Args:
        simulation: 3 channels for "wilds", 6 for "rxrx1".
        folder: created if absent. Layout "wilds" puts the screen into `rxrx1_v1.0`, as the `wilds` package does.
        layout: "wilds": `images/<experiment>/Plate<k>/<well>_s<site>.png`, 3 channels in a file; "rxrx1":
            `…_w<1..6>.png`, one channel a file. metadata.csv has the release's columns in both.
        overwrite: replace files that exist.
        progress: called with (images written, all).

    Returns:
        The path of metadata.csv.

    Raises:
        InputError: another number of channels, or a screen is there and `overwrite` is false.
    """
    if simulation.spec.channels != CHANNELS_OF[layout]:
        raise InputError(f"layout {layout} has {CHANNELS_OF[layout]} channels, got {simulation.spec.channels}")
    base = folder / FOLDER if layout == "wilds" else folder
    target = base / "metadata.csv"
    if target.exists() and not overwrite:
        raise InputError(f"{target}: already there; name another folder, or ask to overwrite")
    target.unlink(missing_ok=True)  # while images are written there is no table that would name them
    metadata = _metadata(simulation)
    for row, (experiment, plate, well, site) in enumerate(
        zip(*(metadata[name] for name in ("experiment", "plate", "well", "site")), strict=True)
    ):
        stem = base / "images" / experiment / f"Plate{plate}" / f"{well}_s{site}"
        stem.parent.mkdir(parents=True, exist_ok=True)
        _write_site(render(simulation, row), stem, layout)
        progress(row + 1, len(metadata))
    truth = simulation.truth
    arrays = {name: value for name, value in truth.items() if isinstance(value, np.ndarray)}
    plain = {name: value for name, value in truth.items() if name not in arrays}
    write_whole(folder / "truth.npz", lambda file: np.savez_compressed(file, allow_pickle=False, **arrays))
    text = json.dumps(plain, indent=2, ensure_ascii=False) + "\n"
    write_whole(folder / "truth.json", lambda file: file.write(text.encode()))
    if layout == "wilds":
        (base / "RELEASE_v1.0.txt").write_text("simulated\n", encoding="utf-8")
    write_whole(target, lambda file: metadata.to_csv(file, index=False))
    return target


def _metadata(simulation: ImageSimulation) -> pd.DataFrame:
    """The table in the columns of the release."""
    wells = simulation.wells
    well_id = wells["batch"] + "_" + wells["plate"] + "_" + wells["well"]
    negative = wells["control_type"] == "negative"
    return pd.DataFrame(
        {
            "site_id": well_id + "_" + wells["site"].astype(str),
            "well_id": well_id,
            "cell_type": wells["cell_type"],
            "dataset": wells["dataset"],
            "experiment": wells["batch"],
            "plate": wells["plate"],
            "well": wells["well"],
            "site": wells["site"],
            "well_type": wells["control_type"].map(_WELL_TYPES),
            "sirna": ("s" + wells["perturbation"]).mask(negative, "EMPTY"),
            "sirna_id": wells["perturbation"],
        }
    )


def _write_site(image: NDArray[np.uint8], stem: Path, layout: Layout) -> None:
    """One file of three channels, or a file a channel."""
    if layout == "wilds":
        Image.fromarray(np.moveaxis(image, 0, -1)).save(stem.with_name(f"{stem.name}.png"))
        return
    for number, plane in enumerate(image, 1):
        Image.fromarray(plane).save(stem.with_name(f"{stem.name}_w{number}.png"))


__all__ = ["CHANNELS_OF", "LAYOUTS", "Layout", "simulated_screen", "simulated_wells", "write_images"]
