"""What every trainer is given and gives back: cells in, embeddings out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingCell:
    """One cell as a trainer sees it: a strength, a seed and the rows it may learn from.

    Attributes:
        key: the cell's content hash; names it in checkpoints and errors.
        adversarial_weight: λ ≥ 0; 0 is exactly the non-adversarial model.
        margin: angular margin m in radians, 0 ≤ m < π/2.
        seed: seeds initialisation, sampling order and adversarial draws.
        train: (n_train,) row numbers of the screen that are learnt from.
        validation: (n_val,) row numbers of seen batches, for early stopping only; may be empty.
        batches: (n,) bio-batch indices that this cell trains with in place of the screen's own (a sham arm);
            None: those of the screen.
    """

    key: str
    adversarial_weight: float
    margin: float
    seed: int
    train: IntArray
    validation: IntArray
    batches: IntArray | None = None


class Pack(Protocol):
    """K cells that train together in one process; each cell's result is independent of its companions."""

    @property
    def step(self) -> int:
        """Optimiser steps done so far."""

    @property
    def total_steps(self) -> int:
        """Optimiser steps of a whole training."""

    def advance(self, steps: int) -> None:
        """Train up to `steps` further optimiser steps (fewer at the end)."""

    def embed(self, index: int, rows: IntArray) -> FloatArray:
        """(len(rows), e) embeddings of the given screen rows by cell `index`, in eval mode."""

    def predict(self, index: int, rows: IntArray) -> IntArray:
        """(len(rows),) the class that cell `index` gives each row, among those it trained on, without a margin."""

    def history(self, index: int) -> list[dict[str, float]]:
        """The training curve of cell `index`: dicts with "step" and finite floats."""

    def diverged(self, index: int) -> str | None:
        """Why cell `index` failed (non-finite loss or weights), or None."""

    def state_dict(self) -> dict[str, Any]:
        """Everything a bit-exact resume on CPU needs: tensors and plain values only."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict()` of a pack of the same cells and settings; raises InputError otherwise."""


__all__ = ["FloatArray", "IntArray", "Pack", "TrainingCell"]
