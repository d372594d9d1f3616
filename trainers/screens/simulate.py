"""Simulated screens with a known answer: how much of the biology lies where the batches differ.

The model, for well i of perturbation p on plate l of batch b, in d features:

    x_i = f_b( γ_b ⊙ √d · [ V z_p + U (s_b + t_l) + N ν_i + g_row ρ_i a_l + g_col κ_i a'_l ] ) + mixing_i + ε_i

    z_p      (k) phenotype: phenotype · strength_p · (√h · c_moa(p) + √(1−h) · e_p), c and e ~ N(0, I/k), h = moa_share;
             strength_p is log-normal, mean square 1, spread `effect_spread`; 0 for inactive perturbations and negatives
    U        (d, k) orthonormal batch directions; s_b ~ N(0, batch_shift² I/k) (centred over batches), t_l likewise with
             plate_shift
    V        = √overlap · U + √(1−overlap) · W with W orthonormal and orthogonal to U: every principal angle between biology
             and batch has cos² = overlap, so removing the batch directions removes that share of the phenotypes' variance
    N ν_i    correlated well noise over all latent directions (U, W and k more), √d N ν of root mean square `noise` a
             feature; ε_i ~ N(0, noise²/4) is independent from feature to feature
    ρ, κ     row and column of the well on [-1, 1]; a_l ~ N(1, 0.3²) · gradient, along two of the further directions
    γ_b      per-batch gain of each feature, log-normal with standard deviation batch_scale
    f_b      saturation tanh(α_b x)/α_b with α_b = nonlinearity · U(0.5, 1.5); the identity at nonlinearity 0
    mixing_i = nonlinearity · √d · T (l_j l_j')/0.5 over k random pairs of the latent coordinates (z_p, s_b + t_l), along
             further directions T: a quadratic interaction of batch and phenotype, which no linear correction removes

Because √d multiplies orthonormal directions, every strength is in the same unit: root mean square per feature.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from trainers.base import FloatArray, IntArray
from trainers.errors import InputError
from trainers.screens.design import balanced_counts, batch_shares, centred, fill_batch, plate_table
from trainers.screens.names import first_few
from trainers.screens.positions import PLATE_LAYOUTS
from trainers.screens.readers import screen_frame
from trainers.screens.table import Screen, make_screen

NEGATIVE_CONTROL = "DMSO"
_POSITIVE_STRENGTH = 2.0
"""Positive controls are this many times as strong as an average perturbation."""

Array = NDArray[np.float64]


class SimulationSpec(BaseModel):
    """A simulated screen. Strengths are root mean squares per feature; `noise` is the natural yardstick."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    batches: int = Field(default=10, ge=2)
    plates_per_batch: int = Field(default=4, ge=1)
    wells_per_plate: Literal[96, 384, 1536] = 384
    features: int = Field(default=500, ge=8)
    perturbations: int = Field(default=80, ge=2, description="Treatments, without controls.")
    targets: int = Field(default=20, ge=1, description="MoA groups that the perturbations are dealt into.")
    controls_per_plate: int = Field(default=16, ge=0, description="Wells of the negative control on every plate.")
    positive_controls: int = Field(default=0, ge=0, description="Perturbations that are positive controls.")
    wells_per_positive: int = Field(default=4, ge=1, description="Wells of each positive control on every plate.")
    latent: int = Field(default=8, ge=2, description="k: directions of the biology, and as many of the batches.")
    overlap: float = Field(
        default=0.5,
        ge=0.0,
        le=1.0,
        description="Share of the biology's variance that lies in the batch directions: at 0 the batch can be removed "
        "at no cost, at 1 removing it removes all biology. Fully realised when batches > latent.",
    )
    imbalance: float = Field(
        default=0.0, ge=0.0, le=1.0, description="0: every perturbation in every batch alike; 1: each in one batch only."
    )
    layout: Literal["random", "fixed"] = Field(
        default="random",
        description="random: wells drawn anew on every plate; fixed: the same on every plate (of a batch, if imbalanced).",
    )
    phenotype: float = Field(default=0.5, ge=0.0, description="Root mean square strength of the active perturbations.")
    moa_share: float = Field(default=0.5, ge=0.0, le=1.0, description="Share of a phenotype's variance its MoA explains.")
    effect_spread: float = Field(default=0.4, ge=0.0, le=2.0, description="Log-normal spread of the strengths.")
    inactive: float = Field(default=0.2, ge=0.0, lt=1.0, description="Share of perturbations without any phenotype.")
    batch_shift: float = Field(default=1.0, ge=0.0)
    plate_shift: float = Field(default=0.3, ge=0.0)
    batch_scale: float = Field(default=0.1, ge=0.0, description="Log-normal spread of each batch's gain per feature.")
    nonlinearity: float = Field(default=0.1, ge=0.0, description="Saturation, and quadratic mixing of batch and biology.")
    row_gradient: float = Field(default=0.2, ge=0.0)
    column_gradient: float = Field(default=0.2, ge=0.0)
    noise: float = Field(default=1.0, ge=0.0, description="Well-to-well variation within a perturbation and plate.")
    seed: int = Field(default=0, ge=0)

    @property
    def treatment_slots(self) -> int:
        """Wells of a plate that hold treatments."""
        return self.wells_per_plate - self.controls_per_plate - self.positive_controls * self.wells_per_positive

    @model_validator(mode="after")
    def _check_sizes(self) -> SimulationSpec:
        """Refuse sizes that do not fit on a plate or into the features."""
        slots = self.treatment_slots
        if slots < 1:
            raise ValueError(f"controls take all {self.wells_per_plate} wells of a plate; lower controls_per_plate")
        room = slots * (self.plates_per_batch if self.layout == "random" else 1)
        if self.perturbations > room:
            where = "batch" if self.layout == "random" else "plate (layout: fixed)"
            raise ValueError(f"{self.perturbations} perturbations do not fit into the {room} treatment wells of a {where}")
        if self.targets > self.perturbations:
            raise ValueError(f"{self.targets} targets for {self.perturbations} perturbations; lower targets")
        if self.imbalance > 0 and self.perturbations < self.batches:
            raise ValueError(f"imbalance needs a perturbation per batch, got {self.perturbations} for {self.batches} batches")
        if self.features < 4 * self.latent:
            raise ValueError(f"{self.features} features hold at most latent = {self.features // 4}, got {self.latent}")
        return self


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


