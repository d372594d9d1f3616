from __future__ import annotations

import gzip
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from scipy import sparse

from trainers.errors import InputError
from trainers.screens.readers import read_screen, screen_frame
from trainers.screens.screen_spec import ScreenSpec
from trainers.screens.table import Screen, screen_warnings


def write(frame: pd.DataFrame, path: Path) -> Path:
    """Store a table in the format of the path's suffix."""
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    elif path.suffix == ".h5ad":
        import anndata

        described = [name for name in frame if name.startswith("Metadata_")]
        values = frame.drop(columns=described)
        obs = frame[described].set_index(frame.index.astype(str))
        var = pd.DataFrame(index=values.columns.astype(str))
        anndata.AnnData(X=sparse.csr_matrix(values.to_numpy(np.float32)), obs=obs, var=var).write_h5ad(path)
    else:
        frame.to_csv(path, index=False)
    return path


def read(path: Path, **spec: object) -> Screen:
    return read_screen(ScreenSpec.model_validate({"path": path.name, **spec}), path.parent).screen


@pytest.mark.parametrize("name", ["s.parquet", "s.csv", "s.csv.gz", "s.h5ad"])
def test_every_format_gives_the_same_screen(profiles: pd.DataFrame, tmp_path: Path, name: str) -> None:
    screen = read(write(profiles, tmp_path / name))
    np.testing.assert_allclose(screen.features, profiles[["AreaShape", "Texture", "Count"]].to_numpy(), rtol=1e-6)
    assert screen.feature_names == ("AreaShape", "Texture", "Count")
    wells = screen.wells
    assert wells["batch"].tolist() == profiles["Metadata_Batch"].tolist()
    assert wells["plate"].tolist()[:2] == ["E1/Plate1", "E1/Plate1"]
    assert wells["plate"].nunique() == 6
    assert wells["control_type"].tolist()[:6] == ["treatment"] * 3 + ["negative"] * 2 + ["positive"]
    assert wells["target"].tolist()[:3] == ["kinase", "kinase", pd.NA]
    assert wells["Metadata_Source"].tolist() == profiles["Metadata_Source"].tolist()
    assert (wells["row"].tolist()[3], wells["column"].tolist()[3]) == (2, 2)
    reference = read(write(profiles, tmp_path / "reference.parquet"))
    pd.testing.assert_frame_equal(wells, reference.wells)


def test_a_screen_survives_its_own_table(profiles: pd.DataFrame, tmp_path: Path) -> None:
    profiles["Metadata_Site"] = 3
    profiles["Metadata_Row"] = [well[0] for well in profiles["Metadata_Well"]]
    screen = read(write(profiles, tmp_path / "s.csv"))
    again = read(write(screen_frame(screen), tmp_path / "again.parquet"))
    assert again.fingerprint == screen.fingerprint
    assert again.wells["site"].unique().tolist() == [3]


def test_columns_and_controls_named_by_the_user(profiles: pd.DataFrame, tmp_path: Path) -> None:
    frame = profiles.rename(columns={"Metadata_Batch": "run", "Metadata_Plate": "barcode"}).drop(
        columns="Metadata_pert_type"
    )
    frame["barcode"] = frame["barcode"].str[-1].astype(int)
    spec = {"columns": {"batch": "run", "plate": "barcode", "target": None}, "negative_controls": ["DMSO"]}
    screen = read(write(frame, tmp_path / "s.parquet"), **spec)
    assert screen.feature_names == ("AreaShape", "Texture", "Count")
    assert screen.wells["plate"].tolist()[0] == "E1/1"
    assert screen.wells["target"].isna().all()
    assert screen.wells["Metadata_moa"].notna().any()
    assert (screen.wells["control_type"] == "negative").tolist() == (frame["Metadata_Perturbation"] == "DMSO").tolist()
    assert read(write(frame, tmp_path / "s.csv"), **spec).wells["plate"].tolist()[0] == "E1/1"


def test_a_chosen_subset_of_features_in_its_order(profiles: pd.DataFrame, tmp_path: Path) -> None:
    screen = read(write(profiles, tmp_path / "s.csv"), features=["Texture", "AreaShape"])
    assert screen.feature_names == ("Texture", "AreaShape")
    np.testing.assert_allclose(screen.features[:, 0], profiles["Texture"], rtol=1e-6)


