"""Cells a minute of packs of growing size: training alone, on the device and on the CPU of the same machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from simulated import FEATURES, STEPS, WELLS, Screen, pack, screen

SIZES = (1, 8, 64, 256)


def measure(device: str, small: bool, hand_in: Callable[[dict[str, Any]], None]) -> None:
    """One size after another; on the CPU those up to 64."""
    data = screen()
    setting = {"wells": WELLS, "features": FEATURES, "steps": STEPS, "cpu_threads": torch.get_num_threads()}
    found: dict[str, Any] = {"setting": setting, "cells_a_minute": {}, "milliseconds_a_step": {}, "peak_gpu_gb": {}}
    for size in SIZES[:2] if small else SIZES:
        for where in dict.fromkeys((device, "cpu")):
            if where == "cpu" and size > 64:
                continue
            warm, timed = (1, 2) if small else (30, 150) if where == device else (3, 12)
            step = _seconds(data, size, where, warm, timed)
            found["milliseconds_a_step"].setdefault(where, {})[str(size)] = round(1000 * step, 2)
            found["cells_a_minute"].setdefault(where, {})[str(size)] = round(60 * size / (STEPS * step), 1)
            if where != "cpu":
                found["peak_gpu_gb"][str(size)] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
                torch.cuda.reset_peak_memory_stats()
            hand_in(found)


def _seconds(data: Screen, size: int, device: str, warm: int, timed: int) -> float:
    """Of a step, after a warm-up."""
    one = pack(data, size, device)
    one.advance(warm)
    _wait(device)
    began = time.perf_counter()
    one.advance(timed)
    _wait(device)
    return (time.perf_counter() - began) / timed


def _wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()
