"""The cheap first look: embed a screen once with a backbone as it is, then sweep heads on the features as for profiles.

The features go to `trainers.abra.pack.AbraPack`. Where the backbone is untrained they are random projections of the
images, which is a control, not a model.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from pathlib import Path

import numpy as np
import torch

from trainers.base import FloatArray
from trainers.images.backbones import create_backbone
from trainers.images.inputs import Images, check_images, evaluated
from trainers.images.network import autocast, to_device
from trainers.images.settings import ImageAbraSettings
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
        InputError: images or settings that do not fit, an unknown backbone, weights that are absent.
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
        finally:
            unfinished.unlink(missing_ok=True)
    features: FloatArray = np.load(path, mmap_mode="r")
    return features


@torch.no_grad()
def _write(path: Path, images: Images, settings: ImageAbraSettings, seed: int, device: torch.device) -> None:
    side = settings.augment.crop or images.shape[2]
    backbone = create_backbone(
        settings.backbone, channels=images.shape[1], image_size=side, weights=settings.weights, seed=seed
    )
    backbone = to_device(backbone, settings, device).eval()
    out: FloatArray | None = None
    done = 0
    for x in evaluated(images, np.arange(len(images)), settings, device):
        with autocast(settings, device):
            part = backbone(x).float().cpu().numpy()
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


__all__ = ["frozen_features"]
