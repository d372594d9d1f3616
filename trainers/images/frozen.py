"""The cheap first look: embed a screen once with a backbone as it is, then sweep heads on the features as for profiles.

The features go to any trainer of profiles. Where the backbone is untrained they are random projections
of the images, which is a control, not a model.
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

from trainers.base import FloatArray, Images, IntArray
from trainers.errors import InputError
from trainers.images.backbones import create_backbone, pooled
from trainers.images.image_settings import ImageAbraSettings
from trainers.images.inputs import check_images, evaluated
from trainers.images.network import autocast, to_device
from trainers.images.weights import file_hash, weights_file
from trainers.threads import torch_threads


def frozen_features(
    images: Images,
    settings: ImageAbraSettings,
    *,
    fingerprint: str,
    folder: Path,
    seed: int = 0,
    device: str = "cpu",
    threads: int | None = None,
) -> FloatArray:
    """(n, features) pooled features of the whole screen, memory-mapped from a file that is made once.

    The file's name is a hash of what the features depend on: backbone, content of its weight file (or `seed`), size,
    precision and the screen. Memory does not grow with n.

    Args:
        images: (n, channels, s, s) uint8 or uint16.
        fingerprint: of the screen; equal content, equal fingerprint.
        folder: where feature files are kept; made if absent.
        seed: of a random backbone; of no meaning with weights.

    Raises:
        InputError: images or settings that do not fit, an unknown backbone, weights that are absent, too little memory.
    """
    check_images(images, settings)
    path = folder / f"features-{_key(images, settings, fingerprint, seed)}.npy"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.stem}.{uuid.uuid4().hex}.npy")  # two workers may start at once
        try:
            with torch_threads(threads):
                _write(unfinished, images, settings, seed, torch.device(device))
            unfinished.replace(path)
        except torch.OutOfMemoryError:
            raise InputError(
                f"frozen: {device} has too little memory for {settings.backbone} at {images.shape[2]} px; take "
                "precision bf16, a smaller backbone, or device cpu"
            ) from None
        finally:
            unfinished.unlink(missing_ok=True)
    features: FloatArray = np.load(path, mmap_mode="r")
    return features


def feature_width(images: Images, settings: ImageAbraSettings) -> int:
    """How many features `frozen_features` would give an image; nothing is embedded.

    Raises:
        InputError: as `frozen_features`.
    """
    check_images(images, settings)
    backbone = _backbone(images, settings, seed=0)
    return int(pooled(backbone, channels=images.shape[1], image_size=_side(images, settings)).shape[1])


def embedding_seconds(images: Images, settings: ImageAbraSettings, *, device: str = "cpu", sample: int = 64) -> float:
    """About how long `frozen_features` would take for all images, from `sample` of them; writes nothing."""
    where = torch.device(device)
    backbone = to_device(_backbone(images, settings, seed=0), settings, where).eval()
    rows = np.arange(min(sample, len(images)))
    seconds = 0.0
    for _ in range(2):  # the first call pays for warming up
        began = time.perf_counter()
        for _ in _embedded(backbone, images, rows, settings, where):
            pass
        seconds = time.perf_counter() - began
    return seconds * len(images) / len(rows)


def _side(images: Images, settings: ImageAbraSettings) -> int:
    return settings.augment.crop or images.shape[2]


def _backbone(images: Images, settings: ImageAbraSettings, *, seed: int) -> nn.Module:
    return create_backbone(
        settings.backbone,
        channels=images.shape[1],
        image_size=_side(images, settings),
        weights=settings.weights,
        seed=seed,
    )


@torch.no_grad()
def _embedded(
    backbone: nn.Module, images: Images, rows: IntArray, settings: ImageAbraSettings, device: torch.device
) -> Iterator[FloatArray]:
    """Pooled features of the rows, (part, features) at a time."""
    for x in evaluated(images, rows, settings, device):
        with autocast(settings, device):
            yield backbone(x).float().cpu().numpy()


def _write(path: Path, images: Images, settings: ImageAbraSettings, seed: int, device: torch.device) -> None:
    backbone = to_device(_backbone(images, settings, seed=seed), settings, device).eval()
    out: FloatArray | None = None
    done = 0
    for part in _embedded(backbone, images, np.arange(len(images)), settings, device):
        if out is None:
            out = np.lib.format.open_memmap(path, "w+", np.float32, (len(images), part.shape[1]))
        out[done : done + len(part)] = part
        done += len(part)


def _key(images: Images, settings: ImageAbraSettings, fingerprint: str, seed: int) -> str:
    import timm

    weights = settings.weights
    content = {
        "backbone": settings.backbone,
        "weights": f"seed {seed}" if weights is None else file_hash(weights_file(settings.backbone, weights)),
        "shape": images.shape,
        "crop": settings.augment.crop,
        "precision": settings.precision,
        "screen": fingerprint,
        "versions": [timm.__version__, torch.__version__],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:24]


__all__ = ["embedding_seconds", "feature_width", "frozen_features"]
