"""Inputs that failed once, from outside this repository: settings, stores, tables and images at the doors."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sweeper.cli import main

CASES = Path(__file__).resolve().parents[4] / "shared" / "cases"

pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason=f"no failing inputs at {CASES}")


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(arguments) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("warning: ")]
    assert len(lines) == 1
    return lines[0]


def test_a_hundred_million_seeds(capsys: pytest.CaptureFixture[str]) -> None:
    told = refused(["validate", str(CASES / "a_config_55236368" / "a2.yaml")], capsys)
    assert "sham.seeds" in told


@pytest.mark.parametrize("name", ["c1.csv.gz", "c7.csv.gz"])
def test_values_beyond_any_metric(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = CASES / "c_table_a3e9d522" / name
    if not path.exists():
        pytest.skip(f"no {name}")
    code = main(["decide", "--table", str(path), "--set", "draws=200"])
    told = capsys.readouterr().err
    assert code in (0, 2)
    assert code == 0 or len(told.splitlines()) == 1


def test_a_footer_of_parquet_that_is_no_json(capsys: pytest.CaptureFixture[str]) -> None:
    told = refused(["decide", "--table", str(CASES / "c_table_ee39b248" / "c1.parquet")], capsys)
    assert "c1.parquet" in told


def test_an_integer_tiff_with_signs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pattern = "{batch}/{Metadata_Folder}/Images/{Metadata_rc}f{Metadata_f}p01-ch{channel}sk1fk1fl1.tiff"
    columns = (
        "{batch: Metadata_Batch, plate: Metadata_Plate, well: Metadata_Well, site: Metadata_Site, "
        "perturbation: Metadata_Compound, control_type: Metadata_pert_type}"
    )
    settings = ["metadata=metadata.csv", f"pattern={pattern}", "channels=[DNA, ER]", f"columns={columns}"]
    given = ["pack", "--plates", str(CASES / "signed_tiff" / "i_signed"), "--out", str(tmp_path / "packed")]
    given += ["--workers", "1", *(f"--set={setting}" for setting in settings)]
    assert "16 bits, signed" in refused(given, capsys)
    assert not (tmp_path / "packed").exists()
    assert main([*given, "--set=signed=clip"]) == 0


@pytest.mark.parametrize("case", ["e_store_58ec4310", "e_store_7b1483ca"])
@pytest.mark.parametrize("verb", ["status", "report", "decide"])
def test_a_damaged_store(case: str, verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The cases hold a part of a store each: what is lacking is named in one line."""
    store = shutil.copytree(CASES / case / "e1_small", tmp_path / "store")
    (store / "cells").mkdir(exist_ok=True)
    for cell in [path for path in store.iterdir() if (path / "record.json").exists()]:
        cell.rename(store / "cells" / cell.name)
    assert main([verb, str(store)]) == 2
    *warned, told = capsys.readouterr().err.splitlines()
    assert ("no finished cell" if verb == "decide" else "screen: damaged (") in told
    assert [line.split("/record.json: ")[1][:6] for line in warned] == (
        ["line 2"] if case == "e_store_7b1483ca" else []
    )


def test_raw_units_are_scored(capsys: pytest.CaptureFixture[str]) -> None:
    folder, wanted = CASES / "raw_scale_collapsed", ["--metrics", "retrieval_map", "activity_map", "--standardise"]
    rows = []
    for name in ("good.csv", "c20_rawscale.csv"):
        assert main(["metrics", str(folder / name), *wanted]) == 0
        shown = capsys.readouterr().out.splitlines()
        rows.append([line.split()[:4] for line in shown if line.startswith(("retrieval_map", "activity_map"))])
    assert rows[0] == rows[1]
    assert len(rows[0]) == 2


def test_a_reference_with_named_metrics(capsys: pytest.CaptureFixture[str]) -> None:
    folder = CASES / "metrics_subset_reference"
    wanted = ["--metrics", "retrieval_map", "batch_probe_linear"]
    given = ["metrics", str(folder / "c11_truth.parquet"), "--reference", str(folder / "good.csv"), *wanted]
    assert main(given) == 0
    shown = capsys.readouterr().out
    assert "against raw features: T " in shown
    assert "not comparable" not in shown
