"""`sweeper pack`: from options or a configuration, dry run, bad files, resume; wrong input is one line and exit 2."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from sweeper.cli import main
from trainers.screens.images.image_simulation import draw_simulation
from trainers.screens.images.image_simulation_spec import ImageSimulationSpec
from trainers.screens.images.manifest import IMAGES, open_packed
from trainers.screens.images.render import render_all
from trainers.screens.images.simulated_images import write_images

SPEC = ImageSimulationSpec(batches=2, cell_types=1, sites=1, size=16, cells=2, radius=3, perturbations=4, targets=2)
CONFIG = """\
name: images
images: {layout: rxrx1, path: files, packed: packed, channels: [a, b, c], pattern: "PATTERN"}
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("screen")
    write_images(draw_simulation(SPEC), folder, "wilds")
    return folder


def plates(written: Path, *more: str) -> list[str]:
    """The images as a plate folder whose files hold all channels: nothing of wilds or torch is imported."""
    pattern = "pattern=images/{batch}/Plate{plate}/{well}_s{site}.png"
    given = ["--set", pattern, "--set", "channels=[nuclei, ER, actin]", "--workers", "1", *more]
    return ["pack", "--plates", str(written / "rxrx1_v1.0"), *given]


def test_packed_from_options_and_the_same_command_again(
    written: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = plates(written, "--out", str(tmp_path / "packed"))
    assert main(command) == 0
    told = capsys.readouterr().out
    assert "192 images of 3 channels, 16×16, uint8" in told
    assert "147.5 kB, sha256:" in told
    screen = open_packed(tmp_path / "packed", verify=True)
    np.testing.assert_array_equal(screen.images, render_all(draw_simulation(SPEC)))
    before = (tmp_path / "packed" / IMAGES).stat().st_mtime_ns
    assert main(command) == 0
    assert (tmp_path / "packed" / IMAGES).stat().st_mtime_ns == before
    assert main(["pack", "--check", str(tmp_path / "packed")]) == 0
    assert "192 images, every checksum holds" in capsys.readouterr().out
    with (tmp_path / "packed" / IMAGES).open("r+b") as file:
        file.seek(-1, 2)
        file.write(bytes([screen.images[-1, -1, -1, -1] ^ 1]))
    assert main(["pack", "--check", str(tmp_path / "packed")]) == 2
    assert "changed since they were packed" in capsys.readouterr().err


def test_a_configuration_says_where_the_images_are(
    written: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "files").symlink_to(written / "rxrx1_v1.0")
    config = tmp_path / "my.yaml"
    config.write_text(CONFIG.replace("PATTERN", "images/{batch}/Plate{plate}/{well}_s{site}.png"))
    assert main(["pack", str(config), "--workers", "1"]) == 0
    assert open_packed(tmp_path / "packed").channels == ("a", "b", "c")
    capsys.readouterr()
    assert main(["pack", str(config), "--set", "chanels=[a]"]) == 2
    assert "unknown key 'chanels'; did you mean 'channels'?" in capsys.readouterr().err
    config.write_text("name: images\n")
    assert main(["pack", str(config)]) == 2
    assert "no section 'images'" in capsys.readouterr().err
    config.write_text("images: {layout: rxrx2, path: files}\n")
    assert main(["pack", str(config)]) == 2
    assert "layout: expected one of wilds, rxrx1, plates, got 'rxrx2'" in capsys.readouterr().err


def test_a_dry_run_counts_and_writes_nothing(written: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(plates(written, "--out", str(tmp_path / "packed"), "--dry-run")) == 0
    told = capsys.readouterr().out
    assert "192 of 3 channels (nuclei, ER, actin), 16×16, uint8" in told
    assert "2 batches, 2 plates, 7 perturbations" in told
    assert "needed:  147.5 kB" in told
    assert not (tmp_path / "packed").exists()


def test_bad_files_stop_packing_or_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_images(draw_simulation(SPEC), tmp_path, "wilds")
    files = sorted((tmp_path / "rxrx1_v1.0").rglob("*.png"))
    files[0].unlink()
    files[5].write_bytes(files[5].read_bytes()[:40])
    out = ("--out", str(tmp_path / "packed"))
    assert main(plates(tmp_path, *out)) == 2
    told = capsys.readouterr().err
    assert "2 of 192 images cannot be used (1 missing, 1 truncated): images/HUVEC-01/Plate1/A01_s1.png: missing" in told
    assert told.strip().count("\n") == 0
    assert not (tmp_path / "packed").exists()
    assert main(plates(tmp_path, *out, "--on-bad", "drop")) == 0
    streams = capsys.readouterr()
    assert "warning: 2 sites left out: images/HUVEC-01/Plate1/A01_s1.png: missing" in streams.err
    assert "190 images" in streams.out


def grey(path: Path) -> None:
    Image.open(path).convert("L").save(path)


def larger(path: Path) -> None:
    Image.open(path).resize((24, 24)).save(path)


def corrupt(path: Path) -> None:
    """The header stays readable; the pixels do not."""
    data = bytearray(path.read_bytes())
    data[60:120] = bytes(60)
    path.write_bytes(data)


def without_image(path: Path) -> None:
    """A further row of the table, of a well that was never imaged."""
    table = path.parents[3] / "metadata.csv"
    rows = pd.read_csv(table, dtype=str, keep_default_na=False)
    pd.concat([rows, rows.iloc[[0]].assign(site="2")]).to_csv(table, index=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (grey, r"1 channel.*3 channel|3 channel.*1 channel"),
        (larger, r"24×24.*16×16|16×16.*24×24"),
        (corrupt, r"1 of 192 images cannot be used \(1 corrupt .*\): images/HUVEC-01/Plate1/A01_s1\.png: corrupt"),
        (without_image, r"1 of 193 images cannot be used \(1 missing\): images/HUVEC-01/Plate1/A01_s2\.png: missing"),
    ],
)
def test_images_that_do_not_fit_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Callable[[Path], None], message: str
) -> None:
    write_images(draw_simulation(SPEC), tmp_path, "wilds")
    change(tmp_path / "rxrx1_v1.0/images/HUVEC-01/Plate1/A01_s1.png")
    assert main(plates(tmp_path, "--out", str(tmp_path / "packed"))) == 2
    told = capsys.readouterr().err
    assert told.startswith("sweeper: ")
    assert told.strip().count("\n") == 0
    assert re.search(message, told), told
    assert not (tmp_path / "packed" / "manifest.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give a CONFIG.yaml, or one of --wilds, --rxrx1 and --plates"),
        (["--rxrx1", "nowhere"], "nowhere: no such folder of images"),
        (["absent.yaml"], "absent.yaml: cannot read the configuration"),
        (["--check", "nowhere"], "nowhere: does not exist"),
        (["--rxrx1", ".", "--download"], "unknown key 'download'"),
        (["--rxrx1", ".", "--workers", "0"], "metadata.csv"),
    ],
)
def test_wrong_input_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["pack", *arguments]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.startswith("sweeper: ")
    assert told.strip().count("\n") == 0
    assert not list(tmp_path.iterdir())


def test_keys_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pack", "--keys"]) == 0
    told = capsys.readouterr().out
    assert "mixed_to_test = False" in told
    assert "{batch}/Plate{plate}" in told
