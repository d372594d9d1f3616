"""What a simulated screen is made of, what went into it, and how both are stored."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from trainers.errors import InputError
from trainers.screens.atomic import write_whole
from trainers.screens.names import first_few
from trainers.screens.readers import screen_frame
from trainers.screens.simulation_spec import SimulationSpec
from trainers.screens.table import Screen


@dataclass(frozen=True, eq=False)
class Simulation:
    """A simulated screen and what went into it.

    Attributes:
        screen: the wells as a reader would give them.
        truth: P perturbations (treatments, then positive controls), B batches, d features, k latent directions.
            Values: `spec` (dict), `perturbations` (P names), `targets` (P names or None), `batches` (B names),
            `overlap_realised` (share of the phenotypes' variance inside the span of the batch shifts as drawn).
            Arrays: `active` (P,) bool, `effect_size` (P,) root mean square per feature, `phenotypes` (P, d),
            `batch_shifts` (B, d), `batch_directions` (d, k) and `biology_directions` (d, k) orthonormal,
            `principal_cosines` (≤ k,) between biology and the span of the batch shifts, falling,
            `design` (P, B) wells. Phenotypes and shifts are the model's linear part, before gain and saturation.
    """

    screen: Screen
    truth: dict[str, Any]


def write_simulation(simulation: Simulation, folder: Path, *, overwrite: bool = False) -> Path:
    """Write `screen.parquet` (read back by `read_screen` without options), `truth.json` and `truth.npz`.

    Args:
        simulation: what to write.
        folder: created if absent; each file appears whole or not at all, the screen last.
        overwrite: replace files that exist.

    Returns:
        The path of the screen.

    Raises:
        InputError: a file exists and `overwrite` is false.
    """
    arrays = {name: value for name, value in simulation.truth.items() if isinstance(value, np.ndarray)}
    plain = {name: value for name, value in simulation.truth.items() if name not in arrays}
    plain["fingerprint"] = simulation.screen.fingerprint
    text = json.dumps(plain, indent=2, ensure_ascii=False) + "\n"
    writers: dict[str, Callable[[IO[bytes]], object]] = {
        "truth.npz": lambda file: np.savez_compressed(file, allow_pickle=False, **arrays),
        "truth.json": lambda file: file.write(text.encode()),
        "screen.parquet": lambda file: screen_frame(simulation.screen).to_parquet(file, index=False),
    }
    present = [name for name in writers if (folder / name).exists()]
    if present and not overwrite:
        raise InputError(f"{folder}: {first_few(present)} already there; name another folder or ask to overwrite")
    folder.mkdir(parents=True, exist_ok=True)
    for name, write in writers.items():
        write_whole(folder / name, write)
    return folder / "screen.parquet"


__all__ = ["Simulation", "SimulationSpec", "write_simulation"]
