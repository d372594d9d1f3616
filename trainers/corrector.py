"""Trainers that train nothing: the corrected features of a screen are its embedding."""

# ruff: noqa: ARG002 - what a pack and a trainer are asked does not all matter to a correction
from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np

from trainers.base import FloatArray, Inputs, IntArray, TrainingCell
from trainers.errors import InputError
from trainers.kept import Fitted
from trainers.trainer import Dial, Trainer

FEWEST = 2
"""Rows of a batch, and controls to fit on."""
SHARE = Dial(
    name="share taken out",
    symbol="α",
    high=1.0,
    scale="linear",
    published=1.0,
    grid=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
)
"""The dial of a correction that is taken out in part: 0 none, 1 all of it."""
Made = TypeVar("Made")


class Corrector(Trainer):
    """A correction of features that is worked out, not trained: a subclass says how one cell's rows come out.

    Cells are corrected, scored and written one by one, so that one table is in memory at a time.
    """

    one_at_a_time = True
    reads_scored_rows = True
    trial_steps = (0, 1)

    @abstractmethod
    def correct(self, inputs: Inputs, cell: TrainingCell, settings: Any) -> FloatArray:
        """(n, e) the corrected rows of the screen; those that are in no part of `cell` are not read.

        At 0 of the first dial it must correct nothing. Batch labels are `batches_of(inputs, cell)`, and a
        cell is corrected from its own rows alone: train, validation and, where the corrector is transductive, test.

        Raises:
            InputError: the cell's rows do not allow it; the cell has failed, and the others go on.
        """

    def fitted(self, inputs: Inputs, cell: TrainingCell, settings: Any) -> Fitted:
        """The correction of one cell, to be kept; written by those that are `inductive`."""
        raise NotImplementedError

    def not_kept(self, settings: Any) -> str | None:
        """It is the correction of the screen that it is fitted on, unless it serves new batches and gives `fitted`."""
        if self.inductive(settings) and type(self).fitted is not Corrector.fitted:
            return None
        return "it corrects the screen that it is fitted on, and `sweeper embed` corrects that again"

    def inductive(self, settings: Any) -> bool:
        """A correction worked out on the rows it corrects says nothing of a batch it never saw."""
        return False

    def pack(
        self, inputs: Inputs, cells: Sequence[TrainingCell], settings: Any, *, device: str = "cpu", threads: int = 1
    ) -> CorrectorPack:
        """Cells that are corrected one by one."""
        return CorrectorPack(
            [self._work(inputs, cell, settings) for cell in cells],
            [partial(self.fitted, inputs, cell, settings) for cell in cells],
        )

    def _work(self, inputs: Inputs, cell: TrainingCell, settings: Any) -> Callable[[], FloatArray]:
        def work() -> FloatArray:
            found = np.ascontiguousarray(self.correct(inputs, cell, settings), np.float32)
            if len(found) != len(inputs.wells):
                raise InputError(f"{self.name}: gave {len(found)} rows for a screen of {len(inputs.wells)}")
            return found

        return work


class CorrectorPack:
    """Corrections to be worked out, one a step: a `trainers.base.Pack`."""

    def __init__(self, work: Sequence[Callable[[], FloatArray]], fits: Sequence[Callable[[], Fitted]]) -> None:
        self._work = work
        self._fits = fits
        self._corrected: list[FloatArray | None] = []
        self._failed: dict[int, str] = {}

    @property
    def step(self) -> int:
        """Cells that are corrected."""
        return len(self._corrected)

    @property
    def total_steps(self) -> int:
        """Cells."""
        return len(self._work)

    @property
    def checkpoint_steps(self) -> int:
        """A correction is worked out again as soon as it is read back."""
        return 0

    def advance(self, steps: int) -> None:
        """Correct up to `steps` further cells."""
        for work in self._work[self.step : self.step + steps]:
            try:
                self._corrected.append(work())
            except InputError as error:
                self._failed[self.step] = str(error)
                self._corrected.append(None)

    def embed(self, index: int, rows: IntArray) -> FloatArray:
        """(len(rows), e) corrected rows."""
        corrected = self._corrected[index]
        assert corrected is not None  # noqa: S101 - a failed cell is not asked
        return corrected[rows]

    def fitted(self, index: int) -> Fitted:
        """The correction itself, to be kept."""
        return self._fits[index]()

    def history(self, index: int) -> list[dict[str, float]]:
        """Nothing was trained."""
        return []

    def diverged(self, index: int) -> str | None:
        """Why a cell has no usable rows, or None."""
        corrected = self._corrected[index]
        if corrected is None:
            return self._failed[index]
        return None if np.isfinite(corrected).all() else "the correction gave numbers that are not finite"

    def state_dict(self) -> dict[str, Any]:
        """Nothing to keep: what is not written yet is worked out again."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `state_dict`."""


def batches_of(inputs: Inputs, cell: TrainingCell) -> IntArray:
    """(n,) the batch labels that a cell is corrected by: its arm's, else the screen's."""
    return inputs.batches if cell.batches is None else cell.batches


def own_rows(cell: TrainingCell) -> IntArray:
    """(n,) the rows of a cell, sorted: what a transductive corrector may read and corrects."""
    return np.sort(np.concatenate([cell.train, cell.validation, cell.test]))


def refuse_small_batches(name: str, inputs: Inputs) -> None:
    """Raise InputError where a batch of the screen has too few rows to say anything of it."""
    names, sizes = np.unique(inputs.wells["batch"].to_numpy(dtype=str), return_counts=True)
    if sizes.min() < FEWEST:
        raise InputError(
            f"{name}: batch {names[sizes.argmin()]} has {counted(int(sizes.min()), 'well')}, {FEWEST} are needed; "
            "leave it out, or join it with another"
        )


def counted(count: int, what: str) -> str:
    """For people: "1 well", "2 wells"."""
    return f"{count} {what}" + ("" if count == 1 else "s")


def kept_of(inputs: Inputs, key: Hashable, make: Callable[[], Made]) -> Made:
    """What `make` gives, made once for all cells of a screen that ask with the same key.

    It must not depend on the strength: a grid of strengths over one decomposition costs little more than one of them.
    """
    kept = inputs.kept.setdefault("corrections", {})
    if key not in kept:
        kept[key] = make()
    found: Made = kept[key]
    return found


__all__ = [
    "FEWEST",
    "SHARE",
    "Corrector",
    "CorrectorPack",
    "batches_of",
    "counted",
    "kept_of",
    "own_rows",
    "refuse_small_batches",
]
