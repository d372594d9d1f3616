"""Mini-batches come out the same whether the screen is streamed from its file or lives on the device."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from trainers.images import inputs
from trainers.images.augment import standardised
from trainers.images.inputs import RowReader


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("resident", [False, True])
def test_rows_are_those_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: type, resident: bool
) -> None:
    monkeypatch.setattr(inputs, "_COPY_BYTES", 3 * 2 * 8 * 8 * np.dtype(dtype).itemsize)  # pieces of 3 images
    values = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (10, 2, 8, 8), endpoint=True).astype(dtype)
    np.save(tmp_path / "images.npy", values)
    images = np.lib.format.open_memmap(tmp_path / "images.npy", mode="r")
    reader = RowReader(images, torch.device("cpu"), resident=resident)
    for rows, then in (([3, 0, 9], [1, 1]), ([1, 1], None), ([5], [2]), ([4], None)):
        x = reader.read(np.array(rows), None if then is None else np.array(then))
        assert x.dtype == (torch.uint8 if dtype is np.uint8 else torch.uint16)
        np.testing.assert_array_equal(x.numpy(), values[rows])
        torch.testing.assert_close(standardised(x), standardised(torch.from_numpy(values[rows])))
