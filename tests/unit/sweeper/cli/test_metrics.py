"""`sweeper metrics`: the panel of a table from anywhere, printed and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

from sweeper.cli import main
from sweeper.metrics.panel import score_table
from sweeper.metrics.registry import REGISTRY
from trainers.screens.readers import screen_frame
from trainers.screens.simulated_screen import simulate
from trainers.screens.simulation_spec import SimulationSpec

SPEC = SimulationSpec(
    batches=3, plates_per_batch=2, wells_per_plate=96, features=16, perturbations=8, targets=4, latent=4, seed=1
)


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return screen_frame(simulate(SPEC).screen)


@pytest.fixture
def path(table: pd.DataFrame, tmp_path: Path) -> Path:
    table.to_parquet(tmp_path / "table.parquet")
    return tmp_path / "table.parquet"


def test_printed_and_written(table: pd.DataFrame, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = path.with_name("panel.json")
    assert main(["metrics", str(path), "--json", str(out)]) == 0
    written = json.loads(out.read_text())
    assert (written["schema"], written["status"], written["reason"]) == ("panel/1", "ok", None)
    assert (written["rows"], written["batches"], written["plates"]) == (len(table), 3, 6)
    assert [row["metric"] for row in written["metrics"]] == list(REGISTRY)
    screen = simulate(SPEC).screen
    assert written["metrics"] == list(score_table(screen.features, screen.wells).rows)
    by_name = {row["metric"]: row for row in written["metrics"]}
    assert by_name["perturbation_accuracy"]["value"] is None
    assert "training rows" in by_name["perturbation_accuracy"]["reason"]
    shown = capsys.readouterr().out
    lines = {line.split()[0]: line.split() for line in shown.splitlines() if line}
    probe = by_name["batch_reader"]
    assert lines["batch_reader"][1:4] == ["technical", "primary", f"{probe['value']:.3f}"]
    assert lines["label_ami"][6] == f"{by_name['label_ami']['raw']:.3f}"
    assert lines["perturbation_accuracy"][3:8] == ["–"] * 5
    total = written["composites"]
    for line, key in (("T", "technical"), ("B", "biological"), ("√(T·B)", "geometric")):
        low, high = total["intervals"][key]
        assert low <= total[key] <= high
        assert lines[line][1:6] == ["=", f"{total[key]:.3f}", f"({low:.3f}", "to", f"{high:.3f})"]
    assert {part for part in total["parts"] if part.startswith("plate: ")} == {
        f"plate: {part}" for part in ("mixing", "local mixing", "probe", "variance")
    }


def test_formats_and_names_do_not_matter(table: pd.DataFrame, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """CSV with other names and unmarked controls, and h5ad: the same numbers."""
    names = {"Metadata_Batch": "Metadata_Run", "Metadata_Perturbation": "Metadata_X", "Metadata_target": "Metadata_T"}
    control = table.loc[table["Metadata_pert_type"] == "negcon", "Metadata_Perturbation"].iloc[0]
    renamed = table.rename(columns=names).drop(columns="Metadata_pert_type")
    renamed.to_csv(path.with_name("table.csv"), index=False)
    obs = table.loc[:, [name for name in table.columns if name.startswith("Metadata_")]].astype(str)
    values = table.drop(columns=obs.columns).to_numpy(dtype=np.float32)
    anndata.AnnData(values, obs=obs.set_index(obs.index.astype(str))).write_h5ad(path.with_suffix(".h5ad"))
    wanted = ["--metrics", "activity_map", "batch_mixing_bras", "target_consistency"]
    columns = ["--batch", "Metadata_Run", "--perturbation", "Metadata_X", "--target", "Metadata_T"]
    tables = []
    for name, rest in (
        ("table.parquet", []),
        ("table.csv", [*columns, "--negative-controls", control]),
        ("table.h5ad", []),
    ):
        assert main(["metrics", str(path.with_name(name)), *wanted, *rest]) == 0
        tables.append(capsys.readouterr().out.split("\n\n")[1])
    assert tables[0] == tables[1] == tables[2]
    assert len(tables[0].splitlines()) == 4


def test_a_collapsed_embedding_is_said_and_not_scored(
    table: pd.DataFrame, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    constant = table.copy()
    constant.loc[:, [name for name in table.columns if not name.startswith("Metadata_")]] = 1.0
    constant.to_parquet(path)
    out = path.with_name("panel.json")
    assert main(["metrics", str(path), "--json", str(out)]) == 1
    assert "rows repeat an earlier one" in capsys.readouterr().out
    written = json.loads(out.read_text())
    assert (written["status"], written["metrics"]) == ("collapsed", [])
    assert written["reason"].startswith("collapsed: ")


def test_options_and_seed_reach_the_metrics(path: Path) -> None:
    out = path.with_name("panel.json")

    def values(*rest: str) -> list[float]:
        assert main(["metrics", str(path), "--metrics", "batch_mixing_bras", "--json", str(out), *rest]) == 0
        row = json.loads(out.read_text())["metrics"][0]
        return [row["value"], row["ceiling"]]

    first, again, seeded, short = values(), values(), values("--seed", "1"), values("--set", "permutations=1")
    assert first == again
    assert first[0] == seeded[0] == short[0]
    assert len({first[1], seeded[1], short[1]}) == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--batch", "Metadata_Bach"], ["Metadata_Bach", "Metadata_Batch"]),
        (["--negative-controls", "nothing"], ["negative control 'nothing' does not exist"]),
        (["--metrics", "activty_map"], ["activty_map", "activity_map"]),
        (["--set", "permutation=3"], ["--set", "permutation", "permutations"]),
        (["--json", "/nowhere/at/all.json"], ["/nowhere/at/all.json", "folder"]),
        (["--seed", "-1"], ["--seed -1"]),
        (["--control-query", "__import__('os')"], ["__import__('os')", "expected comparisons"]),
        (["--control-query", "Metadata_Bach == 'b'"], ["Metadata_Bach", "Metadata_Batch"]),
        (["--control-query", "Metadata_Batch == 'none'"], ["Metadata_Batch == 'none'", "selects no row"]),
        (["--reference", "nothing.parquet"], ["nothing.parquet", "no such file"]),
    ],
)
def test_bad_input(arguments: list[str], words: list[str], path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["metrics", str(path), *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.strip().splitlines()) == 1
    for word in words:
        assert word in captured.err


def test_a_device_changes_no_number_and_an_absent_one_is_refused(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = []
    for device in ([], ["--device", "cpu"]):
        out = path.with_name("panel.json")
        assert main(["metrics", str(path), *device, "--json", str(out)]) == 0
        found.append(json.loads(out.read_text()))
        out.unlink()
    assert [panel["options"]["device"] for panel in found] == [None, "cpu"]
    for numpys, torchs in zip(*(panel["metrics"] for panel in found), strict=True):
        assert torchs["value"] == pytest.approx(numpys["value"], abs=1e-5), numpys["metric"]
    capsys.readouterr()
    assert main(["metrics", str(path), "--device", "cuda:99", "--json", str(path.with_name("panel.json"))]) == 2
    shown = capsys.readouterr()
    assert not shown.out
    assert len(shown.err.splitlines()) == 1
    assert "device 'cuda:99': PyTorch cannot use it" in shown.err
    assert not path.with_name("panel.json").exists()


def test_no_such_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["metrics", str(tmp_path / "nothing.parquet")]) == 2
    assert "no such file" in capsys.readouterr().err


def test_controls_by_query(table: pd.DataFrame, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Unmarked controls are found by a comparison, in every format: the numbers of the marked table."""
    control = table.loc[table["Metadata_pert_type"] == "negcon", "Metadata_Perturbation"].iloc[0]
    bare = table.drop(columns="Metadata_pert_type")
    bare.to_parquet(path.with_name("bare.parquet"))
    bare.to_csv(path.with_name("bare.csv"), index=False)
    obs = bare.loc[:, [name for name in bare.columns if name.startswith("Metadata_")]].astype(str)
    values = bare.drop(columns=obs.columns).to_numpy(dtype=np.float32)
    anndata.AnnData(values, obs=obs.set_index(obs.index.astype(str))).write_h5ad(path.with_name("bare.h5ad"))
    query = ["--control-query", f"Metadata_Perturbation == '{control}'"]
    tables = []
    for name, rest in (("table.parquet", []), ("bare.parquet", query), ("bare.csv", query), ("bare.h5ad", query)):
        assert main(["metrics", str(path.with_name(name)), "--metrics", "activity_map", *rest]) == 0
        tables.append(capsys.readouterr().out.split("\n\n")[1])
    assert len(set(tables)) == 1
    assert "no negative controls" not in tables[0]
    assert main(["metrics", str(path.with_name("bare.csv")), "--metrics", "activity_map"]) == 1
    assert "no negative controls" in capsys.readouterr().out


