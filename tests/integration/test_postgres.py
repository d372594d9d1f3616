"""A team's MLflow: a real server with a login, on a real Postgres. What it misses is caught up with, once."""

from __future__ import annotations

import tarfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.mirror.servers import MLflow, postgres_programs, running_mlflow, running_postgres
from sweeper.errors import InputError
from sweeper.findings.stored import stored_config
from sweeper.mirror import mirroring
from sweeper.mirror.mirroring import Subject, SweepMirror
from sweeper.mirror.tracking import Mirror, MirroredCell
from sweeper.mirror.trial_run import try_tracking
from sweeper.store.store import Store

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.skipif(postgres_programs() is None, reason="Debian's package postgresql is not installed"),
    # MLflow 3.17's own mapping under SQLAlchemy 2.1
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"),
]

PASSWORD = "not-a-secret-of-anybody"  # noqa: S105
KEPT = Path(__file__).parents[1] / "data/store_before.tar.xz"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MLflow]:
    folder = tmp_path_factory.mktemp("mlflow")
    with running_postgres() as database, running_mlflow(database, folder, password=PASSWORD) as found:
        yield found


@pytest.fixture(autouse=True)
def _login(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def stored(tmp_path: Path) -> Store:
    """A sweep that has run before."""
    with tarfile.open(KEPT) as archive:
        archive.extractall(tmp_path, filter="data")
    (found,) = tmp_path.glob("**/sweep.json")
    return Store(found.parent)


def children(server: MLflow, experiment: str) -> list[str]:
    """Cell ids of the runs of an experiment, one each; and all of them belong to one parent."""
    from mlflow import MlflowClient

    client = MlflowClient(server.uri)
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    runs = client.search_runs([found.experiment_id], max_results=1000)
    (parent,) = [run for run in runs if run.data.tags["sweeper.kind"] == "sweep"]
    cells = [run for run in runs if run.data.tags["sweeper.kind"] == "cell"]
    assert {run.data.tags["mlflow.parentRunId"] for run in cells} <= {parent.info.run_id}
    assert {run.info.status for run in cells} <= {"FINISHED", "FAILED"}
    return [run.data.tags["sweeper.cell_id"] for run in cells]


def test_some_hundred_cells(server: MLflow, tmp_path: Path) -> None:
    record = tmp_path / "record.json"
    record.write_text("{}")
    cells = [
        MirroredCell(
            cell_id=f"c{number}",
            name=f"cell {number}",
            status="ok",
            metrics={f"technical/m{metric}": 0.1 for metric in range(12)},
            curve=[{"step": 1, "loss": 0.5}],
            artefacts=(record,),
        )
        for number in range(200)
    ]
    settings: dict[str, Any] = {"sweep_id": "many", "name": "many", "folder": tmp_path, "params": {}, "tags": {}}
    mirror = Mirror(uri=server.uri, **settings)
    assert mirror.log_cells(cells) == 200
    assert mirror.log_cells(cells) == 0
    mirror.finish(artefacts=[record], metrics={}, tags={}, status="FINISHED")
    again = Mirror(uri=server.uri, **settings)
    assert again.log_cells(cells) == 0
    assert sorted(children(server, "sweeper/many")) == sorted(cell.cell_id for cell in cells)


def test_a_login_is_asked_for(server: MLflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    health = f"{server.uri}/health"  # which the stack's health check asks, without one
    urllib.request.urlopen(health, timeout=10).close()  # noqa: S310
    assert try_tracking(server.uri, tmp_path) == server.uri
    assert try_tracking(server.uri, tmp_path) == server.uri
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "another-password")
    with pytest.raises(InputError, match=r"MLflow at http://127.0.0.1:\d+: .*(?i:authenticated)") as caught:
        try_tracking(server.uri, tmp_path)
    assert "\n" not in str(caught.value)


def test_a_server_that_was_away_is_caught_up_with_in_the_same_sweep(
    server: MLflow, stored: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirroring, "RETRY_SECONDS", 0.5)
    description, config = stored.description(), stored_config(stored)
    tracking = config.tracking.model_copy(update={"uri": server.uri})
    subject = Subject(
        store=stored,
        config=config.model_copy(update={"tracking": tracking, "name": "away"}),
        sweep_id="away",
        data="sha256:0",
        wells=1,
        versions=description["versions"],
    )
    cells = sorted(stored.finished())
    warnings: list[str] = []
    mirror = SweepMirror(subject, warn=warnings.append)
    told = [type("Cell", (), {"cell_id": cell_id})() for cell_id in cells]
    server.stop()
    try:
        mirror.tell(told)
        until(lambda: warnings)
    finally:
        server.start()
    until(lambda: len(warnings) > 1)
    assert warnings[0].endswith("the sweep goes on, its cells wait until MLflow answers again")
    assert warnings[1] == f"MLflow mirror: it answers again, {len(cells)} cells are caught up with"
    mirror.stop("KILLED")
    assert sorted(children(server, "sweeper/away")) == cells


def until(condition: Any) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_stored_sweep_is_synced_as_often_as_one_likes(server: MLflow, stored: Store, sweeper: Any) -> None:
    cells = sorted(stored.finished())
    name = f"sweeper/{stored.description()['name']}"
    refused = sweeper("sync", stored.folder, "--uri", "http://127.0.0.1:9")
    assert refused.returncode == 2
    assert "cannot open MLflow" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    for written in (len(cells), 0):
        done = sweeper("sync", stored.folder, "--uri", server.uri)
        assert done.returncode == 0, done.stderr
        assert f"cells:    {len(cells)}, {written} of them mirrored now" in done.stdout
        assert server.uri in done.stdout
        assert sorted(children(server, name)) == cells
