"""Which perturbation a simulated screen puts in which well of which plate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trainers.base import FloatArray, IntArray
from trainers.screens.positions import PLATE_LAYOUTS, well_name
from trainers.screens.simulation_spec import SimulationSpec

NEGATIVE_CONTROL = "DMSO"


def perturbation_names(spec: SimulationSpec) -> list[str]:
    """Treatments, positive controls, then the negative control: the numbering used throughout."""
    width = len(str(spec.perturbations))
    treatments = [f"P{number + 1:0{width}d}" for number in range(spec.perturbations)]
    return [*treatments, *(f"POS{number + 1}" for number in range(spec.positive_controls)), NEGATIVE_CONTROL]


def target_name(group: int) -> str | None:
    """The name of a MoA group; controls (−1) have none."""
    return None if group < 0 else f"MoA{group + 1:02d}"


def batch_names(spec: SimulationSpec) -> list[str]:
    """The names of the batches, in order."""
    return [f"B{number + 1:02d}" for number in range(spec.batches)]


def draw_wells(
    spec: SimulationSpec, rng: np.random.Generator, moa: IntArray
) -> tuple[pd.DataFrame, IntArray, IntArray, IntArray]:
    """The wells table, and each well's batch, plate and perturbation as numbers."""
    plates, treatments, slots = spec.plates_per_batch, spec.perturbations, spec.treatment_slots
    shares = _batch_shares(treatments, spec.batches, spec.imbalance)
    controls = np.concatenate(
        [
            np.repeat(treatments + np.arange(spec.positive_controls), spec.wells_per_positive),
            np.full(spec.controls_per_plate, treatments + spec.positive_controls),
        ]
    )
    fixed_order = np.arange(treatments)
    fixed_seats = rng.permutation(spec.wells_per_plate)
    placed = np.empty((spec.batches, plates, spec.wells_per_plate), dtype=np.int64)
    for number in range(spec.batches):
        if spec.layout == "fixed":
            counts = _balanced_counts(shares[:, number], slots, fixed_order)
            treated = np.tile(_fill_batch(counts, 1, fixed_order), (plates, 1))
        else:
            order = rng.permutation(treatments)
            treated = _fill_batch(_balanced_counts(shares[:, number], slots * plates, order), plates, order)
        for copy in range(plates):
            seats = fixed_seats if spec.layout == "fixed" else rng.permutation(spec.wells_per_plate)
            placed[number, copy, seats] = np.concatenate([treated[copy], controls])
    perturbation = placed.reshape(-1)
    plate = np.repeat(np.arange(spec.batches * plates), spec.wells_per_plate)
    batch = plate // plates
    kinds = np.array(["treatment"] * treatments + ["positive"] * spec.positive_controls + ["negative"], dtype=object)
    targets = np.array([target_name(group) for group in moa], dtype=object)
    names_of_batches = np.array(batch_names(spec), dtype=object)
    plate_names = np.array(
        [f"{name}-{number + 1}" for name in names_of_batches for number in range(plates)], dtype=object
    )
    seats_table = _plate_table(*PLATE_LAYOUTS[spec.wells_per_plate])
    wells = pd.concat([seats_table] * (spec.batches * plates), ignore_index=True).assign(
        batch=names_of_batches[batch],
        plate=plate_names[plate],
        perturbation=np.array(perturbation_names(spec), dtype=object)[perturbation],
        control_type=kinds[perturbation],
        target=targets[perturbation],
    )
    return wells, batch, plate, perturbation


def centred(values: IntArray, count: int) -> FloatArray:
    """1-based rows or columns on [-1, 1], 0 in the middle of the plate."""
    return ((2.0 * values - count - 1.0) / max(count - 1, 1)).astype(np.float32)


def _balanced_counts(share: NDArray[np.float64], total: int, order: Sequence[int] | IntArray) -> IntArray:
    """Whole numbers that sum to `total` in the given proportions (largest remainder; `order` settles ties)."""
    exact = share / share.sum() * total
    counts: IntArray = np.floor(exact + 1e-9).astype(np.int64)
    rank = np.empty(len(share), dtype=np.int64)
    rank[np.asarray(order)] = np.arange(len(share))
    first = np.lexsort((rank, -np.round(exact - counts, 9)))
    counts[first[: total - int(counts.sum())]] += 1
    return counts


def _batch_shares(perturbations: int, batches: int, imbalance: float) -> NDArray[np.float64]:
    """(P, B) share of batch b's wells that perturbation p takes; columns sum to 1.

    Perturbation p's home is batch p mod B. imbalance 0: every batch holds all alike; 1: a batch holds its own only.
    """
    home = np.arange(perturbations)[:, None] % batches == np.arange(batches)
    shares: NDArray[np.float64] = (1.0 - imbalance) / perturbations + imbalance * home / np.maximum(home.sum(axis=0), 1)
    return shares


def _fill_batch(counts: IntArray, plates: int, order: IntArray) -> IntArray:
    """(plates, slots) perturbation of each treatment slot, a perturbation's wells dealt evenly over the plates."""
    dealt = np.repeat(order, counts[order])
    return dealt.reshape(-1, plates).T.copy()


def _plate_table(rows: int, columns: int) -> pd.DataFrame:
    """Well name, row and column of every well of a plate, row by row."""
    row, column = np.divmod(np.arange(rows * columns), columns)
    names = [well_name(int(r) + 1, int(c) + 1) for r, c in zip(row, column, strict=True)]
    return pd.DataFrame({"well": names, "row": row + 1, "column": column + 1})


__all__ = ["NEGATIVE_CONTROL", "batch_names", "centred", "draw_wells", "perturbation_names", "target_name"]
