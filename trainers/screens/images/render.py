"""Fields of cells: nuclei and cytoplasm with their textures, seen through the optics of their plate.

Each cell is a soft ellipse with a soft nucleus. The channels are those of RxRx1: nuclei, ER (cytoplasm), actin (rim),
nucleoli (grains in the nucleus), mitochondria (grains in the cytoplasm), Golgi (beside the nucleus). A phenotype
changes the traits of `TRAITS` and the channels' brightness; the plate changes stain, density, background, blur and
illumination, and the well's row and column the brightness.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trainers.base import IntArray
from trainers.screens.images.image_simulation import TRAITS, Array, ImageSimulation, position_gain

_BRIGHTNESS = 90.0
_RENDER_STREAM = 3
_CELL_TYPE_SIZE = {"HUVEC": 1.0, "RPE": 1.15, "HEPG2": 0.85, "U2OS": 1.25}

Float = NDArray[np.float32]


def render(simulation: ImageSimulation, row: int) -> NDArray[np.uint8]:
    """(C, H, W) image of one row; drawn from its own stream of the seed, whatever else is rendered."""
    spec = simulation.spec
    rng = np.random.default_rng((spec.seed, _RENDER_STREAM, row))
    phenotype = simulation.phenotypes[simulation.perturbation[row]]
    traits = dict(zip(TRAITS, phenotype[: len(TRAITS)], strict=True))
    plate, technical = simulation.plate[row], simulation.technical
    size = _CELL_TYPE_SIZE[str(simulation.wells["cell_type"].iat[row])]
    count = max(1, rng.poisson(spec.cells * np.exp(traits["count"] + technical.density[plate])))
    field = _cells(rng, spec.size, spec.channels, count, spec.radius * size, traits)
    gain = phenotype[len(TRAITS) :] + technical.stain[plate] + position_gain(simulation, np.array([row]))
    field *= np.float32(_BRIGHTNESS) * np.exp(gain[: spec.channels]).astype(np.float32)[:, None, None]
    field += technical.background[plate, : spec.channels].astype(np.float32)[:, None, None]
    field *= _illumination(spec.size, technical.slope[plate], float(technical.vignette[plate]))
    return _camera(rng, field, float(technical.blur[plate]), spec.noise)


def _cells(
    rng: np.random.Generator, size: int, channels: int, count: int, radius: float, traits: dict[str, float]
) -> Float:
    """(C, size, size) brightness of all cells, the brighter one where two overlap."""
    radii = radius * np.exp(traits["size"] + 0.15 * rng.standard_normal(count))
    stretch = np.exp(0.5 * traits["elongation"] + 0.12 * np.abs(rng.standard_normal(count)))
    angle = rng.uniform(0.0, np.pi, count)
    centre = rng.uniform(0.0, size, (count, 2))
    bright = np.exp(0.2 * rng.standard_normal(count)).astype(np.float32)
    phase = rng.uniform(0.0, 2 * np.pi, (count, 2))
    reach = int(np.ceil(1.8 * (radii * stretch).max()))
    offsets = np.arange(-reach, reach + 1)
    corner = np.floor(centre).astype(np.int64)
    y = (offsets + corner[:, :1] - centre[:, :1])[:, :, None]
    x = (offsets + corner[:, 1:] - centre[:, 1:])[:, None, :]
    cos, sin = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    u = ((cos * y + sin * x) / (radii * stretch)[:, None, None]).astype(np.float32)
    v = ((cos * x - sin * y) / (radii / stretch)[:, None, None]).astype(np.float32)
    planes = _planes(u, v, phase.astype(np.float32), traits, channels) * bright[:, None, None]
    canvas = np.zeros((channels, size + 2 * reach, size + 2 * reach), dtype=np.float32)
    rows = (corner[:, :1] + offsets + reach)[:, :, None]
    columns = (corner[:, 1:] + offsets + reach)[:, None, :]
    for channel in range(channels):
        np.maximum.at(canvas[channel], (rows, columns), planes[channel])
    return canvas[:, reach : reach + size, reach : reach + size]


def _planes(u: Float, v: Float, phase: Float, traits: dict[str, float], channels: int) -> Float:
    """(C, cells, p, p) brightness of each cell in each channel; u, v in units of the cell's radius."""
    distance = np.sqrt(u * u + v * v)
    nucleus_radius = np.float32(0.45 * np.exp(traits["nucleus"]))
    body = _soft(np.float32(1.0) - distance)
    nucleus = _soft((nucleus_radius - distance) * 2.0)
    grain = np.float32(4.0 * np.exp(traits["grain"]))
    waves = np.sin(grain * u + phase[:, :1, None]) * np.sin(grain * v + phase[:, 1:, None])
    texture = 1.0 + np.float32(np.clip(0.35 * np.exp(traits["contrast"]), 0.0, 0.95)) * waves
    cytoplasm = body * (1.0 - 0.7 * nucleus)
    rim = body * np.exp(-12.0 * np.square(distance - 0.85))
    beside = np.exp(-20.0 * (np.square(u - nucleus_radius) + v * v))
    kinds = [nucleus, cytoplasm * texture, rim + 0.3 * cytoplasm, nucleus * np.square(texture) * 0.8]
    kinds += [cytoplasm * np.square(texture), body * beside + 0.2 * cytoplasm]
    return np.stack(kinds[:channels]).astype(np.float32)


def _soft(inside: Float) -> Float:
    """A step from 0 to 1, a quarter of a radius wide."""
    step: Float = 1.0 / (1.0 + np.exp(np.clip(-10.0 * inside, -30.0, 30.0)))
    return step


def _illumination(size: int, slope: Array, vignette: float) -> Float:
    """(size, size) brightness of the lamp: a slope and a fall towards the corners."""
    along = np.linspace(-1.0, 1.0, size)
    y, x = along[:, None], along[None, :]
    lamp = 1.0 + slope[0] * y + slope[1] * x - vignette * (y * y + x * x) / 2.0
    return np.asarray(np.clip(lamp, 0.1, None), dtype=np.float32)


def _camera(rng: np.random.Generator, field: Float, blur: float, noise: float) -> NDArray[np.uint8]:
    """Blur, shot and read noise, 8 bits."""
    from scipy.ndimage import gaussian_filter

    sharp = gaussian_filter(field, sigma=(0.0, blur, blur), truncate=3.0)
    spread = noise * np.sqrt(1.0 + 0.08 * np.clip(sharp, 0.0, None))
    seen = sharp + spread * rng.standard_normal(sharp.shape, dtype=np.float32)
    return np.asarray(np.clip(np.rint(seen), 0, 255), dtype=np.uint8)


def render_all(simulation: ImageSimulation, rows: IntArray | None = None) -> NDArray[np.uint8]:
    """(n, C, H, W) images of the given rows, all where none are given."""
    chosen = np.arange(len(simulation.wells)) if rows is None else rows
    return np.stack([render(simulation, int(row)) for row in chosen])


__all__ = ["render", "render_all"]
