"""What the panel says of embeddings whose fault is known: is each fault seen, and by which metric?

make benchmark-panel        (about a minute on one core; writes benchmarks/panel.json)

A simulated screen of 4 batches × 3 plates, 60 perturbations of 12 targets (70 % of them active) once a plate at random
positions and 24 controls a plate; 64 dimensions, additive batch effect. Every embedding is a known treatment of it.
Beside it the real table of configs/jump_source3.yaml.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweeper.config.sweep_config import load_config
from sweeper.installed import versions
from sweeper.metrics.composites import composites
from sweeper.metrics.controls import control_embedding
from sweeper.metrics.panel import score_table
from sweeper.metrics.panel_options import PanelOptions
from sweeper.metrics.probes.pseudo_batch import residualise
from sweeper.planning.prepared import load_screen
from trainers.screens.normalise import normalise

BATCHES, PLATES, PERTURBATIONS, TARGETS, CONTROLS, DIMENSIONS = 4, 3, 60, 12, 24, 64
ACTIVE = 0.7
BATCH, PLATE, TARGET, OWN = 0.8, 0.45, 0.55, 0.3
"""Standard deviations per dimension of the effects of batch and plate and of the phenotype's two parts; the noise has
1."""
SEEDS = (0, 1, 2)

TITLES = {
    "T": "T, anchored",
    "B": "B, anchored",
    "geometric": "√(T·B)",
    "retention": "R, phenotype kept inside batches",
    "scib": "0.4/0.6 of raw numbers",
}
JUMP = Path(__file__).parent.parent / "configs/jump_source3.yaml"
README = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- panel: written by benchmarks/panel.py -->", "<!-- end of panel -->"

SCIB_BATCH = ("asw_batch", "graph_connectivity", "kbet_controls", "ilisi")
SCIB_BIOLOGY = ("pasw", "label_nmi", "label_ari", "activity_map", "retrieval_map")


def design(rng: np.random.Generator) -> pd.DataFrame:
    """The table of wells."""
    positions = [f"{row}{column:02d}" for row in "ABCDEFGH" for column in range(1, 13)]
    labels = np.array([f"p{number:02d}" for number in range(PERTURBATIONS)] + ["DMSO"] * CONTROLS)
    plates = [
        pd.DataFrame(
            {
                "batch": f"b{batch}",
                "plate": f"b{batch}p{plate}",
                "well": rng.choice(positions, len(labels), replace=False),
                "perturbation": labels,
                "control_type": np.where(labels == "DMSO", "negative", "treatment"),
                "target": [None if name == "DMSO" else f"t{int(name[1:]) % TARGETS}" for name in labels],
            }
        )
        for batch in range(BATCHES)
        for plate in range(PLATES)
    ]
    return pd.concat(plates, ignore_index=True)


def embeddings(seed: int) -> tuple[pd.DataFrame, dict[str, NDArray[np.float32]]]:
    """The wells and every treatment of the same simulated screen, by name."""
    rng = np.random.default_rng(seed)
    wells = design(rng)
    treated = (wells["perturbation"] != "DMSO").to_numpy()
    number = np.where(treated, wells["perturbation"].str[1:].where(treated, "0").astype(int), 0)
    batch = wells["batch"].str[1:].astype(int).to_numpy()
    profile = TARGET * rng.normal(size=(TARGETS, DIMENSIONS))[np.arange(PERTURBATIONS) % TARGETS]
    profile += OWN * rng.normal(size=(PERTURBATIONS, DIMENSIONS))
    profile[rng.permutation(PERTURBATIONS)[round(ACTIVE * PERTURBATIONS) :]] = 0.0
    signal = np.where(treated[:, None], profile[number], 0.0)
    noise = rng.normal(size=signal.shape)
    offset = BATCH * rng.normal(size=(BATCHES, DIMENSIONS))
    offset -= offset.mean(axis=0)
    oracle = signal + noise
    plate = wells["plate"].str[-1].astype(int).to_numpy()
    of_plate = (PLATE * rng.normal(size=(BATCHES, PLATES, DIMENSIONS)))[batch, plate]
    raw = oracle + offset[batch] + of_plate

    centred = raw.copy()
    shuffled = np.arange(len(wells))
    for rows in wells.groupby("plate").indices.values():
        centred[rows] -= raw[rows][~treated[rows]].mean(axis=0)
        shuffled[rows] = rng.permutation(rows)
    swapped = np.stack([rng.permutation(PERTURBATIONS) for _ in range(BATCHES)])[batch, number]
    mean = np.zeros_like(oracle)
    for rows in wells.groupby("perturbation").indices.values():
        mean[rows] = oracle[rows].mean(axis=0)
    sphered = control_embedding("sphering", raw.astype(np.float32), wells, train_rows=np.arange(len(raw)), seed=0)
    found = {
        "exact removal": oracle,
        "centred on controls": centred,
        "sphered": sphered,
        "partial": oracle + offset[batch // 2] + of_plate / 2,
        "exact removal + noise": oracle + 2.2 * rng.normal(size=oracle.shape),
        "raw": raw,
        "25 % signal": 0.25 * signal + noise,
        "misaligned": np.where(treated[:, None], profile[swapped], 0.0) + noise,
        "shuffled": oracle[shuffled],
        "noise": rng.normal(size=oracle.shape),
        "leak": mean + 0.05 * noise,
    }
    return wells, {name: rows.astype(np.float32) for name, rows in found.items()}


def totals(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """The anchored composites, the retention guard, and the field's 0.4/0.6 total where all its numbers are there."""
    found = composites(rows.values())
    both = (found.technical, found.biological, found.geometric)
    values = dict(zip(("T", "B", "geometric"), (float(value or 0.0) for value in both), strict=True))
    if "within_batch_retention" in rows:
        values["retention"] = float(rows["within_batch_retention"]["raw"])
    if rows.keys() >= {*SCIB_BATCH, *SCIB_BIOLOGY}:
        batch, biology = (float(np.mean([rows[name]["raw"] for name in part])) for part in (SCIB_BATCH, SCIB_BIOLOGY))
        values["scib"] = 0.4 * batch + 0.6 * biology
    return values


