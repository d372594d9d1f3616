"""The cells of the study and their repetitions: run in blocks, each kept in a small file, so that a stop loses nothing.

Repetition n of a cell has the same draw for every method, whichever order they run in.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.locator.methods import METHODS
from benchmarks.locator.shapes import (
    Curve,
    Setting,
    Sweep,
    adaptive,
    linear_gaussian,
    on_grid,
    smooth_noise,
    stated,
    truth,
    with_collapses,
)

BLOCK = 50
GATES = Setting(12, 5, 0.03, 0.10)  # ψ 7.5
SMALL = Setting(12, 5, 0.03, 0.05)  # ψ 3.7
THREE = Setting(12, 3, 0.03, 0.05)  # ψ 2.9
SOME = ("plateau-drop", "umbrella", "slow", "late", "two-step with gain", "flat")
DESIGNS: Mapping[str, Callable[[Curve, Setting, np.random.Generator], Sweep]] = {
    "grid": on_grid,
    "8 % collapses": with_collapses,
    "adaptive": adaptive,
    "smooth noise": smooth_noise,
}
POWER = (
    "flat",
    "improving",
    "drop 0.8 δ",
    "drop δ",
    "drop 2 δ",
    "drop 2 δ, early",
    "drop 3 δ",
    "plateau-drop",
    "slow",
    "two-step with gain",
)
FIRST = 200  # of every cell before more of any


@dataclass(frozen=True)
class Cell:
    """A shape in a setting under a design."""

    shape: str
    setting: Setting
    design: str = "grid"

    @property
    def slug(self) -> str:
        """File name; also what the draws hang on."""
        text = f"{self.setting.name} {self.design} {self.shape}"
        return "".join(c if c.isalnum() else "-" for c in text.replace("δ", "delta").replace("%", "pc"))

    @property
    def curve(self) -> Curve:
        """Of the shape."""
        return _curves(self.setting.delta)[self.shape]

    @property
    def truth(self) -> float:
        """log10 λ_OC, infinite where there is none."""
        return truth(self.curve, self.setting.delta)

    def sweep(self, repetition: int) -> Sweep:
        """The draw of one repetition."""
        rng = np.random.default_rng([zlib.crc32(self.slug.encode()), repetition])
        return DESIGNS[self.design](self.curve, self.setting, rng)


@cache
def _curves(delta: float) -> dict[str, Curve]:
    return stated(delta) | linear_gaussian()


def cells() -> list[Cell]:
    """All of the study, the gates' setting first."""
    grid = [Cell(shape, setting) for setting in (GATES, THREE) for shape in _curves(setting.delta)]
    grid += [Cell(shape, SMALL) for shape in POWER]
    grid += [Cell(shape, GATES, design) for design in ("8 % collapses", "adaptive", "smooth noise") for shape in SOME]
    return grid + [Cell(shape, setting, "smooth noise") for setting in (SMALL, THREE) for shape in SOME]


def blocks(repetitions: int) -> Iterator[tuple[Cell, str, int]]:
    """(cell, method, block): the first repetitions of every cell block by block, then setting by setting all of them.

    So a study that is stopped early has something of everything, and the gates' setting at full precision first.
    """
    early = range(min(FIRST, repetitions) // BLOCK)
    for block in early:
        yield from _of_block(cells(), block, repetitions)
    for setting in (GATES, SMALL, THREE):
        for block in range(len(early), -(-repetitions // BLOCK)):
            yield from _of_block([cell for cell in cells() if cell.setting == setting], block, repetitions)


def _of_block(some: list[Cell], block: int, repetitions: int) -> Iterator[tuple[Cell, str, int]]:
    for cell in some:
        for method in METHODS:
            if (cell.design == "grid" or method == "locator") and block * BLOCK < repetitions:
                yield cell, method, block


def run_block(folder: Path, cell: Cell, method: str, block: int) -> bool:
    """Run a block unless its file is there; whether it was run."""
    path = _path(folder, cell, method, block)
    if path.exists():
        return False
    found = [
        METHODS[method](cell.sweep(n), cell.setting.delta, n).to_json()
        for n in range(block * BLOCK, (block + 1) * BLOCK)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(found), encoding="utf-8")
    part.replace(path)
    return True


def results(folder: Path, cell: Cell, method: str) -> list[dict[str, Any]]:
    """Every repetition there is."""
    found: list[dict[str, Any]] = []
    block = 0
    while (path := _path(folder, cell, method, block)).exists():
        found += json.loads(path.read_text(encoding="utf-8"))
        block += 1
    return found


def _path(folder: Path, cell: Cell, method: str, block: int) -> Path:
    return folder / cell.slug / f"{method.replace(' ', '-')}-{block:03d}.json"
