"""ResNet-50 at 256², mini-batches of 72: against a plain fp32 loop, and against the card's measured bf16 peak.

`images_training.py` measures the seconds of a step; here stands what share of the arithmetic that the card can do it
is. The operations are PyTorch's own count of forward and backward; a multiply and an add are two.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

SCRIPT = Path(__file__).resolve().parents[1] / "images_training.py"
BATCH, SIDE, CLASSES = 72, 256, 1139


def measure(device: str, small: bool, hand_in: Callable[[dict[str, Any]], None]) -> None:
    """The training's figures, then the peak and the share."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "training.json"
        words = ["--device", device, "--turns", "1" if small else "2", "--json", str(path)]
        if small:
            words += ["--backbone", "test_resnet", "--side", "32", "--images", "144", "--precision", "bf16"]
        subprocess.run([sys.executable, str(SCRIPT), *words], check=True)
        training = json.loads(path.read_text())
    found = {name: training[name] for name in ("setting", "seconds_a_step", "images_a_second")}
    found |= {name: value for name, value in training.items() if "times" in name or name.startswith("share")}
    hand_in(found)
    side, backbone = (32, "test_resnet") if small else (SIDE, "resnet50")
    operations = _operations(backbone, side, device)
    peak = _peak(device, 256 if small else 8192)
    rate = operations / training["seconds_a_step"]["ERM, resident"]
    whole = operations / training["seconds_a_step"]["ERM"]
    found |= {
        "operations_a_step": operations,
        "bf16_peak_tflops": round(peak / 1e12, 1),
        "resident_share_of_peak": round(rate / peak, 3),
        "erm_share_of_peak": round(whole / peak, 3),
    }
    hand_in(found)


def _operations(backbone: str, side: int, device: str) -> int:
    """Of one forward and backward pass over a mini-batch."""
    import timm

    model = timm.create_model(backbone, num_classes=CLASSES).to(device).train()
    x = torch.randn(BATCH, 3, side, side, device=device)
    with FlopCounterMode(display=False) as counter:
        functional.cross_entropy(model(x), torch.arange(BATCH, device=device)).backward()
    return int(counter.get_total_flops())


def _peak(device: str, side: int) -> float:
    """Operations a second of a large bf16 matrix product of random numbers."""
    left, right = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    for _ in range(5):
        left @ right
    repeats = 20
    if device != "cpu":
        torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(repeats):
        left @ right
    if device != "cpu":
        torch.cuda.synchronize()
    return 2 * side**3 * repeats / (time.perf_counter() - began)
