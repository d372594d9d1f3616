"""Training images per second of the image trainer against a plain fp32 loop, and what its adversary costs.

    make benchmark-images-training                        (ResNet-18 at 48 px on the CPU, ~5 minutes)
    python benchmarks/images_training.py --device cuda    (ResNet-50 at 256 px, bf16; images_training_<the GPU>.json)

All ways train on the same simulated PNG files' pixels, in turns, so that a noisy machine is noisy for all. A way's
figure is the median over its turns.

- "plain, PNG": fp32, Adam, a torch DataLoader that decodes and transforms each image, as WILDS' example code does.
- "plain, resident": the same arithmetic on one mini-batch that is on the device already: no input work at all. On a GPU
  PyTorch's default takes TF32 for the convolutions of an fp32 network; "…, no TF32" is fp32 throughout.
- "ERM": this trainer (linear head, λ = 0) on the memory-mapped array, augmented on the device; on a GPU the array
  lives there where it fits, and "ERM, from the host" reads every mini-batch ahead from the page cache instead.
- "ERM, resident": this trainer's forward, backward and optimiser on one resident mini-batch. What "ERM" takes beyond it
  is the share that is not forward, backward or optimiser.
- "worst case" and "free worst case": λ = 1 with statistics perturbed at four points, one ascent step a mini-batch or
  the shared backward pass. Their floor is "ERM, resident" with one more forward and backward, plus the input work.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from devices import device_name, result_path
from PIL import Image
from torch.nn import functional
from torchvision.transforms import functional as transforms

from trainers.base import TrainingCell
from trainers.images.image_pack import ImagePack
from trainers.images.image_settings import ImageAbraSettings
from trainers.images.inputs import RowReader

GROUPS, ITEMS, CLASSES, SEED = 9, 8, 1139, 0
BATCH = GROUPS * ITEMS
SIZES = {
    "cpu": {"backbone": "resnet18", "side": 48, "images": 432, "precision": "fp32", "workers": 0},
    "cuda": {"backbone": "resnet50", "side": 256, "images": 1440, "precision": "bf16", "workers": 4},
}
Way = Callable[[int], None]
"""Trains so many steps."""


def simulated(count: int, side: int, folder: Path) -> tuple[np.ndarray, list[Path]]:
    """(n, 3, side, side) smooth pictures, memory-mapped, and the same as PNG files."""
    rng = np.random.default_rng(SEED)
    images = np.lib.format.open_memmap(folder / "images.npy", "w+", np.uint8, (count, 3, side, side))
    files = []
    for row in range(count):
        coarse = rng.integers(0, 255, (side // 8, side // 8, 3), np.uint8)
        picture = Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)
        files.append(folder / f"{row}.png")
        picture.save(files[-1])
        images[row] = np.moveaxis(np.asarray(picture), -1, 0)
    images.flush()
    return np.load(folder / "images.npy", mmap_mode="r"), files


class PngFiles(torch.utils.data.Dataset[tuple[torch.Tensor, int]]):
    """Decoded, turned, flipped and standardised one by one on the host, as WILDS' RxRx1 transform does."""

    def __init__(self, files: list[Path], labels: np.ndarray) -> None:
        self._files, self._labels = files, labels

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        picture = Image.open(self._files[row]).convert("RGB")
        quarter, flip = torch.randint(4, (1,)).item(), torch.rand(1).item() < 0.5
        picture = transforms.rotate(picture, 90 * quarter) if quarter else picture
        x = transforms.to_tensor(transforms.hflip(picture) if flip else picture)
        std = x.std(dim=(1, 2))
        std[std == 0.0] = 1.0
        return transforms.normalize(x, x.mean(dim=(1, 2)), std), int(self._labels[row])


class PlainLoop:
    """Forward, cross-entropy, backward, Adam; fp32, torch's own defaults, unless TF32 is not to be used."""

    def __init__(self, backbone: str, device: torch.device, *, tf32: bool = True) -> None:
        self._tf32 = tf32
        torch.manual_seed(SEED)
        self._model = timm.create_model(backbone, num_classes=CLASSES).to(device).train()
        self._optimiser = torch.optim.Adam(self._model.parameters(), 1e-3, weight_decay=1e-5)
        self._device = device

    def step(self, x: torch.Tensor, y: torch.Tensor) -> None:
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=self._tf32):
            loss = functional.cross_entropy(self._model(x.to(self._device)), y.to(self._device))
            self._optimiser.zero_grad()
            loss.backward()
        self._optimiser.step()


