"""The main job with real Ray, Optuna and MLflow: run, read, resume, extend; kill -9 in the middle."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

pytestmark = pytest.mark.integration

STRENGTHS, SEEDS, SPLITS, CONTROLS = 7, 3, 3, 8
CELLS = STRENGTHS * SEEDS * SPLITS + CONTROLS * SEEDS * SPLITS


def mirrored_cells(folder: Path) -> list[str]:
    """Cell ids of the child runs in the sweep's own MLflow store."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = client.search_runs(experiments, max_results=5000)
    return [run.data.tags["sweeper.cell_id"] for run in runs if "sweeper.cell_id" in run.data.tags]


def stamps(folder: Path) -> dict[str, int]:
    """When each finished cell was written."""
    return {path.parent.name: path.stat().st_mtime_ns for path in (folder / "cells").glob("*/record.json")}


def test_run_resume_extend_and_rebuild(config_file: Path, sweeper: Any, tmp_path: Path) -> None:
    folder = tmp_path / "runs/small"
    planned = sweeper("plan", config_file)
    assert planned.returncode == 0, planned.stderr
    assert f"{CELLS}: 0 done, {CELLS} missing" in planned.stdout
    assert "estimate:" in planned.stdout
    assert not folder.exists(), "a dry run writes nothing"

    first = sweeper("run", config_file)
    assert first.returncode == 0, first.stderr
    results = pd.read_parquet(folder / "results.parquet")
    assert results["cell_id"].nunique() == CELLS
    assert set(results["view"]) == {"held_out_plates", "held_out_batches"}
    decision = json.loads((folder / "decision.json").read_text())
    assert decision["sentence"] in " ".join(first.stdout.split())
    assert "Plotly" in (folder / "report.html").read_text()
    assert sorted(mirrored_cells(folder)) == sorted(results["cell_id"].unique())
    written = stamps(folder)
    units = pd.read_parquet(folder / "units.parquet")
    assert set(units["cell_id"]) == set(results.loc[results["status"] == "ok", "cell_id"])
    assert set(units["axis"]) == {"batch", "perturbation"}
    kept = (folder / "units.parquet").read_bytes()
    report = (folder / "report.html").read_bytes()

    again = sweeper("run", config_file)
    assert again.returncode == 0, again.stderr
    assert stamps(folder) == written, "a finished cell was run again"
    assert len(mirrored_cells(folder)) == CELLS
    (folder / "report.html").unlink()
    (folder / "units.parquet").unlink()
    [said] = re.findall(r"<pre>(sweeper report [^<]+)</pre>", report.decode())
    rebuilt = replace(sweeper, folder=folder)(*said.split()[1:])  # where the page lies, and as it says
    assert rebuilt.returncode == 0, rebuilt.stderr
    assert (folder / "report.html").read_bytes() == report
    assert (folder / "units.parquet").read_bytes() == kept

    extended = sweeper(
        "run", config_file, "--set", "seeds=4", "--set", "optuna.rounds=1", "--set", "optuna.strengths_per_round=2"
    )
    assert extended.returncode == 0, extended.stderr
    assert written.items() <= stamps(folder).items(), "extending touched a finished cell"
    strengths = pd.read_parquet(folder / "results.parquet").query("trainer == 'abra'")["adversarial_weight"].nunique()
    assert STRENGTHS < strengths <= STRENGTHS + 2
    assert len(mirrored_cells(folder)) == len(stamps(folder)) == 4 * SPLITS * (strengths + CONTROLS)

    told = sweeper("status", folder)
    assert told.returncode == 0, told.stderr
    assert f"{len(stamps(folder))} of {len(stamps(folder))} done" in told.stdout

    other = sweeper("run", config_file, "--set", "abra.steps=41")
    assert other.returncode == 2
    assert "holds another sweep" in other.stderr
    assert len(other.stderr.strip().splitlines()) == 1


