"""A store at a URL, without a server: what a copy fetches and forgets, who owns the sweep, what doctor says."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fsspec
import pytest

from sweeper.config.sweep_config import load_config
from sweeper.doctor.places import place_checks
from sweeper.errors import ConfigError, InputError
from sweeper.library.comparing import methods_of
from sweeper.running.surroundings import storage_line, storage_trouble
from sweeper.store import lease
from sweeper.store.lease import OwnedError, owned, running
from sweeper.store.store import Store
from sweeper.store.working_copy import WorkingCopy
from tests.public_examples import CONFIG
from trainers.errors import PlaceError
from trainers.screens.place import Place

URL = "memory://lab/sweep"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setenv("SWEEPER_CACHE", str(tmp_path / "cache"))
    yield Place(URL)
    files = fsspec.filesystem("memory")
    files.store.clear()
    files.pseudo_dirs[:] = [""]


@pytest.fixture
def copy(place: Place) -> WorkingCopy:
    return WorkingCopy(place)


def fetched(copy: WorkingCopy, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of objects that are downloaded from now on."""
    names: list[str] = []
    download = copy.place.download
    monkeypatch.setattr(copy.place, "download", lambda name, target: (names.append(name), download(name, target))[1])
    return names


def test_what_changed_there_is_fetched_and_what_is_gone_goes(
    copy: WorkingCopy, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.put("sweep.json", b"1")
    place.put("decision.json", b"1")
    place.put("cells/a.tar", b"not of this level")
    names = fetched(copy, monkeypatch)
    for _ in range(2):
        copy.pull_level()
    assert sorted(names) == ["decision.json", "sweep.json"]
    place.put("sweep.json", b"2")
    place.delete("decision.json")
    (copy.folder / "mlflow.db").write_text("of this machine")
    copy.pull_level()
    assert names[2:] == ["sweep.json"]
    assert (copy.folder / "sweep.json").read_bytes() == b"2"
    assert not (copy.folder / "decision.json").exists()
    assert (copy.folder / "mlflow.db").exists()


def test_a_folder_is_one_object(
    copy: WorkingCopy, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (copy.folder / "models/best").mkdir(parents=True)
    (copy.folder / "models/best/card.json").write_text("kept")
    copy.publish("models/best.tar")
    assert list(place.list()) == ["models/best.tar"]
    monkeypatch.setenv("SWEEPER_CACHE", str(tmp_path / "elsewhere"))
    other = WorkingCopy(place)
    names = fetched(other, monkeypatch)
    for _ in range(2):
        assert other.pull_folders("models") == {"best"}
    assert names == ["models/best.tar"]
    assert (other.folder / "models/best/card.json").read_text() == "kept"
    assert other.pull_folders("models", among={"worst"}) == frozenset()
    assert not list((other.folder / ".coming").iterdir())


def test_a_copy_that_cannot_be_kept(copy: WorkingCopy, place: Place, tmp_path: Path) -> None:
    place.put("sweep.json", b"1")
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(InputError, match=r"no copy of memory://lab/sweep can be kept there \(.*\); set SWEEPER_CACHE"):
        copy.pull_level()


def test_one_owner(place: Place) -> None:
    for number in (1, 2):
        with owned(Path(), place):
            with pytest.raises(OwnedError, match=rf"^{URL}: another process runs this sweep: {os.getpid()} on"):
                owned(Path(), place).__enter__()
            found = running(Path(), place)
            assert found is not None
            assert found.pid == os.getpid()
        assert list(place.list()) == [f".lease/{number:06d}.json"]
    assert running(Path(), place) is None


def elsewhere(place: Place, *, touched: float) -> None:
    """The lease as a process of another machine left it."""
    (name,) = place.list(".lease")
    told = json.loads(place.read(name))
    place.put(name, json.dumps({**told, "host": "node7", "place": "another boot", "released": False}).encode())
    files = fsspec.filesystem("memory")
    files.store[f"/{place.path(name)}"].created = files.store[f"/{place.path(name)}"].modified = datetime.fromtimestamp(
        touched, UTC
    )


def test_an_owner_that_died_on_another_machine_is_followed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    with owned(Path(), place):
        pass
    elsewhere(place, touched=time.time())
    with pytest.raises(OwnedError, match="on node7, since"):
        owned(Path(), place).__enter__()
    elsewhere(place, touched=time.time() - 3600)
    watched: list[float] = []
    monkeypatch.setattr(lease.time, "sleep", watched.append)
    with owned(Path(), place):
        assert watched == [lease.WATCH]
        assert list(place.list()) == [".lease/000002.json"]


def test_an_owner_shows_life(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "HEARTBEAT", 0.01)
    with owned(Path(), place):
        first = place.stamp(".lease/000001.json")
        deadline = time.monotonic() + 5
        while place.stamp(".lease/000001.json") == first and time.monotonic() < deadline:
            time.sleep(0.01)
        assert place.stamp(".lease/000001.json") != first


def test_where_results_go(tmp_path: Path) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(CONFIG)
    config = load_config(path, ["folder=s3://lab/runs/tiny/"])
    assert config.where == "s3://lab/runs/tiny"
    assert config.output.parent.name == "sweeps"
    assert config.model_dump(mode="json")["folder"] == "s3://lab/runs/tiny"
    local = load_config(path, [f"folder=file://{tmp_path}/here"])
    assert local.where == local.output == tmp_path / "here"
    with pytest.raises(ConfigError, match=r"folder=ftp://lab/tiny: folder: .*storage of kind 'ftp' is not known"):
        load_config(path, ["folder=ftp://lab/tiny"])
    with pytest.raises(ConfigError, match="holds credentials") as refused:
        load_config(path, ["folder=s3://me:word@lab/tiny"])
    assert "word" not in str(refused.value)


def test_a_comparison_of_methods_stays_in_a_folder(tmp_path: Path) -> None:
    table = tmp_path / "profiles.parquet"
    table.touch()
    with pytest.raises(ConfigError, match="folder: s3://lab/x: a comparison of methods is kept in a folder"):
        methods_of(table, ["center", "combat"], folder="s3://lab/x")


@pytest.mark.parametrize("name", ["photos.zip", "other/sweep.json"])
def test_what_is_not_a_sweep_is_left_alone(name: str, place: Place) -> None:
    store = Store(Path(), WorkingCopy(place))
    place.put(".lease/000001.json", b"{}")
    store.check("an id")
    place.put(name, b"1")
    with pytest.raises(InputError, match="memory://lab/sweep: is not empty and not a sweep's folder"):
        store.check("an id")
    assert store.named(Path("report.html")) == f"{URL}/report.html"


def test_storage_that_is_away_ends_a_sweep_in_one_line() -> None:
    try:
        raise RuntimeError from PlaceError("s3://lab/x", "does not answer (refused)")
    except RuntimeError as error:
        trouble = storage_trouble(error, Path("s3://lab/x"))
    assert trouble is not None
    assert storage_line("s3://lab/x", trouble) == (
        "s3://lab/x: does not answer (refused); finished cells are kept: mend that, then the same command continues"
    )


def test_doctor_looks_at_the_place(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    (check,) = place_checks(URL)
    assert (check.name, check.state) == ("storage", "ok")
    assert place.list() == {}

    def overwrites(self: Any, name: str, content: bytes) -> bool:
        self.put(name, content)
        return True

    monkeypatch.setattr(Place, "put_new", overwrites)
    (check,) = place_checks(URL)
    assert (check.state, "could get two owners" in check.text) == ("wrong", True)
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    (check,) = place_checks("gs://lab/x")
    assert (check.state, "pip install gcsfs" in check.text) == ("wrong", True)