def test_a_reference_in_another_order_serves_retention(table: pd.DataFrame, path: Path) -> None:
    out = path.with_name("panel.json")
    table.sample(frac=1.0, random_state=3).to_parquet(path.with_name("raw.parquet"))

    def retention(*rest: str) -> dict[str, object]:
        measured = main(["metrics", str(path), "--metrics", "within_batch_retention", "--json", str(out), *rest])
        assert measured == (0 if rest else 1)
        row: dict[str, object] = json.loads(out.read_text())["metrics"][0]
        return row

    assert "no uncorrected features" in str(retention()["reason"])
    screen = simulate(SPEC).screen
    expected = score_table(
        screen.features, screen.wells, metrics=["within_batch_retention"], reference=screen.features
    ).rows[0]
    found = retention("--reference", str(path.with_name("raw.parquet")))
    assert found["raw"] is not None
    assert found == expected


def test_a_reference_gives_differences_from_the_baselines(
    table: pd.DataFrame, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    features = [name for name in table.columns if not name.startswith("Metadata_")]
    rng = np.random.default_rng(0)
    noise = table.assign(**{name: rng.normal(size=len(table)) for name in features})
    noise.to_parquet(path.with_name("noise.parquet"))
    out = path.with_name("panel.json")
    arguments = ["metrics", str(path.with_name("noise.parquet")), "--reference", str(path), "--json", str(out)]
    assert main(arguments) == 0
    found = json.loads(out.read_text())["baselines"]
    assert set(found) == {"raw", "plate_control_centred"}
    for of in found.values():
        assert of["biological"]["interval"][1] < 0, "noise keeps no biology"
        assert of["biological"]["interval"][0] <= of["biological"]["value"] <= of["biological"]["interval"][1]
    assert found["raw"]["technical"]["interval"][0] > 0, "and no batch"
    shown = capsys.readouterr().out
    value, (low, high) = found["raw"]["technical"]["value"], found["raw"]["technical"]["interval"]
    assert f"against raw features: T {value:+.3f} ({low:+.3f} to {high:+.3f}), B -" in shown
    assert "against features centred on their plate's controls: T" in shown


def test_p_values_and_pseudo_batches_when_asked_for(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = path.with_name("panel.json")
    asked = ["--p-values", "--pseudo-batch", "--metrics", "activity_map", "--json", str(out)]
    assert main(["metrics", str(path), *asked]) == 0
    shown, written = capsys.readouterr().out, json.loads(out.read_text())
    activity = written["activity"]
    assert activity["tested"] == len(activity["perturbations"]) == 8
    assert activity["active"] == sum(row["active"] for row in activity["perturbations"])
    assert f"{activity['active']} of 8 perturbations" in shown
    for name in ("standardise", "residualise"):
        loss = written["pseudo_batch"][name]
        assert loss["loss"] == pytest.approx(loss["before"] - loss["after"])
        assert loss["interval"][0] <= loss["loss"] <= loss["interval"][1]
        assert f"corrected ({name})" in shown


def test_flags_are_shown(table: pd.DataFrame, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Noise in place of the features: nothing of the phenotype is kept."""
    features = [name for name in table.columns if not name.startswith("Metadata_")]
    noise = table.copy()
    noise.loc[:, features] = np.random.default_rng(0).normal(size=(len(table), len(features))).astype(np.float32)
    noise.to_parquet(path.with_name("noise.parquet"))
    asked = ["--reference", str(path), "--metrics", "within_batch_retention"]
    assert main(["metrics", str(path.with_name("noise.parquet")), *asked]) == 0
    assert "[phenotype_lost]" in capsys.readouterr().out


def measured(out: Path, *arguments: str) -> dict[str, float]:
    assert main(["metrics", *arguments, "--json", str(out)]) == 0
    return {row["metric"]: row["value"] for row in json.loads(out.read_text())["metrics"]}


@pytest.mark.parametrize(("scale", "offset"), [(30.0, 2500.0), (1e-3, 0.6), (1e4, 0.0)])
def test_raw_units_are_no_collapse_and_standardise_to_the_same_values(
    table: pd.DataFrame, path: Path, scale: float, offset: float, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [name for name in table.columns if not name.startswith("Metadata_")]
    raw = table.copy()
    raw[names[::2]] = raw[names[::2]].astype(float) * scale + offset
    raw.to_parquet(path.with_name("raw.parquet"))
    wanted = ["--metrics", "retrieval_map", "activity_map"]
    out = path.with_name("panel.json")
    expected = measured(out, str(path), "--standardise", *wanted)
    capsys.readouterr()
    found = measured(out, str(path.with_name("raw.parquet")), "--standardise", *wanted)
    assert found == pytest.approx(expected, abs=2e-3)
    assert "not standardised" not in capsys.readouterr().err
    measured(out, str(path.with_name("raw.parquet")), *wanted)
    assert "warning: columns are not standardised" in capsys.readouterr().err
    assert "--standardise" in json.loads(out.read_text())["notes"][0]


def test_repeated_rows_are_named_by_their_wells(
    table: pd.DataFrame, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [name for name in table.columns if not name.startswith("Metadata_")]
    doubled = table.copy()
    doubled.loc[7, names] = doubled.loc[2, names].to_numpy()
    doubled.to_parquet(path)
    assert main(["metrics", str(path), "--metrics", "retrieval_map"]) == 0
    second, eighth = (f"{doubled['Metadata_Plate'][row]} {doubled['Metadata_Well'][row]}" for row in (2, 7))
    assert f"(row 8 ({eighth}) = row 3 ({second}))" in capsys.readouterr().err


def test_nothing_measured_is_exit_code_1(table: pd.DataFrame, path: Path) -> None:
    table.drop(columns="Metadata_pert_type").to_parquet(path)
    assert main(["metrics", str(path), "--metrics", "activity_map"]) == 1
    assert main(["metrics", str(path), "--metrics", "activity_map", "retrieval_map"]) == 0


@pytest.mark.parametrize(
    ("wanted", "compared"),
    [
        (["retrieval_map"], {"B"}),
        (["retrieval_map", "batch_probe_linear"], {"T", "B"}),
        (["batch_mixing_bras"], {"T"}),
        (["label_ami"], {"B"}),
    ],
)
def test_a_reference_is_measured_with_the_same_metrics(
    path: Path, wanted: list[str], compared: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = path.with_name("panel.json")
    measured(out, str(path), "--standardise", "--reference", str(path), "--metrics", *wanted)
    raw = json.loads(out.read_text())["baselines"]["raw"]
    titles = {"T": "technical", "B": "biological"}
    assert {name for name, key in titles.items() if "value" in raw[key]} == compared
    assert all(raw[titles[name]]["value"] == pytest.approx(0, abs=1e-6) for name in compared)
    assert "not comparable" not in capsys.readouterr().out
