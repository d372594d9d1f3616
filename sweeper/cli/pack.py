"""Decode the images of a screen once, into one memory-mapped array that every trial of a machine shares.

The files stay as they are. Missing and truncated ones are counted and named before anything is written. Killed in the
middle? The same command goes on. Images of RxRx1 are licensed CC BY-NC-SA 4.0; so is what is packed from them.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeper.cli.common import Counter, warn, where

if TYPE_CHECKING:
    from trainers.screens.images.pack_plan import PackProgress

EXAMPLE = """examples:
  sweeper pack configs/my_images.yaml                        where the images are stands under `images:`
  sweeper pack --wilds data --out packed/wilds               RxRx1-WILDS in data/rxrx1_v1.0
  sweeper pack --wilds data --download --out packed/wilds    let the wilds package fetch it first (7.4 GB)
  sweeper pack --rxrx1 data/rxrx1 --out packed/rxrx1         the 6-channel release
  sweeper pack --plates screen7 --out packed/screen7 --set metadata=layout.csv \\
      --set 'pattern={batch}/{plate}/{well}-{site}_{name}.tif' --set 'channels=[DNA, ER, RNA, AGP, Mito]' \\
      --set columns.batch=run --set columns.perturbation=compound --set 'negative_controls=[DMSO]'
  sweeper pack --wilds data --out packed/wilds --dry-run     count, sizes, bad files, disk space
  sweeper pack --wilds data --out s3://lab/packed/wilds      packed here, then taken there; nodes keep copies
  sweeper pack --check packed/wilds                          read a packed screen through and compare checksums

exit codes: 0 packed (or it was already) · 2 the input is wrong (one line says what) · 130 interrupted"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `sweeper pack`."""
    parser.add_argument("config", type=Path, metavar="CONFIG.yaml", nargs="?", help="a file with the section `images:`")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--wilds", type=Path, metavar="ROOT", help="RxRx1-WILDS: the folder that holds rxrx1_v1.0")
    source.add_argument("--rxrx1", type=Path, metavar="FOLDER", help="the 6-channel RxRx1 release")
    source.add_argument("--plates", type=Path, metavar="FOLDER", help="any plate folder with a metadata table")
    source.add_argument("--check", type=where, metavar="PACKED", help="compare a packed screen with its checksums")
    parser.add_argument(
        "--out", type=where, metavar="FOLDER", help="the packed screen, or its URL (default: beside the images)"
    )
    parser.add_argument("--download", action="store_true", help="with --wilds: download what is absent")
    parser.add_argument("--mixed-to-test", action="store_true", help="with --wilds: also read those splits")
    parser.add_argument(
        "--on-bad",
        choices=("fail", "drop"),
        default="fail",
        help="missing, truncated or corrupt images: fail (default), or leave their sites out and name them",
    )
    parser.add_argument("--workers", type=int, help="decoding processes (default: one a CPU)")
    parser.add_argument("--overwrite", action="store_true", help="replace another packed screen in the folder")
    parser.add_argument("--dry-run", action="store_true", help="say what would be packed; writes nothing")
    parser.add_argument(
        "--set",
        dest="overrides",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="a key of `images:` (repeatable); --keys lists them",
    )
    parser.add_argument("--keys", action="store_true", help="print every key of `images:` with its default and meaning")


