"""Which reader sees which batch effect, how much of it must be left, and does the strongest cry wolf?

make benchmark-readers        (about 10 minutes on one core; writes benchmarks/readers.json)

Simulated screens of 6 batches × 2 plates, a plate with 30 perturbations twice and 12 controls; 24 dimensions, mixed by
a random matrix. Noise of one batch differs from that of another by a shift of its mean, by a scale of each dimension,
by a rotation of its principal axes (other correlations), or by skewness at equal mean and variance; or every plate has
a shift of its own. A removal of 75 % leaves a quarter of the effect. Screens without effect say how often a reader is
wrong. Power is the share of screens on which a reader is above the 95 % limit that permutation of batches inside
perturbations gives it (for the strongest: the limit of the maximum); AUC is how well its accuracy alone tells screens
with what is left from screens without.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.linalg import expm
from scipy.stats import rankdata

from sweeper.installed import versions
from sweeper.metrics.classifier import balanced_accuracy
from sweeper.metrics.evaluation import Evaluation
from sweeper.metrics.panel_options import PanelOptions
from sweeper.metrics.technical.batch_reader import batch_reader
from sweeper.metrics.technical.permuted_maximum import luck_of_the_best
from sweeper.metrics.technical.readers import READERS, by_fold, linear, reading, shared_task
from trainers.base import IntArray

BATCHES, PLATES, PERTURBATIONS, REPLICATES, CONTROLS, DIMENSIONS = 6, 2, 30, 2, 12, 24
PHENOTYPE = 0.6
"""Standard deviation per dimension of a perturbation's profile, times a gamma variable of mean 1; the noise has 1."""
FULL = {"shift": 0.8, "scale": 0.6, "correlation": 1.2, "non-linear": 0.6, "per plate": 0.8}
"""Size of each effect before any removal."""
REMOVED = (0.0, 0.5, 0.75, 0.9)
SCREENS, WITHOUT = 20, 240
STRONGEST = "strongest"
README = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- readers: written by benchmarks/readers.py -->", "<!-- end of readers -->"


def wells() -> pd.DataFrame:
    """The table of wells; positions at random, as they play no part."""
    rng = np.random.default_rng(0)
    positions = [f"{row}{column:02d}" for row in "ABCDEFGH" for column in range(1, 13)]
    names = [f"p{number:02d}" for number in range(PERTURBATIONS) for _ in range(REPLICATES)] + ["DMSO"] * CONTROLS
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "batch": f"b{batch}",
                    "plate": f"b{batch}p{plate}",
                    "well": rng.choice(positions, len(names), replace=False),
                    "perturbation": names,
                    "control_type": ["negative" if name == "DMSO" else "treatment" for name in names],
                }
            )
            for batch in range(BATCHES)
            for plate in range(PLATES)
        ],
        ignore_index=True,
    )


def embedding(table: pd.DataFrame, kind: str, size: float, seed: int) -> NDArray[np.float32]:
    """(n, 24) one screen with so much of a kind of batch effect; 0: none, whatever the kind."""
    rng = np.random.default_rng([seed, 31])
    batch, plate, label = (
        np.unique(table[name], return_inverse=True)[1] for name in ("batch", "plate", "perturbation")
    )
    profiles = (
        PHENOTYPE * rng.gamma(1.0, 1.0, (PERTURBATIONS + 1, 1)) * rng.normal(size=(PERTURBATIONS + 1, DIMENSIONS))
    )
    profiles[0] = 0.0  # DMSO
    noise = rng.normal(size=(len(table), DIMENSIONS)) * np.linspace(0.4, 1.6, DIMENSIONS)
    if kind in ("shift", "per plate"):
        codes = batch if kind == "shift" else plate
        noise += size * rng.normal(size=(codes.max() + 1, DIMENSIONS))[codes]
    elif kind == "scale":
        noise *= np.exp(size * rng.normal(size=(BATCHES, DIMENSIONS)))[batch]
    elif kind == "correlation":
        for code in range(BATCHES):
            turn = rng.normal(size=(DIMENSIONS, DIMENSIONS)) / np.sqrt(DIMENSIONS)
            noise[batch == code] = noise[batch == code] @ expm(size * (turn - turn.T))
    elif kind == "non-linear":
        bend = size * rng.normal(size=(BATCHES, DIMENSIONS))[batch]
        spread = np.linspace(0.4, 1.6, DIMENSIONS)
        standard = noise / spread
        noise = spread * (standard + bend * (standard**2 - 1.0)) / np.sqrt(1.0 + 2.0 * bend**2)
    mixed = np.eye(DIMENSIONS) + 0.7 * rng.normal(size=(DIMENSIONS, DIMENSIONS)) / np.sqrt(DIMENSIONS)
    return ((noise + profiles[label]) @ mixed).astype(np.float32)