def simulate(spec: SimulationSpec) -> Simulation:
    """Draw a screen. Equal specs give equal screens; each part of the model draws from its own stream of the seed, so a
    changed strength or overlap leaves all other draws as they were.
    """
    layout_rng, basis_rng, effect_rng, batch_rng, noise_rng = np.random.default_rng(spec.seed).spawn(5)
    k, d = spec.latent, spec.features
    basis = np.linalg.qr(basis_rng.standard_normal((d, 4 * k)))[0]
    phenotypes, active, moa = _phenotypes(spec, effect_rng)
    shifts = batch_rng.standard_normal((spec.batches, k)) * spec.batch_shift / np.sqrt(k)
    shifts -= shifts.mean(axis=0)
    wells, batch, plate, perturbation = _wells(spec, layout_rng, moa)
    latents = _latents(spec, batch_rng, noise_rng, wells, phenotypes[perturbation], shifts[batch], plate)
    features = _observe(spec, batch_rng, noise_rng, latents, basis, batch)

    along_batch, along_own = np.sqrt(spec.overlap), np.sqrt(1.0 - spec.overlap)
    directions = along_batch * basis[:, :k] + along_own * basis[:, k : 2 * k]
    treated = phenotypes[:-1]
    counted = np.zeros((len(phenotypes), spec.batches), dtype=np.int64)
    np.add.at(counted, (perturbation, batch), 1)
    names = _perturbation_names(spec)
    truth = {
        "spec": spec.model_dump(),
        "perturbations": names[:-1],
        "targets": [_target_name(group) for group in moa[:-1]],
        "batches": [f"B{number + 1:02d}" for number in range(spec.batches)],
        "active": active[:-1],
        "effect_size": np.linalg.norm(treated, axis=1),
        "phenotypes": np.sqrt(d) * treated @ directions.T,
        "batch_shifts": np.sqrt(d) * shifts @ basis[:, :k].T,
        "batch_directions": basis[:, :k],
        "biology_directions": directions,
        "design": counted[:-1],
    }
    truth |= _realised_overlap(truth["phenotypes"], truth["batch_shifts"], directions)
    return Simulation(make_screen(features, tuple(f"F{number + 1:04d}" for number in range(d)), wells), truth)


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
        "truth.npz": lambda file: np.savez_compressed(file, **arrays),
        "truth.json": lambda file: file.write(text.encode()),
        "screen.parquet": lambda file: screen_frame(simulation.screen).to_parquet(file, index=False),
    }
    present = [name for name in writers if (folder / name).exists()]
    if present and not overwrite:
        raise InputError(f"{folder}: {first_few(present)} already there; name another folder or ask to overwrite")
    folder.mkdir(parents=True, exist_ok=True)
    for name, write in writers.items():
        _write_whole(folder / name, write)
    return folder / "screen.parquet"


