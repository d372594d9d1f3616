"""What a simulated image screen is made of: its settings, its plates and its known answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trainers.base import IntArray
from trainers.screens.images.image_simulation_spec import CELL_TYPES, ImageSimulationSpec
from trainers.screens.positions import PLATE_LAYOUTS
from trainers.screens.simulated_design import centred, draw_wells

TRAITS = ("size", "count", "elongation", "nucleus", "contrast", "grain")
"""What a phenotype changes beside the channels' brightness; each as a logarithm, 0 for the negative control."""

_SPREAD = np.array([0.18, 0.35, 0.25, 0.2, 0.5, 0.3])
_CHANNEL_SPREAD = 0.35
_ALL_CHANNELS = 6
_POSITIVE_STRENGTH = 1.6
# One random stream a part of the model: a changed strength leaves all other draws as they were.
_LAYOUT, _BIOLOGY, _TECHNICAL = range(3)

Array = NDArray[np.float64]


class Technical(NamedTuple):
    """What differs between plates (row l of L) for technical reasons.

    Logs of gains (L, C) and of density (L,), background (L, C), blur in pixels (L,), illumination slope (L, 2) and
    vignette (L,), brightness lost along rows and columns (L, 2).
    """

    stain: Array
    density: Array
    background: Array
    blur: Array
    slope: Array
    vignette: Array
    position: Array


@dataclass(frozen=True, eq=False)
class ImageSimulation:
    """A simulated screen before it is rendered.

    Attributes:
        spec: its settings.
        wells: n rows, one an image: batch, plate (number in its batch), well, row, column, site, cell_type, dataset
            (train, val or test), perturbation (class number as text), control_type.
        plate: (n,) number of the plate among all.
        perturbation: (n,) class number; treatments, then positive controls, then the negative control.
        phenotypes: (P + 1, T + 6) logarithms of the traits, then of the channels' brightness; 0 where inactive.
        technical: what differs between plates.
    """

    spec: ImageSimulationSpec
    wells: pd.DataFrame
    plate: IntArray
    perturbation: IntArray
    phenotypes: Array
    technical: Technical

    @property
    def truth(self) -> dict[str, Any]:
        """The known answer: values, and arrays over perturbations (the negative control last) or plates."""
        return {
            "spec": self.spec.model_dump(),
            "traits": [*TRAITS, *(f"brightness {number + 1}" for number in range(_ALL_CHANNELS))],
            "phenotypes": self.phenotypes,
            "active": np.linalg.norm(self.phenotypes, axis=1) > 0.0,
            **{f"plate_{name}": value for name, value in self.technical._asdict().items()},
        }


def draw_simulation(spec: ImageSimulationSpec) -> ImageSimulation:
    """Draw plates, phenotypes and batch effects. Equal specs give equal simulations."""
    rng = np.random.default_rng((spec.seed, _LAYOUT))
    moa = np.concatenate([rng.permutation(spec.perturbations) % spec.targets, np.full(spec.positive_controls + 1, -1)])
    wells, batch, plate, perturbation = draw_wells(spec.design(), rng, moa)
    names, types, parts = _experiments(spec)
    wells = wells.drop(columns=["target"]).assign(
        batch=names[batch],
        plate=(plate % spec.plates_per_batch + 1).astype(str),
        cell_type=types[batch],
        dataset=parts[batch],
        perturbation=perturbation.astype(str),
    )
    every = np.repeat(np.arange(len(wells)), spec.sites)
    wells = wells.iloc[every].reset_index(drop=True)
    wells["site"] = np.tile(np.arange(1, spec.sites + 1), len(wells) // spec.sites)
    return ImageSimulation(
        spec, wells, plate[every], perturbation[every], _phenotypes(spec, moa), _technical(spec)
    )  # fmt: skip


def position_gain(simulation: ImageSimulation, rows: IntArray) -> Array:
    """(n,) log brightness of the given images that comes from their row and column on the plate."""
    height, width = PLATE_LAYOUTS[simulation.spec.wells_per_plate]
    place = simulation.wells.iloc[rows]
    along = np.stack(
        [centred(place["row"].to_numpy(np.int64), height), centred(place["column"].to_numpy(np.int64), width)], axis=1
    )
    gain: Array = (along * simulation.technical.position[simulation.plate[rows]]).sum(axis=1)
    return gain


def _experiments(spec: ImageSimulationSpec) -> tuple[NDArray[np.object_], NDArray[np.object_], NDArray[np.object_]]:
    """(B,) names as RxRx1 writes them, cell types, and parts: of each cell type the last batch is test, of three or
    more the one before it is val.
    """
    number = np.arange(spec.batches)
    types = np.array(CELL_TYPES, dtype=object)[number % spec.cell_types]
    place = number // spec.cell_types
    count = np.array([(types == name).sum() for name in types])
    names = np.array([f"{name}-{index + 1:02d}" for name, index in zip(types, place, strict=True)], dtype=object)
    parts = np.full(spec.batches, "train", dtype=object)
    parts[(count >= 2) & (place == count - 1)] = "test"
    parts[(count >= 3) & (place == count - 2)] = "val"
    return names, types, parts


def _phenotypes(spec: ImageSimulationSpec, moa: IntArray) -> Array:
    """(P + 1, T + 6) phenotypes; the negative control's is 0."""
    rng = np.random.default_rng((spec.seed, _BIOLOGY))
    width, treated = len(TRAITS) + _ALL_CHANNELS, spec.perturbations
    common = rng.standard_normal((spec.targets, width))
    own = rng.standard_normal((treated + spec.positive_controls, width))
    strength = np.exp(0.2 * rng.standard_normal(len(own)))
    drawn = strength[:, None] * own
    shared = np.sqrt(spec.moa_share) * common[moa[:treated]] + np.sqrt(1.0 - spec.moa_share) * own[:treated]
    drawn[:treated] = strength[:treated, None] * shared
    drawn[treated:] *= _POSITIVE_STRENGTH
    drawn[rng.permutation(treated)[: round(spec.inactive * treated)]] = 0.0
    scale = np.concatenate([_SPREAD, np.full(_ALL_CHANNELS, _CHANNEL_SPREAD)])
    return np.vstack([spec.phenotype * drawn * scale, np.zeros((1, width))])


def _technical(spec: ImageSimulationSpec) -> Technical:
    """Batch draws, and a third of them again for each plate."""
    rng = np.random.default_rng((spec.seed, _TECHNICAL))

    def draw(*shape: int) -> Array:
        batch = rng.standard_normal((spec.batches, 1, *shape))
        plate = rng.standard_normal((spec.batches, spec.plates_per_batch, *shape)) / 3.0
        return spec.batch_effect * (batch + plate).reshape(-1, *shape)

    return Technical(
        stain=0.3 * draw(_ALL_CHANNELS),
        density=0.2 * draw(),
        background=8.0 * np.exp(0.5 * draw(_ALL_CHANNELS)),
        blur=0.6 * np.exp(0.4 * draw()),
        slope=0.15 * draw(2),
        vignette=0.15 * np.abs(draw()),
        position=spec.position_effect * (1.0 + 0.3 * draw(2)),
    )


__all__ = [
    "TRAITS",
    "ImageSimulation",
    "Technical",
    "draw_simulation",
    "position_gain",
]
