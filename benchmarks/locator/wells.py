"""Tier B: over-correction without any network, by the panel's own metrics on simulated wells.

80 perturbations in 2 wells of each of 4 batches; phenotype y_p ~ N(0, diag a), batch shift ~ N(0, diag c), well noise,
and the filter w_j = a_j / (a_j + λ·c_j) in place of an encoder. Strong filters leave few directions, in which wells of
different perturbations are neighbours by chance. Truth by Monte Carlo: the mean curve of each metric over all data
sets; a data set at every strength is one seed of a sweep.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from benchmarks.locator.methods import locator
from benchmarks.locator.shapes import Sweep
from benchmarks.locator.tables import measure
from sweeper.decision.inference.noise import positions
from sweeper.metrics.panel import score_table

Array = NDArray[np.float64]
PERTURBATIONS, BATCHES, WELLS, DIRECTIONS = 80, 4, 2, 32
NOISE, ENCODER = 0.7, 0.1
BIOLOGICAL, TECHNICAL = "retrieval_map", "batch_probe_linear"
STRENGTHS = (0.0, *(float(v) for v in np.logspace(-2, 3, 12)))
REPETITIONS = 200
DECAY = 1.0  # of the phenotype's variance over directions, in e-folds over all of them
RATIO = (0.2, 1.0)  # mean and s.d. of log10(c/a)


def directions() -> tuple[Array, Array]:
    """Variances a of the phenotype and c of the batch in each direction: one world, not one draw of it."""
    rng = np.random.default_rng(11)
    a = np.exp(-DECAY * np.arange(DIRECTIONS) / DIRECTIONS)
    a *= DIRECTIONS / a.sum()
    return a, a * 10 ** rng.normal(*RATIO, DIRECTIONS)


def wells() -> pd.DataFrame:
    """Every perturbation in the same number of wells of every batch."""
    rng = np.random.default_rng(10)
    places = np.array([f"{row}{column:02d}" for row in "ABCDEFGH" for column in range(1, 13)])
    plates = [
        pd.DataFrame(
            {
                "batch": f"b{batch}",
                "plate": f"b{batch}p{plate}",
                "well": rng.permutation(places)[:PERTURBATIONS],
                "perturbation": [f"p{number}" for number in range(PERTURBATIONS)],
            }
        )
        for batch in range(BATCHES)
        for plate in range(WELLS)
    ]
    return pd.concat(plates, ignore_index=True)


def data_set(seed: int, table: pd.DataFrame) -> Array:
    """(n, 2, d) uncorrected features of one data set, and the encoder's noise that is added after the filter.

    Without that noise the filter could be inverted, and a linear probe would lose nothing.
    """
    rng = np.random.default_rng((12, seed))
    a, c = directions()
    phenotype = rng.standard_normal((PERTURBATIONS, DIRECTIONS)) * np.sqrt(a)
    shift = rng.standard_normal((BATCHES, DIRECTIONS)) * np.sqrt(c)
    rows = table["perturbation"].str[1:].astype(int), table["batch"].str[1:].astype(int)
    noise = NOISE * rng.standard_normal((len(table), DIRECTIONS))
    own = ENCODER * rng.standard_normal((len(table), DIRECTIONS))
    return np.stack([phenotype[rows[0]] + shift[rows[1]] + noise, own], axis=1)


def measured(features: Array, strengths: Sequence[float], table: pd.DataFrame) -> Array:
    """(L, 2) raw biological metric above chance and technical metric at each strength."""
    a, c = directions()
    found = np.full((len(strengths), 2), np.nan)
    for level, strength in enumerate(strengths):
        embedding = features[:, 0] * (a / (a + strength * c)) + features[:, 1]
        for row in score_table(embedding, table, metrics=(BIOLOGICAL, TECHNICAL)).rows:
            above = row["raw"] - (row["chance"] if row["metric"] == BIOLOGICAL else 0.0)
            found[level, (BIOLOGICAL, TECHNICAL).index(row["metric"])] = above
    return found


def measure_all(folder: Path, count: int, until: float) -> Array:
    """(N, L, 2) of the data sets there are; each is a file, so that a stop loses nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    table = wells()
    for seed in range(count):
        path = folder / f"{seed:04d}.json"
        if not path.exists() and time.monotonic() < until:
            found = measured(data_set(seed, table), STRENGTHS, table)
            path.write_text(json.dumps(found.tolist()), encoding="utf-8")
    return np.array([json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))])


def located(found: Array, delta: float, seeds: int, repetitions: int) -> dict[str, Any]:
    """The locator on sweeps of `seeds` data sets drawn from all of them, against the mean curve of all.

    Sweeps share data sets, so repetitions are not independent; the Monte Carlo error that is stated counts the disjoint
    sweeps only.
    """
    biology = found[:, :, 0]
    x = positions(STRENGTHS)
    fine = np.linspace(x[0], x[-1], 5001)
    mean = CubicSpline(x, biology.mean(axis=0))(fine)  # straight lines would cut the peak and put the loss too early
    peak = np.maximum.accumulate(mean)
    over = (peak - mean) / peak >= delta
    true = float(fine[np.argmax(over)]) if over.any() else np.inf
    rng = np.random.default_rng(13)
    rows = []
    for repetition in range(repetitions):
        chosen = rng.choice(len(biology), seeds, replace=False)
        sweep = Sweep(STRENGTHS, biology[chosen].T, found[chosen, :, 1].mean(axis=0))
        rows.append(locator(sweep, delta, repetition).to_json())
    return measure(rows, true) | {"disjoint_sweeps": len(biology) // seeds}


def summary(folder: Path, count: int, until: float) -> dict[str, Any]:
    """Mean curves of both metrics, and the locator against them."""
    found = measure_all(folder, count, until)
    return {
        "data_sets": len(found),
        "strengths": list(STRENGTHS),
        "retrieval_map_above_chance": found[:, :, 0].mean(axis=0).round(4).tolist(),
        "batch_probe_linear": found[:, :, 1].mean(axis=0).round(4).tolist(),
        "chance_of_the_probe": 1 / BATCHES,
        "located": {f"{delta:g}": located(found, delta, 5, REPETITIONS) for delta in (0.05, 0.10)},
    }