def plain_png(loop: PlainLoop, files: list[Path], labels: np.ndarray, workers: int) -> Way:
    """The plain loop behind a DataLoader of PNG files."""
    loader = torch.utils.data.DataLoader(
        PngFiles(files, labels), BATCH, shuffle=True, drop_last=True, num_workers=workers, pin_memory=workers > 0
    )

    def batches() -> Iterator[list[torch.Tensor]]:
        while True:
            yield from loader

    endless = batches()

    def way(steps: int) -> None:
        for _ in range(steps):
            loop.step(*next(endless))

    return way


def resident(step: Callable[[torch.Tensor, torch.Tensor], None], x: torch.Tensor, y: torch.Tensor) -> Way:
    """One step again and again on the same inputs."""

    def way(steps: int) -> None:
        for _ in range(steps):
            step(x, y)

    return way


def packed(
    images: np.ndarray, labels: np.ndarray, device: str, options: dict[str, Any], strength: float, host: bool = False
) -> ImagePack:
    """One cell of this trainer that never ends within the benchmark; `host`: no image lives on the device."""
    settings = ImageAbraSettings.model_validate(
        {"groups": GROUPS, "items": ITEMS, "critic": "none", "steps": 10**6, "curve_every": 10**6, **options}
    )
    rows = np.arange(len(images))
    cell = TrainingCell(key="cell", adversarial_weight=strength, margin=0.0, seed=SEED, train=rows, validation=rows[:0])
    pack = ImagePack(images, labels, rows % (2 * GROUPS), [cell], settings, device=device)
    if host:
        pack._open()._reader = RowReader(images, torch.device(device), resident=False)
    return pack


def own_step(pack: ImagePack, twice: bool = False) -> Callable[[torch.Tensor, torch.Tensor], None]:
    """The image trainer's network and optimiser on given inputs; `twice` adds a second forward and backward."""
    training = pack._open()
    network, optimiser = training.network, training._optimiser
    parameters = list(network.parameters())
    bias = network.class_bias

    def step(x: torch.Tensor, y: torch.Tensor) -> None:
        for _ in range(1 + twice):
            functional.cross_entropy(functional.linear(network(x), network.class_vectors, bias), y).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 5.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return step


def seconds(way: Way, steps: int, device: torch.device) -> float:
    """Seconds a step: of the wall clock on a GPU; on the CPU of its own time, which other load does not lengthen."""
    if device.type == "cpu":
        began = time.process_time()
        way(steps)
        return (time.process_time() - began) / steps
    torch.cuda.synchronize()
    began = time.perf_counter()
    way(steps)
    torch.cuda.synchronize()
    return (time.perf_counter() - began) / steps


def measure(options: argparse.Namespace, size: dict[str, Any], folder: Path) -> dict[str, float]:
    """Median seconds a step of every way."""
    device = torch.device(options.device)
    images, files = simulated(size["images"], size["side"], folder)
    labels = np.arange(len(images)) % CLASSES
    labels[0] = CLASSES - 1
    common = {"backbone": size["backbone"], "precision": size["precision"], "compile": options.compile}
    erm = {**common, "head": "linear", "embedding_dim": None, "statistics": "none"}
    worst = {**common, "head": "linear", "embedding_dim": None, "statistics": "worst_case"}
    x = torch.randn(BATCH, 3, size["side"], size["side"], device=device)
    y = torch.arange(BATCH, device=device)
    fast = x.contiguous(memory_format=torch.channels_last)

    def advancing(own: dict[str, Any], strength: float, host: bool = False) -> Way:
        return packed(images, labels, options.device, own, strength, host).advance

    ways: dict[str, Way] = {
        "plain, PNG": plain_png(PlainLoop(size["backbone"], device), files, labels, size["workers"]),
        "plain, resident": resident(PlainLoop(size["backbone"], device).step, x, y),
        "ERM": advancing(erm, 0.0),
        "ERM, resident": resident(own_step(packed(images, labels, options.device, erm, 0.0)), fast, y),
        "two passes, resident": resident(own_step(packed(images, labels, options.device, erm, 0.0), True), fast, y),
        "worst case": advancing(worst, 1.0),
        "free worst case": advancing({**worst, "ascent_steps": 0}, 1.0),
    }
    if device.type == "cuda":
        ways["ERM, from the host"] = advancing(erm, 0.0, host=True)
        ways["plain, resident, no TF32"] = resident(PlainLoop(size["backbone"], device, tf32=False).step, x, y)
    for way in ways.values():
        seconds(way, options.warm_up, device)
    turns: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(options.turns):
        for name, way in ways.items():
            turns[name].append(seconds(way, options.steps, device))
        print(turn, {name: round(found[-1], 4) for name, found in turns.items()}, flush=True)
    return {name: statistics.median(found) for name, found in turns.items()}


