"""The exported model: in a fresh environment with nothing but what it declares, and in MLflow's registry."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import sweeper
from sweeper.kept.encoding import encode
from sweeper.kept.keeping import Kept
from sweeper.kept.model_file import read_facts, read_model
from sweeper.mirror.logged_model import ADVISED, save_pyfunc
from sweeper.mirror.mirrored import mirrored_model
from sweeper.mirror.tracking import Mirror
from tests.unit.sweeper.kept.conftest import MARGIN, WEIGHT, made, written_screen

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"),
]

STRENGTH = (WEIGHT, MARGIN)
LOAD = """
import sys, mlflow.pyfunc, pandas as pd
model = mlflow.pyfunc.load_model(sys.argv[1])
model.predict(pd.read_parquet(sys.argv[2])).to_parquet(sys.argv[3])
assert not {"sweeper", "trainers", "torch"} & set(sys.modules)
"""


@pytest.fixture(scope="module", params=["none", "plate_controls"])
def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Kept, sweeper.StoredSweep]:
    """A model, without and with a normalisation that needs to know plates and controls."""
    folder = tmp_path_factory.mktemp("pyfunc")
    found = made(folder, "small", written_screen(folder)[0], normalise=request.param)
    return sweeper.keep(found.store.folder, strength=STRENGTH), sweeper.open_store(found.store.folder)


def expected(kept: Kept, sweep: sweeper.StoredSweep) -> tuple[pd.DataFrame, np.ndarray]:
    """What the model reads of the screen, and what comes out here."""
    screen, model = sweep.store.screen(), read_model(kept.folder)
    features = np.asarray(screen.features)
    table = pd.DataFrame(features.astype(float), columns=list(screen.feature_names))
    for name in ("batch", "plate", "control_type", "well"):
        table[name] = screen.wells[name]
    return table, encode(model, features, screen.wells)


def test_the_parent_has_the_model_the_dataset_and_the_decision(
    kept: tuple[Kept, sweeper.StoredSweep], tmp_path: Path
) -> None:
    import mlflow
    from mlflow import MlflowClient

    made_model, sweep = kept
    table, embedding = expected(made_model, sweep)
    advised = read_facts(made_model.folder).model_copy(update={"advised": True})
    shown = mirrored_model(sweep.store, Kept(made_model.folder, advised, made=False), {})

    def mirrored(folder: Path = tmp_path / "first") -> Mirror:
        found = Mirror(uri=None, sweep_id="id", name="a/b", folder=folder, params={}, tags={})
        found.log_dataset(name="a/b", digest="0" * 32, source="screen.parquet", profile={"wells": len(table)})
        found.log_models([shown], registered="a/b")
        found.finish(
            artefacts=[], metrics={"decision/T": 0.5}, tags={}, status="FINISHED", params={"x": 1}, note="Correct."
        )
        return found

    parents = {mirrored().parent_run_id for _ in range(2)}  # repeating it adds nothing
    assert len(parents) == 1
    uri = f"sqlite:///{tmp_path}/first/mlflow.db"
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("sweeper/a/b")
    assert experiment is not None
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    assert experiment.tags["mlflow.note.content"] == "Correct."
    run = client.get_run(parents.pop())
    assert (run.data.params["x"], run.data.tags["mlflow.note.content"]) == ("1", "Correct.")
    (given,) = run.inputs.dataset_inputs
    assert (given.dataset.digest, given.dataset.source) == ("0" * 32, "screen.parquet")
    (logged,) = client.search_logged_models([experiment.experiment_id])
    assert logged.source_run_id == run.info.run_id
    (version,) = client.search_model_versions("name = 'a_b'")
    assert version.source == logged.artifact_location
    for folder in ("first", "moved"):
        mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/{folder}/mlflow.db")
        try:
            model = mlflow.pyfunc.load_model(f"models:/a_b@{ADVISED}")
            found = model.predict(table[[*shown.groups, *shown.features]])
        finally:
            mlflow.set_tracking_uri(None)
        np.testing.assert_allclose(found.to_numpy(), embedding, atol=1e-5)
        assert model.metadata.signature is not None
        assert len(model.input_example) == 4
        if folder == "first":
            (tmp_path / folder).rename(tmp_path / "moved")
            mirrored(tmp_path / "moved")


@pytest.mark.slow
def test_a_fresh_environment_with_what_it_declares_gives_the_same(
    kept: tuple[Kept, sweeper.StoredSweep], tmp_path: Path
) -> None:
    model, sweep = kept
    table, embedding = expected(model, sweep)
    table.to_parquet(tmp_path / "table.parquet")
    save_pyfunc(mirrored_model(sweep.store, model, {}), tmp_path / "model")
    uv, python = Path(sys.executable).with_name("uv"), tmp_path / "fresh/bin/python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "fresh"], check=True)
    wanted = [uv, "pip", "install", "--quiet", "--python", python, "-r", tmp_path / "model/requirements.txt"]
    installed = subprocess.run(wanted, capture_output=True, text=True, check=False)
    if installed.returncode:
        pytest.skip(f"the declared requirements cannot be installed here: {installed.stderr.strip()[-200:]}")
    command = [python, "-c", LOAD, tmp_path / "model", tmp_path / "table.parquet", tmp_path / "out.parquet"]
    clean = {key: value for key, value in os.environ.items() if key not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    done = subprocess.run(command, cwd=tmp_path, env=clean, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = pd.read_parquet(tmp_path / "out.parquet")
    assert list(found) == list(model.facts.columns)
    np.testing.assert_allclose(found.to_numpy(), embedding, atol=1e-5)
