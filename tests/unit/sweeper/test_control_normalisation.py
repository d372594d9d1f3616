"""Normalisation by few controls marks the batch where a batch is a plate, and that is said before training."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from sweeper.planning.control_normalisation import control_normalisation_warning, quick_batch_probe
from trainers.screens.normalise import normalise

WELLS = 96


def screen(controls: int, effect: float, *, features: int = 60, batches: int = 6, seed: int = 0):
    """One plate a batch; every batch shifts each feature by `effect` standard deviations."""
    rng = np.random.default_rng(seed)
    plate = np.repeat([f"b{number}" for number in range(batches)], WELLS)
    kind = np.tile(["negative"] * controls + ["treatment"] * (WELLS - controls), batches)
    wells = pd.DataFrame({"batch": plate, "plate": plate, "control_type": kind})
    shift = effect * rng.standard_normal((batches, features))
    noise = rng.standard_normal((len(wells), features))
    return (noise + np.repeat(shift, WELLS, axis=0)).astype(np.float32), wells


@pytest.mark.parametrize(
    ("controls", "effect", "warned"), [(4, 0.0, True), (4, 0.1, True), (64, 0.1, False), (8, 2.0, False)]
)
def test_a_batch_effect_of_the_controls_is_said(controls: int, effect: float, warned: bool) -> None:
    raw, wells = screen(controls, effect)
    lines = control_normalisation_warning(raw, normalise(raw, wells, "plate_controls"), wells)
    assert bool(lines) == warned
    assert all("plate_controls makes the batch easier to predict" in line for line in lines)
    assert not control_normalisation_warning(raw, normalise(raw, wells, "plate"), wells)


@pytest.mark.parametrize("width", [3, 60, 900])
def test_the_probe_knows_nothing_and_everything(width: int) -> None:
    batch = np.repeat(np.arange(6), WELLS)
    for effect, low, high in ((0.0, -0.1, 0.1), (9.0, 0.9, 1.0)):
        raw, _ = screen(4, effect, features=width)
        assert low <= quick_batch_probe(raw, batch) <= high


def test_batches_of_unequal_size_are_judged_alike() -> None:
    raw, _ = screen(4, 0.0)
    batch = np.repeat([0, 1, 2], [400, 100, 76])
    assert abs(quick_batch_probe(raw, batch)) < 0.12
