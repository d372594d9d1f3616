"""A sweep at a URL, with a real S3-compatible server that throttles, is cut off, and sees drivers die."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sweeper
from sweeper.cli import main
from sweeper.config.sweep_config import build_config
from sweeper.errors import InputError
from sweeper.planning.images import open_images
from sweeper.running.sweep import Event
from sweeper.store.lease import OwnedError
from sweeper.store.store import Store
from tests.integration.conftest import CommandLine
from tests.integration.s3 import CREDENTIALS, Proxy, fresh, running_s3
from tests.integration.test_library import start, until
from tests.public_examples import CONFIG
from trainers.screens.images.image_simulation import draw_simulation
from trainers.screens.images.image_simulation_spec import ImageSimulationSpec
from trainers.screens.images.simulated_images import write_images
from trainers.screens.images.source import packed_folder
from trainers.screens.place import Place

pytest.importorskip("s3fs", reason="the extra s3 is not installed")
pytestmark = [pytest.mark.integration, pytest.mark.slow]

CELLS = 33
URL = "s3://lab/runs/tiny"


@dataclass(frozen=True)
class Swept:
    """The sweep at `URL`: killed once, throttled and cut off, then finished."""

    config: Path
    place: Place
    proxy: Proxy
    refusal: str
    """What a second driver was told while the first ran."""
    kept: dict[str, str]
    """The cells of the killed driver: object → tag."""
    told: str


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swept]:
    folder = tmp_path_factory.mktemp("storage")
    config = folder / "tiny.yaml"
    config.write_text(CONFIG)
    with pytest.MonkeyPatch.context() as patch, running_s3() as proxy:
        for name, value in (CREDENTIALS | {"AWS_ENDPOINT_URL": proxy.url, "AWS_DEFAULT_REGION": "us-east-1"}).items():
            patch.setenv(name, value)
        patch.setenv("SWEEPER_CACHE", str(folder / "cache"))
        patch.setenv("RAY_worker_niceness", "0")  # by 15 they would starve beside other tests
        place = fresh(URL)
        command = ("run", config, "--anyway", "--set", f"folder={URL}", "--set", "tracking.enabled=false")
        command += ("--set", "executor.cpus_per_pack=2")  # one worker to start
        line = CommandLine(folder)
        first = start(line, *command, "--set", "executor.pack_size=2", "--set", "abra.steps=400")
        until(lambda: place.list("cells"), first)
        with pytest.raises(OwnedError) as refused:
            sweeper.run(sweeper.load_config(config, [f"folder={URL}", "abra.steps=400"]))
        os.kill(first.pid, signal.SIGKILL)
        first.communicate()
        kept = {name: stamp.tag for name, stamp in place.list("cells").items()}
        proxy.throttled = 0.1
        second = start(line, *command, "--set", "abra.steps=400", "--set", "executor.pack_size=8")
        until(lambda: len(place.list("cells")) > len(kept), second)
        proxy.away = True
        until(lambda: proxy.refused["cut"] >= 5, second)
        proxy.away = False
        out, told = second.communicate(timeout=240)
        proxy.throttled = 0.0
        assert second.returncode == 0, told
        yield Swept(config, place, proxy, str(refused.value), kept, out + told)


def test_every_cell_is_there_once_and_the_first_ones_are_those_of_the_killed_driver(swept: Swept) -> None:
    found = swept.place.list("cells")
    assert len(found) == CELLS
    assert {name: found[name].tag for name in swept.kept} == swept.kept
    assert 0 < len(swept.kept) < CELLS
    assert swept.proxy.refused["throttled"] > 5
    assert "Ray was lost" not in swept.told
    assert CREDENTIALS["AWS_SECRET_ACCESS_KEY"] not in swept.told
    left = {name.partition("/")[0] for name in swept.place.list()} - {"packs"}  # of the killed driver
    outputs = {"sweep.json", "results.parquet", "units.parquet", "decision.json", "report.html"}
    assert left == outputs | {"screen.tar", "cells", ".lease"}


def test_a_second_driver_is_refused(swept: Swept) -> None:
    assert swept.refusal.startswith(f"{URL}: another process runs this sweep: ")


def test_another_machine_goes_on_reads_and_reports(
    swept: Swept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SWEEPER_CACHE", str(tmp_path / "elsewhere"))
    before = swept.place.list()
    events: list[Event] = []
    overrides = [f"folder={URL}", "abra.steps=400", "tracking.enabled=false"]
    sweep = sweeper.run(sweeper.load_config(swept.config, overrides), anyway=True, tell=events.append)
    assert [(event.cells_done, event.cells) for event in events if event.kind == "start"] == [(CELLS, CELLS)]
    after = swept.place.list()
    written = {"sweep.json", "results.parquet", "units.parquet", "decision.json", "report.html"}
    unchanged = {name for name, stamp in before.items() if after.get(name) == stamp}
    assert {name for name in before.keys() - unchanged if not name.startswith(".lease/")} <= written
    assert before["decision.json"].tag == after["decision.json"].tag
    assert sweep.cells["status"].tolist() == ["ok"] * CELLS
    capsys.readouterr()
    assert main(["status", URL, "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert (status["folder"], status["done"], status["running"]) == (URL, CELLS, None)
    assert main(["decide", URL]) == 0
    assert "INSUFFICIENT DATA" in capsys.readouterr().out
    assert main(["report", URL]) == 0
    assert f"report:   {URL}/report.html" in capsys.readouterr().out


def test_a_cell_that_is_run_again_elsewhere_is_seen_here(
    swept: Swept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Store.at(URL)
    cell = min(here.finished())
    monkeypatch.setenv("SWEEPER_CACHE", str(tmp_path / "elsewhere"))
    there = Store.at(URL)
    assert not there.write_cell(here.record(cell) | {"ended": 1.0}, curve=[]), "the first result stays"
    record = here.record(cell) | {"reason": "written elsewhere"}
    assert there.write_cell(record, curve=[], replace=True)
    assert len(here.finished()) == CELLS
    assert here.record(cell)["reason"] == "written elsewhere"
    # and damage at the URL gives way, unasked
    swept.place.put(f"cells/{cell}.tar", b"no archive")
    assert there.write_cell(record, curve=[])
    assert cell in here.finished()


@pytest.mark.parametrize(
    ("folder", "environment", "told"),
    [
        ("s5://lab/tiny", {}, "storage of kind 's5' is not known; existing: 's3', 'gs', 'file'"),
        ("s3://labb/tiny", {}, "s3://labb/tiny: there is no such bucket; make it, or mend its name"),
        ("s3://lab/new", {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "s3://lab/new: does not answer ("),
        ("s3://lab/new", {"AWS_ACCESS_KEY_ID": None}, "s3://lab/new: no credentials; set AWS_ACCESS_KEY_ID"),
    ],
)
def test_what_is_wrong_with_a_url_is_one_line(
    folder: str,
    environment: dict[str, Any],
    told: str,
    swept: Swept,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("SWEEPER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("sweeper.store.store.DOOR_PATIENCE", 0.5)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in environment.items():
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)
    fresh(URL)
    try:
        assert main(["run", str(swept.config), "--anyway", "--set", f"folder={folder}"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert told in line
        assert not (tmp_path / "cache").exists()
        assert not list(tmp_path.rglob("mlflow.db"))
    finally:
        monkeypatch.undo()
        fresh(URL)


def test_packed_images(
    swept: Swept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url, files = "s3://lab/packed/tiny", tmp_path / "files"
    monkeypatch.setenv("SWEEPER_CACHE", str(tmp_path / "here"))
    small = {"size": 32, "radius": 3, "cells": 3, "batches": 3, "cell_types": 1, "sites": 1, "plates_per_batch": 2}
    write_images(draw_simulation(ImageSimulationSpec(**small)), files, "wilds")
    for _ in range(2):
        assert main(["pack", "--wilds", str(files), "--out", url, "--workers", "1"]) == 0
        written = fresh(url).list()
        assert capsys.readouterr().out.startswith(f"{url}: ")
    assert sorted(written) == ["images.npy", "manifest.json", "wells.parquet"]
    shutil.rmtree(tmp_path / "here")  # another machine
    packed = build_config(
        {
            "name": "images",
            "images": {"packed": f"{url}/"},
            "views": [{"view": "held_out_plates", "fraction": 0.5}],
            "trainer": "abra_images",
            "strengths": {"adversarial_weight": [1], "margin": [0.1]},
        },
        "test",
    )
    first = open_images(packed)
    assert {path.name for path in packed_folder(packed.images).iterdir()} == {
        "images.npy",
        "manifest.json",
        "wells.parquet",
    }
    assert main(["pack", "--check", url]) == 0
    assert np.array_equal(open_images(packed, expected=first.fingerprint).images, first.images)
    fresh(url).delete("manifest.json")
    with pytest.raises(InputError, match=rf"{url}: holds no packed screen \(no manifest.json\)"):
        open_images(packed)
