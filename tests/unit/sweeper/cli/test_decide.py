"""`sweeper decide`: a stored sweep decided again, a table from elsewhere, and what is never overwritten."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sweeper.cli import main
from sweeper.config.given import parse_yaml
from sweeper.config.sweep_config import build_config
from sweeper.findings.stored import tabulate_and_decide
from sweeper.planning.cells import Cell
from sweeper.planning.description import sweep_description
from sweeper.planning.prepared import prepare
from sweeper.running.scoring import cell_record
from sweeper.store.store import Store

CONFIG = """\
name: small
simulate:
  {{batches: 3, plates_per_batch: 3, wells_per_plate: 96, features: 16, perturbations: 8, targets: 4,
   latent: 4, seed: 1}}
views: [{{view: held_out_plates}}]
strengths: {{adversarial_weight: {{low: 0.01, high: 100, count: 7}}, margin: [0.2]}}
seeds: 3
metrics: [batch_probe_linear, retrieval_map]
decision: {{deciding_view: held_out_plates, draws: 500}}
folder: {folder}
"""


def measured(cell: Cell, rng: np.random.Generator) -> list[dict[str, object]]:
    """Biology falls by two thirds above λ = 3, batch removal rises around λ = 0.1; controls hold nothing."""
    x = math.log10(cell.adversarial_weight) if cell.adversarial_weight else -9.0
    biology = 0.0 if cell.is_control else 0.6 - 0.4 / (1 + math.exp(-8 * (x - 0.5)))
    removal = 0.2 + 0.7 / (1 + math.exp(-4 * (x + 1)))
    return [
        {"metric": name, "role": role, "primary": True, "value": value + rng.normal(0, 0.005), "floor": 0.0,
         "ceiling": 1.0, "raw": value, "chance": 0.0, "reason": None}
        for name, role, value in (
            ("retrieval_map", "biological", biology), ("batch_probe_linear", "technical", removal)
        )
    ]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished sweep, as if trained, with its outputs."""
    folder = tmp_path_factory.mktemp("sweep") / "small"
    config = build_config(parse_yaml(CONFIG.format(folder=folder), "small.yaml"), "small.yaml")
    prepared = prepare(config)
    store = prepared.store
    description = sweep_description(prepared, ["sweeper"])
    store.create(sweep_id=prepared.sweep_id, description=description, screen=prepared.screen)
    rng = np.random.default_rng(2)
    for cell in prepared.known_cells():
        record = cell_record(cell, status="ok", reason=None, metrics=measured(cell, rng), seconds={}, pack_cells=1)
        store.write_cell(record, curve=[])
    tabulate_and_decide(store)
    return folder


