"""A profile table with cell types and laboratories: results by them, from the worker to the report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dashboards.report import write_report
from sweeper.config.sweep_config import build_config
from sweeper.findings.stored import report_provenance, stored_gains, tabulate_and_decide
from sweeper.planning.cells import PackPlan, control_cells, make_cells
from sweeper.planning.description import sweep_description
from sweeper.planning.prepared import Prepared, prepare
from sweeper.running.worker import PackRun, pack_content
from trainers.errors import InputError
from trainers.screens.simulated_screen import simulate
from trainers.screens.simulation_spec import SimulationSpec

AXES = ["batch", "cell_type", "Metadata_Source", "perturbation"]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Parquet of 6 batches: 3 HUVEC, 2 RPE and 1 U2OS, from two laboratories."""
    spec = SimulationSpec(
        batches=6, plates_per_batch=2, wells_per_plate=96, features=32, perturbations=8, targets=4,
        controls_per_plate=8, latent=4, seed=3,
    )  # fmt: skip
    screen = simulate(spec).screen
    batch = np.unique(screen.wells["batch"], return_inverse=True)[1]
    frame = pd.DataFrame(screen.features, columns=[f"f{number}" for number in range(32)])
    frame = frame.assign(
        Metadata_Batch=screen.wells["batch"].to_numpy(),
        Metadata_Plate=screen.wells["plate"].to_numpy(),
        Metadata_Well=screen.wells["well"].to_numpy(),
        Metadata_Compound=screen.wells["perturbation"].to_numpy(),
        Metadata_cell_type=np.array(["HUVEC", "HUVEC", "HUVEC", "RPE", "RPE", "U2OS"])[batch],
        Metadata_Source=np.array(["lab1", "lab2"])[batch % 2],
    )
    path = tmp_path_factory.mktemp("screen") / "profiles.parquet"
    frame.to_parquet(path)
    return path


def sweep_of(table: Path, folder: Path, **changes: object) -> Prepared:
    data = {
        "name": "types",
        "folder": str(folder),
        "screen": {"path": str(table), "negative_controls": ["DMSO"]},
        "views": [{"view": "held_out_batches", "folds": 2}],
        "seeds": 1,
        "abra": {"steps": 24, "hidden_widths": [16], "embedding_dim": 8, "groups": 3},
        "metrics": ["batch_probe_linear", "retrieval_map", "perturbation_accuracy"],
        "panel": {"units": AXES},
        **changes,
    }
    return prepare(build_config(data, "test"))


@pytest.mark.slow
def test_units_gains_and_report_by_cell_type_and_laboratory(table: Path, tmp_path: Path) -> None:
    sweep = sweep_of(table, tmp_path / "s")
    sweep.store.create(sweep_id=sweep.sweep_id, description=sweep_description(sweep, []), screen=sweep.screen)
    cells = (
        *control_cells(sweep.sweep_id, [0], sweep.folds)[:2],
        *make_cells(sweep.sweep_id, "abra", [(0.0, 0.1), (3.0, 0.1)], [0], sweep.folds),
    )
    for number, cell in enumerate(cells):
        pack = PackPlan(pack_id=f"pack{number}", cells=(cell,))
        run = PackRun(sweep.store.write_pack(pack.pack_id, pack_content(pack, sweep.config, replace=frozenset())))
        while run.advance():
            pass
        list(run.finish())
    results, decision = tabulate_and_decide(sweep.store)
    units = pd.read_parquet(sweep.store.units_path)
    assert set(units["axis"]) == set(AXES)
    by = {axis: set(units.loc[units["axis"] == axis, "unit"]) for axis in AXES}
    assert by["cell_type"] == {"HUVEC", "RPE", "U2OS"}
    assert by["Metadata_Source"] == {"lab1", "lab2"}

    # the mean over the wells of a cell type, put together from its batches
    accuracy = units[(units["metric"] == "perturbation_accuracy") & (units["cell_id"] == cells[-1].cell_id)]
    assert accuracy["axis"].nunique() == len(AXES)
    wells = accuracy.groupby("axis", observed=True)["wells"].sum()
    assert len(set(wells)) == 1, "every axis parts the same wells"

    gained = stored_gains(sweep.store, results)
    assert gained is not None
    assert set(gained.by_unit["axis"]) == set(AXES)
    provenance = report_provenance(sweep.store)
    assert provenance["held_out"]["held_out_batches"]["levels"]["batch"] == [6, 6]
    write_report(results, decision, provenance, tmp_path / "report.html", gains=gained)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Out-of-distribution boundary tested: batch (6 of 6 test units new to training)" in html
    assert "The metrics themselves by cell type" in html
    assert "The metrics themselves by Metadata Source" in html


def test_a_column_that_the_screen_lacks_is_refused_before_anything_is_written(table: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"panel\.units: the screen has no column 'Metadata_Site'"):
        sweep_of(table, tmp_path / "s", panel={"units": ["Metadata_Site"]})
    assert not (tmp_path / "s").exists()
