"""Controls: cheap embeddings without training, the reference lines of every sweep.

Corrections to be beaten: raw (none), batch_standardised, plate_control_centred, sphering. Faults with a known verdict:
random (no information at all), label_shuffled (the batch is kept and the biology is gone), identities_permuted
(batches mixed, but perturbations swapped between them), one_hot_jitter (the labels themselves: what a leak would
score).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweeper.metrics.catalogue import CONTROLS
from sweeper.metrics.classifier import shrunken_covariance
from trainers.base import FloatArray, IntArray
from trainers.errors import InputError
from trainers.screens.normalise import normalise

_RANDOM_DIMENSION = 64
_LABEL_DIMENSION = 256
_JITTER = 0.01
_FEWEST_CONTROLS = 10


class UnavailableControlError(Exception):
    """The control cannot be made for this screen; the message is the reason given in its place."""


def control_embedding(
    name: str, features: FloatArray, wells: pd.DataFrame, *, train_rows: IntArray, seed: int
) -> FloatArray:
    """(n, e) float32 embedding of every row of the screen; e = d unless said otherwise.

    Args:
        name: one of CONTROLS. "raw": z-scored by the training rows. "random": independent standard normal, e = 64.
            "label_shuffled": the rows of "raw" permuted inside each batch. "batch_standardised": each batch to mean 0
            and std 1 by its own rows, test batches too, without labels; then z-scored by the training rows.
            "plate_control_centred": "raw" less the mean of its plate's negative controls. "sphering": that, whitened
            by the shrunken covariance of the negative controls among the training rows (as in typical-variation
            normalisation, Ando et al., bioRxiv 2017, doi:10.1101/161422). "identities_permuted": in each batch of
            "batch_standardised", perturbations trade their rows. "one_hot_jitter": the perturbation, one-hot, plus
            noise of std 0.01 (more than 256 perturbations: a random code of 256 dimensions each).
        features: (n, d) float32.
        wells: n rows of `Screen.wells`.
        train_rows: row numbers that z-scores and covariances are taken from.
        seed: of the random draws; corrections have none.

    Raises:
        InputError: an unknown name.
        UnavailableControlError: the screen lacks what the control is made from.
    """
    if name not in CONTROLS:
        raise InputError(f"control: {name!r} is none of {', '.join(CONTROLS)}")
    if name == "random":
        return np.random.default_rng([seed, 3]).standard_normal((len(features), _RANDOM_DIMENSION), dtype=np.float32)
    if name == "one_hot_jitter":
        return _labels(wells, np.random.default_rng([seed, 6]))
    if name in ("batch_standardised", "identities_permuted"):
        standardised = _z_score(normalise(features, wells, "batch"), train_rows)
        if name == "batch_standardised":
            return standardised
        return standardised[_traded(wells, np.random.default_rng([seed, 5]))]
    raw = _z_score(features, train_rows)
    if name == "raw":
        return raw
    if name == "label_shuffled":
        return raw[_permuted(wells, np.random.default_rng([seed, 4]))]
    centred = _centred(raw, wells)
    return centred if name == "plate_control_centred" else _sphered(centred, wells, train_rows)


def _z_score(features: FloatArray, train_rows: IntArray) -> FloatArray:
    values = features[train_rows].astype(np.float64)
    mean, std = values.mean(axis=0), values.std(axis=0)
    std[std <= np.finfo(np.float32).eps * np.abs(mean)] = 1.0
    standard: FloatArray = ((features - mean) / std).astype(np.float32)
    return standard


def _permuted(wells: pd.DataFrame, rng: np.random.Generator) -> IntArray:
    """(n,) row numbers permuted inside each batch."""
    source = np.arange(len(wells))
    for rows in wells.groupby("batch", sort=True).indices.values():
        source[rows] = rng.permutation(rows)
    return source


def _centred(raw: FloatArray, wells: pd.DataFrame) -> FloatArray:
    negative = _negative(wells)
    centred = raw.copy()
    names, plates = np.unique(wells["plate"].to_numpy(dtype=str), return_inverse=True)
    for number, name in enumerate(names):
        rows = np.flatnonzero(plates == number)
        chosen = rows[negative[rows]]
        if not len(chosen):
            raise UnavailableControlError(f"plate {str(name)!r} has no negative controls to centre on")
        centred[rows] -= raw[chosen].mean(axis=0, dtype=np.float64)
    return centred


def _sphered(centred: FloatArray, wells: pd.DataFrame, train_rows: IntArray) -> FloatArray:
    chosen = train_rows[_negative(wells)[train_rows]]
    if len(chosen) < _FEWEST_CONTROLS:
        raise UnavailableControlError(
            f"{len(chosen)} negative controls among the training rows, {_FEWEST_CONTROLS} are needed to whiten by"
        )
    controls = centred[chosen].astype(np.float64)
    variance, axes = np.linalg.eigh(shrunken_covariance(controls - controls.mean(axis=0)))
    sphered: FloatArray = (centred @ (axes / np.sqrt(variance)) @ axes.T).astype(np.float32)
    return sphered


def _traded(wells: pd.DataFrame, rng: np.random.Generator) -> IntArray:
    """(n,) row numbers, a permutation inside each batch: perturbation p takes the rows of another one, q(p, batch).

    Negative controls keep theirs. Where p has more rows than q, the rest are rows that other perturbations left over.
    """
    perturbation = wells["perturbation"].to_numpy(dtype=str)
    treated = ~_negative(wells)
    source = np.arange(len(wells))
    batches = np.unique(wells["batch"].to_numpy(dtype=str), return_inverse=True)[1]
    for batch in range(batches.max() + 1):
        rows = np.flatnonzero((batches == batch) & treated)
        names = np.unique(perturbation[rows])
        of = {name: rows[perturbation[rows] == name] for name in names}
        free = np.ones(len(wells), dtype=bool)
        waiting = []
        for name, other in zip(names, rng.permutation(names), strict=True):
            count = min(len(of[name]), len(of[other]))
            source[of[name][:count]] = of[other][:count]
            free[of[other][:count]] = False
            waiting.append(of[name][count:])
        source[np.concatenate([*waiting, rows[:0]])] = rows[free[rows]]
    if np.array_equal(source, np.arange(len(wells))):
        raise UnavailableControlError("no batch has two perturbations that could trade their wells")
    return source


def _labels(wells: pd.DataFrame, rng: np.random.Generator) -> FloatArray:
    names, code = np.unique(wells["perturbation"].to_numpy(dtype=str), return_inverse=True)
    one_hot = len(names) <= _LABEL_DIMENSION
    codes = (
        np.eye(len(names))
        if one_hot
        else rng.standard_normal((len(names), _LABEL_DIMENSION)) / np.sqrt(_LABEL_DIMENSION)
    )
    noise = _JITTER * rng.standard_normal((len(code), codes.shape[1]), dtype=np.float32)
    return codes.astype(np.float32)[code] + noise


def _negative(wells: pd.DataFrame) -> NDArray[np.bool_]:
    return np.asarray(wells["control_type"] == "negative", dtype=bool)


__all__ = ["UnavailableControlError", "control_embedding"]