@pytest.fixture(scope="module")
def table(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(Store(folder).results_path)


def test_the_declared_decision_comes_out_again(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "again.json"
    assert main(["decide", str(folder), "--json", str(out)]) == 0
    declared = json.loads(Store(folder).decision_path.read_text())
    assert json.loads(out.read_text()) == declared
    shown = capsys.readouterr().out
    flat = " ".join(shown.split())
    assert declared["sentence"] in flat
    assert "not the sweep's own decision" not in flat
    lines = {line.split("  ")[0]: line for line in shown.splitlines()}
    assert set(lines) >= {"5 %", "10 %*", "20 %"}
    bound = declared["rule"]["sensitivity"]["0.1"]["safe_up_to"]
    assert f"{bound:.3g}" in lines["10 %*"].split()
    assert main(["decide", str(folder), "--json", str(Store(folder).decision_path)]) == 0  # the same: nothing is lost


def test_other_settings_are_said_and_never_replace_the_declared_decision(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = Store(folder).decision_path.read_bytes()
    out = tmp_path / "other.json"
    assert main(["decide", str(folder), "--delta", "0.05", "--set", "confidence=0.9", "--json", str(out)]) == 0
    flat = " ".join(capsys.readouterr().out.split())
    assert "This is not the sweep's own decision: these settings differ from those declared before it." in flat
    assert "delta: declared 0.1, here 0.05; confidence: declared 0.95, here 0.9." in flat
    written = json.loads(out.read_text())
    assert [item["setting"] for item in written["departures"]] == ["delta", "confidence"]
    assert "risk_of_bias:undeclared_settings" in written["rule"]["downgrades"]
    assert Store(folder).decision_path.read_bytes() == before
    for arguments in (
        [str(folder), "--delta", "0.05"],
        ["--table", str(Store(folder).results_path), "--trainer", "abra"],
    ):
        assert main(["decide", *arguments, "--json", str(Store(folder).decision_path)]) == 2
        assert "decision.json: holds the decision" in capsys.readouterr().err
    assert Store(folder).decision_path.read_bytes() == before


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".tsv", ".parquet"])
def test_the_sweeps_own_table_gives_its_rule(
    folder: Path, table: pd.DataFrame, tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = tmp_path / f"table{suffix}", tmp_path / "decision.json"
    if suffix == ".parquet":
        table.to_parquet(path)
    else:
        table.to_csv(path, index=False, sep="\t" if suffix == ".tsv" else ",")
    assert main(["decide", "--table", str(path), "--set", "draws=500", "--json", str(out)]) == 0
    declared = json.loads(Store(folder).decision_path.read_text())["rule"]
    found = json.loads(out.read_text())["rule"]
    # What a table cannot know: the data behind it, which perturbations were held out, how strengths were chosen.
    assert set(declared["downgrades"]) - set(found["downgrades"]) == {"risk_of_bias:training_classes"}
    assert found["certainty"] == declared["certainty"]
    assert found["design"]["lambdas"] == declared["design"]["lambdas"]
    assert found["design"]["sigma"] == pytest.approx(declared["design"]["sigma"])
    for part in ("state", "strength", "then", "metrics", "reasons"):
        assert found[part] == declared[part], part
    for key, value in declared["estimate"].items():  # numbers read from text may differ in their last digit
        exact = value is None or isinstance(value, dict)
        assert found["estimate"][key] == (value if exact else pytest.approx(value, rel=1e-9)), key
    assert declared["then"]["lambda_max"] == 1.0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["give either the folder of a sweep or --table"]),
        (["--table", "nothing.csv"], ["nothing.csv", "no such file"]),
        (["--table", "bad.csv"], ["bad.csv", "'value'", "'low'", "row 3"]),
        (["--table", "good.csv", "--delta", "2"], ["delta", "2"]),
        (["--table", "good.csv", "--method", "guess"], ["method", "'guess'"]),
        (["--table", "good.csv", "--set", "detla=0.2"], ["unknown key 'detla'", "'delta'"]),
        (["--table", "good.csv", "--json", "nowhere/d.json"], ["nowhere", "folder does not exist"]),
        (["--table", "technical.csv"], ["technical.csv", "no primary biological metric", "one group alone"]),
        (["."], ["no sweep here"]),
    ],
)
def test_bad_input(
    arguments: list[str],
    words: list[str],
    table: pd.DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    table.to_csv("good.csv", index=False)
    table[table["role"] == "technical"].to_csv("technical.csv", index=False)
    table.assign(value=table["value"].astype(object).where(np.arange(len(table)) != 2, "low")).to_csv("bad.csv")
    before = sorted(path.name for path in tmp_path.iterdir())
    out = [] if "--json" in arguments else ["--json", "out.json"]
    assert main(["decide", *arguments, *out]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    for word in words:
        assert word in line
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_it_starts_light(table: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    table.to_csv(path, index=False)
    program = """
import sys
from sweeper.cli import main
assert main(["decide", "--table", sys.argv[1], "--set", "draws=500"]) == 0
heavy = {"torch", "ray", "mlflow", "optuna", "sklearn", "plotly", "anndata"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", program, str(path)], check=True, capture_output=True)


def test_a_reader_that_has_enough_ends_the_command_without_a_traceback(folder: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    program = "import sys; from sweeper.cli import main; sys.exit(main())"
    try:
        done = subprocess.run(
            [sys.executable, "-c", program, "decide", str(folder)], stdout=writing, stderr=subprocess.PIPE, text=True
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")
