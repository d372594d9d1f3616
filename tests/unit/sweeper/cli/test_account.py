"""The account of how a table was read: printed by the verbs, kept with a sweep, and what the metrics then are.

The cases beside the project stand for kinds; each is compared with the values that a correct table gives.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sweeper.cli import main
from sweeper.config.sweep_config import load_config
from sweeper.findings.stored import report_provenance
from sweeper.planning.description import sweep_description
from sweeper.planning.prepared import prepare
from sweeper.store.store import Store
from trainers.screens.readers import screen_frame
from trainers.screens.simulated_screen import simulate
from trainers.screens.simulation_spec import SimulationSpec

CASES = Path(__file__).resolve().parents[5] / "shared" / "cases"
DATA = CASES.with_name("data")
SPEC = SimulationSpec(
    batches=3, plates_per_batch=2, wells_per_plate=96, features=16, perturbations=8, targets=4, latent=4, seed=1
)
LABELS = ["retrieval_map", "activity_map"]
GOOD = {"retrieval_map": 0.620, "activity_map": 0.440}


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return screen_frame(simulate(SPEC).screen)


def case(path: str) -> Path:
    """A file of the cases, if they lie beside the project."""
    if not (CASES / path).exists():
        pytest.skip(f"cases absent: {CASES / path}")
    return CASES / path


def scored(path: Path, tmp_path: Path, *arguments: str, metrics: list[str] = LABELS) -> dict[str, float | None]:
    """Value of every metric asked for, and the number of dimensions."""
    out = tmp_path / "panel.json"
    assert main(["metrics", str(path), "--metrics", *metrics, "--json", str(out), *arguments]) == 0
    written = json.loads(out.read_text())
    values = {row["metric"]: None if row["value"] is None else round(row["value"], 3) for row in written["metrics"]}
    return {**values, "dimensions": written["dimensions"], "targets": written["targets"]}


def test_the_account_is_printed_and_written(
    table: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = table.assign(ImageNumber=np.arange(len(table)), n_cells=5.5, comment="fine")
    frame.to_csv(tmp_path / "t.csv")
    out = tmp_path / "panel.json"
    assert main(["metrics", str(tmp_path / "t.csv"), "--metrics", "retrieval_map", "--json", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "features:  16 (16 F*)" in lines
    assert "left out:  1 row numbers: Unnamed: 0" in lines
    assert "left out:  1 ids and numbers of objects: ImageNumber" in lines
    assert "left out:  1 counts: n_cells" in lines
    assert "left out:  1 text: comment" in lines
    assert any(line.startswith("columns:   batch Metadata_Batch, plate Metadata_Plate") for line in lines)
    account = json.loads(out.read_text())["account"]
    assert account["families"] == {"F*": 16}
    assert account["left_out"]["counts"] == ["n_cells"]
    assert account["columns"]["target"] == "Metadata_target"


@pytest.mark.parametrize(
    ("arguments", "dimensions"),
    [
        (["--features", "F000*"], 9),
        (["--exclude-features", "F000*", "F0010"], 6),
        (["--features", "F00*", "extra", "--exclude-features", "F0001"], 16),
    ],
)
def test_features_by_pattern(table: pd.DataFrame, tmp_path: Path, arguments: list[str], dimensions: int) -> None:
    table.assign(extra=np.arange(len(table)) % 7).to_parquet(tmp_path / "t.parquet")
    assert scored(tmp_path / "t.parquet", tmp_path, *arguments)["dimensions"] == dimensions


@pytest.mark.parametrize("mode", ["drop_features", "drop_rows", "median"])
def test_missing_values_as_the_user_says(
    table: pd.DataFrame, tmp_path: Path, mode: str, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = table.copy()
    frame.loc[[3, 9], "F0002"] = np.nan
    frame.to_parquet(tmp_path / "t.parquet")
    assert main(["metrics", str(tmp_path / "t.parquet")]) == 2
    assert "missing: drop_features, drop_rows or median" in capsys.readouterr().err
    # The query is answered on the rows that are left.
    query = "Metadata_pert_type == 'negcon'"
    found = scored(tmp_path / "t.parquet", tmp_path, "--missing", mode, "--control-query", query)
    assert found["dimensions"] == (15 if mode == "drop_features" else 16)
    assert "2 feature values in 1 columns missing: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--control-words", "empty"], "--control-words 'empty': expected WORD=MEANING"),
        (["--control-words", "empty=nothing"], "treatment, negative, positive, drop"),
        (["--separator", ";;"], "--separator ';;': expected one character"),
        (["--features", "G*"], "no column is called 'G*'"),
        (["--exclude-features", "F*"], "no feature columns"),
    ],
)
def test_arguments_that_mean_nothing(
    table: pd.DataFrame, tmp_path: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    table.to_parquet(tmp_path / "t.parquet")
    assert main(["metrics", str(tmp_path / "t.parquet"), *arguments]) == 2
    assert words in capsys.readouterr().err


def test_several_problems_are_a_line_each(
    table: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = table.rename(columns={"Metadata_Plate": "Metadata_Plte"}).assign(F0003="1,5", F0005="9 µm")
    frame.to_csv(tmp_path / "t.csv", index=False)
    assert main(["metrics", str(tmp_path / "t.csv")]) == 2
    first, *others = capsys.readouterr().err.splitlines()
    assert first == f"sweeper: {tmp_path / 't.csv'}: 3 problems"
    assert [line.split("(")[0].strip() for line in others] == [
        "no column for plate",
        "feature 'F0003' holds decimal commas",
        "feature 'F0005' holds numbers with units",
    ]


def test_a_sweep_says_and_keeps_how_its_table_was_read(
    table: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table.assign(Cells_Location_Center_X=1.5 * np.arange(len(table))).to_parquet(tmp_path / "t.parquet")
    config = tmp_path / "s.yaml"
    config.write_text(
        f"name: s\nfolder: {tmp_path / 'out'}\nscreen: {{path: t.parquet}}\nviews: [{{view: held_out_plates}}]\n"
        "strengths: {adversarial_weight: [1]}\nseeds: 1\ndecision: {}\nabra: {steps: 2}\ntracking: {enabled: false}\n"
    )
    for verb in (["validate"], ["plan", "--no-estimate"]):
        assert main([verb[0], str(config), *verb[1:]]) == 0
        printed = capsys.readouterr().out
        assert "features:  16 (16 F*)" in printed
        assert "left out:  1 coordinates: Cells_Location_Center_X" in printed
    assert not (tmp_path / "out").exists()
    prepared = prepare(load_config(config))
    store = Store(tmp_path / "out")
    store.create(
        sweep_id=prepared.sweep_id, description=sweep_description(prepared, ["sweeper"]), screen=prepared.screen
    )
    account = report_provenance(store)["account"]
    assert account["left_out"] == {"coordinates": ["Cells_Location_Center_X"]}
    # A store that was written before the account was kept is read as it was.
    description = {name: value for name, value in store.description().items() if name != "account"}
    (store.folder / "sweep.json").write_text(json.dumps(description))
    assert report_provenance(store)["account"] is None


@pytest.mark.parametrize(
    ("path", "arguments"),
    [
        ("parquet_index_level/c01b_polars.parquet", []),
        ("image_metadata_prefix/c17_imgmeta.csv", []),
        ("image_metadata_prefix/c17_imgmeta.csv", ["--batch", "Image_Metadata_Batch", "--negative-controls", "DMSO"]),
        ("image_metadata_prefix/c02_ids.parquet", []),
        ("list_column_embedding/c03_list.parquet", []),
        ("list_column_embedding/c03b_list_only.parquet", []),
        ("list_column_embedding/c03c_list_qc.parquet", []),
        ("decimal128_parquet/c04_decimal.parquet", []),
        ("decimal_comma_csv/c07_eu.csv", []),
        ("decimal_comma_csv/c07b_quoted.csv", ["--decimal", ","]),
        ("cpjump1_control_type/c05_cpjump1.csv", []),
    ],
)
def test_cases_give_the_values_of_the_correct_table(path: str, arguments: list[str], tmp_path: Path) -> None:
    found = scored(case(path), tmp_path, *arguments)
    assert found == GOOD | {"dimensions": 12, "targets": 2}


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("decimal_comma_csv/c07b_quoted.csv", ["12 features ('Cells_AreaShape_F0',", "decimal commas", "--decimal ,"]),
        ("decimal_comma_csv/c07d_eu_ints.csv", ["12 features ('Cells_AreaShape_F0',", "decimal commas"]),
        ("cpjump1_control_type/c18_empty.csv", ["Metadata_pert_type", "'empty'", "control_words: {empty:"]),
        ("b_profiles_1ba9d8e6/b1.csv", ["'Metadata_Col' holds '100000000000000000000' (first: row 1)"]),
        ("b_profiles_62ecbf9b/b1.h5ad", ["not a readable .h5ad file"]),
        ("b_profiles_ac8da4cb/b1.parquet", ["not a readable Parquet file"]),
        ("b_profiles_c2cea98e/b1.parquet", ["'Metadata_pert_type' holds '1e+38' (first: row 1)"]),
    ],
)
def test_cases_that_are_refused(path: str, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["metrics", str(case(path))]) == 2
    said = capsys.readouterr().err
    assert len(said.strip().splitlines()) == 1
    assert all(word in said for word in [str(CASES / path), *words])


def test_a_case_of_text_that_stands_for_nothing(tmp_path: Path) -> None:
    asked = ["target_consistency", "target_recall"]
    found, empty = (
        scored(case(f"na_text_target/{name}.csv"), tmp_path, metrics=asked) for name in ("c06_NA", "c06_empty")
    )
    assert found == empty == {"target_consistency": 0.143, "target_recall": 1.0, "dimensions": 12, "targets": 2}
    column = ["--control-type", "Metadata_control_type"]
    assert scored(case("na_text_target/c21_ctNA.csv"), tmp_path, *column) == GOOD | {"dimensions": 12, "targets": 2}


def test_a_case_of_several_targets(tmp_path: Path) -> None:
    """The values of the table in which every set is written alike."""
    path = case("moa_multilabel/c22_multi.csv")
    frame = pd.read_csv(path, dtype={"Metadata_moa": str})
    frame["Metadata_moa"] = frame["Metadata_moa"].replace({"B|A": "A|B"})
    frame.to_csv(tmp_path / "alike.csv", index=False)
    asked = ["target_consistency", "target_recall", "nsc_accuracy"]
    found, alike = (scored(table, tmp_path, metrics=asked) for table in (path, tmp_path / "alike.csv"))
    assert found == alike
    assert found["targets"] == 2
    assert None not in found.values()


def test_a_case_of_rows_that_a_word_drops(tmp_path: Path) -> None:
    found = scored(case("cpjump1_control_type/c18_empty.csv"), tmp_path, "--control-words", "empty=drop")
    assert found["retrieval_map"] == GOOD["retrieval_map"]  # the wells called empty have no replicate to find


@pytest.mark.parametrize(
    ("path", "metric", "lines"),
    [
        (
            "jump_source3_poscon/jump_source3_poscon_image_features.csv.gz",
            "retrieval_map",
            ["sha256:061ea3cf8692…", "features:  65 (65 numeric block)", "perturbation Metadata_Compound"],
        ),
        (
            "bbbc021/bbbc021_wells.csv.gz",
            "nsc_accuracy",
            [
                "features:  459 (142 Cells, 132 Cytoplasm, 185 Nuclei)",
                "left out:  40 coordinates: Cells_AreaShape_Center_X, ",
                "left out:  14 ids and numbers of objects: ",
                "left out:  3 counts: Cells_Children_Cytoplasm_Count, ",
                "target Metadata_MoA",
            ],
        ),
    ],
)
def test_the_account_of_real_screens(
    path: str, metric: str, lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    if not (DATA / path).exists():
        pytest.skip(f"real data absent: {DATA / path}")
    assert main(["metrics", str(DATA / path), "--metrics", metric]) == 0
    printed = capsys.readouterr().out
    for line in lines:
        assert line in printed
