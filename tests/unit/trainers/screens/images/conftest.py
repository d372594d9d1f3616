from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image

from trainers.screens.images.listing import Listing
from trainers.screens.table import make_wells

SHARED = Path(__file__).resolve().parents[6] / "shared" / "data"


@pytest.fixture
def listed(tmp_path: Path) -> Callable[..., tuple[Listing, NDArray[np.generic]]]:
    """A factory of listings with real files: 2 batches × 2 plates × wells, one grey file a channel."""

    def build(
        wells: int = 3,
        channels: int = 3,
        size: tuple[int, int] = (10, 12),
        dtype: type = np.uint8,
        suffix: str = ".png",
    ) -> tuple[Listing, NDArray[np.generic]]:
        root = tmp_path / "files"
        rows = [(f"E{b}", f"E{b}P{p}", f"A{w + 1:02d}") for b in (1, 2) for p in (1, 2) for w in range(wells)]
        table = pd.DataFrame(rows, columns=["batch", "plate", "well"])
        table["perturbation"] = [f"x{number % wells}" for number in range(len(rows))]
        table["site"] = 1
        limits = np.iinfo(dtype)
        pixels = np.random.default_rng(0).integers(0, limits.max + 1, (len(rows), channels, *size)).astype(dtype)
        paths = np.empty((len(rows), channels), dtype=object)
        for row, (batch, plate, well) in enumerate(rows):
            for channel in range(channels):
                paths[row, channel] = f"{batch}/{plate}/{well}_w{channel + 1}{suffix}"
                (root / paths[row, channel]).parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels[row, channel]).save(root / paths[row, channel])
        names = tuple(f"w{channel + 1}" for channel in range(channels))
        return Listing("plates", root, make_wells(table), paths, names), pixels

    return build
