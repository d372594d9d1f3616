"""The same cells, images and metrics on the device and on the CPU: how far apart are they?

Training amplifies round-off, so that the weights of a long training are compared by what is read off them: the panel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from simulated import Screen, pack, screen

from sweeper.metrics.panel import score_table
from sweeper.metrics.panel_options import PanelOptions
from trainers.abra.profile_pack import AbraPack
from trainers.abra.statistics import StyleDraw
from trainers.base import TrainingCell
from trainers.images import image_objective
from trainers.images.image_pack import ImagePack
from trainers.images.image_settings import ImageAbraSettings
from trainers.images.map_draws import MapDraws

HandIn = Callable[[dict[str, Any]], None]
TOLERANCES = {
    "embeddings_after_20_steps": 1e-3,
    "metrics_of_one_embedding": 1e-4,
    "metrics_after_training": 0.05,
    "image_losses_erm_first_step": 1e-5,
    "image_losses_erm": 0.01,
    "image_losses_adversarial_first_step": 1e-4,
    "image_losses_adversarial": 0.02,
}
"""Largest differences that count as equal: of unit embeddings' coordinates, of metrics (mean over cells for a whole
training: seeds differ by more), and of the images' losses, relative (without TF32; the median of the steps)."""


def measure(device: str, small: bool, hand_in: HandIn) -> None:
    """Hand in every comparison as soon as it is there."""
    found: dict[str, Any] = {"tolerances": TOLERANCES}
    for part in (_profiles, _metrics, _images):
        found |= part(device, small)
        found["within"] = {name: found[name] <= bound for name, bound in TOLERANCES.items() if name in found}
        hand_in(found)


def _profiles(device: str, small: bool) -> dict[str, Any]:
    """Embeddings after 20 steps, and every metric after a whole training, a cell at a time."""
    data = screen()
    count, steps = (2, 40) if small else (8, 500)
    packs = [pack(data, count, where, steps=steps) for where in ("cpu", device)]
    for one in packs:
        one.advance(20)
    early = max(_distance(packs, index, data) for index in range(count))
    for one in packs:
        one.advance(steps)
    scores = [[_scores(one.embed(index, data.test), data) for index in range(count)] for one in packs]
    names = sorted(set(scores[0][0]) & set(scores[1][0]))
    differences = {
        name: float(np.mean([there[name] - here[name] for here, there in zip(*scores, strict=True)])) for name in names
    }
    return {
        "cells": count,
        "steps": steps,
        "embeddings_after_20_steps": early,
        "metrics_after_training": max(abs(value) for value in differences.values()),
        "mean_differences_after_training": {name: round(value, 5) for name, value in differences.items()},
    }


def _distance(packs: list[AbraPack], index: int, data: Screen) -> float:
    here, there = (one.embed(index, data.test) for one in packs)
    return float(np.abs(here - there).max())


def _scores(rows: Any, data: Screen, device: str | None = None) -> Mapping[str, float]:
    wells = data.wells.iloc[data.test].reset_index(drop=True)
    panel = score_table(rows, wells, options=PanelOptions(device=device))
    return {row["metric"]: row["value"] for row in panel.rows if row["value"] is not None}


def _metrics(device: str, _: bool) -> dict[str, Any]:
    """One embedding scored with NumPy and with the device's large products."""
    data = screen()
    rows = data.features[data.test]
    here, there = _scores(rows, data), _scores(rows, data, device)
    worst = max(here, key=lambda name: abs(here[name] - there[name]))
    return {
        "metrics": len(here),
        "metrics_of_one_embedding": abs(here[worst] - there[worst]),
        "metric_that_differs_most": worst,
    }


def _images(device: str, small: bool) -> dict[str, Any]:
    """Losses of an image training in fp32, step by step, without and with an adversary."""
    rng = np.random.default_rng(0)
    count, side, steps = (72, 32, 2) if small else (288, 64, 20)
    images = rng.integers(0, 255, (count, 3, side, side), np.uint8)
    rows = np.arange(count)
    how = ImageAbraSettings.model_validate(
        {
            "backbone": "test_resnet" if small else "resnet18",
            "precision": "fp32",
            "embedding_dim": 32,
            "groups": 4,
            "items": 4,
            "steps": steps,
            "curve_every": 1,
            "points": ["stem", "stage1"],
        }
    )
    found: dict[str, Any] = {"image_steps": steps}
    for name, weight in (("image_losses_erm", 0.0), ("image_losses_adversarial", 1.0)):
        losses = []
        for where in ("cpu", device):
            cell = TrainingCell(
                key="cell", adversarial_weight=weight, margin=0.2, seed=0, train=rows, validation=rows[:0]
            )
            with (
                patch.object(image_objective, "MapDraws", DrawnOnTheHost),
                torch.backends.cudnn.flags(enabled=True, allow_tf32=False),
            ):
                one = ImagePack(images, rows % 6, rows % 8, [cell], how, device=where)
                one.advance(steps)
            losses.append(np.array([record["loss"] for record in one.history(0)]))
        relative = np.abs(losses[1] - losses[0]) / np.abs(losses[0])
        found |= {f"{name}_first_step": float(relative[0]), name: float(np.median(relative))}
    return found


class DrawnOnTheHost(MapDraws):
    """Normals of the adversary from the CPU's generator: a device has a stream of its own, which is no fault."""

    def __init__(self, *given: Any, device: torch.device, **named: Any) -> None:
        super().__init__(*given, device=torch.device("cpu"), **named)
        self._goes_to = device

    def at(self, number: int) -> StyleDraw:
        drawn = super().at(number)
        there = self._goes_to
        epsilon = {point: values.to(there) for point, values in drawn.epsilon.items()}
        return StyleDraw(epsilon, {point: coin.to(there) for point, coin in drawn.applied.items()})
