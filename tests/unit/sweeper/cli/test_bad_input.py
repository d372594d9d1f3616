"""Bad input through the command line: exit code 2, one line that names what is wrong, nothing written."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sweeper.cli import VERBS, main
from trainers.screens.readers import screen_frame
from trainers.screens.simulated_screen import simulate
from trainers.screens.simulation_spec import SimulationSpec

SPEC = SimulationSpec(
    batches=3, plates_per_batch=3, wells_per_plate=96, features=16, perturbations=8, targets=4, latent=4, seed=1
)
CONFIG = """\
name: bad
folder: {folder}
screen: {{path: table.csv}}
views: [{{view: held_out_plates}}, {{view: held_out_batches}}]
"""


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return screen_frame(simulate(SPEC).screen)


def put(frame: pd.DataFrame, column: str, rows: slice, value: object) -> pd.DataFrame:
    changed = frame.copy()
    changed[column] = changed[column].astype(object)
    changed.loc[changed.index[rows], column] = value
    return changed


def feature(frame: pd.DataFrame) -> str:
    return next(column for column in frame.columns if not column.startswith("Metadata_"))


BAD_TABLES: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], list[str]]] = {
    "missing column": (lambda t: t.drop(columns="Metadata_Batch"), ["table.csv", "Metadata_Batch"]),
    "one batch only": (lambda t: t[t["Metadata_Batch"] == t["Metadata_Batch"].iloc[0]], ["table.csv", "batch"]),
    "NaN feature": (lambda t: put(t, feature(t), slice(7, 8), np.nan), ["table.csv", "row", "NaN"]),
    "infinite feature": (lambda t: put(t, feature(t), slice(7, 8), np.inf), ["table.csv", "row", "inf"]),
    "duplicate wells": (lambda t: pd.concat([t, t.iloc[[5]]]), ["table.csv", "repeat a well", "A06"]),
    "empty table": (lambda t: t.iloc[:0], ["table.csv", "no rows"]),
}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "sweep.yaml"
    path.write_text(CONFIG.format(folder=tmp_path / "out"))
    return path


def refused(arguments: list[str | Path], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr of a call that must exit with 2."""
    assert main([str(argument) for argument in arguments]) == 2
    captured = capsys.readouterr()
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


@pytest.mark.parametrize("kind", BAD_TABLES)
def test_bad_tables(
    kind: str, table: pd.DataFrame, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change, words = BAD_TABLES[kind]
    change(table).to_csv(tmp_path / "table.csv", index=False)
    message = refused(["run", config], capsys)
    for word in words:
        assert word in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("abra.stepps=3", ["--set abra.stepps=3", "abra.stepps", "'steps'"]),
        ("strengths.adversarial_weight=[-1]", ["--set strengths.adversarial_weight", "-1"]),
        ("strengths.margin=[1.6]", ["--set strengths.margin", "1.6"]),
        ("views=[{view: held_out_batches, held_out: [B99]}]", ["B99"]),
        ("views=[{view: held_out_batches, folds: 9}]", ["folds", "9"]),
        ("views=[{view: held_out_batches, folds: 2}]", ["held_out_batches/", "one batch alone", "fewer folds"]),
        ("metrics=[batch_prob]", ["batch_prob", "batch_probe_linear"]),
        ("decision.primary_technical=[$HOME]", ["decision.primary_technical: unknown metric '$HOME'"]),
        ("decision.primary_biological=[retrieval]", ["decision.primary_biological: ", "nearest: retrieval_map"]),
        ("screen.path=nothing.csv", ["nothing.csv"]),
        ("screen.path=/dev/null", ["/dev/null: is not a file"]),
        ("folder=/dev/null/out", ["/dev/null/out: cannot be a folder", "/dev/null is none"]),
        ("screen.columns={batch: Metadata_Bach}", ["Metadata_Bach", "Metadata_Batch"]),
        ("normalise=plate_controls", ["plate_controls", "0 negative controls"]),
        ("held_out_perturbations=0.95", ["held_out_perturbations"]),
    ],
)
def test_bad_configurations(
    override: str,
    words: list[str],
    table: pd.DataFrame,
    config: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if override == "normalise=plate_controls":
        table = table.assign(Metadata_pert_type="trt")
    table.to_csv(tmp_path / "table.csv", index=False)
    message = refused(["run", config, "--set", override], capsys)
    for word in words:
        assert word in message
    assert not (tmp_path / "out").exists()


def test_unreadable_table(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "table.csv").write_bytes(b"\x00\xff\xfe not a table")
    assert "table.csv" in refused(["validate", config], capsys)


def test_a_folder_of_another_sweep(
    table: pd.DataFrame, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table.to_csv(tmp_path / "table.csv", index=False)
    (tmp_path / "out").mkdir()
    identity = {"data": "", "trainer": "abra", "settings": {}, "normalise": "none", "held_out_perturbations": 0.0}
    other = {"sweep_id": "0123456789abcdef", "name": "other", "config": {}, "identity": identity, "command": []}
    other |= {"versions": {}, "warnings": [], "screen": {}}
    (tmp_path / "out/sweep.json").write_text(json.dumps(other))
    assert "holds another sweep (id 0123456789abcdef" in refused(["run", config], capsys)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["sweep.json"]


def test_a_label_seen_in_one_batch_only_is_a_warning(
    table: pd.DataFrame, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    batch = table["Metadata_Batch"].iloc[0]
    treated = table.index[(table["Metadata_Batch"] == batch) & (table["Metadata_pert_type"] == "trt")][:9]
    changed = table.copy()
    changed.loc[treated, "Metadata_Perturbation"] = "lonely"
    changed.to_csv(tmp_path / "table.csv", index=False)
    assert main(["validate", str(config)]) == 0
    captured = capsys.readouterr()
    assert "warning: " in captured.err
    assert "lonely" in captured.err
    assert "valid" in captured.out


@pytest.mark.parametrize("verb", ["report", "status"])
def test_a_folder_without_a_sweep(verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no sweep here" in refused([verb, tmp_path], capsys)


def test_help_shows_an_example_and_loads_nothing_heavy() -> None:
    program = """
import sys
from sweeper.cli import VERBS, main
for verb in VERBS:
    try:
        main([verb, "--help"])
    except SystemExit as leaving:
        assert leaving.code == 0
    print("=== end of a verb")
heavy = {"torch", "ray", "mlflow", "pandas", "numpy", "sklearn", "optuna", "plotly", "pydantic"} & set(sys.modules)
assert not heavy, heavy
"""
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    *helps, _ = shown.split("=== end of a verb")
    assert len(helps) == len(VERBS)
    assert all(re.search(r"^examples?:", text, re.M) for text in helps)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == "sweeper 0.1.0\n"
