"""What every trainer is given and gives back: inputs and cells in, embeddings out."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]
Images = NDArray[np.uint8] | NDArray[np.uint16]
"""(n, channels, H, W); may be memory-mapped: only the rows of a mini-batch are ever read."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Inputs:
    """One screen as a trainer reads it; the same for every pack of a sweep.

    Attributes:
        wells: the n rows of the screen: batch, plate, well, perturbation, control_type and what else was read.
        features: (n, d) float32, normalised as configured; None for a trainer of images.
        images: (n, channels, s, s); None for a trainer of profiles.
        kept: what a trainer wants to keep from one pack to the next, such as the images on the device.
    """

    wells: pd.DataFrame
    features: FloatArray | None = None
    images: Images | None = None
    kept: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def labels(self) -> IntArray:
        """(n,) perturbations as class indices 0 … C-1, in alphabetical order."""
        return self._codes("perturbation")

    @cached_property
    def batches(self) -> IntArray:
        """(n,) batch indices 0 … B-1, in alphabetical order."""
        return self._codes("batch")

    def _codes(self, column: str) -> IntArray:
        return np.unique(self.wells[column].to_numpy(dtype=str), return_inverse=True)[1].astype(np.int64)


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingCell:
    """One cell as a trainer sees it: a strength, a seed and the rows it may learn from.

    The two dials keep the names of those that came first; what they mean is the trainer's (`trainers.trainer.Dial`).

    Attributes:
        key: the cell's content hash; names it in checkpoints and errors.
        adversarial_weight: setting of the trainer's first dial, its strength; 0 is exactly "no correction".
        margin: setting of the trainer's second dial; 0 where it has none.
        seed: seeds initialisation, sampling order and adversarial draws.
        train: (n_train,) row numbers of the screen that are learnt from.
        validation: (n_val,) row numbers of seen batches, for early stopping only; may be empty.
        test: (n_test,) row numbers that are scored; a transductive trainer corrects them too, without their labels.
        batches: (n,) bio-batch indices that this cell trains with in place of the screen's own (an arm's); None: those
            of the screen.
    """

    key: str
    adversarial_weight: float
    margin: float
    seed: int
    train: IntArray
    validation: IntArray
    test: IntArray = field(default_factory=lambda: np.empty(0, np.int64))
    batches: IntArray | None = None

    @property
    def dials(self) -> tuple[float, float]:
        """Settings of the trainer's first and second dial."""
        return self.adversarial_weight, self.margin


class Pack(Protocol):
    """K cells that train together in one process; each cell's result is independent of its companions."""

    @property
    def step(self) -> int:
        """Optimiser steps done so far."""

    @property
    def total_steps(self) -> int:
        """Optimiser steps of a whole training; at least 1."""

    @property
    def checkpoint_steps(self) -> int:
        """Steps after which a checkpoint is worth its time, unless the configuration says otherwise; 0: none is."""

    def advance(self, steps: int) -> None:
        """Train up to `steps` further optimiser steps (fewer at the end)."""

    def embed(self, index: int, rows: IntArray) -> FloatArray:
        """(len(rows), e) embeddings of the given screen rows by cell `index`, in eval mode."""

    def history(self, index: int) -> list[dict[str, float]]:
        """The training curve of cell `index`: dicts with "step" and finite floats."""

    def diverged(self, index: int) -> str | None:
        """Why cell `index` failed (non-finite loss or weights), or None."""

    def state_dict(self) -> dict[str, Any]:
        """Everything a bit-exact resume on CPU needs: tensors and plain values only."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict()` of a pack of the same cells and settings; raises InputError otherwise."""


@runtime_checkable
class Classifies(Protocol):
    """A pack whose cells name a perturbation themselves."""

    def predict(self, index: int, rows: IntArray) -> IntArray:
        """(len(rows),) the class that cell `index` gives each row, among those it trained on, without a margin."""


@runtime_checkable
class EmbedsFeatures(Protocol):
    """A pack that embeds features which are no row of the screen: a metric may change a row and embed it again."""

    def embed_features(self, index: int, features: FloatArray) -> FloatArray:
        """(len(features), e) embeddings of new rows with the screen's d features, by cell `index`."""


__all__ = ["Classifies", "EmbedsFeatures", "FloatArray", "Images", "Inputs", "IntArray", "Pack", "TrainingCell"]