def figures(step: dict[str, float]) -> dict[str, Any]:
    """Ratios and shares, from seconds a step."""
    inputs = step["ERM"] - step["ERM, resident"]
    floor = step["two passes, resident"] + inputs
    plain = {"erm_times_plain_png": "plain, PNG", "erm_times_plain_resident": "plain, resident"}
    plain["erm_times_plain_resident_no_tf32"] = "plain, resident, no TF32"
    return {
        "seconds_a_step": {name: round(value, 5) for name, value in step.items()},
        "images_a_second": {name: round(BATCH / value, 1) for name, value in step.items()},
        **{ratio: round(step[way] / step["ERM"], 2) for ratio, way in plain.items() if way in step},
        "share_not_forward_backward_optimiser": round(inputs / step["ERM"], 3),
        "worst_case_times_floor": round(step["worst case"] / floor, 2),
        "floor_times_erm": round(floor / step["ERM"], 2),
        "worst_case_times_erm": round(step["worst case"] / step["ERM"], 2),
        "free_worst_case_times_erm": round(step["free worst case"] / step["ERM"], 2),
    }


def main() -> None:
    """Measure every way in one run and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=tuple(SIZES), default="cpu")
    parser.add_argument("--json", type=Path, default=None, help="the result file (default: by the device's name)")
    parser.add_argument("--backbone", help="another timm model")
    parser.add_argument("--side", type=int, help="pixels of an image's side")
    parser.add_argument("--images", type=int, help=f"files, at least {BATCH}")
    parser.add_argument("--precision", choices=("fp32", "bf16"), help="of this trainer; the plain loop is fp32")
    parser.add_argument("--workers", type=int, help="of the DataLoader")
    parser.add_argument("--steps", type=int, default=None, help="steps a turn (default 1 on the CPU, 30 on a GPU)")
    parser.add_argument("--warm-up", type=int, default=None, help="steps before (default 1 on the CPU, 20 on a GPU)")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--compile", action="store_true", help="torch.compile this trainer's backbone")
    options = parser.parse_args()
    gpu = options.device == "cuda"
    options.steps = options.steps or (30 if gpu else 1)
    options.warm_up = options.warm_up or (20 if gpu else 1)
    given = {name: getattr(options, name) for name in SIZES["cpu"]}
    size = SIZES[options.device] | {name: value for name, value in given.items() if value is not None}
    with tempfile.TemporaryDirectory() as folder:
        step = measure(options, size, Path(folder))
    found = figures(step)
    device = device_name(options.device) if gpu else f"CPU, {torch.get_num_threads()} threads"
    words = [f"--{name} {value}" for name, value in given.items() if value is not None]
    words += ["--compile"] * options.compile
    command = " ".join(["python benchmarks/images_training.py --device", options.device, *words])
    result = {
        "command": command,
        "device": device,
        "clock": "wall" if gpu else "CPU time of the process",
        "setting": {**size, "batch": BATCH, "classes": CLASSES, "steps": options.steps, "turns": options.turns},
        "machine": {
            "cpus": os.cpu_count(),
            "machine": platform.machine(),
            "versions": {"torch": torch.__version__, "timm": timm.__version__},
        },
        **found,
    }
    path = options.json or result_path(__file__, options.device)
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