def test_labels_that_look_like_numbers_or_nulls_stay_labels(profiles: pd.DataFrame, tmp_path: Path) -> None:
    profiles["Metadata_Perturbation"] = profiles["Metadata_Perturbation"].replace({"alpha": "NA", "beta": "007"})
    profiles["Metadata_Batch"] = profiles["Metadata_Batch"].str.replace("E", "0")
    wells = read(write(profiles, tmp_path / "s.csv")).wells
    assert wells["perturbation"].tolist()[:2] == ["NA", "007"]
    assert wells["batch"].tolist()[0] == "01"


def test_text_and_truth_values_are_no_features(profiles: pd.DataFrame, tmp_path: Path) -> None:
    frame = profiles.assign(note="fine", passed=True, when=pd.Timestamp("2024-01-01"))
    for name in ("s.csv", "s.parquet"):
        assert read(write(frame, tmp_path / name)).feature_names == ("AreaShape", "Texture", "Count")


def test_a_constant_feature_is_left_out_and_named_where_others_are_not(profiles: pd.DataFrame, tmp_path: Path) -> None:
    path = write(profiles.assign(Flat=1.5), tmp_path / "s.csv")
    found = read_screen(ScreenSpec(path=path), Path())
    assert "Flat" not in found.screen.feature_names
    assert found.account.left_out == {"constant": ("Flat",)}
    assert read(path, features=["Flat", "Texture"]).features[:, 0].tolist() == [1.5] * 36
    flat = profiles.assign(AreaShape=1.5, Texture=2.5, Count=0.5)  # a collapsed embedding: the gate says so
    assert read(write(flat, tmp_path / "flat.csv")).features.shape == (36, 3)


def test_nearest_named_control_types(profiles: pd.DataFrame, tmp_path: Path) -> None:
    kinds = {"trt": "", "negcon": "Negative", "poscon_cp": "POSCON_diverse"}
    frame = profiles.assign(Metadata_pert_type=profiles["Metadata_pert_type"].map(kinds))
    screen = read(write(frame, tmp_path / "s.csv"))
    assert screen.wells["control_type"].tolist()[:6] == ["treatment"] * 3 + ["negative"] * 2 + ["positive"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"Metadata_Batch": "E1"}, r"column 'Metadata_Batch' holds one batch only \('E1'\)"),
        ({"Texture": np.nan}, r"36 feature values in 1 columns are NaN or infinite \(first: column 'Texture', row 1\)"),
        ({"Texture": [np.inf] + [1.0] * 35}, r"1 feature values in 1 columns .* \(first: column 'Texture', row 1\)"),
        ({"Texture": [1.0] * 35 + [1e39]}, r"first: column 'Texture', row 36"),
        ({"Texture": ["low"] + ["1.5"] * 35}, r"feature 'Texture' is not numeric \(row 1: 'low'\)"),
        ({"Metadata_Well": [None, "A02"] * 18}, r"column 'Metadata_Well' is empty in 18 rows \(first: row 1\)"),
        (
            {"Metadata_Perturbation": ["x"] * 35 + ["  "]},
            r"'Metadata_Perturbation' is empty in 1 rows \(first: row 36\)",
        ),
        ({"Metadata_Well": "a1"}, r"30 rows repeat a well \(first: row 2, batch E1, plate E1/Plate1, well A01\)"),
        ({"Metadata_Well": "A01", "Metadata_Site": 2}, r"first: row 2, batch E1, plate E1/Plate1, well A01, site 2\)"),
        (
            {"Metadata_pert_type": "control"},
            r"column 'Metadata_pert_type' holds 'control' \(first: row 1\); expected trt",
        ),
        (
            {"Metadata_Row": ["B"] * 35 + ["0"]},
            r"column 'Metadata_Row' holds '0' \(first: row 36\); expected letters or",
        ),
        ({"Metadata_Site": "s1"}, r"column 'Metadata_Site' holds 's1' \(first: row 1\); expected a whole number"),
    ],
)
@pytest.mark.parametrize("name", ["s.csv", "s.parquet"])
def test_bad_values_name_file_column_and_row(
    profiles: pd.DataFrame, tmp_path: Path, name: str, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read(write(profiles.assign(**changes), tmp_path / name))
    assert str(caught.value).startswith(str(tmp_path / name))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            {"columns": {"batch": "metadata_batch"}},
            r"column 'metadata_batch' \(for batch\) does not exist; nearest: 'Metadata_Batch'",
        ),
        ({"features": ["Textures"]}, r"feature 'Textures' does not exist; nearest: 'Texture'"),
        ({"features": ["Texture", "Texture"]}, "names a column twice"),
        ({"features": []}, "no feature columns"),
        ({"negative_controls": ["dmso"]}, r"negative control 'dmso' does not exist; nearest: 'DMSO'"),
    ],
)
def test_specs_that_do_not_fit_the_file(
    profiles: pd.DataFrame, tmp_path: Path, spec: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read(write(profiles, tmp_path / "s.csv"), **spec)


def test_a_missing_column_names_the_nearest(profiles: pd.DataFrame, tmp_path: Path) -> None:
    frame = profiles.rename(columns={"Metadata_Plate": "Metadata_PlateID"})
    with pytest.raises(
        InputError, match=r"no column for plate \(looked for Metadata_Plate.*nearest: 'Metadata_PlateID'"
    ):
        read(write(frame, tmp_path / "s.csv"))
    with pytest.raises(InputError, match="no feature columns"):
        read(write(profiles.drop(columns=["AreaShape", "Texture", "Count"]), tmp_path / "s.csv"))


def test_files_that_cannot_be_read(profiles: pd.DataFrame, tmp_path: Path) -> None:
    def refused(name: str, content: bytes | None, message: str) -> None:
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(InputError, match=message) as caught:
            read(path)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)

    refused("absent.csv", None, "no such file")
    refused("s.xlsx", b"PK", "unknown format, expected one of .parquet, .csv")
    refused("text.parquet", b"a,b\n1,2\n", "not a readable Parquet file")
    refused("text.h5ad", b"a,b\n1,2\n", "not an .h5ad file")
    refused("cut.h5ad", write(profiles, tmp_path / "whole.h5ad").read_bytes()[:4000], "not a readable .h5ad file")
    refused("text.csv.gz", b"a,b\n1,2\n", "not a readable CSV file")
    refused("cut.csv.gz", gzip.compress(profiles.to_csv(index=False).encode())[:200], "not a readable CSV file")
    refused("latin.csv", "Metadata_Batch,µ\nü,1\n".encode("latin-1"), "not UTF-8 text")
    refused("empty.csv", b"", "the file is empty")
    refused("header.csv", profiles.head(0).to_csv(index=False).encode(), "the table has no rows")
    refused("ragged.csv", b"Metadata_Batch,a\nx,1\ny,1,2,3\n", "not a readable CSV file")
    refused("twice.csv", b"Metadata_Batch,a,b,a\nx,1,2,3\n", "repeated columns 'a'")
    (tmp_path / "folder.csv").mkdir()
    refused("folder.csv", None, "is a folder")