def _write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write beside the target, then rename over it."""
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with beside.open("xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _perturbation_names(spec: SimulationSpec) -> list[str]:
    """Treatments, positive controls, then the negative control: the numbering used throughout."""
    width = len(str(spec.perturbations))
    treatments = [f"P{number + 1:0{width}d}" for number in range(spec.perturbations)]
    return [*treatments, *(f"POS{number + 1}" for number in range(spec.positive_controls)), NEGATIVE_CONTROL]


def _target_name(group: int) -> str | None:
    """The name of a MoA group; controls (−1) have none."""
    return None if group < 0 else f"MoA{group + 1:02d}"


def _phenotypes(spec: SimulationSpec, rng: np.random.Generator) -> tuple[Array, NDArray[np.bool_], IntArray]:
    """(P + 1, k) phenotypes z in the biology's directions (the negative control's last, zero), active flags, MoA."""
    count, k = spec.perturbations, spec.latent
    moa = rng.permutation(count) % spec.targets
    common = rng.standard_normal((spec.targets, k))[moa]
    own = rng.standard_normal((count, k))
    direction = (np.sqrt(spec.moa_share) * common + np.sqrt(1.0 - spec.moa_share) * own) / np.sqrt(k)
    strength = np.exp(spec.effect_spread * rng.standard_normal(count) - spec.effect_spread**2)
    strength[rng.permutation(count)[: round(spec.inactive * count)]] = 0.0
    positive = _POSITIVE_STRENGTH * rng.standard_normal((spec.positive_controls, k)) / np.sqrt(k)
    phenotypes = spec.phenotype * np.vstack([strength[:, None] * direction, positive, np.zeros((1, k))])
    groups = np.concatenate([moa, np.full(spec.positive_controls + 1, -1)])
    return phenotypes, np.linalg.norm(phenotypes, axis=1) > 0.0, groups


def _wells(
    spec: SimulationSpec, rng: np.random.Generator, moa: IntArray
) -> tuple[pd.DataFrame, IntArray, IntArray, IntArray]:
    """The wells table, and each well's batch, plate and perturbation as numbers."""
    plates, treatments, slots = spec.plates_per_batch, spec.perturbations, spec.treatment_slots
    shares = batch_shares(treatments, spec.batches, spec.imbalance)
    controls = np.concatenate([
        np.repeat(treatments + np.arange(spec.positive_controls), spec.wells_per_positive),
        np.full(spec.controls_per_plate, treatments + spec.positive_controls),
    ])
    fixed_order = np.arange(treatments)
    fixed_seats = rng.permutation(spec.wells_per_plate)
    placed = np.empty((spec.batches, plates, spec.wells_per_plate), dtype=np.int64)
    for number in range(spec.batches):
        if spec.layout == "fixed":
            counts = balanced_counts(shares[:, number], slots, fixed_order)
            treated = np.tile(fill_batch(counts, 1, fixed_order), (plates, 1))
        else:
            order = rng.permutation(treatments)
            treated = fill_batch(balanced_counts(shares[:, number], slots * plates, order), plates, order)
        for plate in range(plates):
            seats = fixed_seats if spec.layout == "fixed" else rng.permutation(spec.wells_per_plate)
            placed[number, plate, seats] = np.concatenate([treated[plate], controls])
    perturbation = placed.reshape(-1)
    plate = np.repeat(np.arange(spec.batches * plates), spec.wells_per_plate)
    batch = plate // plates
    kinds = np.array(["treatment"] * treatments + ["positive"] * spec.positive_controls + ["negative"], dtype=object)
    targets = np.array([_target_name(group) for group in moa], dtype=object)
    batch_names = np.array([f"B{number + 1:02d}" for number in range(spec.batches)], dtype=object)
    plate_names = np.array([f"{name}-{number + 1}" for name in batch_names for number in range(plates)], dtype=object)
    seats_table = plate_table(*PLATE_LAYOUTS[spec.wells_per_plate])
    wells = pd.concat([seats_table] * (spec.batches * plates), ignore_index=True).assign(
        batch=batch_names[batch],
        plate=plate_names[plate],
        perturbation=np.array(_perturbation_names(spec), dtype=object)[perturbation],
        control_type=kinds[perturbation],
        target=targets[perturbation],
    )
    return wells, batch, plate, perturbation


