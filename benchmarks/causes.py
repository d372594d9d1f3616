"""Screens whose cause is known, with real training: is a gain without correction called one, is what is left said?

make benchmark-causes        (about 25 minutes on two cores; writes benchmarks/causes.json)

Each case is a kind of simulated screen and a trainer; each of its repetitions is drawn, trained (the grid, then the
sham arm), scored and decided as a sweep is. The verdict is made twice of the same stored results: with the batch part
of the panel's T (four detectors) and with the strongest reader alone, which decides by default. Each repetition is a
file under `--work`: stop and start as you like; `--minutes` begins nothing new after that long.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd

from sweeper.arms.arm_rounds import next_round
from sweeper.config.sweep_config import SweepConfig, build_config
from sweeper.decision import Decision, decide_sweep
from sweeper.findings.stored import decision_provenance, results_table
from sweeper.planning.cells import Cell, make_packs
from sweeper.planning.description import sweep_description, versions
from sweeper.planning.prepared import Prepared, prepare
from sweeper.running.worker import PackRun, pack_content

SCREEN = {
    "batches": 4,
    "plates_per_batch": 4,
    "wells_per_plate": 96,
    "features": 48,
    "perturbations": 24,
    "targets": 8,
    "controls_per_plate": 8,
    "latent": 6,
    "overlap": 0.0,
    "inactive": 0.0,
    "plate_shift": 0.0,
    "row_gradient": 0.0,
    "column_gradient": 0.0,
}
SWEEP = {
    "views": [{"view": "held_out_plates", "fraction": 0.5}],
    "held_out_perturbations": 0.25,
    "seeds": 4,
    "metrics": [
        "batch_reader",
        "cilisi",
        "batch_mixing_bras",
        "batch_variance",
        "activity_map",
        "retrieval_map",
        "perturbation_accuracy",
    ],
    "panel": {"units": []},
    "tracking": {"enabled": False},
}
READINGS: dict[str, dict[str, Any]] = {
    "four detectors": {"primary_technical": ("batch_reader", "cilisi", "batch_mixing_bras", "batch_variance")},
    "strongest reader": {"primary_technical": ("batch_reader",)},
}


@dataclass(frozen=True)
class Case:
    """A kind of screen whose cause is known."""

    name: str
    truth: str
    simulate: dict[str, Any]
    abra: dict[str, Any]
    strengths: tuple[float, ...] = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
    margin: float = 0.0


LINEAR = {"steps": 150, "hidden_widths": [], "embedding_dim": 16}
PLAIN = {"batch_shift": 0.0, "batch_scale": 0.0, "nonlinearity": 0.0}
CASES = (
    Case(
        "training",
        "no batch effect; few wells, a long training, noise added in feature space: the weight regularises the encoder",
        {**PLAIN, "phenotype": 0.5},
        {
            "steps": 300,
            "statistics": "random",
            "critic": "none",
            "hidden_widths": [64],
            "embedding_dim": 32,
            "items": 16,
        },
        (0.1, 0.3, 1.0, 3.0, 10.0, 30.0),
        margin=0.3,
    ),
    Case(
        "correction",
        "a shift of each batch, apart from the biology: removing it brings replicates of other batches together",
        {**PLAIN, "batch_shift": 0.5},
        LINEAR,
    ),
    Case(
        "weak",
        "as correction, with a shift that mixing and variance hardly see and that classifiers read all the same",
        {**PLAIN, "batch_shift": 0.2},
        LINEAR,
    ),
    Case("none", "as correction, without any batch effect", PLAIN, LINEAR),
    Case(
        "nonlinear",
        "batches that differ in shift and in the gain of every feature, and a linear critic: the gain stays readable",
        {**PLAIN, "batch_shift": 0.6, "batch_scale": 0.6, "phenotype": 0.6},
        LINEAR,
    ),
)


def configuration(case: Case, repetition: int, folder: Path) -> SweepConfig:
    """The sweep of one repetition of a case."""
    return build_config(
        {
            **SWEEP,
            "name": f"{case.name}-{repetition}",
            "folder": str(folder),
            "simulate": {**SCREEN, **case.simulate, "seed": repetition},
            "strengths": {"adversarial_weight": list(case.strengths), "margin": [case.margin]},
            "abra": case.abra,
        },
        "causes",
    )


def train(sweep: Prepared) -> None:
    """Every cell of the sweep and of the rounds that follow, in this process."""
    cells: tuple[Cell, ...] = sweep.known_cells()
    while True:
        done = sweep.store.finished()
        missing = [cell for cell in cells if cell.cell_id not in done]
        for pack in make_packs(missing, workers=1, training_batches=sweep.batches_of(missing)):
            run = PackRun(sweep.store.write_pack(pack.pack_id, pack_content(pack, sweep.config, replace=frozenset())))
            while run.advance():
                pass
            for _ in run.finish():
                pass
        proposal = next_round(sweep, sweep.store)
        if proposal is None:
            return
        sweep.store.write_proposal(len(sweep.store.proposals()) + 1, proposal)
        cells = sweep.cells_of(proposal)


def decided(sweep: Prepared, results: pd.DataFrame, changes: dict[str, Any]) -> Decision:
    """The decision of the stored results, with other metrics of the batch."""
    settings = sweep.config.decision.model_copy(update=changes)
    return decide_sweep(
        results,
        settings=settings,
        declared=settings,
        provenance=decision_provenance(sweep.store.description(), sweep.store.proposals()),
    )


def told(decision: Decision) -> dict[str, Any]:
    """What a reading says of a screen."""
    curve = decision.curve
    assert curve is not None  # noqa: S101 - every case has cells
    found, estimate = curve.remarks, curve.estimate
    levels = {level.weight: level for level in curve.levels}
    weights = {"0": 0.0, "advised": curve.recommended, "largest": max(levels)}
    at = {
        name: None
        if weight is None or levels[weight].technical is None
        else {
            "strength": weight,
            "removal": round(levels[weight].technical.mean, 4),
            "biology": round(levels[weight].biological.mean, 4),
        }
        for name, weight in weights.items()
    }
    attribution = None if found is None else found.attribution
    return {
        "state": str(decision.rule.state),
        "advised": curve.recommended,
        "firmness": decision.rule.firmness,
        "remarks": [] if found is None else [str(code) for code in found.codes],
        "attributed": None if attribution is None else attribution.verdict,
        "has_effect": bool(estimate and estimate.technical.has_effect),
        "rise": None if estimate is None else round(estimate.technical.rise, 4),
        "at": at,
        "sentence": decision.sentence,
    }


def measured(results: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Metric → λ → mean over seeds, of the real arm; of the reader also how accurately it reads the batch."""
    rows = results[(results["trainer"] == "abra") & (results["status"] == "ok")]
    reader = rows[rows["metric"] == "batch_reader"]
    found = {str(name): _means(group, "value") for name, group in rows.groupby("metric")}
    return {**found, "batch_reader, accuracy": _means(reader, "raw")}


