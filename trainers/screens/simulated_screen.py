"""Simulated screens with a known answer: how much of the biology lies where the batches differ.

The model, for well i of perturbation p on plate l of batch b, in d features and k latent directions:

    x_i = f_b( γ_b ⊙ √d · [ V z_p + U τ_l + N ν_i + E r_i + T q_i ] ) + ε_i

    z_p  (k) phenotype: phenotype · strength_p · (√h · c_moa(p) + √(1−h) · e_p), h = moa_share, c and e ~ N(0, I/k);
         strength_p log-normal with mean square 1 and spread effect_spread; 0 for inactive ones and negative controls
    τ_l  (k) shift of plate l: s_b + t_l, s_b ~ N(0, batch_shift² I/k) less its mean over batches,
         t_l ~ N(0, plate_shift² I/k)
    U    (d, k) orthonormal batch directions
    V    √overlap · U + √(1−overlap) · W with W (d, k) orthonormal and orthogonal to U: every principal angle between
         biology and batch has cos² = overlap, so projecting U out removes that share of the phenotypes' variance
    N    [U, W, E], correlated well noise ν_i ~ N(0, noise² I/3k); ε_i ~ N(0, noise²/4) is independent per feature
    E    (d, k) further directions; r_i holds the well's row and column on [−1, 1] times row_gradient, column_gradient
         and each plate's amplitude N(1, 0.3²), and 0 elsewhere
    T    (d, k) mixing directions; q_i = nonlinearity · k · products of k random pairs of the coordinates (z_p, τ_l):
         batch and phenotype interact, which no linear correction undoes
    γ_b  gain of each feature in batch b, log-normal with spread batch_scale
    f_b  saturation tanh(α_b x)/α_b with α_b = nonlinearity · Uniform(0.5, 1.5); the identity at nonlinearity 0

[U, W, E, T] is one orthonormal matrix; √d makes every strength a root mean square per feature.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trainers.base import FloatArray, IntArray
from trainers.screens.positions import PLATE_LAYOUTS
from trainers.screens.profile_simulation import Simulation, write_simulation
from trainers.screens.simulated_design import (
    NEGATIVE_CONTROL,
    batch_names,
    centred,
    draw_wells,
    perturbation_names,
    target_name,
)
from trainers.screens.simulation_spec import SimulationSpec
from trainers.screens.table import make_screen

_POSITIVE_STRENGTH = 2.0
"""Positive controls are this many times as strong as an average perturbation."""

Array = NDArray[np.float64]


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
    wells, batch, plate, perturbation = draw_wells(spec, layout_rng, moa)
    latents = _latents(spec, batch_rng, noise_rng, wells, phenotypes[perturbation], shifts[batch], plate)
    features = _observe(spec, batch_rng, noise_rng, latents, basis, batch)

    along_batch, along_own = np.sqrt(spec.overlap), np.sqrt(1.0 - spec.overlap)
    directions = along_batch * basis[:, :k] + along_own * basis[:, k : 2 * k]
    treated = phenotypes[:-1]
    counted = np.zeros((len(phenotypes), spec.batches), dtype=np.int64)
    np.add.at(counted, (perturbation, batch), 1)
    names = perturbation_names(spec)
    truth = {
        "spec": spec.model_dump(),
        "perturbations": names[:-1],
        "targets": [target_name(group) for group in moa[:-1]],
        "batches": batch_names(spec),
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
    features: FloatArray = latents @ (np.sqrt(spec.features) * basis.T).astype(np.float32)
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
