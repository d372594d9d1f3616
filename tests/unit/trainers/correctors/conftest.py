"""A screen of four batches, and a cell of it."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import pandas as pd
import pytest

from trainers.base import Inputs, Pack, TrainingCell
from trainers.corrector import Corrector

ROWS, FEATURES = 240, 12


@pytest.fixture
def inputs() -> Inputs:
    """Four batches of two plates, a quarter of the wells negative controls, every batch shifted and scaled."""
    rng = np.random.default_rng(4)
    wells = pd.DataFrame(
        {
            "batch": np.repeat(["A", "B", "C", "D"], ROWS // 4),
            "plate": np.repeat([f"P{number}" for number in range(8)], ROWS // 8),
            "perturbation": np.tile(["DMSO", "x", "y", "z"], ROWS // 4),
            "control_type": pd.Series(np.tile(["negative", None, None, None], ROWS // 4), dtype=object),
        }
    )
    batch = pd.factorize(wells["batch"])[0]
    mixing = rng.standard_normal((FEATURES, FEATURES))
    features = rng.standard_normal((ROWS, FEATURES)) @ mixing * (1 + batch[:, None]) + 10 * batch[:, None] + 3
    return Inputs(wells=wells, features=features.astype(np.float32))


class MakeCell(Protocol):
    def __call__(self, weight: float, **parts: Any) -> TrainingCell: ...


class Corrected(Protocol):
    def __call__(
        self, trainer: Corrector, inputs: Inputs, settings: Any, weight: float, **parts: Any
    ) -> np.ndarray: ...


@pytest.fixture
def cell() -> MakeCell:
    """A cell of the screen: every other row is learnt from, the others are scored."""

    def make(weight: float, **parts: Any) -> TrainingCell:
        rows = np.arange(ROWS)
        given = {"margin": 0.0, "train": rows[::2], "validation": rows[:0], "test": rows[1::2], **parts}
        return TrainingCell(key="a", adversarial_weight=weight, seed=0, **given)

    return make


@pytest.fixture
def corrected(cell: MakeCell) -> Corrected:
    """All rows of the screen as a corrector's pack embeds them."""

    def run(trainer: Corrector, inputs: Inputs, settings: Any, weight: float, **parts: Any) -> np.ndarray:
        pack: Pack = trainer.pack(inputs, [cell(weight, **parts)], settings)
        while pack.step < pack.total_steps:
            pack.advance(1)
        assert pack.diverged(0) is None, pack.diverged(0)
        return pack.embed(0, np.arange(len(inputs.wells)))

    return run