def panel_of(
    wells: pd.DataFrame,
    rows: NDArray[np.float32],
    metrics: Sequence[str] | None = None,
    options: PanelOptions | None = None,
    reference: NDArray[np.float32] | None = None,
) -> dict[str, dict[str, Any]]:
    """The measurable metrics of one embedding, by name; `reference`: the uncorrected features."""
    panel = score_table(rows, wells, metrics=metrics, options=options, reference=reference)
    if panel.status != "ok":
        raise SystemExit(panel.reason)
    return {row["metric"]: row for row in panel.rows if row["value"] is not None}


def main() -> None:
    """Score every embedding at every seed and write the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, default=Path(__file__).with_suffix(".json"))
    options = parser.parse_args()
    found: dict[str, list[dict[str, Any]]] = {}
    for seed in SEEDS:
        wells, treatments = embeddings(seed)
        for name, rows in treatments.items():
            panel = panel_of(wells, rows, reference=treatments["raw"])
            found.setdefault(name, []).append({"metrics": _numbers(panel), "composites": totals(panel)})
            print(seed, name, {key: round(value, 3) for key, value in totals(panel).items()}, flush=True)
    result = {
        "command": "make benchmark-panel",
        "seeds": list(SEEDS),
        "versions": versions(),
        "embeddings": {name: _mean(runs) for name, runs in found.items()},
        "jump": _mean([jump()]),
    }
    options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    README.write_text(with_table(README.read_text(encoding="utf-8"), result), encoding="utf-8")


def with_table(text: str, result: Mapping[str, Any]) -> str:
    """The text with the tables of a result between their two markers."""
    lines = _table(f"simulated; raw number, mean of {len(result['seeds'])} seeds", result["embeddings"])
    lines += ["", *_table("real table; raw number", result["jump"])]
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n" + "\n".join(lines) + f"\n{END}{rest.split(END)[1]}"


def _table(title: str, treatments: Mapping[str, Any]) -> list[str]:
    lines = [f"| {title} | {' | '.join(treatments)} |", "|---" * (len(treatments) + 1) + "|"]
    first = next(iter(treatments.values()))
    for metric in first["metrics"]:
        measured = [found["metrics"].get(metric) for found in treatments.values()]
        numbers = ["–" if row is None else f"{row['raw']:.3f}" for row in measured]
        lines.append(f"| `{metric}` | {' | '.join(numbers)} |")
    for key in first.get("composites", ()):
        totals_of = [found["composites"].get(key) for found in treatments.values()]
        numbers = ["–" if value is None else f"{value:.2f}" for value in totals_of]
        lines.append(f"| **{TITLES[key]}** | {' | '.join(numbers)} |")
    return lines


def jump() -> dict[str, Any]:
    """The real table, z-scored, centred per batch and per plate, and standardised per batch."""
    config = load_config(JUMP)
    screen = load_screen(config)
    raw = control_embedding("raw", screen.features, screen.wells, train_rows=np.arange(len(screen)), seed=0)
    treatments = {
        "z-scored": raw,
        "batch-centred": residualise(raw, screen.wells),
        "plate-centred": residualise(raw, screen.wells.assign(batch=screen.wells["plate"])),
        "batch-standardised": normalise(screen.features, screen.wells, "batch"),
    }
    found = {}
    for name, rows in treatments.items():
        panel = panel_of(screen.wells, rows, options=config.panel, reference=screen.features)
        found[name] = {"metrics": _numbers(panel), "composites": totals(panel)}
        print("jump", name, {key: round(value, 3) for key, value in totals(panel).items()}, flush=True)
    return found


def _numbers(panel: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    return {
        metric: {key: row[key] for key in ("value", "floor", "ceiling", "raw", "chance")}
        for metric, row in panel.items()
    }


def _mean(runs: Sequence[Any]) -> Any:
    """Mean over runs of every number of equal trees; of what a run lacks, over those that have it."""
    if isinstance(runs[0], dict):
        keys = dict.fromkeys(key for run in runs for key in run)
        return {key: _mean([run[key] for run in runs if key in run]) for key in keys}
    return round(float(np.mean(runs)), 4)


if __name__ == "__main__":
    main()