def _means(rows: pd.DataFrame, column: str) -> dict[str, float]:
    means = rows.groupby("adversarial_weight")[column].mean()
    return {f"{weight:g}": round(float(value), 4) for weight, value in means.items()}


def study(case: Case, repetition: int, work: Path, until: float) -> dict[str, Any] | None:
    """One repetition: drawn, trained, scored and decided twice; as it was kept; None where the time is up."""
    kept = work / f"{case.name}-{repetition}.json"
    if kept.exists():
        return dict(json.loads(kept.read_text(encoding="utf-8")))
    if time.time() > until:
        return None
    folder = work / f"{case.name}-{repetition}"
    sweep = prepare(configuration(case, repetition, folder))
    began = time.perf_counter()
    if not (folder / "sweep.json").exists():
        description = sweep_description(sweep, ["causes"])
        sweep.store.create(sweep_id=sweep.sweep_id, description=description, screen=sweep.screen)
    train(sweep)
    results = results_table(sweep.store)
    readings = {name: told(decided(sweep, results, changes)) for name, changes in READINGS.items()}
    found = {
        "case": case.name,
        "repetition": repetition,
        "cells": len(sweep.store.finished()),
        "seconds": round(time.perf_counter() - began, 1),
        "metrics": measured(results),
        "readings": readings,
    }
    kept.write_text(json.dumps(found, ensure_ascii=False), encoding="utf-8")
    shutil.rmtree(folder)
    return found


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Case × reading: how often batch removal counts, what is advised and said, and how much batch is removed."""
    found = []
    for case in CASES:
        own = [row for row in rows if row["case"] == case.name]
        for name in READINGS if own else ():
            readings = [row["readings"][name] for row in own]
            found.append(
                {
                    "case": case.name,
                    "reading": name,
                    "screens": len(own),
                    "removal_counts": sum(reading["has_effect"] for reading in readings),
                    "states": sorted(reading["state"] for reading in readings),
                    "advised": [reading["advised"] for reading in readings],
                    "attributed": [reading["attributed"] for reading in readings],
                    "remarks": sorted({code for reading in readings for code in reading["remarks"]}),
                    "removal": {place: _removal(readings, place) for place in ("0", "advised", "largest")},
                }
            )
    return found


def _removal(readings: list[dict[str, Any]], place: str) -> float | None:
    """Mean over the screens of batch removal at a strength, where there is one."""
    values = [reading["at"][place]["removal"] for reading in readings if reading["at"][place] is not None]
    return round(sum(values) / len(values), 4) if values else None


def main() -> None:
    """Every repetition of every case, then the result file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=4)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--work", type=Path, default=Path("runs/causes"))
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    until = time.time() + 60 * options.minutes
    jobs = [(case, number, options.work, until) for number in range(options.repetitions) for case in CASES]
    rows = []
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        for row in pool.map(study, *zip(*jobs, strict=True)):
            if row is None:
                continue
            rows.append(row)
            print(f"{row['case']} {row['repetition']}: {row['cells']} cells, {row['seconds']} s", flush=True)
            for name, reading in row["readings"].items():
                print(f"  {name}: {reading['state']}, {reading['advised']}, {reading['remarks']}", flush=True)
    rows.sort(key=lambda row: ([case.name for case in CASES].index(row["case"]), row["repetition"]))
    result = {
        "command": "python benchmarks/causes.py",
        "screen": SCREEN,
        "cases": {case.name: {"truth": case.truth, "simulate": case.simulate, "abra": case.abra} for case in CASES},
        "versions": versions(),
        "summary": summary(rows),
        "rows": rows,
    }
    options.out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