def read(table: pd.DataFrame, rows: NDArray[np.float32], seed: int) -> dict[str, tuple[float, float, float]]:
    """Reader → its balanced accuracy, and mean and limit of luck; those of the maximum for the strongest."""
    none, no_wells = rows[:0], table.iloc[:0]
    evaluation = Evaluation(
        test=rows,
        test_wells=table,
        train=none,
        train_wells=no_wells,
        validation=none,
        validation_wells=no_wells,
        view="simulated",
        seed=seed,
        options=PanelOptions(),
    )
    whole = batch_reader(evaluation)
    given = evaluation.once(shared_task("batch"))
    if given is None or whole.raw is None or whole.chance is None or whole.limit is None:
        raise SystemExit(whole.reason)
    found = {STRONGEST: (whole.raw, whole.chance, whole.limit)}
    others = {name: by_fold(evaluation, given, predict=predict) for name, predict in ALSO_TRIED.items()}
    for name in (*READERS, *others):
        predicted = [others[name] if name in others else evaluation.once(reading(name, "batch"))]
        luck = luck_of_the_best(predicted, given.labels, evaluation.code("perturbation"), given.rows)
        levels = (luck.accuracy(0, luck.best), luck.accuracy(0, luck.limit))
        found[name] = (balanced_accuracy(given.labels, predicted[0]), *levels)
    return found


def fourier(rows: NDArray[Any], labels: IntArray, further: NDArray[Any]) -> IntArray:
    """Linear discriminant analysis of the features and 128 random Fourier features of a kernel as wide as the data."""
    mean, std = rows.mean(axis=0), np.maximum(rows.std(axis=0), 1e-6)
    rng = np.random.default_rng(0)
    axes = rng.normal(size=(rows.shape[1], 128)) / np.sqrt(rows.shape[1])
    phase = rng.uniform(0.0, 2.0 * np.pi, 128)
    both = [np.hstack([(of - mean) / std, np.cos((of - mean) / std @ axes + phase)]) for of in (rows, further)]
    return linear(both[0], labels, both[1])


def squares(rows: NDArray[Any], labels: IntArray, further: NDArray[Any]) -> IntArray:
    """Linear discriminant analysis of the features and their squares."""
    mean = rows.mean(axis=0)
    both = [np.hstack([of - mean, (of - mean) ** 2]) for of in (rows, further)]
    return linear(both[0], labels, both[1])


ALSO_TRIED = {"fourier": fourier, "squares": squares}
"""Readers that are not in the set, beside it."""


def area(values: NDArray[np.float64], others: NDArray[np.float64]) -> float:
    """Share of pairs in which the value is above the other; ties count half."""
    ranks = rankdata(np.concatenate([values, others]))[: len(values)]
    return float((ranks.sum() - len(values) * (len(values) + 1) / 2) / (len(values) * len(others)))


def main() -> None:
    """Simulate, read and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, default=Path(__file__).with_suffix(".json"))
    parser.add_argument("--screens", type=int, default=SCREENS, help=f"a kind and removal (default {SCREENS})")
    parser.add_argument("--without", type=int, default=WITHOUT, help=f"screens without effect (default {WITHOUT})")
    options = parser.parse_args()
    table, names = wells(), [STRONGEST, *READERS, *ALSO_TRIED]
    without = [read(table, embedding(table, "none", 0.0, seed), seed) for seed in range(options.without)]
    quiet = {name: np.array([found[name] for found in without]) for name in names}
    rows: list[dict[str, Any]] = []
    for kind, full in FULL.items():
        for removed in REMOVED:
            seeds = range(10_000, 10_000 + options.screens)
            found = [read(table, embedding(table, kind, (1.0 - removed) * full, seed), seed) for seed in seeds]
            of = {name: np.array([one[name] for one in found]) for name in names}
            rows.append(
                {
                    "kind": kind,
                    "removed": removed,
                    "accuracy": {name: round(float(of[name][:, 0].mean()), 4) for name in names},
                    "auc": {name: round(area(of[name][:, 0], quiet[name][:, 0]), 4) for name in names},
                    "power": {name: round(float((of[name][:, 0] > of[name][:, 2]).mean()), 4) for name in names},
                }
            )
            print(kind, removed, rows[-1]["power"], flush=True)
    result = {
        "schema": "readers/1",
        "versions": versions(),
        "chance": round(1.0 / BATCHES, 4),
        "screens": options.screens,
        "without": options.without,
        "full": FULL,
        "no_effect": {
            name: {
                "accuracy": round(float(of[:, 0].mean()), 4),
                "std": round(float(of[:, 0].std(ddof=1)), 4),
                "luck": round(float(of[:, 1].mean()), 4),
                "false_alarm": round(float((of[:, 0] > of[:, 2]).mean()), 4),
            }
            for name, of in quiet.items()
        },
        "rows": rows,
    }
    options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    README.write_text(with_table(README.read_text(encoding="utf-8"), result), encoding="utf-8")


def with_table(text: str, result: Mapping[str, Any]) -> str:
    """The text with the tables of a result between their two markers."""
    names = list(result["no_effect"])
    head = ["|---" * (len(names) + 1) + "|"]
    lines = [f"| no effect, {result['without']} screens | {' | '.join(names)} |", *head]
    for key, title in (("accuracy", "accuracy"), ("luck", "chance level"), ("false_alarm", "false alarm")):
        quiet = result["no_effect"]
        lines.append(f"| {title} | {' | '.join(f'{quiet[name][key]:.3f}' for name in names)} |")
    for key, title in (("power", "power"), ("auc", "AUC"), ("accuracy", "accuracy")):
        lines += ["", f"| {title}; effect, removed | {' | '.join(names)} |", *head]
        for row in result["rows"]:
            numbers = " | ".join(f"{row[key][name]:.2f}" for name in names)
            lines.append(f"| {row['kind']}, {row['removed']:.0%} | {numbers} |")
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n" + "\n".join(lines) + f"\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    main()
