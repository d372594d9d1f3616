"""What a comparison is made of, and how what cannot be compared is refused: one line, before anything is written."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sweeper.cli import main
from sweeper.decision.methods.simplicity import SIMPLEST_FIRST
from sweeper.errors import ConfigError, InputError
from sweeper.library.comparing import methods_of, prepare_methods
from sweeper.methods.methods_config import build_methods, load_methods, table_methods
from trainers.registry import trainer

SIMULATED: dict[str, Any] = {
    "batches": 3,
    "plates_per_batch": 2,
    "wells_per_plate": 96,
    "features": 16,
    "perturbations": 24,
    "targets": 4,
    "controls_per_plate": 8,
    "latent": 4,
    "seed": 2,
}
DATA: dict[str, Any] = {
    "name": "side-by-side",
    "simulate": SIMULATED,
    "views": [{"view": "held_out_plates"}],
    "methods": ["sphering", "center"],
}
HERE = Path("methods.yaml")


def table(folder: Path, **columns: Any) -> Path:
    """A small table with two plates a batch, three controls on each."""
    rows = 48
    rng = np.random.default_rng(0)
    made = {
        "Metadata_Batch": np.repeat(["A", "B"], rows // 2),
        "Metadata_Plate": np.repeat(["P1", "P2", "P3", "P4"], rows // 4),
        "Metadata_Well": np.tile([f"{'ABC'[i % 3]}{1 + i // 3:02d}" for i in range(12)], 4),
        "Metadata_Compound": np.tile(["DMSO"] * 3 + ["x", "y", "z"] * 3, 4),
        "Metadata_pert_type": np.tile(["negcon"] * 3 + ["trt"] * 9, 4),
        **{f"Cells_F{i}": rng.standard_normal(rows) for i in range(10)},
        **columns,
    }
    path = folder / "screen.parquet"
    pd.DataFrame(made).to_parquet(path)
    return path


def test_every_method_has_its_own_grid_the_simplest_first_on_the_same_rows() -> None:
    config = build_methods({**DATA, "methods": ["abra", "harmony", "combat", "sphering", "center"], "seeds": 4}, HERE)
    assert list(config.sweeps) == [name for name in SIMPLEST_FIRST if name in config.sweeps]
    for method, sweep in config.sweeps.items():
        assert sweep.trainer == method
        assert sweep.output == config.output / "methods" / method
        assert (sweep.views, sweep.seeds, sweep.held_out_perturbations) == (config.first.views, (0, 1, 2, 3), 0.0)
        weights = {weight for weight, _ in sweep.strengths.grid()}
        assert len(weights) > 6
        published = trainer(method).dials[0].published
        assert published is None or published in weights, "what is published is swept, so that its place is known"
    assert config.sweeps["harmony"].strengths.margin == (2.0,)
    assert config.sweeps["sphering"].trainer_settings.regularise == "singular_values"  # type: ignore[attr-defined]


def test_what_is_claimed_of_all_methods_at_once_costs_each_a_higher_level() -> None:
    config = build_methods({**DATA, "methods": ["center", "combat", "harmony", "sphering"]}, HERE)
    assert config.confidence == 0.95
    assert {sweep.decision.confidence for sweep in config.sweeps.values()} == {1 - 0.05 / 4}


def test_a_method_may_be_given_strengths_and_settings_of_its_own() -> None:
    methods = {"harmony": {"adversarial_weight": [0.1, 1], "margin": [1, 4]}, "center": None}
    config = build_methods({**DATA, "methods": methods, "harmony": {"components": 5}}, HERE)
    assert config.sweeps["harmony"].strengths.grid() == tuple((w, m) for w in (0.0, 0.1, 1.0) for m in (1.0, 4.0))
    assert config.sweeps["harmony"].trainer_settings.components == 5  # type: ignore[attr-defined]
    assert len(config.sweeps["center"].strengths.grid()) == 11


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"methods": ["harmoni", "center"]}, r"methods: there is no 'harmoni', .*; did you mean 'harmony'\?"),
        ({"methods": ["center", "center"]}, "methods: a method is named twice: center, center"),
        ({"methods": []}, "methods: expected names of methods"),
        ({"methods": "center"}, "methods: expected names of methods"),
        ({"methods": {"center": {"adversarial_weight": [2]}}}, "share taken out α of 0 or more and at most 1, got 2"),
        ({"methods": {"center": {"adversarial_weight": [2]}}}, "methods.center.adversarial_weight"),
        ({"methods": {"center": {"margin": [1]}}}, r"methods\.center\.margin: center has one dial"),
        (
            {"methods": {"center": {"alpha": [1]}}},
            "methods.center: expected adversarial_weight and margin, got 'alpha'",
        ),
        ({"methods": {"center": 3}}, "methods.center: expected adversarial_weight and margin, got 3"),
        ({"trainer": "center"}, "trainer: with methods every method is swept on its own"),
        ({"strengths": {}}, r"strengths: .*give it under methods\.<name>"),
        ({"ladder": {}}, "ladder: with methods"),
        ({"name": "a/b"}, "name: expected a name without slashes"),
        ({"name": None}, "name: expected text"),
        (
            {"views": [{"view": "held_out_batches"}], "methods": ["harmony"]},
            "harmony corrects the screen that it is fitted on, and held_out_batches asks for what it never saw",
        ),
    ],
)
def test_what_cannot_be_compared_is_one_line(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        build_methods({**DATA, **changes}, HERE)
    assert "\n" not in str(caught.value)


def test_a_table_needs_no_configuration(tmp_path: Path) -> None:
    path = table(tmp_path)
    prepared = prepare_methods(table_methods(path, ["sphering", "center"]))
    assert prepared.config.output == tmp_path / "screen_methods"
    first = prepared.sweeps[0]
    assert [sweep.config.trainer for sweep in prepared.sweeps] == ["center", "sphering"]
    assert len(first.config.seeds) == 3
    assert first.account.columns["perturbation"] == "Metadata_Compound"
    assert first.config.normalise == "none"
    assert first.config.decision.target == "this_screen"
    assert any("3 perturbations are too few to be drawn anew" in line for line in prepared.warnings)
    assert not prepared.config.output.exists(), "a dry run writes nothing"


def test_what_is_left_open_follows_the_screen(tmp_path: Path) -> None:
    raw = {f"Cells_F{i}": 1000 + np.random.default_rng(i).standard_normal(48) for i in range(10)}
    one_plate = np.repeat(["P1", "P2"], 24)
    wells = np.tile([f"{'ABCD'[i % 4]}{1 + i // 4:02d}" for i in range(24)], 2)
    path = table(tmp_path, Metadata_Plate=one_plate, Metadata_Well=wells, **raw)
    prepared = prepare_methods(table_methods(path, ["center"]))
    (sweep,) = prepared.sweeps
    assert sweep.config.views[0].column == "well"
    assert sweep.config.normalise == "screen"
    assert len(prepared.notes) == 3
    many = build_methods({**DATA, "methods": ["center"]}, HERE)
    assert prepare_methods(many).sweeps[0].config.decision.target == "new_perturbations"
    told = build_methods({**DATA, "methods": ["center"], "decision": {"target": "this_screen"}}, HERE)
    assert prepare_methods(told).sweeps[0].config.decision.target == "this_screen"


@pytest.mark.parametrize(
    ("columns", "methods", "words"),
    [
        (
            {"Metadata_pert_type": "trt"},
            ["sphering"],
            "sphering: 0 training rows to fit on .*name the screen's negative",
        ),
        ({"Metadata_Batch": ["Z"] + ["A"] * 23 + ["B"] * 24}, ["combat"], "screen: batch Z has 1 well, 2 are needed"),
    ],
)
def test_a_screen_that_a_method_cannot_use_is_refused(
    tmp_path: Path, columns: dict[str, Any], methods: list[str], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        prepare_methods(table_methods(table(tmp_path, **columns), methods))
    assert not (tmp_path / "screen_methods").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "{table}", "--methods", "harmoni"], "did you mean 'harmony'?"),
        (["run", "{table}"], "a table; name the methods to compare"),
        (["run", "{config}", "--methods", "center"], "a configuration names its own methods"),
        (["run", "{config}", "--folder", "x"], "--folder: is for a table with --methods"),
        (["run", "none.parquet", "--methods", "center"], "none.parquet: no such file"),
        (["plan", "{table}", "--methods", "center", "--set", "seeds=none"], "seeds"),
    ],
)
def test_the_command_line_says_what_is_wrong_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    config = tmp_path / "methods.yaml"
    config.write_text("name: x\nsimulate: {}\nviews: [{view: held_out_plates}]\nmethods: [center]\n")
    given = [argument.format(table=table(tmp_path), config=config) for argument in arguments]
    assert main(given) == 2
    said = capsys.readouterr().err
    assert words in said
    assert len(said.strip().splitlines()) == 1
    assert not (tmp_path / "screen_methods").exists()


def test_a_dry_run_prints_every_method_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(table(tmp_path)), "--methods", "sphering,center", "--no-estimate"]) == 0
    said = capsys.readouterr().out
    assert "methods:   center, sphering; results in" in said
    assert "α = 0, 0.1" in said
    assert "1/ε = 0, 0.0001" in said
    assert "The controls are scored once, for all 2 methods." in said
    assert not (tmp_path / "screen_methods").exists()


def test_a_file_and_a_table_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "methods.yaml"
    path.write_text("name: x\nsimulate: {}\nviews: [{view: held_out_plates}]\nmethods: [center]\n")
    assert list(load_methods(path).sweeps) == ["center"]
    assert methods_of(path, folder=tmp_path / "out").output == tmp_path / "out"
    with pytest.raises(InputError, match="a table; name the methods to compare"):
        methods_of(table(tmp_path))


def test_a_method_whose_library_is_absent_is_said_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "harmonypy", None)
    assert main(["run", str(table(tmp_path)), "--methods", "center,harmony"]) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("sweeper: harmony: needs harmonypy, which is not installed")
    assert said.endswith("pip install 'sweeper[harmony]'")
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "screen_methods").exists()


def test_a_comparison_is_validated_and_its_key_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(table(tmp_path)), "--methods", "center,sphering"]) == 0
    said = capsys.readouterr().out
    assert "sphering: 12 strengths" in said
    assert said.endswith("valid\n")
    assert main(["validate", "--keys"]) == 0
    assert "methods\n    In the place of trainer and strengths" in capsys.readouterr().out
