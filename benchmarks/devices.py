"""A result file a device: figures of a GPU never overwrite those of a CPU."""

from __future__ import annotations

import re
from pathlib import Path

import torch


def device_name(device: str) -> str:
    """What the figures are of: "cpu", or the GPU as its driver calls it."""
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device


def result_path(script: str, device: str) -> Path:
    """Where a script keeps its figures of a device: beside it, images_input.json or images_input_nvidia_h200.json."""
    path = Path(script)
    name = device_name(device)
    own = "" if name == "cpu" else "_" + re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    return path.with_name(f"{path.stem}{own}.json")


__all__ = ["device_name", "result_path"]
