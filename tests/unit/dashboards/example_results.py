"""A simulated results table with known curves, for the tests of the report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from sweeper.findings.stored_embeddings import EmbeddedRun

COLUMNS = [
    "cell_id",
    "trainer",
    "adversarial_weight",
    "margin",
    "seed",
    "split",
    "view",
    "metric",
    "role",
    "value",
    "status",
    "primary",
    "floor",
    "ceiling",
    "raw",
    "chance",
    "reason",
]
# metric: role, primary, floor, height of its curve above the floor
PANEL = {
    "batch_probe_linear": ("technical", True, 0.0, 1.0),
    "batch_probe_nonlinear": ("technical", False, 0.0, 0.9),
    "batch_mixing": ("technical", True, 0.1, 0.8),
    "activity_map": ("biological", True, 0.05, 0.7),
    "retrieval_map": ("biological", True, 0.02, 0.4),
    "perturbation_accuracy": ("biological", True, 0.02, 0.6),
    "label_nmi": ("biological", False, 0.2, 0.5),
}
BATCHES = 6
LAMBDAS = (0.0, *np.round(np.logspace(-2, 2, 9), 6).tolist())


def biology(weight: float, *, drop_at: float = 1.0, drop: float = 0.45) -> float:
    """Share of the peak signal: a gain around λ = 0.03, then a loss of `drop` around 10**`drop_at`."""
    if weight == 0:
        return 0.75
    x = np.log10(weight)
    return float(0.75 + 0.25 / (1 + np.exp(-4 * (x + 1.5))) - drop / (1 + np.exp(-5 * (x - drop_at))))


def mixing(weight: float) -> float:
    """Share of the batch that is gone: logistic around λ = 0.1."""
    return 0.15 if weight == 0 else float(0.15 + 0.8 / (1 + np.exp(-3 * (np.log10(weight) + 1))))


CONTROLS = {
    "control:raw": (0.05, 0.7),
    "control:batch_standardised": (0.5, 0.8),
    "control:random": (0.98, 0.0),
    "control:label_shuffled": (0.4, 0.05),
}


def simulated_results(
    *,
    views: Sequence[str] = ("held_out_plates", "held_out_batches"),
    margins: Sequence[float] = (0.0, 0.3),
    lambdas: Sequence[float] = LAMBDAS,
    seeds: int = 5,
    sigma: float = 0.015,
    drop: float = 0.45,
    drop_at: float = 1.0,
    unmeasured: Sequence[str] = (),
    lost: dict[tuple[float, int], str] | None = None,
    random_state: int = 0,
) -> pd.DataFrame:
    """The tidy table; `lost` maps (λ, seed) to a status, `unmeasured` metrics have no value but a reason."""
    rng = np.random.default_rng(random_state)
    lost = lost or {}
    rows: list[dict[str, Any]] = []

    def add(trainer: str, weight: float, margin: float, seed: int, split: str, t: float, b: float, status: str) -> None:
        cell = f"{len(rows):016x}"
        for metric, (role, primary, floor, height) in PANEL.items():
            share = t if role == "technical" else b
            value = floor + height * share + rng.normal(0, sigma * height)
            reason = None
            raw = chance = np.nan
            if metric.startswith("batch_probe"):
                chance = 1 / BATCHES
                raw = chance + (1 - chance) * (1 - value)
            if metric in unmeasured:
                value, raw, reason = np.nan, np.nan, "needs at least two wells a label"
            if status != "ok":
                value, raw, reason = np.nan, np.nan, f"{status}: loss not finite at step 12"
            rows.append(
                dict(
                    zip(
                        COLUMNS,
                        [
                            cell,
                            trainer,
                            weight,
                            margin,
                            seed,
                            split,
                            split.split("/")[0],
                            metric,
                            role,
                            value,
                            status,
                            primary,
                            floor,
                            floor + height,
                            raw,
                            chance,
                            reason,
                        ],
                        strict=True,
                    )
                )
            )

    for view in views:
        shift = 0.0 if view == "held_out_plates" else -0.5
        for seed in range(seeds):
            for fold in range(1 if view == "held_out_plates" else 2):
                split = f"{view}/{fold}"
                for margin in margins:
                    for weight in lambdas:
                        b = biology(weight, drop_at=drop_at + shift - margin, drop=drop)
                        add("abra", weight, margin, seed, split, mixing(weight), b, lost.get((weight, seed), "ok"))
                for control, (t, b) in CONTROLS.items():
                    add(control, np.nan, np.nan, seed, split, t, b, "ok")
    return pd.DataFrame(rows, columns=COLUMNS)


def simulated_provenance() -> dict[str, Any]:
    """What a sweep says of itself."""
    return {
        "name": "simulated screen",
        "sweep_id": "0123456789abcdef",
        "created": "2026-01-02T03:04:05Z",
        "versions": {"sweeper": "0.1.0", "python": "3.11.7", "torch": "2.6.0"},
        "fingerprint": "sha256:" + "0" * 64,
        "screen": {"wells": 2304, "features": 200, "batches": BATCHES, "plates": 24, "perturbations": 60},
        "config": "name: simulated screen\nviews:\n  - view: held_out_plates\n",
        "command": "sweeper run configs/demo.yaml",
        "rebuild": "sweeper report .",
        "cells": {"ok": 1, "failed": 0},
        "metrics": {"activity_map": {"title": "Phenotypic activity (mAP)", "direction": "0: chance; 1: best"}},
        "warnings": ["plate P07 has 2 negative controls only"],
    }


def simulated_units(results: pd.DataFrame) -> pd.DataFrame:
    """The biological metrics by batch and perturbation: some gain, and some are lost as the strength grows."""
    cells = results[results["metric"].isin(["activity_map", "retrieval_map", "perturbation_accuracy"])]
    strength = np.log10(1 + cells["adversarial_weight"].fillna(0.0))
    names = {"batch": [f"B{number:02d}" for number in range(BATCHES)], "perturbation": [f"P{i:02d}" for i in range(30)]}
    parts = [
        cells.assign(
            axis=axis, unit=unit, wells=4, fold=0, value=(0.5 + 0.01 * (place - 8) * strength).astype("float32")
        )
        for axis, units in names.items()
        for place, unit in enumerate(units)
    ]
    frame = pd.concat(parts, ignore_index=True)
    return frame.drop(columns=["role", "status", "primary", "floor", "ceiling", "raw", "chance", "reason"])


PLATE_ROWS, PLATE_COLUMNS = 4, 6


class SimulatedEmbeddings:
    """Embeddings of 8 plates in 4 batches with a position effect and a batch effect that λ > 0 removes.

    `fixed` gives every perturbation one position on all plates; `first` is the name of the first perturbation.
    """

    def __init__(self, *, fixed: bool = False, first: str = "P00") -> None:
        count = PLATE_ROWS * PLATE_COLUMNS - 1 if fixed else 10
        self.fixed, self.names = fixed, [first, *(f"P{number:02d}" for number in range(1, count)), "DMSO"]

    def run(self, *, view: str, margin: float, weights: Sequence[float | None]) -> EmbeddedRun:
        assert margin >= 0
        rng = np.random.default_rng(3)
        rows = []
        for plate in range(8):
            layout = np.arange(PLATE_ROWS * PLATE_COLUMNS) % len(self.names)
            if not self.fixed:
                layout = rng.permutation(layout)
            for place, code in enumerate(layout):
                row, column = divmod(place, PLATE_COLUMNS)
                rows.append((f"B{plate // 2}", f"B{plate // 2}-{plate}", self.names[code], code, row + 1, column + 1))
        names = ["batch", "plate", "perturbation", "code", "row", "column"]
        wells = pd.DataFrame(rows, columns=names).astype({"row": "Int64", "column": "Int64"})
        wells["control_type"] = np.where(wells["perturbation"] == "DMSO", "negative", "treatment")
        phenotype, batch = rng.normal(0, 1, (len(self.names), 6)), rng.normal(0, 2, (4, 6))
        noise = rng.normal(0, 0.3, (len(wells), 6))
        signal = phenotype[wells.pop("code")] + noise
        column = wells["column"].to_numpy(dtype=float)
        biased = signal + batch[wells["batch"].factorize()[0]]
        biased[:, 0] += 0.6 * (column - column.mean())
        vectors = tuple((signal if weight else biased).astype(np.float32) for weight in weights)
        return EmbeddedRun(0, f"{view}/0", wells, tuple(weights), vectors)