def _latents(
    spec: SimulationSpec,
    batch_rng: np.random.Generator,
    noise_rng: np.random.Generator,
    wells: pd.DataFrame,
    biology: Array,
    shift: Array,
    plate: IntArray,
) -> FloatArray:
    """(n, 4k) coordinates along batch directions, the biology's own, further and mixing directions."""
    k, plates = spec.latent, spec.batches * spec.plates_per_batch
    technical = shift + (batch_rng.standard_normal((plates, k)) * spec.plate_shift / np.sqrt(k))[plate]
    latents = np.zeros((len(wells), 4 * k), dtype=np.float32)
    latents[:, : 3 * k] = noise_rng.standard_normal((len(wells), 3 * k), dtype=np.float32) * spec.noise / np.sqrt(3 * k)
    latents[:, :k] += np.sqrt(spec.overlap) * biology + technical
    latents[:, k : 2 * k] += np.sqrt(1.0 - spec.overlap) * biology
    rows, columns = PLATE_LAYOUTS[spec.wells_per_plate]
    amplitude = 1.0 + 0.3 * batch_rng.standard_normal((plates, 2))
    latents[:, 2 * k] += spec.row_gradient * amplitude[plate, 0] * centred(wells["row"].to_numpy(np.int64), rows)
    latents[:, 2 * k + 1] += (
        spec.column_gradient * amplitude[plate, 1] * centred(wells["column"].to_numpy(np.int64), columns)
    )
    coordinates = np.hstack([biology, technical])
    pairs = batch_rng.integers(0, 2 * k, size=(2, k))
    latents[:, 3 * k :] = spec.nonlinearity * coordinates[:, pairs[0]] * coordinates[:, pairs[1]] * k
    return latents


def _observe(
    spec: SimulationSpec,
    batch_rng: np.random.Generator,
    noise_rng: np.random.Generator,
    latents: FloatArray,
    basis: Array,
    batch: IntArray,
) -> FloatArray:
    """(n, d) features: mix the latents, then each batch's gain and saturation, then independent noise."""
    features = latents @ (np.sqrt(spec.features) * basis.T).astype(np.float32)
    gain = np.exp(spec.batch_scale * batch_rng.standard_normal((spec.batches, spec.features), dtype=np.float32))
    bend = np.float32(spec.nonlinearity) * batch_rng.uniform(0.5, 1.5, spec.batches).astype(np.float32)
    for number in range(spec.batches):
        here = slice(*np.searchsorted(batch, [number, number + 1]))
        features[here] *= gain[number]
        if bend[number] > 0.0:
            features[here] = np.tanh(bend[number] * features[here]) / bend[number]
    features += noise_rng.standard_normal(features.shape, dtype=np.float32) * np.float32(spec.noise / 2.0)
    return features


def _realised_overlap(phenotypes: Array, shifts: Array, directions: Array) -> dict[str, Any]:
    """How much of the phenotypes' variance lies in the span of the batch shifts that were drawn."""
    _, sizes, right = np.linalg.svd(shifts, full_matrices=False)
    span = right[sizes > 1e-9 * max(float(sizes.max()), 1e-300)].T
    around_mean = phenotypes - phenotypes.mean(axis=0)
    total = float(np.square(around_mean).sum())
    inside = float(np.square(around_mean @ span).sum())
    cosines = np.linalg.svd(directions.T @ span, compute_uv=False) if span.size else np.zeros(0)
    return {"overlap_realised": inside / total if total > 0.0 else 0.0, "principal_cosines": np.clip(cosines, 0.0, 1.0)}


__all__ = ["NEGATIVE_CONTROL", "Simulation", "SimulationSpec", "simulate", "write_simulation"]