def test_rounds_towards_the_point_a_sham_arm_and_fresh_seeds_are_part_of_the_sweep(
    config_file: Path, sweeper: Any, tmp_path: Path
) -> None:
    """Strong phenotypes, a batch to remove and a short range: a bound is safe, and the first round looks above it."""
    folder = tmp_path / "runs/small"
    options = (
        *("simulate.phenotype=3", "simulate.overlap=0.9", "simulate.inactive=0", "simulate.batch_shift=1.2"),
        *("strengths.adversarial_weight=[0.3,1,3,10,30,60]", "decision.delta=0.2"),
        *(
            "views=[{view: held_out_plates}]",
            "sham.enabled=true",
            "search=locate",
            "locate.rounds=1",
            "confirm.seeds=2",
        ),
    )
    arguments = ("run", config_file, *(word for option in options for word in ("--set", option)))
    first = sweeper(*arguments)
    assert first.returncode == 0, first.stderr
    rounds = [json.loads(path.read_text()) for path in sorted((folder / "proposals").glob("*.json"))]
    assert [made["kind"] for made in rounds] == ["locate", "sham", "confirm"]
    results = pd.read_parquet(folder / "results.parquet")
    (confirming,) = rounds[2]["blocks"]
    is_fresh = results["seed"].isin(confirming["seeds"])
    fresh, results = results[is_fresh], results[~is_fresh]
    real, sham = (results[results["trainer"] == trainer] for trainer in ("abra", "sham:abra"))
    assert real["cell_id"].nunique() > STRENGTHS * SEEDS, "the round added nothing"
    assert set(sham["view"]) == {"held_out_plates"}
    assert 0.0 in set(sham["adversarial_weight"])
    assert sham["adversarial_weight"].nunique() == 1 + 4, "λ = 0 and the key strengths"
    assert set(sham["seed"]) == {0, 1, 2}
    # λ = 0 has no adversary: the arm's differs from the real one by its mini-batches alone
    zero = {
        name: arm[(arm["adversarial_weight"] == 0) & (arm["metric"] == "perturbation_accuracy")]["value"].mean()
        for name, arm in (("real", real), ("sham", sham))
    }
    assert zero["sham"] == pytest.approx(zero["real"], abs=0.15)
    # the real arm removes the batch, the sham arm has no reason to
    largest = sham["adversarial_weight"].max()
    strongest = {
        name: arm[(arm["adversarial_weight"] == largest) & (arm["metric"] == "batch_probe_linear")]["raw"].mean()
        for name, arm in (("real", real), ("sham", sham))
    }
    assert strongest["real"] < strongest["sham"] - 0.1

    decision = json.loads((folder / "decision.json").read_text())
    (curve,) = decision["views"]["held_out_plates"]["margins"]
    assert [point["strength"] for point in curve["mechanism"]["points"]] == sorted(
        set(sham["adversarial_weight"]) - {0.0}
    )
    assert "risk_of_bias:no_sham_arm" not in decision["rule"]["downgrades"]
    assert set(fresh["status"]) == {"ok"}
    assert set(fresh["trainer"]) == {"abra"}
    confirmed = sorted({strength for strength, _ in confirming["strengths"]})
    assert sorted(set(fresh["adversarial_weight"])) == confirmed
    assert {0.0, curve["estimate"]["safe_up_to"], curve["levels"][-1]["strength"]} <= set(confirmed)
    assert decision["provenance"]["confirm_seeds"] == confirming["seeds"] == sorted(set(fresh["seed"]))
    assert curve["seeds"] == [0, 1, 2], "what confirms takes no part in what is confirmed"
    assert {level["recorded"] for level in curve["levels"]} == {3}
    points = curve["confirmation"]["points"]
    assert [point["role"] for point in points] == ["safe", "loss"][: len(points)]
    assert all(point["seeds"] == 2 and point["strength"] in confirmed for point in points)
    not_confirmed = "risk_of_bias:adaptive_points" in decision["rule"]["downgrades"]
    assert not_confirmed is (curve["confirmation"]["agrees"] is not True)
    assert decision["provenance"]["adaptive"] is True
    assert decision["provenance"]["design_djs"] is not None

    written, kept = stamps(folder), sorted((folder / "proposals").iterdir())
    again = sweeper(*arguments)
    assert again.returncode == 0, again.stderr
    assert stamps(folder) == written, "a finished cell was run again, or a further one"
    assert sorted((folder / "proposals").iterdir()) == kept
    assert json.loads((folder / "decision.json").read_text()) == decision
    told = sweeper("status", folder)
    assert "round 1:" in told.stdout
    assert "sham arm" in told.stdout
    assert f"confirmation: λ = {', '.join(f'{strength:g}' for strength in confirmed)}" in told.stdout
