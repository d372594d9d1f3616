"""Images a processor second into the training step: a packed screen against decoding PNGs with torch's DataLoader.

    make benchmark-images-input                         (3 minutes of processor time; writes images_input.json)
    python benchmarks/images_input.py --device cuda     (writes images_input_<the GPU's name>.json)

Both ways give the same mini-batches of 72 standardised, rotated and flipped images, from the same simulated files of
the real size (RxRx1-WILDS: 256×256, 3 channels in a PNG; RxRx1: 512×512, a PNG a channel) on the same cores, all files
in the page cache. "png": the transform of WILDS' example code in one DataLoader worker a core. "packed": rows of the
memory-mapped array, augmented in batches on the device (here: the same cores; on a GPU they are free meanwhile).
"reading" is the packed way without augmentation: what the host has to do where a GPU augments. On a GPU "resident" is
the packed way with the whole screen in the GPU's memory, where it fits.

How often PNGs: by processor seconds on a CPU, by the clock on a GPU, which works beside the processor.

Memory: a process opens a packed screen of the shape of RxRx1-WILDS (125,510 images, 24.7 GB; a sparse file) and reads
random mini-batches from it; its private and mapped memory before and after.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import torch
from devices import device_name, result_path
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import functional as reference

from trainers.images.augment import augmented, draw
from trainers.images.image_settings import AugmentSettings
from trainers.images.inputs import RowReader
from trainers.screens.images.image_simulation import draw_simulation
from trainers.screens.images.image_simulation_spec import ImageSimulationSpec
from trainers.screens.images.manifest import (
    FORMAT,
    IMAGES,
    WELLS,
    Manifest,
    chunk_rows,
    open_packed,
    write_manifest,
)
from trainers.screens.images.packing import pack
from trainers.screens.images.plate_folder import RXRX1_PATTERN, PlateFolder
from trainers.screens.images.plates import list_plates
from trainers.screens.images.render import render
from trainers.screens.table import make_wells, wells_digest

BATCH = 72
SHAPES = {
    "256×256×3, one PNG": ("images/{batch}/Plate{plate}/{well}_s{site}.png", 3, 256),
    "512×512×6, a PNG a channel": (RXRX1_PATTERN, 6, 512),
}
DISTINCT = 6
FULL = (125_510, 3, 256, 256)
AUGMENT = AugmentSettings(flips=True, rotations=True)


def write_files(folder: Path, pattern: str, channels: int, size: int, count: int) -> PlateFolder:
    """`count` images as files with a metadata table; `DISTINCT` are rendered, the others are those shifted."""
    spec = ImageSimulationSpec(
        batches=max(2, -(-count // 96)), sites=1, size=size, channels=3 if channels == 3 else 6, cells=40,
        radius=size / 18, noise=1.0,
    )  # fmt: skip
    simulation = draw_simulation(spec)
    wells = simulation.wells.iloc[np.linspace(0, len(simulation.wells) - 1, count).astype(np.int64)]
    rendered = [render(simulation, row) for row in range(0, count, -(-count // DISTINCT))]
    numbered = range(1, channels + 1) if "{channel}" in pattern else [0]
    for row, place in enumerate(wells.to_dict("records")):
        pixels = np.roll(rendered[row % len(rendered)], 7 * (row // len(rendered)), axis=(1, 2))
        for number in numbered:
            path = folder / pattern.format(**place, channel=number)
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels[number - 1] if number else np.moveaxis(pixels, 0, -1)).save(path)
    wells.to_csv(folder / "metadata.csv", index=False)
    names = {name: name for name in ("batch", "plate", "well", "site", "perturbation", "control_type", "cell_type")}
    return PlateFolder(
        path=folder, pattern=pattern, channels=tuple(f"c{number}" for number in range(channels)), columns=dict(names)
    )


class Pngs(Dataset[torch.Tensor]):
    """Images decoded one by one, with the RxRx1 transform of WILDS' example code."""

    def __init__(self, root: Path, paths: list[list[str]]) -> None:
        self._root = root
        self._paths = paths

    def __len__(self) -> int:
        """Number of images."""
        return len(self._paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        """(C, H, W) standardised, rotated by a multiple of 90° and flipped."""
        planes = []
        for path in self._paths[index]:
            with Image.open(self._root / path) as image:
                planes.append(np.array(image))
        pixels = planes[0] if len(planes) == 1 else np.stack(planes, axis=-1)
        x = reference.to_tensor(pixels)
        x = torch.rot90(x, int(torch.randint(4, ())), dims=(1, 2))
        if torch.rand(()) < 0.5:
            x = reference.hflip(x)
        std = x.std(dim=(1, 2))
        std[std == 0.0] = 1.0
        return reference.normalize(x, x.mean(dim=(1, 2)), std)


def rate(batches: Iterator[int], device: torch.device, seconds: float, together: int) -> dict[str, float]:
    """Images per processor second and per second: medians of three measurements of at least `seconds`.

    Other work on the machine changes the seconds, hardly the processor seconds (of this process and its workers). The
    workers of a DataLoader hand over their mini-batches almost at once, so what is counted begins after a round of
    `together` mini-batches and ends with one.
    """
    for _ in range(together):
        next(batches)
    found = []
    for _ in range(3):
        count, number, processor, began = 0, 0, processor_seconds(), time.perf_counter()
        while number % together or time.perf_counter() - began < seconds:
            count += next(batches)
            number += 1
            if device.type == "cuda":
                torch.cuda.synchronize()
        found.append((count / (processor_seconds() - processor), count / (time.perf_counter() - began)))
    processor_rates, rates = (sorted(values) for values in zip(*found, strict=True))
    return {
        "images_per_processor_second": round(processor_rates[1], 1),
        "low": round(processor_rates[0], 1),
        "high": round(processor_rates[2], 1),
        "images_per_second": round(rates[1], 1),
    }


def processor_seconds() -> float:
    """Processor seconds of this process and its workers so far."""
    this = psutil.Process()
    return sum(sum(process.cpu_times()[:2]) for process in (this, *this.children(recursive=True)))


def measure_shape(pattern: str, channels: int, size: int, options: argparse.Namespace) -> dict[str, Any]:
    """Both ways on one shape."""
    device = torch.device(options.device)
    with tempfile.TemporaryDirectory(dir=options.scratch) as name:
        folder = write_files(Path(name) / "files", pattern, channels, size, options.images)
        listing = list_plates(folder)
        began = time.perf_counter()
        pack(listing, Path(name) / "packed")
        packing = time.perf_counter() - began
        images = open_packed(Path(name) / "packed").images
        stored = sum(path.stat().st_size for path in folder.path.rglob("*.png"))
        once = np.random.default_rng(0)

        def packed(augment: bool, resident: bool = False) -> Iterator[int]:
            reader = RowReader(images, device, resident=resident)
            rows = once.integers(0, len(images), BATCH)
            space = torch.empty((BATCH, channels, size, size)) if device.type == "cpu" else None
            while True:
                then = once.integers(0, len(images), BATCH)
                x = reader.read(rows, then)
                if augment:
                    one = draw(once, AUGMENT, groups=9, items=8, height=size, width=size)
                    augmented(x, one, AUGMENT, space)
                yield len(rows)
                rows = then

        def decoded() -> Iterator[int]:
            data = Pngs(folder.path, listing.paths.tolist())
            loader = DataLoader(
                data, BATCH, sampler=torch.utils.data.RandomSampler(data, replacement=True, num_samples=10**6),
                num_workers=options.cores, pin_memory=device.type == "cuda", drop_last=True,
                generator=torch.Generator().manual_seed(0),
            )  # fmt: skip
            for x in loader:
                yield len(x.to(device, non_blocking=True))

        torch.set_num_threads(options.cores)
        ways = {
            "png": rate(decoded(), device, options.seconds, options.cores),
            "packed": rate(packed(augment=True), device, options.seconds, options.cores),
            "reading": rate(packed(augment=False), device, options.seconds, options.cores),
        }
        if device.type == "cuda":
            ways["resident"] = rate(packed(augment=True, resident=True), device, options.seconds, options.cores)
    clock = "images_per_second" if device.type == "cuda" else "images_per_processor_second"
    png = ways["png"][clock]
    return {
        "images": options.images,
        "png_bytes_per_image": round(stored / options.images),
        "packed_bytes_per_image": channels * size * size,
        "packing_images_per_second_and_core": round(options.images / packing, 1),
        "ways": ways,
        "times_png": {name: round(way[clock] / png, 1) for name, way in ways.items()},
    }


def make_full(folder: Path) -> None:
    """A packed screen of the full shape whose pixels are a hole in the file."""
    folder.mkdir()
    images = np.lib.format.open_memmap(folder / IMAGES, mode="w+", dtype=np.uint8, shape=FULL)
    del images
    count = np.arange(FULL[0])
    wells = make_wells(
        pd.DataFrame(
            {
                "batch": "E" + pd.Series(count % 51).astype(str),
                "plate": "P" + pd.Series(count % 204).astype(str),
                "well": "A01",
                "perturbation": pd.Series(count % 1139).astype(str),
                "site": count,
            }
        )
    )
    wells.to_parquet(folder / WELLS, index=False)
    write_manifest(
        folder,
        Manifest(
            format=FORMAT, fingerprint="sha256:0", source="", layout="plates", channels=("a", "b", "c"), dtype="uint8",
            shape=FULL, chunk_rows=chunk_rows(3 * 256 * 256), checksums=(), wells=wells_digest(wells), dropped=(),
        ),
    )  # fmt: skip


def memory() -> dict[str, float]:
    """Private and mapped resident memory of this process now; MB."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {name: int(lines[key].split()[0]) / 1000 for name, key in (("private", "RssAnon"), ("mapped", "RssFile"))}


def read_full(folder: Path, mini_batches: int) -> dict[str, Any]:
    """Open the full screen and read mini-batches of random rows."""
    torch.set_num_threads(1)
    started = memory()
    began = time.perf_counter()
    screen = open_packed(folder)
    opening = time.perf_counter() - began
    opened = memory()
    reader, rng = RowReader(screen.images, torch.device("cpu")), np.random.default_rng(0)
    steps = {}
    for number in range(1, mini_batches + 1):
        reader.read(rng.integers(0, len(screen), BATCH))
        if number in (mini_batches // 10, mini_batches):
            steps[number * BATCH] = {name: round(value, 1) for name, value in memory().items()}
    return {
        "shape": FULL,
        "bytes": int(np.prod(FULL)),
        "opening_seconds": round(opening, 2),
        "mb_before": {name: round(value, 1) for name, value in started.items()},
        "mb_opened": {name: round(value, 1) for name, value in opened.items()},
        "mb_after_images": steps,
    }


def main() -> None:
    """Measure and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, default=None, help="the result file (default: by the device's name)")
    parser.add_argument("--images", type=int, default=144, help="files of each shape")
    parser.add_argument("--shapes", nargs="+", choices=tuple(SHAPES), default=tuple(SHAPES), help="(default: all)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement, at least")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--scratch", type=Path, default=None, help="where to write the files")
    parser.add_argument("--read-full", type=Path, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    busy = round(os.getloadavg()[0], 1)
    options.cores = len(os.sched_getaffinity(0))
    if options.read_full is not None:
        print(json.dumps(read_full(options.read_full, 200)))
        return
    measured = {}
    for name in options.shapes:
        pattern, channels, size = SHAPES[name]
        measured[name] = measure_shape(pattern, channels, size, options)
        print(name, measured[name], flush=True)
    with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
        make_full(Path(folder) / "full")
        # A process of its own, so that nothing of the above counts.
        command = [sys.executable, __file__, "--read-full", str(Path(folder) / "full")]
        full = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    print(full)
    device = device_name(options.device)
    machine = {
        "cpus": options.cores, "machine": platform.machine(), "device": device, "load_average": busy,
        "versions": {name: version(name) for name in ("numpy", "pillow", "torch", "torchvision")},
    }  # fmt: skip
    gpu = "python benchmarks/images_input.py --device cuda"
    result = {
        "command": "make benchmark-images-input" if device == "cpu" else gpu,
        "images": options.images, "seconds": options.seconds, "batch": BATCH, "machine": machine,
        "measured": measured, "full_size": full,
    }  # fmt: skip
    path = options.json or result_path(__file__, options.device)
    path.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
