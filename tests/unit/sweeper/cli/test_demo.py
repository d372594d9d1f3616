"""`sweeper demo`: the dry runs, and the image demo up to its sweep; wrong input is one line and exit 2."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sweeper.cli import main
from trainers.screens.images.manifest import open_packed

TINY = ("batches=4", "plates_per_batch=2", "perturbations=4", "targets=2", "size=16", "cells=2", "radius=3")
STAMPED = ("images.npy", "manifest.json", "metadata.csv", "truth.json", ".png")
SET = [word for key in TINY for word in ("--set", f"simulate_images.{key}")]


def stamps(folder: Path) -> dict[Path, int]:
    """When the images, their tables and the packed screen were written."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.name.endswith(STAMPED)}


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def swept(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The configurations that were given to the sweep, which is not run here (tests/integration does)."""
    found: list[Any] = []

    def sweep(config: Any) -> int:
        found.append(config)
        return 0

    monkeypatch.setattr("sweeper.cli.run.sweep", sweep)
    return found


def test_dry_runs_count_and_write_nothing(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--dry-run", "--set", "abra.steps=3"]) == 0
    told = capsys.readouterr().out
    assert "0 done" in told
    assert "estimate:" in told
    assert main(["demo", "--images", "--dry-run", *SET]) == 0
    told = capsys.readouterr().out
    assert "768 of 3 channels, 16×16, to be written to " in told
    assert "144: 0 done, 144 missing (72 to train)" in told
    assert not list(place.iterdir())


@pytest.mark.slow
def test_images_are_written_packed_and_handed_to_the_sweep_once(
    place: Path, swept: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--images", *SET]) == 0
    screen = place / "runs/demo_images-screen"
    files = stamps(screen)
    packed = open_packed(screen / "packed", verify=True)
    assert packed.images.shape == (768, 3, 16, 16)
    assert (config := swept[0]).images.packed == screen / "packed"
    assert config.output == place / "runs/demo_images"
    assert config.frozen.backbone == "resnet10t"
    assert not config.output.exists()

    assert main(["demo", "--images", *SET, "--dry-run"]) == 0
    assert "144: 0 done" in capsys.readouterr().out
    assert main(["demo", "--images", *SET]) == 0
    assert stamps(screen) == files, "written or packed again"
    assert swept[0] == swept[1]

    assert main(["demo", "--images", *SET, "--set", "simulate_images.imbalance=0"]) == 2
    told = capsys.readouterr().err
    assert "holds other simulated images (imbalance 0.95, asked for 0.0); choose another folder" in told
    assert told.strip().splitlines()[-1].startswith("sweeper: ")
    assert len(swept) == 2


def test_a_demo_that_was_stopped_while_it_wrote_goes_on(
    place: Path, swept: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainers.screens.images import simulated_images as simulate

    real, written = simulate.render, []

    def render(simulation: Any, row: int) -> Any:
        written.append(row)
        if len(written) == 100:
            raise KeyboardInterrupt
        return real(simulation, row)

    monkeypatch.setattr(simulate, "render", render)
    assert main(["demo", "--images", *SET]) == 130
    assert not swept
    assert main(["demo", "--images", *SET]) == 0
    assert len(open_packed(place / "runs/demo_images-screen/packed", verify=True)) == 768


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("simulate_images.imbalanc=0", "unknown key 'imbalanc'; did you mean 'imbalance'?"),
        (
            "simulate_images.channels=6",
            "channels: the demo writes the layout of RxRx1-WILDS, 3 channels",
        ),
        ("simulate_images=3", "simulate_images: expected keys and values, got 3"),
        ("seedz=3", "unknown key 'seedz'; did you mean 'seeds'?"),
        ("frozen.backbone=resnet5O", "did you mean resnet50"),
        ("frozen.weights=pretrained", "the pretrained weights of 'resnet10t' are not on this disk"),
    ],
)
def test_wrong_input_is_one_line(place: Path, capsys: pytest.CaptureFixture[str], given: str, message: str) -> None:
    assert main(["demo", "--images", *SET, "--set", given]) == 2
    told = capsys.readouterr().err
    assert message in told
    *progress, line = told.strip().splitlines()
    assert line.startswith("sweeper: ")
    assert all("images written" in counted for counted in progress)  # shown where writing takes more than a moment
    assert not (place / "runs/demo_images").exists()