def run(options: argparse.Namespace) -> int:
    """The verb."""
    if options.keys:
        return _keys()
    if options.check:
        return _check(options.check)
    from sweeper.config.sweep_config import build_image_source, load_image_source
    from sweeper.errors import InputError
    from trainers.screens.images.packed_places import checked_place, packing_folder, publish_packed
    from trainers.screens.images.packing import pack
    from trainers.screens.images.source import list_source, packed_folder

    named = next((name for name in ("wilds", "rxrx1", "plates") if getattr(options, name)), None)
    if (options.config is None) == (named is None):
        raise InputError("pack: give a CONFIG.yaml, or one of --wilds, --rxrx1 and --plates")
    extra: dict[str, Any] = {name: True for name in ("download", "mixed_to_test") if getattr(options, name)}
    if options.config is not None:
        source = load_image_source(options.config, options.overrides, extra)
    else:
        given = {"layout": named, "path": getattr(options, str(named)), **extra}
        source = build_image_source(given, options.overrides, f"--{named}")
    place = options.out if isinstance(options.out, str) else None
    folder = packing_folder(checked_place(place)) if place is not None else options.out or packed_folder(source)
    workers = options.workers if options.workers is not None else len(os.sched_getaffinity(0))
    listing = list_source(source)
    for warning in listing.warnings:
        warn(warning)
    if options.dry_run:
        return _dry_run(listing, folder, workers, options.on_bad)
    manifest = pack(
        listing, folder, workers=workers, on_bad=options.on_bad, overwrite=options.overwrite, progress=PackCounter()
    )
    if place is not None:
        publish_packed(folder, place)
    _tell_dropped(manifest.dropped)
    n, channels, height, width = manifest.shape
    named = str(place or folder)
    print(f"{named}: {n:,} images of {channels} channels, {width}×{height}, {manifest.dtype}")
    print(f"{' ' * len(named)}  {_bytes(n * manifest.image_bytes)}, {manifest.fingerprint[:19]}…")
    if manifest.clipped:
        share = manifest.clipped / (n * channels * height * width)
        warn(f"{manifest.clipped:,} samples ({share:.2%}) lay outside what was declared and were clipped")
    return 0


def _dry_run(listing: Any, folder: Path, workers: int, on_bad: Any) -> int:
    import shutil

    from sweeper.errors import InputError
    from trainers.screens.images.pack_plan import plan_pack
    from trainers.screens.images.workers import Workers

    print(f"columns: {', '.join(f'{name} {column}' for name, column in listing.columns.items())}")
    with Workers(workers) as pool:
        plan = plan_pack(listing, pool, on_bad=on_bad, progress=PackCounter())
    n, channels, height, width = plan.shape
    wells = plan.listing.wells
    _tell_dropped(plan.bad)
    print(f"images:  {n:,} of {channels} channels ({', '.join(listing.channels)}), {width}×{height}, {plan.dtype}")
    print(f"screen:  {wells['batch'].nunique()} batches, {wells['plate'].nunique()} plates,", end=" ")
    print(f"{wells['perturbation'].nunique()} perturbations")
    for name in (column for column in wells.columns if column.startswith("split")):
        parts = wells[name].value_counts(sort=False)
        print(f"{name}: {', '.join(f'{part} {count:,}' for part, count in parts.items())}")
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    print(f"needed:  {_bytes(plan.total_bytes)} in {folder}, free {_bytes(shutil.disk_usage(existing).free)}")
    if lacking := plan.missing_bytes(folder):
        raise InputError(f"{folder}: the disk is {_bytes(lacking)} short")
    return 0


def _check(folder: Path | str) -> int:
    from trainers.screens.images.manifest import open_packed
    from trainers.screens.images.packed_places import packed_copy

    screen = open_packed(folder if isinstance(folder, Path) else packed_copy(folder), verify=True)
    print(f"{folder}: {len(screen):,} images, every checksum holds")
    return 0


def _keys() -> int:
    from sweeper.config.sweep_config import documented_keys
    from trainers.screens.images.source import PlateSource, WildsSource

    for title, model in (("layout: wilds", WildsSource), ("layout: rxrx1 or plates", PlateSource)):
        print(title)
        for key, default, meaning in documented_keys(model):
            print(f"  {key} = {default}\n      {meaning}")
    return 0


def _tell_dropped(dropped: tuple[str, ...]) -> None:
    """What was left out: the first few; the manifest has them all."""
    if dropped:
        more = f" and {len(dropped) - 3} more" if len(dropped) > 3 else ""
        warn(f"{len(dropped)} sites left out: {', '.join(dropped[:3])}{more}")


class PackCounter:
    """One line while headers are read, one while images are decoded."""

    def __init__(self) -> None:
        self._lines = {"survey": Counter("images looked at"), "decode": Counter("images packed")}

    def __call__(self, step: PackProgress) -> None:
        """Show a step."""
        self._lines[step.phase](step.done, step.total)


def _bytes(count: int) -> str:
    """Bytes for people."""
    for unit, size in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 1000:.1f} kB"
