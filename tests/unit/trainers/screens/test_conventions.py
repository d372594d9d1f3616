"""Which column says what, in the layouts of the field, and what is said of all that is wrong at once."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

from trainers.errors import InputError, InputProblemsError
from trainers.screens.controls import control_types, lookalikes
from trainers.screens.conventions import bare, describing, find_columns
from trainers.screens.positions import parse_well
from trainers.screens.readers import Reading, read_screen
from trainers.screens.screen_spec import ScreenSpec
from trainers.screens.text import MISSING_WORDS, as_text, described_text

WELLS = ("A01", "A02", "B01", "B02", "C01", "C02")
NAMES = ("alpha", "beta", "gamma", "DMSO", "DMSO", "omega")


def layout(columns: dict[str, list[object]], names: str = "f_{}") -> pd.DataFrame:
    """2 batches × 2 plates × 6 wells: the given columns, a list of 6 for the wells of every plate, and 4 features."""
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({name: values * 4 if len(values) == 6 else values for name, values in columns.items()})
    features = pd.DataFrame(rng.standard_normal((24, 4)), columns=[names.format(place) for place in range(4)])
    return pd.concat([frame, features], axis=1)


def per_plate(*values: object) -> list[object]:
    """One value a plate."""
    return [value for value in values for _ in range(6)]


def read(frame: pd.DataFrame, tmp_path: Path, **spec: object) -> Reading:
    frame.to_csv(tmp_path / "s.csv", index=False)
    return read_screen(ScreenSpec.model_validate({"path": "s.csv", **spec}), tmp_path)


KINDS = ["trt", "trt", "trt", "negcon", "negcon", "poscon"]
BATCHES, PLATES = per_plate("b1", "b1", "b2", "b2"), per_plate("p1", "p2", "p3", "p4")
BROAD = ["BRD-1", "BRD-2", "BRD-3", None, None, "BRD-6"]
LAYOUTS: dict[str, tuple[pd.DataFrame, dict[str, str]]] = {
    "JUMP": (
        layout(
            {
                "Metadata_Source": per_plate(*["source_3"] * 4),
                "Metadata_Batch": BATCHES,
                "Metadata_Plate": PLATES,
                "Metadata_Well": list(WELLS),
                "Metadata_JCP2022": [f"JCP2022_{name}" for name in NAMES],
                "Metadata_pert_type": KINDS,
            },
            "Cells_AreaShape_F{}",
        ),
        {"batch": "Metadata_Batch", "perturbation": "Metadata_JCP2022", "control_type": "Metadata_pert_type"},
    ),
    "JUMP without a batch": (
        layout(
            {
                "Metadata_Source": per_plate("source_1", "source_1", "source_2", "source_2"),
                "Metadata_Plate": PLATES,
                "Metadata_Well": list(WELLS),
                "Metadata_JCP2022": [f"JCP2022_{name}" for name in NAMES],
                "Metadata_control_type": KINDS,
            }
        ),
        {"batch": "Metadata_Source", "control_type": "Metadata_control_type"},
    ),
    "CPJUMP1": (
        layout(
            {
                "Metadata_broad_sample": BROAD,
                "Metadata_pert_iname": list(NAMES),
                "Metadata_gene": ["G1", "G2", "G3", None, None, "G1"],
                "Metadata_pert_type": ["trt", "trt", "trt", "control", "control", "control"],
                "Metadata_control_type": [None, None, "NA", "negcon", "negcon", "poscon_diverse"],
                "Metadata_Batch": BATCHES,
                "Metadata_Plate": PLATES,
                "Metadata_Well": list(WELLS),
            }
        ),
        {"perturbation": "Metadata_pert_iname", "control_type": "Metadata_control_type", "target": "Metadata_gene"},
    ),
    "LINCS": (
        layout(
            {
                "Metadata_Plate_Map_Name": per_plate("C-1", "C-1", "C-2", "C-2"),
                "Metadata_broad_sample": ["BRD-1", "BRD-2", "BRD-3", "DMSO", "DMSO", "BRD-6"],
                "Metadata_pert_type": ["trt", "trt", "trt", "control", "control", "trt"],
                "Metadata_Plate": PLATES,
                "Metadata_Well": list(WELLS),
                "Metadata_moa": ["a", "b", "a", None, None, "b"],
                "Metadata_cell_id": per_plate(*["A549"] * 4),
            }
        ),
        {"batch": "= plate", "perturbation": "Metadata_broad_sample", "cell_type": "Metadata_cell_id"},
    ),
    "LINCS, level 5": (
        layout(
            {
                "Metadata_Plate_Map_Name": PLATES,
                "Metadata_broad_sample": ["BRD-1", "BRD-2", "BRD-3", "DMSO", "DMSO", "BRD-6"],
                "Metadata_pert_type": ["trt", "trt", "trt", "control", "control", "trt"],
                "Metadata_pert_well": list(WELLS),
                "Metadata_moa": ["a|b", "b|a", "a", None, None, "b"],
            }
        ),
        {"batch": "= plate", "plate": "Metadata_Plate_Map_Name", "well": "Metadata_pert_well"},
    ),
    "bare names beside a prefix": (
        layout(
            {
                "batch": BATCHES,
                "plate": PLATES,
                "well": list(WELLS),
                "Metadata_broad_sample": ["BRD-1", "BRD-2", "BRD-3", "DMSO", "DMSO", "BRD-6"],
                "Metadata_pert_type": KINDS,
            }
        ),
        {"batch": "batch", "plate": "plate", "well": "well", "perturbation": "Metadata_broad_sample"},
    ),
    "CytoTable": (
        layout(
            {
                "Image_Metadata_Batch": BATCHES,
                "Image_Metadata_Plate": PLATES,
                "Image_Metadata_Well": list(WELLS),
                "Image_Metadata_Compound": list(NAMES),
                "Image_Metadata_pert_type": KINDS,
                "Image_Metadata_Field": [1] * 6,
                "Metadata_ImageNumber": list(range(24)),
            },
            "Nuclei_Texture_F{}",
        ),
        {"batch": "Image_Metadata_Batch", "perturbation": "Image_Metadata_Compound", "site": "Image_Metadata_Field"},
    ),
    "RxRx3-like embedding": (
        layout(
            {
                "well_id": [f"w{number}" for number in range(24)],
                "experiment_name": BATCHES,
                "plate": PLATES,
                "address": list(WELLS),
                "gene": ["G1", "G2", None, "EMPTY_control", "EMPTY_control", "G6"],
                "treatment": ["G1_guide_1", "G2_guide_1", "drug", "EMPTY_control", "EMPTY_control", "G6_guide_2"],
                "concentration": [0.1] * 6,
            },
            "feature_{}",
        ),
        {"batch": "experiment_name", "well": "address", "perturbation": "treatment", "target": "gene"},
    ),
    "cpDistiller's obs": (
        layout(
            {
                "batch": per_plate("b1", "b2", "b3", "b4"),
                "row": [1, 1, 2, 2, 3, 3],
                "col": [1, 2, 1, 2, 1, 2],
                "compound": list(NAMES),
                "control": [False, False, False, True, True, False],
            }
        ),
        {"plate": "= batch", "well": "= row and column", "control_type": "control"},
    ),
    "wells of an Opera": (
        layout(
            {
                "Metadata_Batch": BATCHES,
                "Metadata_Plate": PLATES,
                "Metadata_Well": ["r01c01", "r01c02", "R2C1", "r02c02", "r03c01", "r3c2"],
                "Metadata_Perturbation": list(NAMES),
                "Metadata_pert_type": KINDS,
            }
        ),
        {"well": "Metadata_Well"},
    ),
}


@pytest.mark.parametrize("name", list(LAYOUTS))
def test_conventions_of_the_field_are_read_without_a_word(name: str, tmp_path: Path) -> None:
    frame, expected = LAYOUTS[name]
    found = read(frame, tmp_path)
    columns = found.account.columns
    assert {canonical: columns.get(canonical) for canonical in expected} == expected
    wells = found.screen.wells
    assert found.screen.features.shape == (24, 4)
    assert (wells["control_type"] == "negative").tolist() == [False, False, False, True, True, False] * 4
    assert wells["well"].tolist() == list(WELLS) * 4
    derived = "= plate" in columns.values() or "= batch" in columns.values()
    assert wells["batch"].nunique() == (4 if derived else 2)
    assert any("batch" in line for line in found.account.warnings) == derived


@pytest.mark.parametrize("name", list(LAYOUTS))
def test_an_h5ad_of_the_same_layout_is_read_alike(name: str, tmp_path: Path) -> None:
    """obs has the columns, under the same names."""
    frame, _ = LAYOUTS[name]
    values = frame.iloc[:, -4:]
    obs = frame.iloc[:, :-4].set_index(frame.index.astype(str))
    anndata.AnnData(values.to_numpy(np.float32), obs=obs, var=pd.DataFrame(index=values.columns)).write_h5ad(
        tmp_path / "s.h5ad"
    )
    found, table = read_screen(ScreenSpec(path=tmp_path / "s.h5ad"), Path()), read(frame, tmp_path)
    assert found.account.columns == table.account.columns
    for column in ("batch", "plate", "well", "perturbation", "control_type", "target", "site"):
        pd.testing.assert_series_equal(found.screen.wells[column], table.screen.wells[column])
    np.testing.assert_allclose(found.screen.features, table.screen.features, rtol=1e-6)


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ({"Metadata_Compound": ["a", None, "b", "c", "c", "d"]}, {"Metadata_JCP2022": list(NAMES)}, "empty in 4 rows"),
        (
            {"Metadata_pert_type": ["trt", "trt", "trt", "what", "what", "what"], "Metadata_Compound": list(NAMES)},
            {"Metadata_control_type": KINDS},
            "holds 'what'",
        ),
        (
            {"Metadata_target": [None] * 5 + ["NA"], "Metadata_Compound": list(NAMES)},
            {"Metadata_moa": ["x", "y", "x", None, None, "y"]},
            "empty throughout",
        ),
    ],
)
def test_of_several_candidates_the_one_whose_values_fit(
    first: dict[str, list[object]], second: dict[str, list[object]], words: str, tmp_path: Path
) -> None:
    shared = {"Metadata_Batch": BATCHES, "Metadata_Plate": PLATES, "Metadata_Well": list(WELLS)}
    found = read(layout({**shared, **first, **second}), tmp_path)
    passed, taken = next(iter(first)), next(iter(second))
    assert taken in found.account.columns.values()
    assert passed not in found.account.columns.values()
    assert any(note.startswith(f"{passed} passed over") and words in note for note in found.account.notes)


def test_a_plain_table_is_read_by_the_plain_names_alone(tmp_path: Path) -> None:
    """What was read before stays what it was: further columns stay further columns."""
    shared = {"Metadata_Batch": BATCHES, "Metadata_Plate": PLATES, "Metadata_Well": list(WELLS)}
    further = {
        "Metadata_gene": ["G"] * 6,
        "Metadata_cell_id": ["A549"] * 6,
        "Metadata_well_type": KINDS,
        "plate": [9] * 6,
    }
    found = read(layout({**shared, "Metadata_Compound": list(NAMES), **further}), tmp_path)
    assert set(found.account.columns) == {"batch", "plate", "well", "perturbation"}
    assert {"Metadata_gene", "Metadata_cell_id", "Metadata_well_type"} <= set(found.screen.wells)
    assert found.account.left_out == {"what describes a row (name such columns Metadata_*)": ("plate",)}


def test_columns_that_describe() -> None:
    names = ["Metadata_Batch", "Image_Metadata_Site", "plate", "gene", "f1"]
    assert describing(names, {"plate": "f1"}) == {"Metadata_Batch", "Image_Metadata_Site", "plate", "gene", "f1"}
    assert describing(names[2:], {}) == {"plate", "gene"}
    plain = ["Metadata_Plate", "Metadata_Well", "Metadata_Compound"]
    assert describing([*names, *plain], {}) == {"Metadata_Batch", "Image_Metadata_Site", *plain}
    given = dict.fromkeys(("batch", "plate", "well", "perturbation"), "gene")
    assert describing(names[2:], given) == {"gene"}
    assert [bare(name) for name in ("Metadata_pert_type", "Image_Metadata_Well", "Cell Type")] == [
        "perttype",
        "well",
        "celltype",
    ]


@pytest.mark.parametrize("word", [*sorted(MISSING_WORDS - {""}), "NA", "NaN", "None", "#N/A", " na "])
def test_nothing_known_is_missing_where_a_column_describes_and_a_name_where_it_names(word: str, tmp_path: Path) -> None:
    assert described_text(pd.Series([word, "x"])).isna().tolist() == [True, False]
    assert as_text(pd.Series([word, "x"])).tolist() == [word.strip(), "x"]
    frame = layout(
        {
            "Metadata_Batch": BATCHES,
            "Metadata_Plate": PLATES,
            "Metadata_Well": list(WELLS),
            "Metadata_Gene": [word, "beta", "gamma", "DMSO", "DMSO", "omega"],
            "Metadata_pert_type": [word, "trt", "trt", "negcon", "negcon", "poscon"],
            "Metadata_target": [word, "a", "a", word, None, "b"],
        }
    )
    found = read(frame, tmp_path)
    wells = found.screen.wells
    assert wells["target"].isna().tolist() == [True, False, False, True, True, False] * 4
    assert wells["perturbation"].tolist()[0] == word.strip()
    assert wells["control_type"].tolist()[0] == "treatment"
    assert any(f"perturbation {word.strip()!r} is read as a name" in line for line in found.account.warnings)


@pytest.mark.parametrize(
    ("others", "warned"),
    [
        (["dmso"], ["dmso"]),
        (["DMSO_0.1%"], ["DMSO_0.1%"]),
        (["DMSO 0.5 %"], ["DMSO 0.5 %"]),
        (["Dmso control"], ["Dmso control"]),
        (["untreated"], ["untreated"]),
        (["EMPTY_control"], ["EMPTY_control"]),
        (["DMSO1A", "dimethyl", "P07", "control gene"], []),
    ],
)
def test_names_that_look_like_a_control_are_warned_about(others: list[str], warned: list[str]) -> None:
    names = pd.Series(["DMSO", *others], dtype="string")
    kinds = pd.Series(["negative"] + ["treatment"] * len(others))
    lines = lookalikes(names, kinds)
    assert len(lines) == (1 if warned else 0)
    assert all(repr(name) in lines[0] and "negative_controls" in lines[0] for name in warned)


def test_two_spellings_of_a_marked_control_are_said() -> None:
    names = pd.Series(["DMSO", "dmso_0.1%", "P1"], dtype="string")
    (line,) = lookalikes(names, pd.Series(["negative", "negative", "treatment"]))
    assert "'DMSO', 'dmso_0.1%' are negative controls of one kind under 2 names" in line


def test_words_of_a_control_column_can_be_given_a_meaning() -> None:
    names = pd.Series(["a", "b", "c"], dtype="string")
    values = pd.Series(["trt", "Empty", "blank"])
    types, problems = control_types("kind", values, names, (), {"empty": "drop", "blank": "negative"})
    assert (types.tolist(), problems) == (["treatment", "drop", "negative"], [])
    _, (line,) = control_types("kind", values, names, (), {})
    assert "holds 'Empty' (first: row 2)" in line
    assert "control_words: {Empty: negative}" in line
    assert "'blank'" in line


def test_rows_dropped_by_their_control_word_are_gone_and_counted(tmp_path: Path) -> None:
    frame, _ = LAYOUTS["JUMP"]
    frame = frame.assign(Metadata_pert_type=["trt", "empty", "trt", "negcon", "negcon", "poscon"] * 4)
    frame.loc[1, "Cells_AreaShape_F0"] = np.nan  # of a dropped row: no matter
    found = read(frame, tmp_path, control_words={"empty": "drop"})
    assert len(found.screen) == len(found.metadata) == 20
    assert "4 rows left out by control_words" in found.account.notes
    assert set(found.metadata["Metadata_pert_type"]) == {"trt", "negcon", "poscon"}


@pytest.mark.parametrize(
    ("name", "place"),
    [("A1", (1, 1)), ("a01", (1, 1)), ("P24", (16, 24)), ("AF48", (32, 48)), ("r01c01", (1, 1)), ("R16C24", (16, 24))],
)
def test_well_names(name: str, place: tuple[int, int]) -> None:
    assert parse_well(name) == place
    assert parse_well(f"slide {name}") is None


def test_everything_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    frame, _ = LAYOUTS["JUMP"]
    frame = frame.rename(columns={"Metadata_Plate": "Metadata_Plte"})
    frame.loc[3, "Metadata_Well"] = None
    frame.loc[7, "Metadata_pert_type"] = "blank"
    frame["Cells_AreaShape_F1"] = frame["Cells_AreaShape_F1"].map(lambda value: f"{value:.3f}".replace(".", ","))
    with pytest.raises(InputProblemsError) as caught:
        read(frame, tmp_path, negative_controls=["dmso"])
    expected = [
        "no column for plate",
        "column 'Metadata_Well' is empty in 1 rows (first: row 4)",
        "negative control 'dmso' does not exist",
        "column 'Metadata_pert_type' holds 'blank' (first: row 8)",
        "feature 'Cells_AreaShape_F1' holds decimal commas",
    ]
    assert len(caught.value.problems) == len(expected)
    assert all(line.startswith(start) for line, start in zip(caught.value.problems, expected, strict=True))
    assert str(caught.value).startswith(f"{tmp_path / 's.csv'}: 5 problems: (1) no column for plate")


@pytest.mark.parametrize("value", ["100000000000000000000", "1e30", "-1", "0", "1.5", "inf", "AAA"])
@pytest.mark.parametrize("column", ["Metadata_Row", "Metadata_Col"])
def test_positions_that_are_none(value: str, column: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"'{column}' holds .* \(first: row 1\); expected letters or a whole number"):
        read(LAYOUTS["JUMP"][0].assign(**{column: value}), tmp_path)


def test_numbers_too_large_to_be_names_stay_text(tmp_path: Path) -> None:
    frame = LAYOUTS["JUMP"][0].assign(Metadata_pert_type=1e38)
    frame.to_parquet(tmp_path / "s.parquet")
    with pytest.raises(InputError, match=r"'Metadata_pert_type' holds '1e\+38'"):
        read_screen(ScreenSpec(path=tmp_path / "s.parquet"), Path())
    assert as_text(pd.Series([1e38, 2.0])).tolist() == ["1e+38", "2.0"]


def test_a_map_names_what_is_absent() -> None:
    found = find_columns(pd.DataFrame({"Metadata_Plates": ["a"]}), {"batch": "run", "target": None}, {})
    assert [line.split(";")[0] for line in found.problems][:2] == [
        "column 'run' (for batch) does not exist",
        "no column for plate (looked for Metadata_Plate, Metadata_plate)",
    ]
