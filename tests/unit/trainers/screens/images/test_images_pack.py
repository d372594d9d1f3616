"""Packing: what is packed is what the files hold, kills lose nothing, and nothing half-written is ever opened."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray
from PIL import Image

from trainers.errors import InputError
from trainers.screens.images import manifest as manifest_module
from trainers.screens.images.journal import JOURNAL
from trainers.screens.images.listing import Listing
from trainers.screens.images.manifest import IMAGES, MANIFEST, WELLS, open_packed
from trainers.screens.images.pack_plan import PackProgress
from trainers.screens.images.packing import pack

Listed = Callable[..., tuple[Listing, NDArray[np.generic]]]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two images of 3 × 10 × 12 a chunk."""
    monkeypatch.setattr(manifest_module, "_CHUNK_BYTES", 800)


@pytest.mark.parametrize(("dtype", "suffix"), [(np.uint8, ".png"), (np.uint16, ".png"), (np.uint16, ".tif")])
def test_the_packed_pixels_are_those_of_the_files(listed: Listed, tmp_path: Path, dtype: type, suffix: str) -> None:
    listing, pixels = listed(dtype=dtype, suffix=suffix)
    manifest = pack(listing, tmp_path / "packed")
    screen = open_packed(tmp_path / "packed", verify=True)
    np.testing.assert_array_equal(screen.images, pixels)
    assert screen.images.dtype == dtype
    assert not screen.images.flags.writeable
    assert screen.wells.equals(listing.wells)
    assert screen.channels == listing.channels == ("w1", "w2", "w3")
    assert screen.fingerprint == manifest.fingerprint
    assert sorted(path.name for path in (tmp_path / "packed").iterdir()) == [".lock", IMAGES, MANIFEST, WELLS]


def test_files_of_all_channels_are_parted(listed: Listed, tmp_path: Path) -> None:
    listing, pixels = listed()
    paths = np.array([[f"{row}.png"] for row in range(len(listing))], dtype=object)
    for row in range(len(listing)):
        Image.fromarray(np.moveaxis(pixels[row], 0, -1)).save(listing.root / paths[row, 0])
    pack(Listing("wilds", listing.root, listing.wells, paths, listing.channels), tmp_path / "packed")
    np.testing.assert_array_equal(open_packed(tmp_path / "packed").images, pixels)


def test_the_pages_of_a_grey_tiff_are_its_channels(listed: Listed, tmp_path: Path) -> None:
    listing, pixels = listed(dtype=np.uint16)
    paths = np.array([[f"{row}.tif"] for row in range(len(listing))], dtype=object)
    for row in range(len(listing)):
        first, *others = (Image.fromarray(page) for page in pixels[row])
        first.save(listing.root / paths[row, 0], save_all=True, append_images=others)
    pack(Listing("plates", listing.root, listing.wells, paths, listing.channels), tmp_path / "packed")
    np.testing.assert_array_equal(open_packed(tmp_path / "packed").images, pixels)


def test_a_packed_screen_knows_its_columns_and_one_of_before_is_read_without(listed: Listed, tmp_path: Path) -> None:
    listing, pixels = listed()
    pack(dataclasses.replace(listing, columns={"batch": "run"}), tmp_path / "packed")
    assert open_packed(tmp_path / "packed").columns == {"batch": "run"}
    path = tmp_path / "packed" / MANIFEST
    before = {key: value for key, value in json.loads(path.read_text()).items() if key not in ("columns", "clipped")}
    path.write_text(json.dumps(before))
    screen = open_packed(tmp_path / "packed", verify=True)
    assert screen.columns == {}
    np.testing.assert_array_equal(screen.images, pixels)


def test_the_fingerprint_is_that_of_the_content(listed: Listed, tmp_path: Path) -> None:
    listing, _ = listed()
    first = pack(listing, tmp_path / "a")
    moved = tmp_path / "elsewhere"
    listing.root.rename(moved)
    again = Listing(listing.layout, moved, listing.wells, listing.paths, listing.channels)
    assert pack(again, tmp_path / "b", workers=2).fingerprint == first.fingerprint
    Image.fromarray(np.zeros((10, 12), np.uint8)).save(moved / listing.paths[4, 1])
    assert pack(again, tmp_path / "c").fingerprint != first.fingerprint


def test_packing_again_changes_nothing_and_another_screen_is_refused(listed: Listed, tmp_path: Path) -> None:
    listing, _ = listed()
    folder = tmp_path / "packed"
    first = pack(listing, folder)
    before = (folder / IMAGES).stat().st_mtime_ns
    assert pack(listing, folder) == first
    assert (folder / IMAGES).stat().st_mtime_ns == before
    half = listing.subset(range(6))
    with pytest.raises(InputError, match="holds another packed screen"):
        pack(half, folder)
    assert pack(half, folder, overwrite=True).shape[0] == 6
    assert len(open_packed(folder, verify=True)) == 6