def test_repeated_names_in_h5ad_and_parquet(tmp_path: Path) -> None:
    import anndata
    import pyarrow as pa
    import pyarrow.parquet as pq

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Variable names are not unique", category=UserWarning)
        data = anndata.AnnData(X=np.ones((2, 2), np.float32), var=pd.DataFrame(index=["f", "f"]))
        data.write_h5ad(tmp_path / "s.h5ad")
    with pytest.raises(InputError, match="repeated columns 'f'"):
        read(tmp_path / "s.h5ad")
    anndata.AnnData(obs=pd.DataFrame({"Metadata_Batch": ["a", "b"]}, index=["0", "1"])).write_h5ad(tmp_path / "no.h5ad")
    with pytest.raises(InputError, match="has no X"):
        read(tmp_path / "no.h5ad")
    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["f", "f"]), tmp_path / "s.parquet")
    with pytest.raises(InputError, match="repeated columns 'f'"):
        read(tmp_path / "s.parquet")


def test_a_named_index_counts_as_columns(profiles: pd.DataFrame, tmp_path: Path) -> None:
    frame = profiles.set_index(["Metadata_Plate", "Metadata_Well"])
    screen = read(write(frame, tmp_path / "s.parquet"))
    assert screen.fingerprint == read(write(profiles, tmp_path / "t.parquet")).fingerprint


@pytest.mark.parametrize(
    "values",
    [{"columns": {"batches": "x"}}, {"columns": {"batch": None}}, {"normalise": "batch"}, {"feature": ["x"]}],
)
def test_specs_that_say_nothing_sensible(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ScreenSpec.model_validate({"path": "s.csv", **values})


def test_the_real_jump_table(jump: Path) -> None:
    screen = read(jump)
    wells = screen.wells
    assert screen.features.shape == (1800, 65)
    assert [wells[name].nunique() for name in ("batch", "plate", "well", "perturbation")] == [9, 172, 32, 8]
    assert set(wells["control_type"]) == {"positive"}
    assert "AMG900" in set(wells["perturbation"])
    assert wells["batch"].value_counts().unique().tolist() == [200]
    assert sorted(wells["column"].unique()) == [1, 24]
    assert wells["Metadata_Source"].unique().tolist() == ["source_3"]
    assert screen_warnings(screen) == (
        "no negative controls: phenotypic activity and normalisation by controls are not measurable",
    )
