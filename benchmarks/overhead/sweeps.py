"""Whole sweeps with real Ray and a real mirror, and the same cells by a plain Ray Tune script with MLflow callback."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from sweeper.config.sweep_config import SweepConfig, build_config
from sweeper.planning.cells import PackPlan, make_cells
from sweeper.planning.prepared import prepare
from sweeper.running.sweep import Event
from sweeper.running.worker import PackRun, pack_content
from sweeper.store.store import Store

# 1,800 rows × 65 features, as the real table in configs/jump_source3.yaml; strengths × seeds are given by `sized`.
CONFIG: dict[str, Any] = {
    "name": "overhead",
    "simulate": {
        "batches": 9,
        "plates_per_batch": 2,
        "wells_per_plate": 96,
        "features": 65,
        "perturbations": 8,
        "targets": 4,
        "controls_per_plate": 8,
        "phenotype": 1.0,
        "seed": 1,
    },
    "views": [{"view": "held_out_plates", "fraction": 0.5}],
    "sham": {"enabled": False},
    "pseudo": {"enabled": False},
    "confirm": {"seeds": 0},
    "optuna": {"rounds": 0},
}


def sized(cells: int, folder: Path) -> SweepConfig:
    """A sweep of about `cells` cells: 8 strengths, and as many seeds as it takes; its controls come on top."""
    strengths = {"adversarial_weight": {"low": 0.3, "high": 300, "count": 7}, "margin": [0.0]}
    return build_config(
        {**CONFIG, "strengths": strengths, "seeds": max(2, round(cells / 8)), "folder": str(folder)}, __file__
    )


def swept(cells: int, folder: Path) -> dict[str, Any]:
    """Run a sweep from its configuration to its report; the share of its worker time that trained or scored nothing."""
    import sweeper
    from sweeper.planning.estimate import local_workers

    config = sized(cells, folder)
    first: list[float] = []

    def follow(event: Event) -> None:
        if not first and (event.training > 0 or event.kind == "cells"):
            first.append(time.perf_counter() - began)

    began = time.perf_counter()
    sweep = sweeper.run(config, tell=follow)
    wall = time.perf_counter() - began
    return shares(sweep.store, wall, local_workers(config.executor)) | {"seconds_to_first_training": round(first[0], 1)}


def shares(store: Store, wall: float, workers: int) -> dict[str, Any]:
    """How the worker time was spent, by the records."""
    records = list(store.records(store.finished()))
    work = sum(seconds for record in records for seconds in record["seconds"].values())
    return {
        "cells": len(records),
        "wall_seconds": round(wall, 1),
        "workers": workers,
        "training_and_scoring_seconds": round(work, 1),
        "overhead_share": round(1 - work / (wall * workers), 3),
        "overhead_seconds_a_cell": round((wall * workers - work) / len(records), 3),
    }


def plain_tune(cells: int, folder: Path) -> dict[str, Any]:
    """One Ray trial a cell, as Ray's own documentation writes it: a function, a grid, and the MLflow callback."""
    import ray
    from ray import tune
    from ray.air.integrations.mlflow import MLflowLoggerCallback

    config = sized(cells, folder)
    began = time.perf_counter()
    prepared = prepare(config)
    store = prepared.store
    store.create(sweep_id=prepared.sweep_id, description={"config": {}}, screen=prepared.screen)
    wanted = make_cells(prepared.sweep_id, "abra", config.strengths.grid(), config.seeds, prepared.folds)
    packs = [PackPlan(pack_id=cell.cell_id, cells=(cell,)) for cell in wanted]
    files = [store.write_pack(pack.pack_id, pack_content(pack, config, replace=frozenset())) for pack in packs]

    def trial(given: dict[str, Any]) -> None:
        run = PackRun(given["pack_file"])
        while run.advance():
            pass
        for _ in run.finish():
            pass
        record = run.store.record(run.pack_file.stem)
        tune.report({row["metric"]: row["value"] for row in record["metrics"] if row["value"] is not None})

    ray.init(include_dashboard=False, log_to_driver=False)
    callback = MLflowLoggerCallback(tracking_uri=f"sqlite:///{folder}/mlflow.db", experiment_name="plain")
    tuner = tune.Tuner(
        trial,
        param_space={"pack_file": tune.grid_search(files)},
        run_config=tune.RunConfig(storage_path=str(folder / "tune"), callbacks=[callback], verbose=0),
    )
    failed = sum(result.error is not None for result in tuner.fit())
    wall = time.perf_counter() - began
    workers = int(ray.cluster_resources()["CPU"])
    ray.shutdown()
    if failed:
        raise SystemExit(f"{failed} trials failed")
    return shares(store, wall, workers)


os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
