"""Several methods from a table to the report: the same rows, controls once, resumed and extended by the same call."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import sweeper
from sweeper.cli import main
from sweeper.library.comparing import StoredMethods, open_methods, run_methods
from sweeper.methods.methods_store import MethodsStore
from trainers.screens.simulated_screen import simulate, write_simulation
from trainers.screens.simulation_spec import SimulationSpec

SPEC = SimulationSpec(
    batches=3,
    plates_per_batch=2,
    wells_per_plate=96,
    features=16,
    perturbations=24,
    targets=6,
    controls_per_plate=8,
    latent=4,
    batch_shift=1.0,
    seed=3,
)
QUICK = (
    "metrics=[batch_probe_linear,batch_variance,retrieval_map]",
    "tracking.enabled=false",
    "decision.draws=500",
    "decision.curves=200",
    "sham.enabled=false",
    "seeds=3",
)
FEW = ("methods={center: {adversarial_weight: [0.5, 1]}}",)
"""Too few strengths to decide on, enough to leave a store behind."""
METHODS = ("combat", "sphering", "center")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("screen")
    write_simulation(simulate(SPEC), folder)
    return folder / "screen.parquet"


def run(table: Path, folder: Path, methods: tuple[str, ...] = METHODS, further: tuple[str, ...] = ()) -> StoredMethods:
    return run_methods(table, methods, folder=folder, overrides=[*QUICK, *further])


@pytest.mark.slow
def test_methods_side_by_side(table: Path, tmp_path: Path, here: Any) -> None:
    folder = tmp_path / "out"
    found = run(table, folder)
    assert [item.method for item in found.comparison.methods] == ["center", "combat", "sphering"]
    assert found.comparison.advised is not None
    assert found.sentence == sweeper.open_methods(folder).sentence

    # every method is scored on the same held-out rows, and on the same controls
    rows: dict[tuple[int, str], set[bytes]] = {}
    for method, sweep in found.sweeps.items():
        for record in (sweep.store.record(cell_id) for cell_id in sweep.store.finished()):
            scored, _ = sweep.store.embeddings(record["cell_id"])
            rows.setdefault((record["seed"], record["split"]), set()).add(scored.tobytes())
        assert sweep.config.trainer == method
    assert len(rows) == 3
    assert all(len(same) == 1 for same in rows.values())
    results = found.results
    controls = results[results["trainer"].str.startswith("control:")].pivot_table(
        index=["trainer", "seed", "metric"], columns="method", values="value"
    )
    assert (controls.max(axis=1) == controls.min(axis=1)).all()
    scored_controls = {cell.trainer for pack in here.packs for cell in pack.cells if cell.is_control}
    in_packs = sum(cell.is_control for pack in here.packs for cell in pack.cells)
    assert in_packs == 3 * len(scored_controls), "scored once, for three seeds"

    # nothing is done twice; a method more runs itself alone
    here.packs.clear()
    assert run(table, folder).comparison == found.comparison
    assert here.packs == []
    wider = run(table, folder, ("center", "combat"))
    assert [item.method for item in wider.comparison.methods] == ["center", "combat"]
    assert here.packs == []
    assert wider.comparison.each < found.comparison.each


@pytest.mark.slow
def test_what_is_left_behind_for_people(
    table: Path, tmp_path: Path, here: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out"
    given = [str(table), "--methods", "center,combat", "--folder", str(folder)]
    assert main(["run", *given, *(part for key in QUICK for part in ("--set", key))]) == 0
    said = capsys.readouterr()
    assert "methods:   center, combat; results in" in said.out
    assert "published setting" in said.out
    assert "hold at once at 95 % (Bonferroni)" in said.out.replace("\n", " ")
    assert f"report:   {folder}/report.html" in said.out
    assert "cells" in said.err, "progress is shown"
    page = (folder / "report.html").read_text()
    for part in (
        "Methods side by side",
        'href="methods/combat/report.html"',
        'id="plane"',
        "A new batch needs a refit",
    ):
        assert part in page
    assert (folder / "methods/combat/report.html").exists()
    document = json.loads((folder / "comparison.json").read_text())
    assert document["schema"] == "methods-comparison/1"

    # all of it comes back from the stores alone, byte for byte
    (folder / "report.html").unlink()
    (folder / "comparison.json").unlink()
    assert main(["report", str(folder)]) == 0
    assert (folder / "report.html").read_text() == page
    assert json.loads((folder / "comparison.json").read_text()) == document
    assert main(["status", str(folder)]) == 0
    assert capsys.readouterr().out.count("cells:    ") == 2


def test_a_name_from_the_data_is_text_on_the_page(table: Path, tmp_path: Path, here: Any) -> None:
    wicked = "<script>alert(1)</script>"
    found = run_methods(
        table, ["center"], folder=tmp_path / "out", overrides=[*QUICK, *FEW, f"name={wicked.replace('/', '')}"]
    )
    assert "<script>alert(1)" not in found.report_path.read_text()


def test_another_screen_does_not_go_into_the_same_folder(table: Path, tmp_path: Path, here: Any) -> None:
    folder = tmp_path / "out"
    run(table, folder, ("center",), FEW)
    other = tmp_path / "other.parquet"
    pd.read_parquet(table).assign(Metadata_Batch=lambda t: np.where(t.index < 96, "x", "y")).to_parquet(other)
    with pytest.raises(sweeper.InputError, match="holds another sweep"):
        run(other, folder, ("center",), FEW)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/thesis.txt").write_text("mine")
    with pytest.raises(sweeper.InputError, match="is not empty and not a comparison's folder"):
        run(table, tmp_path / "full", ("center",), FEW)
    with pytest.raises(sweeper.InputError, match="no comparison of methods here"):
        open_methods(tmp_path)


def test_a_damaged_description_is_one_line(table: Path, tmp_path: Path, here: Any) -> None:
    found = run(table, tmp_path / "out", ("center",), FEW)
    (found.folder / "methods.json").write_text('{"methods": []}')
    with pytest.raises(sweeper.InputError, match=r"methods\.json: not a comparison's description"):
        MethodsStore(found.folder).description()


@pytest.mark.slow
def test_mlflow_has_one_run_for_the_comparison_one_a_method_and_their_cells(
    table: Path, tmp_path: Path, here: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    few = "methods={center: {adversarial_weight: [0.5]}, combat: {adversarial_weight: [0.5]}}"
    overrides = [*QUICK, few, "tracking.enabled=true", "seeds=1"]
    for _ in range(2):  # the same call makes no second copy
        found = run_methods(table, ["center"], folder=tmp_path / "out", overrides=overrides)
    client = MlflowClient(tracking_uri=f"sqlite:///{found.folder}/mlflow.db")
    (experiment,) = client.search_experiments(filter_string="name LIKE 'sweeper/%'")
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    above = {run.info.run_id: run.data.tags.get("mlflow.parentRunId") for run in runs}
    (top,) = [run for run in runs if above[run.info.run_id] is None]
    methods = {run.info.run_name: run for run in runs if above[run.info.run_id] == top.info.run_id}
    assert sorted(methods) == ["center", "combat"]
    assert top.data.tags["sweeper.sentence"] == found.sentence
    for method, run in methods.items():
        cells = [other for other in runs if above[other.info.run_id] == run.info.run_id]
        assert len(cells) == len(found.sweeps[method].store.finished())
        assert {other.info.status for other in cells} == {"FINISHED"}
