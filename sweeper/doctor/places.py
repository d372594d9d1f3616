"""Where a sweep writes: its folder, and the room that its plan needs there."""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from sweeper.errors import InputError, PlaceError
from sweeper.examined import Check
from sweeper.planning.cells import Cell
from sweeper.planning.estimate import STAND_IN_WIDTH
from sweeper.planning.prepared import Prepared
from sweeper.running.node_checks import SKEW, gigabytes
from trainers.screens.local_copy import cache_folder
from trainers.screens.place import DOOR_PATIENCE, Place

CELL_BYTES = 40_000
"""A cell's record, curve and values by batch and perturbation; its blocks on the disk."""
MIRROR_BYTES = 60_000
"""A cell's run in SQLite, and its artefact."""
OUTPUT_BYTES = 20_000_000
"""Tables, decision and report with its figures; MLflow's copies of them."""


def nearest_folder(path: Path) -> Path:
    """The folder itself or, where it is not made yet, the nearest that is there."""
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def storage_checks(folder: Path) -> Iterator[Check]:
    """Whether what the store relies on works in the folder: write, sync, create exclusively, rename; and its clock."""
    place = nearest_folder(folder)
    probe = place / f".sweeper-doctor-{secrets.token_hex(4)}"
    moved = probe.with_name(f"{probe.name}-moved")
    try:
        with probe.open("xb") as file:
            file.write(b"probe")
            file.flush()
            os.fsync(file.fileno())
        ahead = probe.stat().st_mtime - time.time()
        try:
            probe.open("xb").close()
        except FileExistsError:
            pass
        else:
            yield Check(
                "storage", "wrong", f"{place}: creates a file that is there; a sweep could get two owners there"
            )
        probe.rename(moved)
    except OSError as error:
        yield Check("storage", "wrong", f"{place}: cannot write there ({error.strerror}); choose another folder")
        return
    finally:
        probe.unlink(missing_ok=True)
        moved.unlink(missing_ok=True)
    if abs(ahead) > SKEW:
        way = "ahead of" if ahead > 0 else "behind"
        yield Check(
            "clock", "wrong", f"{place}: its clock is {abs(ahead):.0f} s {way} this machine's; switch NTP on there"
        )
    yield Check("storage", "ok", f"{folder}: files are written, renamed and created once")


def place_checks(url: str) -> Iterator[Check]:
    """As `storage_checks`, of storage by URL: what is written is read, and an object is created once."""
    place, probe = Place(url, patience=DOOR_PATIENCE), f".sweeper-doctor-{secrets.token_hex(4)}"
    try:
        place.check()
        once = place.put_new(probe, b"first") and not place.put_new(probe, b"second")
        stamp, seen = place.stamp(probe), place.read(probe)
        place.delete(probe)
    except (InputError, PlaceError) as error:
        yield Check("storage", "wrong", str(error))
        return
    if not once or seen != b"first":
        yield Check(
            "storage",
            "wrong",
            f"{url}: creates an object that is there (no If-None-Match); a sweep could get two owners",
        )
        return
    if stamp is not None and abs(ahead := stamp.modified - time.time()) > SKEW:
        way = "ahead of" if ahead > 0 else "behind"
        yield Check("clock", "wrong", f"{url}: its clock is {abs(ahead):.0f} s {way} this machine's; switch NTP on")
    yield Check("storage", "ok", f"{url}: objects are written, read and created once; copied to {cache_folder()}")


def needed_bytes(prepared: Prepared, cells: Sequence[Cell]) -> int:
    """About what the cells take in the sweep's folder, the screen and all outputs included."""
    config = prepared.config
    width = config.how.width(config.trainer_settings) or STAND_IN_WIDTH
    rows = {key: len(prepared.splits.of(cell).test) for key, cell in {cell.split_key: cell for cell in cells}.items()}
    embeddings = sum(rows[cell.split_key] * 2 * width for cell in cells)
    local = config.tracking.enabled and config.tracking.uri is None and not os.environ.get("MLFLOW_TRACKING_URI")
    screen = 0 if (prepared.store.folder / "screen").exists() else prepared.screen.features.nbytes
    return screen + embeddings + len(cells) * (CELL_BYTES + (MIRROR_BYTES if local else 0)) + OUTPUT_BYTES


def room_check(prepared: Prepared) -> Check:
    """Whether the disk of the folder has room for what is missing, and what may follow."""
    from sweeper.library.planned import planned

    plan = planned(prepared)
    per_cell = needed_bytes(prepared, plan.missing) / max(1, len(plan.missing))
    further = sum(item.cells for item in plan.upcoming)
    needed = needed_bytes(prepared, plan.missing) + further * per_cell if plan.missing else OUTPUT_BYTES
    place = nearest_folder(prepared.store.folder)
    free = shutil.disk_usage(place).free
    text = f"{place}: {len(plan.missing)} cells to come, {further} more at most, take about {gigabytes(needed)}; "
    if free < needed:
        return Check("disk", "wrong", f"{text}{gigabytes(free)} are free: make room, or choose another folder")
    return Check("disk", "ok", f"{text}{gigabytes(free)} are free")
