"""The mirror against a real MLflow: a SQLite store, and a server process in front of it."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sweeper.findings.stored import tabulate_and_decide
from sweeper.library.syncing import sync
from sweeper.mirror.moved import follow_artefacts
from sweeper.mirror.saved_view import WIDTHS
from sweeper.mirror.tracking import Mirror, MirroredCell, MirrorError
from tests.unit.sweeper.test_rounds import prepared, write
from trainers.errors import InputError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

pytestmark = [
    pytest.mark.integration,
    # MLflow 3.17's own mapping under SQLAlchemy 2.1
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"),
]


@dataclass(frozen=True)
class Store:
    folder: Path

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.folder}/mlflow.db"

    def mirror(self, sweep: str, *, uri: str | None = None, **settings: Any) -> Mirror:
        settings = {"params": {}, "tags": {}, **settings}
        return Mirror(uri=uri or self.uri, sweep_id=f"id-{sweep}", name=sweep, folder=self.folder, **settings)

    def client(self) -> MlflowClient:
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=self.uri)

    def runs(self, sweep: str) -> list[Run]:
        client = self.client()
        experiment = client.get_experiment_by_name(f"sweeper/{sweep}")
        assert experiment is not None
        return list(client.search_runs([experiment.experiment_id], max_results=1000))

    def children(self, sweep: str) -> dict[str, Run]:
        runs = [run for run in self.runs(sweep) if "mlflow.parentRunId" in run.data.tags]
        found = {run.data.tags["sweeper.cell_id"]: run for run in runs}
        assert len(found) == len(runs), "a cell has two runs"
        return found


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """One database for the module (creating it takes seconds); every test has its own sweep in it."""
    return Store(tmp_path_factory.mktemp("a store #1 (100%)"))


@pytest.fixture
def record(tmp_path: Path) -> Path:
    path = tmp_path / "record.json"
    path.write_text('{"status": "ok"}')
    return path


def cell(number: int, **changes: Any) -> MirroredCell:
    values: dict[str, Any] = {
        "cell_id": f"cell{number}",
        "name": f"λ={number}",
        "status": "ok",
        "params": {"adversarial_weight": float(number), "margin": 0.2, "split": "held_out_batches/0", "note": None},
        "metrics": {"technical/batch_probe_linear": 0.25 * number, "biological/recall@5": 0.5, "bad": math.nan},
        "curve": [{"step": step, "loss": 1.0 / step, "inf": math.inf} for step in (10, 20, 30)],
        "tags": {"trainer": "abra"},
        "started": 1_700_000_000.0,
        "ended": 1_700_000_012.5,
    }
    return MirroredCell(**{**values, **changes})


def test_parent_and_children_hold_what_they_were_given(store: Store, record: Path, tmp_path: Path) -> None:
    mirror = store.mirror("whole", params={"deciding_view": "held_out_batches"}, tags={"trainer": "abra"})
    assert mirror.log_cells([cell(1, artefacts=[record]), cell(2)]) == 2
    mirror.finish(artefacts=[record], metrics={"decision/lambda": 1.5}, tags={"state": "located"}, status="FINISHED")

    client = store.client()
    parent = client.get_run(mirror.parent_run_id)
    assert (parent.info.status, parent.info.run_name) == ("FINISHED", "whole")
    assert parent.data.params == {"deciding_view": "held_out_batches"}
    assert parent.data.metrics == {"decision/lambda": 1.5}
    assert (parent.data.tags["state"], parent.data.tags["trainer"]) == ("located", "abra")

    children = store.children("whole")
    assert set(children) == {"cell1", "cell2"}
    run = children["cell1"]
    assert run.data.tags["mlflow.parentRunId"] == mirror.parent_run_id
    assert (run.info.status, run.info.run_name, run.data.tags["sweeper.status"]) == ("FINISHED", "λ=1", "ok")
    assert run.data.params == {"adversarial_weight": "1.0", "margin": "0.2", "split": "held_out_batches/0"}
    assert run.data.metrics == {
        "technical/batch_probe_linear": 0.25,
        "biological/recall_at_5": 0.5,
        "training/loss": pytest.approx(1 / 30),
    }
    history = client.get_metric_history(run.info.run_id, "training/loss")
    assert [(point.step, point.value) for point in history] == [(10, 0.1), (20, 0.05), (30, 1 / 30)]
    assert run.info.end_time - run.info.start_time == 12_500

    for run_id in (run.info.run_id, mirror.parent_run_id):
        (tmp_path / run_id).mkdir()
        copied = client.download_artifacts(run_id, "record.json", str(tmp_path / run_id))
        assert Path(copied).read_bytes() == record.read_bytes()
    assert list(store.folder.glob("mlartifacts/*/artifacts/record.json"))
    assert mirror.ui_command == f"mlflow ui --backend-store-uri '{store.uri}'"


def test_mirroring_again_adds_nothing_and_extends_the_same_parent(store: Store) -> None:
    first = store.mirror("again", params={"seeds": 3, "view": "a"})
    assert first.log_cells([cell(1), cell(1), cell(2)]) == 2
    assert first.log_cells([cell(2)]) == 0
    first.finish(artefacts=[], metrics={}, tags={}, status="FINISHED")
    before = {run.info.run_id: run.to_dictionary() for run in store.children("again").values()}

    second = store.mirror("again", params={"seeds": 5, "view": "a", "new": 1})
    assert second.parent_run_id == first.parent_run_id
    assert store.client().get_run(second.parent_run_id).info.status == "RUNNING"
    assert second.log_cells([cell(1), cell(2)]) == 0
    assert {run.info.run_id: run.to_dictionary() for run in store.children("again").values()} == before
    assert second.log_cells([cell(3)]) == 1
    second.finish(artefacts=[], metrics={}, tags={}, status="FINISHED")

    parent = store.client().get_run(second.parent_run_id)
    assert parent.info.status == "FINISHED"
    assert parent.data.params == {"seeds": "3", "view": "a", "new": "1"}  # a parameter never changes in MLflow
    assert parent.data.tags["sweeper.param.seeds"] == "5"
    assert "sweeper.param.view" not in parent.data.tags
    assert len(store.runs("again")) == 4

    third = store.mirror("again", params={"seeds": 3})  # back to the first value: the tag follows
    assert store.client().get_run(third.parent_run_id).data.tags["sweeper.param.seeds"] == "3"


def test_a_run_left_open_by_a_crash_is_completed_not_duplicated(store: Store, record: Path) -> None:
    crashed = store.mirror("crash")
    with pytest.raises(MirrorError, match=r"^cell λ=1: MLflow at sqlite:.*nowhere.json") as caught:
        crashed.log_cells([cell(0), cell(1, artefacts=[record.with_name("nowhere.json")]), cell(2)])
    assert "\n" not in str(caught.value)
    left = store.children("crash")
    assert {key: run.info.status for key, run in left.items()} == {"cell0": "FINISHED", "cell1": "RUNNING"}

    resumed = store.mirror("crash")
    assert resumed.log_cells([cell(0), cell(1, artefacts=[record]), cell(2)]) == 2
    children = store.children("crash")
    assert [run.info.status for run in children.values()] == ["FINISHED"] * 3
    assert children["cell1"].info.run_id == left["cell1"].info.run_id
    assert len(store.client().get_metric_history(children["cell1"].info.run_id, "training/loss")) == 3


def test_two_writers_of_one_sweep_double_nothing(store: Store) -> None:
    """A copied folder, say, mirrored to the same server: both open before either has written a cell."""
    first, second = store.mirror("two-writers"), store.mirror("two-writers")
    assert second.parent_run_id == first.parent_run_id
    cells = [cell(number) for number in range(4)]
    first.log_cells(cells[:3])
    second.log_cells(cells)
    first.log_cells(cells)
    assert set(store.children("two-writers")) == {one.cell_id for one in cells}
    assert all(run.info.status == "FINISHED" for run in store.children("two-writers").values())
    assert len(store.runs("two-writers")) == 5


def test_a_second_writer_at_the_worst_moment_doubles_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """It opens, and writes everything, when the first has just seen that it is alone."""
    from mlflow import MlflowClient

    first, cells, create = store.mirror("worst"), [cell(number) for number in range(3)], MlflowClient.create_run
    seconds: list[Mirror] = []

    def interrupted(client: MlflowClient, *arguments: Any, **settings: Any) -> Run:
        if not seconds:
            seconds.append(store.mirror("worst"))
            seconds[0].log_cells(cells)
        return create(client, *arguments, **settings)

    monkeypatch.setattr(MlflowClient, "create_run", interrupted)
    first.log_cells(cells)
    assert len(seconds) == 1
    for mirror in (first, *seconds):
        assert mirror.log_cells(cells) == 0
        mirror.finish(artefacts=[], metrics={}, tags={}, status="FINISHED")
    children = store.children("worst")
    assert set(children) == {one.cell_id for one in cells}
    assert {(run.info.status, run.data.params["margin"]) for run in children.values()} == {("FINISHED", "0.2")}
    assert len(store.runs("worst")) == 4


def test_a_second_writer_that_is_killed_in_between_doubles_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = [cell(number) for number in range(3)]
    first, second = store.mirror("killed"), store.mirror("killed")
    first.log_cells(cells)
    monkeypatch.setattr(second, "_search", lambda **_: iter(()))  # it looked before, made runs, and ended
    second.log_cells(cells)
    first.finish(artefacts=[], metrics={}, tags={}, status="FINISHED")
    assert {run.info.status for run in store.children("killed").values()} == {"FINISHED"}
    assert len(store.runs("killed")) == 4


def test_two_that_make_the_parent_at_once_keep_one(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import MlflowClient

    create, opened = MlflowClient.create_run, list[Mirror]()

    def together(client: MlflowClient, *arguments: Any, **settings: Any) -> Run:
        if not opened:
            opened.append(None)  # type: ignore[arg-type]
            opened[0] = store.mirror("parents")
        return create(client, *arguments, **settings)

    monkeypatch.setattr(MlflowClient, "create_run", together)
    second = store.mirror("parents")
    assert second.parent_run_id == opened[0].parent_run_id
    assert len(store.runs("parents")) == 1


def test_of_duplicates_the_oldest_counts(store: Store) -> None:
    mirror = store.mirror("twice")
    client = store.client()
    tags = {"sweeper.sweep_id": "id-twice", "sweeper.cell_id": "cell1", "sweeper.status": "ok"}
    experiment = client.get_run(mirror.parent_run_id).info.experiment_id
    newer, older = (client.create_run(experiment, start_time=at, tags=tags).info.run_id for at in (2000, 1000))
    client.set_terminated(newer)

    assert store.mirror("twice").log_cells([cell(1)]) == 1
    assert client.get_run(older).info.status == "FINISHED"
    assert client.get_run(older).data.params["adversarial_weight"] == "1.0"
    assert client.get_run(newer).data.params == {}
    assert client.get_run(newer).info.lifecycle_stage == "deleted"


def test_lost_cells_are_failed_and_say_how(store: Store) -> None:
    mirror = store.mirror("lost")
    cells = [cell(n, status=status, metrics={}) for n, status in enumerate(["failed", "oom", "collapsed"])]
    assert mirror.log_cells(cells) == 3
    states = {key: (run.info.status, run.data.tags["sweeper.status"]) for key, run in store.children("lost").items()}
    assert states == {"cell0": ("FAILED", "failed"), "cell1": ("FAILED", "oom"), "cell2": ("FAILED", "collapsed")}
    assert store.mirror("lost").log_cells(cells) == 0


def test_a_retry_that_succeeds_replaces_the_failed_run(store: Store) -> None:
    store.mirror("retry").log_cells([cell(1, status="oom", metrics={}, params={"adversarial_weight": 1.0})])
    assert store.mirror("retry").log_cells([cell(1)]) == 1
    run = store.children("retry")["cell1"]
    assert (run.info.status, run.data.tags["sweeper.status"], run.data.params["margin"]) == ("FINISHED", "ok", "0.2")


def test_more_than_one_batch_of_everything(store: Store) -> None:
    mirror = store.mirror("large")
    mirror.log_cells(
        [
            cell(
                1,
                params={f"p{i}": i for i in range(230)} | {"long": "x" * 10_000},
                metrics={},
                tags={f"t{i}": str(i) for i in range(130)},
                curve=[{"step": i, "a": i, "b": -i} for i in range(1100)],
            )
        ]
    )
    run = store.children("large")["cell1"]
    assert len(run.data.params) == 231
    assert len(run.data.params["long"]) == 4000
    assert sum(key.startswith("t") and key[1:].isdigit() for key in run.data.tags) == 130
    assert run.data.metrics == {"training/a": 1099.0, "training/b": -1099.0}
    assert len(store.client().get_metric_history(run.info.run_id, "training/b")) == 1100


def test_the_environment_cannot_divert_a_run(store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stranger = store.mirror("stranger").parent_run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", stranger)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "elsewhere")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/other.db")
    monkeypatch.chdir(tmp_path)
    mirror = store.mirror("home")
    mirror.log_cells([cell(1)])
    assert mirror.parent_run_id != stranger
    assert store.children("home")["cell1"].data.tags["mlflow.parentRunId"] == mirror.parent_run_id
    assert store.client().get_run(stranger).data.params == {}
    assert list(tmp_path.iterdir()) == []  # neither another database nor ./mlruns


def test_the_parent_is_closed_even_where_an_artefact_is_missing(store: Store, tmp_path: Path) -> None:
    mirror = store.mirror("unattached")
    with pytest.raises(MirrorError, match=r"report\.html"):
        mirror.finish(artefacts=[tmp_path / "report.html"], metrics={}, tags={}, status="KILLED")
    assert store.client().get_run(mirror.parent_run_id).info.status == "KILLED"


def test_a_deleted_experiment_is_named(store: Store) -> None:
    mirror = store.mirror("deleted")
    client = store.client()
    client.delete_experiment(client.get_run(mirror.parent_run_id).info.experiment_id)
    with pytest.raises(InputError, match="experiment 'sweeper/deleted' is deleted; restore it"):
        store.mirror("deleted")


def test_a_store_mlflow_does_not_know_is_one_line(store: Store) -> None:
    with pytest.raises(InputError, match=r"^cannot open MLflow at htp://mlflow: ") as caught:
        store.mirror("unknown", uri="htp://mlflow")
    assert "\n" not in str(caught.value)


def test_the_database_is_created_without_a_word(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from sweeper.mirror.tracking import Mirror\n"
        "folder = Path(sys.argv[1])\n"
        "Mirror(uri=None, sweep_id='s', name='quiet', folder=folder, params={}, tags={})"
    )
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "new")],
        env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert done.stdout + done.stderr == ""
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["mlflow.db", "new"]


def test_log_levels_are_put_back(store: Store) -> None:
    logger = logging.getLogger("alembic")
    before = logger.level
    logger.setLevel(logging.DEBUG)
    try:
        store.mirror("levels")
        assert logger.level == logging.DEBUG
    finally:
        logger.setLevel(before)


@pytest.fixture(scope="module")
def server(store: Store) -> Iterator[str]:
    """`mlflow server` on the store's database, as the container stack starts it but on loopback."""
    store.mirror("served").log_cells([cell(1), cell(2, status="oom")])
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", store.uri, "--artifacts-destination", str(store.folder / "proxied"),
        "--allowed-hosts", "127.0.0.1:*,mlflow:5000",
    ]  # fmt: skip
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    log = store.folder / "server.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command, env=environment, cwd=store.folder, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        deadline = time.monotonic() + 120
        while not _answers(f"http://127.0.0.1:{port}/health"):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.25)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(20)