def damage(listing: Listing) -> None:
    """One file missing, one truncated, one empty, one no image; each in another site."""
    files = [listing.root / listing.paths[row, 1] for row in (1, 4, 7, 9)]
    files[0].unlink()
    files[1].write_bytes(files[1].read_bytes()[:-20])
    files[2].write_bytes(b"")
    files[3].write_bytes(b"no image at all, but long enough for a header")


def test_bad_files_are_named_and_counted_before_anything_is_written(listed: Listed, tmp_path: Path) -> None:
    listing, _ = listed()
    damage(listing)
    with pytest.raises(InputError) as told:
        pack(listing, tmp_path / "packed")
    text = str(told.value)
    assert "4 of 12 images cannot be used" in text
    assert "1 missing, 1 truncated, 1 empty, 1 neither PNG nor TIFF" in text
    assert f"{listing.paths[1, 1]}: missing" in text
    assert "\n" not in text
    assert not (tmp_path / "packed").exists()


def test_bad_files_are_dropped_when_asked(listed: Listed, tmp_path: Path) -> None:
    listing, pixels = listed()
    damage(listing)
    corrupt = listing.root / listing.paths[5, 0]
    data = bytearray(corrupt.read_bytes())
    data[len(data) // 2] ^= 0xFF  # its header and end are whole: only decoding sees it
    corrupt.write_bytes(bytes(data))
    manifest = pack(listing, tmp_path / "packed", on_bad="drop")
    screen = open_packed(tmp_path / "packed", verify=True)
    assert len(screen) == 7
    assert len(manifest.dropped) == 5
    assert any(line.startswith(f"{listing.paths[5, 0]}: corrupt") for line in manifest.dropped)
    key = ["plate", "well"]
    rows = {tuple(place): row for row, place in enumerate(listing.wells[key].to_numpy())}
    for number, place in enumerate(screen.wells[key].to_numpy()):
        np.testing.assert_array_equal(screen.images[number], pixels[rows[tuple(place)]])


def test_a_corrupt_file_stops_packing_but_costs_only_its_chunk(listed: Listed, tmp_path: Path) -> None:
    listing, pixels = listed()
    corrupt = listing.root / listing.paths[5, 0]
    whole = corrupt.read_bytes()
    data = bytearray(whole)
    data[len(data) // 2] ^= 0xFF
    corrupt.write_bytes(bytes(data))
    folder = tmp_path / "packed"
    with pytest.raises(InputError, match=r"1 of 12 images cannot be used \(1 corrupt .*give the same command"):
        pack(listing, folder)
    with pytest.raises(InputError, match="packing was not finished"):
        open_packed(folder)
    corrupt.write_bytes(whole)
    done: list[PackProgress] = []
    pack(listing, folder, progress=done.append)
    assert [step.done for step in done if step.phase == "decode"] == [10, 12]
    np.testing.assert_array_equal(open_packed(folder, verify=True).images, pixels)


@pytest.mark.parametrize("cut", ["after the moves", "after truncating"])
def test_a_kill_while_gaps_are_closed_is_harmless(
    listed: Listed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: str
) -> None:
    from trainers.screens.images import packing as pack_module

    listing, pixels = listed()
    corrupt = listing.root / listing.paths[2, 0]
    whole = corrupt.read_bytes()
    data = bytearray(whole)
    data[len(data) // 2] ^= 0xFF
    corrupt.write_bytes(bytes(data))
    folder = tmp_path / "packed"

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    def pack_and_die(*, overwrite: bool) -> None:
        with monkeypatch.context() as patch:
            if cut == "after the moves":
                patch.setattr(os, "ftruncate", killed)
            else:
                patch.setattr(pack_module, "write_manifest", killed)
            with pytest.raises(KeyboardInterrupt):
                pack(listing, folder, on_bad="drop", overwrite=overwrite)

    pack_and_die(overwrite=False)
    with pytest.raises(InputError, match="not finished"):
        open_packed(folder)
    pack(listing, folder, on_bad="drop")
    screen = open_packed(folder, verify=True)
    np.testing.assert_array_equal(screen.images, pixels[[0, 1, 11, 3, 4, 5, 6, 7, 8, 9, 10]])
    # The same moment, but the file is mended before the next call: every image is there, none from a cut array.
    pack_and_die(overwrite=True)
    corrupt.write_bytes(whole)
    pack(listing, folder)
    np.testing.assert_array_equal(open_packed(folder, verify=True).images, pixels)


KILLED = """
if __name__ == "__main__":
    import sys, time
    from pathlib import Path
    import numpy as np, pandas as pd
    from trainers.screens.images import manifest
    from trainers.screens.images.listing import Listing
    from trainers.screens.images.packing import pack

    def progress(step):
        print(step.phase, step.done, flush=True)
        if step.phase == "decode" and step.done == 6:
            time.sleep(600)

    manifest._CHUNK_BYTES = 800
    root = Path(sys.argv[1])
    paths = np.load(root / "paths.npy", allow_pickle=True)
    listing = Listing("plates", root, pd.read_parquet(root / "wells.parquet"), paths, ("w1", "w2", "w3"))
    pack(listing, Path(sys.argv[2]), workers=2, progress=progress)
"""


@pytest.mark.slow
def test_kill_9_leaves_no_process_and_the_same_call_goes_on(listed: Listed, tmp_path: Path) -> None:
    listing, pixels = listed()
    listing.wells.to_parquet(listing.root / "wells.parquet")
    np.save(listing.root / "paths.npy", listing.paths)
    folder, script = tmp_path / "packed", tmp_path / "script.py"
    script.write_text(KILLED)
    command = [sys.executable, str(script), str(listing.root), str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as parent:
        assert parent.stdout is not None
        while (line := parent.stdout.readline()) != "decode 6\n":
            assert line
        children = psutil.Process(parent.pid).children(recursive=True)
        parent.kill()
    assert len(children) >= 2
    limit = time.monotonic() + 20
    while any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children):
        assert time.monotonic() < limit, "decoding processes outlive their parent"
        time.sleep(0.05)
    with pytest.raises(InputError, match="not finished"):
        open_packed(folder)
    with (folder / JOURNAL).open("a") as journal:
        journal.write('[3, "half a line')
    steps: list[PackProgress] = []
    pack(listing, folder, progress=steps.append)
    assert next(step for step in steps if step.phase == "decode").done == 6
    np.testing.assert_array_equal(open_packed(folder, verify=True).images, pixels)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: (f / IMAGES).write_bytes((f / IMAGES).read_bytes()[:-7]), "not a readable array"),
        (lambda f: (f / MANIFEST).unlink(), "holds no packed screen"),
        (lambda f: (f / MANIFEST).write_text("{"), "not a readable manifest"),
        (lambda f: (f / MANIFEST).write_text(json.dumps({"format": 99})), "packed format 99, expected 1"),
        (lambda f: np.save(f / IMAGES, np.zeros((12, 3, 10, 11), np.uint8)), "the manifest says"),
        (lambda f: (f / WELLS).unlink(), "not readable"),
    ],
)
def test_a_changed_folder_is_refused(
    listed: Listed, tmp_path: Path, change: Callable[[Path], object], message: str
) -> None:
    folder = tmp_path / "packed"
    pack(listed()[0], folder)
    change(folder)
    with pytest.raises(InputError, match=message):
        open_packed(folder)


