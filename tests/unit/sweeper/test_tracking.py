"""The parts of the mirror that need no MLflow: which store, under which names."""

from __future__ import annotations

import posixpath
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.mirror.address import artefact_root, check_tracking, masked, resolve_uri
from sweeper.mirror.tracking import MirroredCell, _Child, _is_settled, _name
from trainers.errors import InputError

FOLDER = Path("/data/runs/a sweep")


def test_config_comes_before_the_environment_and_the_environment_before_the_folder() -> None:
    environment = {"MLFLOW_TRACKING_URI": "http://mlflow:5000"}
    assert resolve_uri("sqlite:////team/mlflow.db", environment, FOLDER) == "sqlite:////team/mlflow.db"
    assert resolve_uri(None, environment, FOLDER) == "http://mlflow:5000"
    assert resolve_uri(None, {}, FOLDER) == "sqlite:////data/runs/a sweep/mlflow.db"


@pytest.mark.parametrize("blank", ["", "  "])
def test_a_blank_uri_is_none_at_all(blank: str) -> None:
    assert resolve_uri(blank, {"MLFLOW_TRACKING_URI": blank}, FOLDER) == "sqlite:////data/runs/a sweep/mlflow.db"


def test_a_relative_folder_gives_an_absolute_database(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve_uri(None, {}, Path("runs")) == f"sqlite:///{tmp_path}/runs/mlflow.db"


def test_a_folder_that_sqlite_cannot_name_is_refused() -> None:
    with pytest.raises(InputError, match=r"why\?.*choose another folder"):
        resolve_uri(None, {}, Path("/data/why?"))


@pytest.mark.parametrize(
    "uri", ["sqlite:///mlflow.db", "sqlite:///runs/x.db", "sqlite+pysqlite:///x.db", "SQLite:x.db"]
)
def test_a_relative_sqlite_uri_is_refused_with_the_absolute_one(
    uri: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        InputError, match=rf"^MLFLOW_TRACKING_URI: .*; write sqlite:///{re.escape(str(tmp_path))}/.*\.db$"
    ):
        resolve_uri(None, {"MLFLOW_TRACKING_URI": uri}, FOLDER)


@pytest.mark.parametrize("uri", ["sqlite://", "sqlite:///", "sqlite:///:memory:"])
def test_a_database_in_memory_is_refused(uri: str) -> None:
    with pytest.raises(InputError, match=r"write sqlite:////absolute/path/mlflow\.db"):
        resolve_uri(uri, {}, FOLDER)


@pytest.mark.parametrize("uri", ["mlruns", "./mlruns", "/data/mlruns", "file:///data/mlruns", "C:\\mlruns"])
def test_a_file_store_is_refused(uri: str) -> None:
    with pytest.raises(InputError, match=r"^tracking uri of the config: .* is a file store"):
        resolve_uri(uri, {}, FOLDER)


@pytest.mark.parametrize(
    ("uri", "root"),
    [
        ("sqlite:////data/runs/a sweep/mlflow.db", "file:///data/runs/a%20sweep/mlartifacts"),
        ("sqlite:////team/mlflow.db?timeout=5", "file:///team/mlartifacts"),
        ("postgresql://db/mlflow", "file:///data/runs/a%20sweep/mlartifacts"),
        ("http://mlflow:5000", None),
        ("databricks", None),
    ],
)
def test_artefacts_lie_beside_the_database_unless_a_server_keeps_them(uri: str, root: str | None) -> None:
    assert artefact_root(uri, FOLDER) == root


def test_passwords_aremasked() -> None:
    assert masked("postgresql://me:se/cret@db/mlflow") == "postgresql://me:se/cret@db/mlflow"  # no valid URL
    assert masked("at postgresql://me:secret@db/mlflow!") == "at postgresql://me:***@db/mlflow!"
    assert masked("http://mlflow:5000/a@b") == "http://mlflow:5000/a@b"


def test_a_server_that_is_not_there_is_reported_within_seconds() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    begun = time.monotonic()
    with pytest.raises(InputError, match=rf"^cannot open MLflow at http://me:\*\*\*@127.0.0.1:{port}: .*refused"):
        check_tracking(f"http://me:secret@127.0.0.1:{port}", FOLDER)
    assert time.monotonic() - begun < 6


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database")
    with pytest.raises(InputError, match="not a SQLite database"):
        check_tracking(f"sqlite:///{path}", FOLDER)
    assert path.read_text() == "not a database"


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("technical/batch_probe_linear", "technical/batch_probe_linear"),
        ("recall@5", "recall_at_5"),
        ("λ (max)", "λ _max_"),
        ("/a//b/", "a/b"),
        ("../secret", "__/secret".replace("__", "_")),
        ("", "_"),
    ],
)
def test_names_in_the_characters_mlflow_allows(key: str, name: str) -> None:
    assert _name(key) == name


@given(st.text(max_size=400))
def test_every_name_passes_mlflows_own_rules(key: str) -> None:
    name = _name(key)
    assert re.fullmatch(r"[/\w.\- :]{1,250}", name)
    assert posixpath.normpath(name) == name
    assert name != "."
    assert not name.startswith(("..", "/"))


@pytest.mark.parametrize(
    ("run_status", "recorded", "status", "settled"),
    [
        ("FINISHED", "ok", "ok", True),
        ("RUNNING", None, "ok", False),
        ("SCHEDULED", None, "failed", False),
        ("FAILED", "failed", "failed", True),
        ("FAILED", "failed", "oom", False),
        ("FAILED", "oom", "ok", False),
        ("KILLED", None, "ok", False),
    ],
)
def test_which_runs_are_left_alone(run_status: str, recorded: str | None, status: str, settled: bool) -> None:
    assert _is_settled(_Child("r", run_status, recorded, 0, "file:///a"), status) is settled


def test_an_unknown_status_is_a_programming_error() -> None:
    with pytest.raises(ValueError, match=r"cell c1: status must be one of .*'done'"):
        MirroredCell(cell_id="c1", name="x", status="done")


def test_importing_the_adapter_imports_no_mlflow() -> None:
    code = (
        "import sys, sweeper.mirror.tracking\n"
        "sys.exit(int(any(m in sys.modules for m in ('mlflow', 'sqlalchemy', 'numpy'))))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