def _answers(url: str) -> bool:
    try:
        _fetch(url)
    except OSError:
        return False
    return True


def _fetch(url: str, body: Any = None, **headers: str) -> bytes:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **headers})  # noqa: S310
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        return bytes(answer.read())


class Line:
    """A TCP line to a server that can be cut, connections and all, and mended on the same port."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._open: list[socket.socket] = []
        self._listen(0)

    def _listen(self, port: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near = listener.accept()[0]
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._target))
            self._open += [near, far]
            for pair in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=pair, daemon=True).start()

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def cut(self) -> None:
        for end in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._open.clear()

    def mend(self) -> None:
        self._listen(self.port)


def test_a_server_on_the_same_database_shows_parent_and_children(store: Store, server: str) -> None:
    client = store.client()
    experiment = client.get_experiment_by_name("sweeper/served")
    assert experiment is not None
    search = f"{server}/api/2.0/mlflow/runs/search"
    body = {"experiment_ids": [experiment.experiment_id]}
    runs = json.loads(_fetch(search, body, Host="mlflow:5000"))["runs"]
    tags = [{tag["key"]: tag["value"] for tag in run["data"]["tags"]} for run in runs]
    parent = next(run["info"]["run_id"] for run, tag in zip(runs, tags, strict=True) if tag["sweeper.kind"] == "sweep")
    assert sorted((tag["sweeper.cell_id"], tag["sweeper.status"]) for tag in tags if "sweeper.cell_id" in tag) == [
        ("cell1", "ok"),
        ("cell2", "oom"),
    ]
    assert {tag["mlflow.parentRunId"] for tag in tags if "sweeper.cell_id" in tag} == {parent}

    with pytest.raises(urllib.error.HTTPError, match="403"):
        _fetch(search, body, Host="elsewhere:5000")


def test_the_server_shows_artefacts_written_without_it(store: Store, server: str, record: Path) -> None:
    store.mirror("shown").log_cells([cell(1, artefacts=[record])])
    run_id = store.children("shown")["cell1"].info.run_id
    assert _fetch(f"{server}/get-artifact?path=record.json&run_uuid={run_id}") == record.read_bytes()


def test_the_mirror_writes_through_a_server(
    store: Store, server: str, record: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    mirror = store.mirror("remote", uri=f"{server}/")
    assert mirror.log_cells([cell(1, artefacts=[record]), cell(2, status="failed")]) == 2
    mirror.finish(artefacts=[record], metrics={"x": 1.0}, tags={}, status="FINISHED")
    assert store.mirror("remote", uri=server).log_cells([cell(1), cell(2, status="failed")]) == 0
    assert mirror.ui_command.startswith(f"{server}/#/experiments/")
    assert capfd.readouterr().out == ""  # MLflow would print the address of every run

    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=server)
    run = store.children("remote")["cell1"]
    assert run.info.artifact_uri.startswith("mlflow-artifacts:/")
    assert Path(client.download_artifacts(run.info.run_id, "record.json", str(tmp_path))).read_bytes() == (
        record.read_bytes()
    )
    assert len(client.get_metric_history(run.info.run_id, "training/loss")) == 3


VIEWED = """() => ({
    columns: [...document.querySelectorAll('.ag-header-cell')].sort((a, b) => a.ariaColIndex - b.ariaColIndex)
        .map(e => e.getAttribute('col-id')),
    names: [...document.querySelectorAll('.ag-cell[col-id="attributes.`Run Name`"] a')].map(e => e.textContent),
    text: document.body.textContent,
})"""
CHARTS = """() => [...document.querySelectorAll('[data-testid="experiment-view-compare-runs-card"]')]
    .map(e => e.textContent)"""


def test_the_view_of_a_sweep_is_what_a_browser_shows(store: Store, server: str, browser: Any, tmp_path: Path) -> None:
    """Runs in place of evaluations of generative AI; λ, m, seed, T and B; the sentence as the note; no raw twins."""
    from mlflow import MlflowClient

    made = prepared(tmp_path / "viewed", name="viewed", strengths={"adversarial_weight": [1, 10], "margin": [0.2]})
    write(made, made.known_cells())
    for path in made.store.cells_folder.glob("*/record.json"):  # a metric that B is made of
        path.write_text(path.read_text().replace("perturbation_accuracy", "retrieval_map"))
    _, decision = tabulate_and_decide(made.store)
    told = sync(made.store, uri=store.uri)
    command, address = told.mlflow
    assert command == f"mlflow ui --backend-store-uri '{store.uri}'"
    page = browser.new_page(viewport={"width": 1800, "height": 900})
    page.set_default_timeout(120_000)
    page.goto(address.replace("http://127.0.0.1:5000", server))
    page.wait_for_selector(".ag-cell[col-id='params.`seed`']")
    page.wait_for_timeout(1000)  # columns move into their order
    seen = page.evaluate(VIEWED)
    assert set(WIDTHS) <= set(seen["columns"]), seen["columns"]
    order = [column for column in seen["columns"] if column in WIDTHS]
    assert order == list(WIDTHS)
    assert len(seen["names"]) > 6
    assert not [name for name in seen["names"] if not name.startswith("λ=")], "no parent, no baselines"
    assert any(name.startswith("λ=10 m=0.2 s") for name in seen["names"])
    assert decision.sentence[:60] in seen["text"]

    page.goto(f"{page.url}&compareRunsMode=CHART")
    page.wait_for_selector("[data-testid='experiment-view-compare-runs-card']")
    assert any("composite/T" in text for text in page.evaluate(CHARTS))
    experiment = MlflowClient(store.uri).get_experiment_by_name("sweeper/viewed")
    assert experiment is not None
    runs = MlflowClient(store.uri).search_runs([experiment.experiment_id])
    assert not [name for run in runs for name in run.data.metrics if name.endswith(".raw")]
    page.close()


def test_artefacts_are_found_where_the_folder_was_moved_or_copied(tmp_path: Path, record: Path) -> None:
    """And where they were left behind, nothing is changed."""
    first = Store(tmp_path / "first")
    first.folder.mkdir()
    first.mirror("moved").log_cells([cell(1, artefacts=[record])])
    copied, bare = Store(tmp_path / "copied_1"), Store(tmp_path / "bare")
    shutil.copytree(first.folder, copied.folder)
    bare.folder.mkdir()
    shutil.copy(first.folder / "mlflow.db", bare.folder)
    moved = Store(first.folder.rename(tmp_path / "moved's folder"))
    for store in (moved, copied, moved):  # and again: it is there already
        mirror = store.mirror("moved")
        assert mirror.log_cells([cell(1), cell(2, artefacts=[record])]) in (0, 1)
        for run in store.children("moved").values():
            assert run.info.artifact_uri.startswith(f"{store.folder.as_uri()}/mlartifacts/")
            target = tmp_path / f"{store.folder.name}-{run.info.run_id}"
            target.mkdir(exist_ok=True)
            path = store.client().download_artifacts(run.info.run_id, "record.json", str(target))
            assert Path(path).read_bytes() == record.read_bytes()
    assert follow_artefacts(bare.folder / "mlflow.db", f"{bare.folder.as_uri()}/mlartifacts") == 0
    (run,) = bare.children("moved").values()
    assert run.info.artifact_uri.startswith(f"{first.folder.as_uri()}/")


def test_a_host_the_server_does_not_allow_is_one_line(store: Store, server: str) -> None:
    with pytest.raises(InputError, match=r"cannot open MLflow at http://localhost:\d+: .*403") as caught:
        store.mirror("unwelcome", uri=server.replace("127.0.0.1", "localhost"))
    assert "\n" not in str(caught.value)


def test_a_server_that_goes_away_costs_a_mirror_error_and_is_caught_up_with(
    store: Store, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    line = Line(int(server.rsplit(":", 1)[1]))
    mirror = store.mirror("away", uri=f"http://127.0.0.1:{line.port}")
    assert mirror.log_cells([cell(1)]) == 1
    line.cut()
    with pytest.raises(MirrorError, match=r"^cell λ=2: MLflow at http://127.0.0.1:\d+: ") as caught:
        mirror.log_cells([cell(1), cell(2)])
    assert "\n" not in str(caught.value)
    line.mend()
    try:
        assert mirror.log_cells([cell(1), cell(2), cell(3)]) == 2
        mirror.finish(artefacts=[], metrics={}, tags={}, status="FINISHED")
    finally:
        line.cut()
    assert {run.info.status for run in store.runs("away")} == {"FINISHED"}
    assert len(store.children("away")) == 3