def test_a_changed_pixel_is_found_by_verifying(listed: Listed, tmp_path: Path) -> None:
    pack(listed()[0], tmp_path / "packed")
    images = np.load(tmp_path / "packed" / IMAGES, mmap_mode="r+")
    images[5, 0, 0, 0] ^= 1
    images.flush()
    open_packed(tmp_path / "packed")
    with pytest.raises(InputError, match="images 4 to 5 changed since they were packed"):
        open_packed(tmp_path / "packed", verify=True)


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        (np.zeros((10, 13), np.uint8), r"mixed files: 35 of 36 .*w1\.png is 1 channel of 13×10 at 8 bits"),
        (np.zeros((10, 12, 3), np.uint8), r"mixed files: .* is 3 channels of 12×10 at 8 bits"),
        (np.zeros((10, 12), np.uint16), r"mixed files: .* is 1 channel of 12×10 at 16 bits"),
    ],
)
def test_mixed_files_are_one_clear_line(listed: Listed, tmp_path: Path, odd: NDArray[np.generic], message: str) -> None:
    listing, _ = listed()
    Image.fromarray(odd).save(listing.root / listing.paths[3, 0])
    with pytest.raises(InputError, match=message):
        pack(listing, tmp_path / "packed", on_bad="drop")


def test_a_wrong_channel_count_is_one_clear_line(listed: Listed, tmp_path: Path) -> None:
    listing, _ = listed()
    grey = Listing("wilds", listing.root, listing.wells, listing.paths[:, :1], listing.channels)
    with pytest.raises(InputError, match=r"files hold 1 channel of 12×10 at 8 bits, expected 3"):
        pack(grey, tmp_path / "packed")


def test_a_full_disk_is_said_before_packing(listed: Listed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from trainers.screens.images import pack_plan as plan

    listing, _ = listed()
    monkeypatch.setattr(plan.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 100})())
    with pytest.raises(InputError, match=r"the disk is 0\.0 GB short"):
        pack(listing, tmp_path / "packed")
    assert not (tmp_path / "packed" / IMAGES).exists()


def test_two_packings_of_one_folder_do_not_meet(listed: Listed, tmp_path: Path) -> None:
    listing, _ = listed()

    def second(step: PackProgress) -> None:
        if step.phase == "decode" and step.done == 4:
            with pytest.raises(InputError, match="another process is packing into it"):
                pack(listing, tmp_path / "packed")

    pack(listing, tmp_path / "packed", progress=second)
