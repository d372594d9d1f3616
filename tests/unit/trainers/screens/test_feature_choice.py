"""What counts as a feature: every kind of column that is none, and every form that numbers are written in."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from trainers.screens.feature_choice import BLOCK, NAMED, choose_features
from trainers.screens.screen_spec import FeaturePatterns

N = 24
RNG = np.random.default_rng(5)
COMPARTMENTS = ("Cells_AreaShape_Area", "Nuclei_Texture_Entropy", "Cytoplasm_Intensity_Mean", "Cells_Neighbors_X3")


def profile(names: tuple[str, ...] = COMPARTMENTS) -> pd.DataFrame:
    """Decimal numbers under the given names."""
    return pd.DataFrame(RNG.standard_normal((N, len(names))), columns=list(names))


def distinct(column: str) -> pd.Series:
    """Numbers that would pass for a feature: decimal, and with no pattern."""
    return pd.Series(RNG.normal(500.0, 80.0, N), name=column)


@pytest.mark.parametrize(
    ("reason", "name"),
    [
        *(
            ("row numbers", name)
            for name in ("__index_level_0__", "__index_level_3__", "Unnamed: 0", "level_0", "index")
        ),
        *(
            ("ids and numbers of objects", name)
            for name in (
                "ImageNumber",
                "Metadata_less_ObjectNumber",
                "Nuclei_Number_Object_Number",
                "Cells_Parent_Nuclei",
                "Nuclei_Neighbors_FirstClosestObjectNumber_10",
                "TableNumber",
                "well_id",
            )
        ),
        *(
            ("coordinates", name)
            for name in (
                "Cells_Location_Center_X",
                "Nuclei_Location_MaxIntensity_Y_DNA",
                "Cytoplasm_Location_CenterMassIntensity_Z_AGP",
                "Nuclei_AreaShape_Center_X",
                "Cells_AreaShape_BoundingBoxMinimum_Y",
                "centroid-0",
                "x",
                "pos_y",
                "CenterX",
            )
        ),
        *(
            ("counts", name)
            for name in (
                "Count_Cells",
                "Image_Count_Nuclei",
                "Cells_Children_Cytoplasm_Count",
                "n_cells",
                "cell_count",
                "Cells_Count",
            )
        ),
        *(("bookkeeping of images", name) for name in ("Image_Width_DNA", "Image_ExecutionTime_1", "FileName_DNA")),
    ],
)
@pytest.mark.parametrize(
    "family", [COMPARTMENTS, ("f_0", "f_1", "f_2", "f_3"), ("AreaShape", "Texture", "Edge", "Hue")]
)
def test_bookkeeping_is_never_a_feature(reason: str, name: str, family: tuple[str, ...]) -> None:
    """Whatever its values, wherever it stands, and beside whatever family of features."""
    features = profile(family)
    for place in (0, 2, 4):
        frame = features.copy()
        frame.insert(place, name, distinct(name))
        found = choose_features(frame)
        assert found.names == family
        assert found.left_out == {reason: (name,)}
        np.testing.assert_array_equal(found.features, features.to_numpy(np.float32))


@pytest.mark.parametrize(
    ("reason", "column"),
    [
        ("constant", pd.Series([0.25] * N)),
        ("truth values", pd.Series([True, False] * (N // 2))),
        ("dates", pd.Series(pd.date_range("2024-01-01", periods=N))),
        ("text", pd.Series(["fine"] * N)),
        ("text", pd.Series([{"a": 1}] * N)),
        ("empty", pd.Series([None] * N, dtype=object)),
        ("whole numbers beside decimal ones", pd.Series(np.arange(N) % 5)),
        ("whole numbers beside decimal ones", pd.Series([1.0, None, 3.0, 2.0] * (N // 4))),
    ],
)
def test_columns_that_are_no_measurements(reason: str, column: pd.Series) -> None:
    frame = profile(("AreaShape", "Texture", "Edge")).assign(extra=column)
    found = choose_features(frame)
    assert found.left_out == {reason: ("extra",)}
    assert found.families == {BLOCK: 3}
    assert not found.problems


def test_families_are_counted_and_come_before_stray_numbers() -> None:
    frame = pd.concat([profile(), profile(("Image_Granularity_1_DNA", "emb_0", "emb_1", "emb_2"))], axis=1)
    frame["focus_score"] = distinct("focus_score")
    found = choose_features(frame)
    assert found.families == {"Cells": 2, "Nuclei": 1, "Cytoplasm": 1, "Image": 1, "emb_*": 3}
    assert found.left_out == {"numbers of no family of features": ("focus_score",)}
    assert "focus_score" in found.warnings[0]
    assert found.names == tuple(name for name in frame if name != "focus_score")


@pytest.mark.parametrize(
    "names", [("0", "1", "2"), ("PC1", "PC2", "PC3"), ("dim-7", "dim-9", "dim-12"), ("z[0]", "z[1]", "z[2]")]
)
@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int8])
def test_numbered_families(names: tuple[str, ...], dtype: type) -> None:
    frame = pd.DataFrame(RNG.integers(-90, 90, (N, 3)).astype(dtype), columns=list(names))
    found = choose_features(frame.assign(qc=distinct("qc")))
    assert found.names == names
    assert list(found.families.values()) == [3]


def test_a_block_without_known_names_keeps_whole_numbers_of_its_own_kind() -> None:
    """AGP_sat_low may be whole in every row of a small table; a stray number of another kind is no feature."""
    frame = profile(("AGP_mean", "AGP_std", "DNA_mean", "DNA_std"))
    frame["AGP_sat"] = np.arange(N) % 3
    frame["passage_of_cells"] = np.arange(N) % 4
    found = choose_features(frame)
    assert found.names == ("AGP_mean", "AGP_std", "DNA_mean", "DNA_std", "AGP_sat")
    whole = frame[["AGP_sat", "passage_of_cells"]].assign(number=np.arange(N) + 5)
    found = choose_features(whole)
    assert (found.names, found.left_out) == (("AGP_sat", "passage_of_cells"), {"row numbers": ("number",)})


EXACT = np.round(RNG.standard_normal((N, 4)), 3)


def as_lists(kind: type) -> pd.Series:
    return pd.Series([kind(row) for row in EXACT])


@pytest.mark.parametrize(
    ("column", "form"),
    [
        (as_lists(list), "lists"),
        (as_lists(tuple), "lists"),
        (as_lists(np.asarray), "lists"),
        (pd.Series([str(list(map(float, row))) for row in EXACT]), "lists"),
        (pd.Series([str(row) for row in EXACT]), "lists"),
    ],
)
def test_lists_of_fixed_length_are_a_block(column: pd.Series, form: str) -> None:
    frame = profile(("focus", "background")).assign(embedding=column)
    found = choose_features(frame)
    assert found.names == tuple(f"embedding_{place}" for place in range(4))
    assert found.families == {"embedding": 4}
    assert found.forms == {"embedding": form}
    assert found.left_out == {"numbers of no family of features": ("focus", "background")}
    np.testing.assert_allclose(found.features, EXACT, rtol=1e-6)


def test_a_row_without_its_list_has_no_values() -> None:
    lists = as_lists(list)
    lists[3] = None
    found = choose_features(pd.DataFrame({"embedding": lists}))
    assert np.isnan(found.features).sum(axis=1).tolist() == [0, 0, 0, 4, *[0] * (N - 4)]


@pytest.mark.parametrize("places", [1, 6, 18])
def test_decimals_are_numbers(places: int) -> None:
    values = [Decimal(str(value)).quantize(Decimal(1).scaleb(-places)) for value in EXACT[:, 0]]
    found = choose_features(pd.DataFrame({"Cells_A_B": pd.Series(values, dtype=object)}))
    np.testing.assert_allclose(found.features[:, 0], np.array(values, dtype=float), rtol=1e-6)


@pytest.mark.parametrize("name", ["Cells_AreaShape_Area", "feature", "F0001"])
@pytest.mark.parametrize(
    ("values", "words"),
    [
        (["1,243", "0,5", "-2,1"], ["decimal commas", "row 1: '1,243'", "decimal: ','"]),
        (["1,243", "2,119", "3,001"], ["decimal commas, or commas between thousands", "decimal: ','"]),
        (["1,5", "2", "NA"], ["decimal commas", "row 1"]),
        (["1.5 µm", "2.25 µm", "3 µm"], ["numbers with units", "row 1: '1.5 µm'", "numbers alone"]),
        (["12 %", "14%", "9.5 %"], ["numbers with units"]),
        (["low", "1.5", "2.5"], ["is not numeric", "row 1: 'low'"]),
        ([[1.0, 2.0], [1.0], [2.0]], ["lists of 1 and 2 numbers", "fixed length"]),
        ([[1.0, "a"], [1.0, "b"], [2.0, "c"]], ["lists that are not all numbers"]),
        ([[], [], []], ["lists of 0 and 0 numbers"]),
        (["[0.1 0.2 ... 0.3]", "[0.1 0.2 ... 0.3]", "[0.1 0.2 ... 0.3]"], ["lists as text, cut"]),
        ([1 + 2j, 2j, 3.0], ["complex numbers"]),
    ],
)
def test_what_looks_like_a_feature_is_refused_by_name(name: str, values: list[object], words: list[str]) -> None:
    frame = profile(("AreaShape", "Texture")).assign(**{name: pd.Series(values * (N // 3))})
    found = choose_features(frame)
    assert len(found.problems) == 1
    for word in [repr(name), "features: exclude", *words]:
        assert word in found.problems[0]
    assert not choose_features(frame, FeaturePatterns(exclude=(name,))).problems


@pytest.mark.parametrize("values", [["low", "high", "low"], [True, False, True], ["#DIV/0!", "#DIV/0!", "#N/A"]])
def test_a_name_of_cellprofiler_with_other_values_is_refused(values: list[object]) -> None:
    frame = profile().assign(Cells_AreaShape_Solidity=values * (N // 3), comment=["a", "b", "c"] * (N // 3))
    found = choose_features(frame)
    (line,) = found.problems
    assert line.startswith("feature 'Cells_AreaShape_Solidity' is not numeric but holds t")
    assert found.left_out == {"text": ("comment",)}


def test_numbers_as_text_are_numbers_and_codes_are_none() -> None:
    frame = profile(("AreaShape", "Texture", "Edge"))
    frame = frame.assign(Hue=frame["Edge"].round(3).astype(str), donor=["0012", "0734", "0201"] * (N // 3))
    found = choose_features(frame)
    assert found.names == ("AreaShape", "Texture", "Edge", "Hue")
    np.testing.assert_allclose(found.features[:, 3], frame["Edge"].round(3), rtol=1e-6)
    assert found.left_out == {"whole numbers beside decimal ones": ("donor",)}
    assert found.forms == {"Hue": "text"}


def test_many_columns_of_one_fault_are_one_line() -> None:
    frame = profile().assign(**{f"Cells_Q_{place}": ["1,5", "0,25", "2,125"] * (N // 3) for place in range(15)})
    (line,) = choose_features(frame).problems
    assert line.startswith("15 features ('Cells_Q_0', ")
    assert line.count("Cells_Q_") == 12
    read = choose_features(frame, decimal=",")
    assert not read.problems
    assert read.features[:3, 4].tolist() == [1.5, 0.25, 2.125]


@pytest.mark.parametrize(
    ("wanted", "names", "families"),
    [
        (FeaturePatterns(include=("Cells_*",)), ("Cells_AreaShape_Area", "Cells_Neighbors_X3"), {NAMED: 2}),
        (
            FeaturePatterns(exclude=("*_Texture_*",)),
            (*COMPARTMENTS[:1], *COMPARTMENTS[2:]),
            {"Cells": 2, "Cytoplasm": 1},
        ),
        (
            FeaturePatterns(include=("Cells_*", "n_cells"), exclude=("*X3",)),
            ("Cells_AreaShape_Area", "n_cells"),
            {NAMED: 2},
        ),
        (("n_cells", "Nuclei_Texture_Entropy"), ("n_cells", "Nuclei_Texture_Entropy"), {NAMED: 2}),
    ],
)
def test_what_the_user_says_comes_before_the_rule(
    wanted: object, names: tuple[str, ...], families: dict[str, int]
) -> None:
    found = choose_features(profile().assign(n_cells=np.arange(N)), wanted)  # type: ignore[arg-type]
    assert (found.names, found.families, found.problems) == (names, families, ())


def test_a_pattern_that_names_nothing_is_a_problem() -> None:
    found = choose_features(profile(), FeaturePatterns(include=("Cels_*",), exclude=("emb_*",)))
    assert [line.split(";")[0] for line in found.problems] == [
        "features: no column is called 'Cels_*'",
        "features: no column is called 'emb_*'",
    ]


def test_a_declared_matrix_needs_no_family() -> None:
    frame = profile(("TP53", "BRCA1", "Cells_Location_Center_X"))
    found = choose_features(frame, matrix="X")
    assert (found.names, found.families) == (("TP53", "BRCA1"), {"X": 2})
    assert found.left_out == {"coordinates": ("Cells_Location_Center_X",)}


def test_a_list_beside_columns_of_its_names_is_a_problem() -> None:
    frame = profile(("e_0", "e_1", "e_2")).assign(e=as_lists(list))
    assert any("stand beside a list column of the same name" in line for line in choose_features(frame).problems)
