"""TIFFs of every kind: packed as what they hold, converted as declared, or refused in one line; nothing in between."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from trainers.errors import InputError
from trainers.screens.images.image_files import Conversion
from trainers.screens.images.listing import Listing
from trainers.screens.images.manifest import open_packed
from trainers.screens.images.packing import pack

_spec = importlib.util.spec_from_file_location("tiffs", Path(__file__).with_name("tiffs.py"))
assert _spec is not None
assert _spec.loader is not None
tiffs = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiffs)

Listed = Callable[..., tuple[Listing, NDArray[np.generic]]]
RNG = np.random.default_rng(0)


def written(listed: Listed, pixels: NDArray[np.generic], **how: object) -> Listing:
    """A listing of one TIFF a channel with these (n, C, H, W) pixels."""
    listing, _ = listed(suffix=".tif", channels=pixels.shape[1])
    for row in range(len(listing)):
        for channel in range(pixels.shape[1]):
            tiffs.write_tiff(listing.root / listing.paths[row, channel], [pixels[row, channel]], **how)
    return listing


def drawn(dtype: str, shape: tuple[int, ...] = (12, 3, 10, 12)) -> NDArray[np.generic]:
    """Every bit pattern alike; floats within [-1, 2]."""
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return RNG.uniform(-1, 2, shape).astype(kind)
    limits = np.iinfo(kind)
    return RNG.integers(limits.min, limits.max, shape, dtype=kind, endpoint=True)


@pytest.mark.parametrize("dtype", ["u1", "u2"])
@pytest.mark.parametrize(("order", "big"), [("<", False), (">", False), ("<", True)])
@pytest.mark.parametrize("tags", [{}, {339: None}, {278: 65535}])
def test_unsigned_pixels_are_packed_as_they_are(
    listed: Listed, tmp_path: Path, dtype: str, order: str, big: bool, tags: dict[int, int | None]
) -> None:
    pixels = drawn(dtype)
    pack(written(listed, pixels, order=order, big=big, tags=tags), tmp_path / "packed")
    found = open_packed(tmp_path / "packed", verify=True).images
    np.testing.assert_array_equal(found, pixels)
    assert found.dtype == np.dtype(dtype)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", ["i1", "i2"])
def test_signed_pixels_are_refused_or_clipped_as_declared(
    listed: Listed, tmp_path: Path, dtype: str, order: str
) -> None:
    pixels = drawn(dtype)
    listing = written(listed, pixels, order=order)
    bits = np.dtype(dtype).itemsize * 8
    with pytest.raises(InputError, match=rf"{bits} bits, signed .*expected unsigned.*signed: clip"):
        pack(listing, tmp_path / "packed", on_bad="drop")
    assert not (tmp_path / "packed").exists()
    declared = dataclasses.replace(listing, conversion=Conversion(signed="clip"))
    manifest = pack(declared, tmp_path / "packed")
    assert manifest.clipped == (pixels < 0).sum() > 0
    found = open_packed(tmp_path / "packed").images
    np.testing.assert_array_equal(found, np.maximum(pixels, 0))
    assert found.dtype == np.dtype(dtype.replace("i", "u"))
    assert declared.digest != listing.digest


@pytest.mark.parametrize("order", ["<", ">"])
def test_floats_are_refused_or_scaled_as_declared(listed: Listed, tmp_path: Path, order: str) -> None:
    pixels = drawn("f4")
    listing = written(listed, pixels, order=order)
    with pytest.raises(InputError, match=r"32 bits, float .*float_range: \[low, high\]"):
        pack(listing, tmp_path / "packed", on_bad="drop")
    manifest = pack(dataclasses.replace(listing, conversion=Conversion(float_range=(0.0, 1.0))), tmp_path / "packed")
    assert manifest.clipped == ((pixels < 0) | (pixels > 1)).sum() > 0
    found = open_packed(tmp_path / "packed").images
    np.testing.assert_array_equal(found, np.rint(np.clip(pixels.astype(float), 0, 1) * 65535))
    assert found.dtype == np.uint16


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_pixel_that_is_not_finite_is_a_bad_file(listed: Listed, tmp_path: Path, value: float) -> None:
    pixels = drawn("f4")
    pixels[5, 1, 3, 3] = value
    listing = dataclasses.replace(written(listed, pixels), conversion=Conversion(float_range=(0.0, 1.0)))
    with pytest.raises(InputError, match=r"1 of 12 images cannot be used .*a pixel is not finite"):
        pack(listing, tmp_path / "packed")


@pytest.mark.parametrize("conversion", [Conversion(), Conversion("clip", (0.0, 1.0))])
@pytest.mark.parametrize(
    ("dtype", "tags", "words"),
    [
        ("u4", {}, "at 32 bits"),
        ("i4", {}, "at 32 bits, signed"),
        ("f2", {}, "at 16 bits, float"),
        ("f8", {}, "at 64 bits, float"),
        ("u2", {339: 4}, "sample format 4"),
        ("c8", {}, "sample format 6"),
        ("u1", {262: 0}, "white is zero"),
        ("u2", {262: 0}, "white is zero"),
        ("u1", {262: 3}, "a palette"),
        ("u1", {262: 32803}, "Bayer"),
        ("u2", {274: 6}, "orientation 6"),
        ("u2", {258: 12}, "at 12 bits"),
        ("u2", {256: None}, "without its size"),
        ("u2", {259: 50000}, ""),
        ("u2", {273: 1 << 30}, ""),
    ],
)
def test_what_would_be_read_wrong_is_refused(
    listed: Listed,
    tmp_path: Path,
    dtype: str,
    tags: dict[int, int | None],
    words: str,
    conversion: Conversion,
) -> None:
    pixels = np.zeros((12, 3, 10, 12), dtype=dtype) if dtype == "c8" else drawn(dtype)
    listing = dataclasses.replace(written(listed, pixels, tags=tags), conversion=conversion)
    with pytest.raises(InputError) as raised:
        pack(listing, tmp_path / "packed")
    assert words in str(raised.value)
    assert not (tmp_path / "packed" / "manifest.json").exists()


@pytest.mark.parametrize(
    ("second", "words"),
    [
        (np.zeros((10, 12), np.int16), "page 2 holds 1 channel of 12×10 at 16 bits, signed"),
        (np.zeros((10, 12), np.uint8), "page 2 holds 1 channel of 12×10 at 8 bits"),
        (np.zeros((5, 6), np.uint16), "page 2 holds 1 channel of 6×5"),
    ],
)
def test_pages_of_another_kind_are_no_channels(
    listed: Listed, tmp_path: Path, second: NDArray[np.generic], words: str
) -> None:
    listing, _ = listed(channels=2)
    paths = np.array([[f"{row}.tif"] for row in range(len(listing))], dtype=object)
    for path in paths[:, 0]:
        tiffs.write_tiff(listing.root / path, [drawn("u2", (10, 12)), second])
    with pytest.raises(InputError, match=words):
        pack(Listing("plates", listing.root, listing.wells, paths, listing.channels), tmp_path / "packed")


def test_colours_of_eight_bits_are_channels_and_of_sixteen_are_refused(listed: Listed, tmp_path: Path) -> None:
    listing, _ = listed()
    for dtype in ("u1", "u2"):
        pixels = drawn(dtype, (len(listing), 10, 12, 3))
        paths = np.array([[f"{dtype}_{row}.tif"] for row in range(len(listing))], dtype=object)
        for row, path in enumerate(paths[:, 0]):
            tiffs.write_tiff(listing.root / path, [pixels[row]])
        coloured = Listing("plates", listing.root, listing.wells, paths, listing.channels)
        if dtype == "u1":
            pack(coloured, tmp_path / "packed")
            found = open_packed(tmp_path / "packed").images
            np.testing.assert_array_equal(found, np.moveaxis(pixels, -1, 1))
        else:
            with pytest.raises(InputError, match="decodes to uint8, expected uint16"):
                pack(coloured, tmp_path / "other")


@pytest.mark.parametrize("at", range(0, 260, 9))
def test_a_damaged_tiff_is_named(listed: Listed, tmp_path: Path, at: int) -> None:
    """A byte changed anywhere: the pixels as they are, or one line with the file; never another exception."""
    pixels = drawn("u2", (12, 1, 10, 12))
    listing = written(listed, pixels)
    path = listing.root / listing.paths[4, 0]
    content = bytearray(path.read_bytes())
    content[at * len(content) // 260] ^= 0xFF
    path.write_bytes(content)
    told = ""
    try:
        pack(listing, tmp_path / "packed")
    except InputError as error:
        told = str(error)
    if told:
        assert listing.paths[4, 0] in told or "mixed files" in told
    else:
        assert open_packed(tmp_path / "packed", verify=True).images.shape == pixels.shape
