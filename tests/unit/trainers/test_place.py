"""Storage by URL: what a URL may be, what a place does, and what it makes of storage that fails."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from trainers.errors import InputError, PlaceError
from trainers.screens import place as module
from trainers.screens.place import Place, checked_url


@pytest.fixture
def place() -> Iterator[Place]:
    """Of fsspec's memory, which creates exclusively as S3 does."""
    yield Place("memory://lab/sweep")
    files = fsspec.filesystem("memory")
    files.store.clear()
    files.pseudo_dirs[:] = [""]


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds slept; nobody waits for them."""
    slept: list[float] = []
    now = [0.0]

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(module.time, "sleep", sleep)
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return slept


def test_urls() -> None:
    assert checked_url("s3://lab/runs/tiny/") == "s3://lab/runs/tiny"
    assert checked_url("gs://lab") == "gs://lab"
    assert checked_url("file:///data/my%20runs") == Path("/data/my runs")
    for wrong, told in (
        ("s4://lab/tiny", "storage of kind 's4' is not known; existing: 's3', 'gs', 'file'"),
        ("s3:///tiny", "expected s3://bucket/folder"),
        ("s3://lab/tiny?versionId=3", "expected s3://bucket/folder"),
        ("file://host/data", "expected file:///absolute/folder"),
        ("s3://key:word@lab/tiny", "holds credentials; they belong into the environment"),
    ):
        with pytest.raises(ValueError, match=r".") as error:
            checked_url(wrong)
        assert told in str(error.value)
        assert "word" not in str(error.value)


def test_objects(place: Place, tmp_path: Path) -> None:
    assert place.list() == {}
    assert place.stamp("a.json") is None
    with pytest.raises(FileNotFoundError):
        place.read("a.json")
    assert place.put_new("a.json", b"first")
    assert place.put_new("a.json", b"first"), "the answer to a first try may have been lost"
    assert not place.put_new("a.json", b"second")
    place.put("cells/b.tar", b"1")
    (tmp_path / "file").write_bytes(b"22")
    place.upload(tmp_path / "file", "cells/c.tar")
    assert sorted(place.list()) == ["a.json", "cells/b.tar", "cells/c.tar"]
    assert list(place.list(deep=False)) == ["a.json"]
    before = place.list("cells")
    place.put("cells/b.tar", b"333")
    after = place.list("cells")
    assert before["cells/b.tar"].tag != after["cells/b.tar"].tag
    assert before["cells/c.tar"] == after["cells/c.tar"]
    place.download("cells/b.tar", tmp_path / "fetched")
    assert (tmp_path / "fetched").read_bytes() == place.read("cells/b.tar") == b"333"
    for _ in range(2):
        place.delete("a.json")
    assert place.stamp("a.json") is None


def failing(place: Place, monkeypatch: pytest.MonkeyPatch, errors: list[Exception]) -> None:
    """Let reading raise each of the errors, then answer."""
    answer: Callable[[str], bytes] = place.files.cat_file

    def cat_file(path: str) -> bytes:
        if errors:
            raise errors.pop(0)
        return answer(path)

    monkeypatch.setattr(place, "files", type("Files", (), {"cat_file": staticmethod(cat_file)})())


def test_throttled_and_cut_off_are_tried_again(
    place: Place, monkeypatch: pytest.MonkeyPatch, waited: list[float]
) -> None:
    place.put("a", b"1")
    failing(place, monkeypatch, [OSError("Please reduce your request rate."), ConnectionResetError(), TimeoutError()])
    assert place.read("a") == b"1"
    assert waited == [0.25, 0.5, 1.0]


def test_patience_ends_in_one_line_without_secrets(
    place: Place, monkeypatch: pytest.MonkeyPatch, waited: list[float]
) -> None:
    failing(place, monkeypatch, [ConnectionError("https://me:secret@host/ is away\nTraceback")] * 1000)
    with pytest.raises(PlaceError, match=r"^memory://lab/sweep: does not answer \(https://\*\*\*@host/ is away\)$"):
        place.read("a")
    assert module.PATIENCE - 5.0 <= sum(waited) <= module.PATIENCE


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (PermissionError("Forbidden"), "refused (Forbidden); check the credentials in the environment"),
        (type("NoCredentialsError", (Exception,), {})(), "no credentials; set AWS_ACCESS_KEY_ID"),
    ],
)
def test_what_lasts_is_said_at_once(
    error: Exception, told: str, place: Place, monkeypatch: pytest.MonkeyPatch, waited: list[float]
) -> None:
    failing(place, monkeypatch, [error] * 2)
    with pytest.raises(PlaceError) as found:
        place.read("a")
    assert told in str(found.value)
    assert waited == []


def test_a_package_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(InputError, match="gs://lab/x: the package gcsfs is not installed; pip install gcsfs"):
        Place("gs://lab/x").check()


def test_local_work_imports_nothing_of_it() -> None:
    import subprocess

    code = "import sys, sweeper.store.store, sweeper.config.sweep_config; print('fsspec' in sys.modules)"
    found: Any = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"
