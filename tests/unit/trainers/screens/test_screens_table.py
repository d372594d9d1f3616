from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from trainers.errors import InputError
from trainers.screens.table import CANONICAL, Screen, make_screen, screen_warnings
from trainers.screens.text import as_text


def small(**changes: object) -> Screen:
    columns: dict[str, object] = {
        "batch": ["1", "1", "2", "2"],
        "plate": ["P", "P", "P", "Q"],
        "well": ["a1", "B02", "A01", "A1"],
        "perturbation": ["x", "y", "x", "y"],
    }
    values = np.arange(8, dtype=np.float64).reshape(4, 2)
    return make_screen(values, ("f", "g"), pd.DataFrame(columns | changes))


def test_a_minimal_table_takes_the_canonical_form() -> None:
    screen = small(batch=[1, 1, 2, 2], Metadata_Lab=[7.0, None, 8.0, 8.0])
    wells = screen.wells
    assert list(wells.columns) == [*CANONICAL, "Metadata_Lab"]
    assert screen.features.dtype == np.float32
    assert screen.features.flags.c_contiguous
    assert wells["batch"].tolist() == ["1", "1", "2", "2"]
    assert wells["well"].tolist() == ["A01", "B02", "A01", "A01"]
    assert wells["row"].tolist() == [1, 2, 1, 1]
    assert wells["column"].tolist() == [1, 2, 1, 1]
    assert wells["control_type"].unique().tolist() == ["treatment"]
    assert wells[["site", "target", "cell_type"]].isna().all(axis=None)
    assert wells["Metadata_Lab"].tolist() == ["7", pd.NA, "8", "8"]
    assert {str(wells[name].dtype) for name in ("row", "column", "site")} == {"Int64"}


def test_a_plate_name_used_in_two_batches_is_paired_with_its_batch() -> None:
    assert small().wells["plate"].tolist() == ["1/P", "1/P", "2/P", "Q"]


def test_given_rows_and_columns_are_kept_and_gaps_filled_from_the_name() -> None:
    assert small(row=[5, None, None, 1]).wells["row"].tolist() == [5, 2, 1, 1]


def test_well_names_of_another_kind_stay_without_position() -> None:
    screen = small(well=["slide_1", "B02", "A01", "A01"])
    assert screen.wells["well"].tolist()[0] == "slide_1"
    assert screen.wells["row"].isna().tolist() == [True, False, False, False]
    assert "1 well names give no row and column ('slide_1')" in " ".join(screen_warnings(screen))


def test_subset_takes_rows_in_their_order() -> None:
    part = small().subset([3, 0])
    assert part.features.tolist() == [[6, 7], [0, 1]]
    assert part.wells["batch"].tolist() == ["2", "1"]
    assert part.wells.index.tolist() == [0, 1]
    assert len(small().subset([])) == 0


def test_the_fingerprint_is_of_the_content() -> None:
    screen = small()
    assert screen.fingerprint.startswith("sha256:")
    assert len(screen.fingerprint) == 71
    assert screen.fingerprint == small().fingerprint == screen.subset(range(4)).fingerprint
    changed = screen.features.copy()
    changed[0, 0] += 1e-3
    others = [
        replace(screen, features=changed),
        replace(screen, feature_names=("f", "h")),
        small(perturbation=["x", "y", "x", "z"]),
        small(Metadata_Lab=["", "", "", "-"]),
        small(Metadata_Lab=["", "", "", "+-"]),
        screen.subset([1, 0, 2, 3]),
    ]
    assert len({other.fingerprint for other in others} | {screen.fingerprint}) == 7


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": np.zeros((3, 2), np.float32)}, r"shape \(3, 2\), expected \(4 wells, 2 feature names\)"),
        ({"features": np.zeros((4, 2))}, "C-contiguous float32, got float64"),
        ({"features": np.zeros((2, 4), np.float32).T}, "C-contiguous"),
        ({"features": np.full((4, 2), np.nan, np.float32)}, "NaN or infinite"),
        ({"feature_names": ("f", "f")}, "not distinct"),
    ],
)
def test_features_that_are_no_screen(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(small(), **changes)


def test_wells_that_are_no_screen() -> None:
    screen = small()
    wells = screen.wells
    with pytest.raises(InputError, match="lack the columns 'site'"):
        replace(screen, wells=wells.drop(columns="site"))
    with pytest.raises(InputError, match="RangeIndex"):
        replace(screen, wells=wells.set_axis([1, 2, 3, 4]))
    with pytest.raises(InputError, match="'batch' holds nulls"):
        replace(screen, wells=wells.assign(batch=[None, "1", "2", "2"]))
    with pytest.raises(InputError, match="control_type 'trt' is none of treatment"):
        replace(screen, wells=wells.assign(control_type="trt"))
    with pytest.raises(InputError, match="plate 'P' lies in 2 batches"):
        replace(screen, wells=wells.assign(plate="P"))
    with pytest.raises(InputError, match="lack the columns 'plate'"):
        make_screen(screen.features, screen.feature_names, wells.drop(columns="plate"))


def test_warnings_name_what_limits_the_answer() -> None:
    lines = screen_warnings(small(perturbation=["x", "y", "x", "z"], row=[1, 2, 1, 3]))
    assert len(lines) == 4
    assert lines[0].startswith("2 of 3 perturbations occur in one batch only ('y', 'z')")
    assert lines[1].startswith("no negative controls")
    assert lines[2].startswith("2 perturbations have fewer than 2 wells ('y', 'z')")
    assert lines[3].startswith("in 1 table rows row and column contradict the well's name (first: well 'A01')")


def test_negative_controls_are_no_labels_to_warn_of() -> None:
    screen = small(
        perturbation=["x", "y", "x", "DMSO"], control_type=["treatment", "treatment", "treatment", "negative"]
    )
    assert [line.split(":")[0] for line in screen_warnings(screen)] == [
        "1 of 2 perturbations occur in one batch only ('y')",
        "1 perturbations have fewer than 2 wells ('y')",
    ]


def test_text_of_every_kind_of_column() -> None:
    assert as_text(pd.Series([1.0, np.nan, 3.0])).tolist() == ["1", pd.NA, "3"]
    assert as_text(pd.Series([1.5, 2.0])).tolist() == ["1.5", "2.0"]
    assert as_text(pd.Series([" a ", "", None, "01"])).tolist() == ["a", pd.NA, pd.NA, "01"]
    assert as_text(pd.Series(pd.Categorical([2, 1, None]))).tolist() == ["2", "1", pd.NA]
    assert as_text(pd.Series(pd.Categorical([2.0, 1.0, None]))).tolist() == ["2", "1", pd.NA]
    assert as_text(pd.Series(pd.Categorical(["b", None]))).tolist() == ["b", pd.NA]
    assert as_text(pd.Series([np.inf, 2.0])).tolist() == ["inf", "2.0"]


@pytest.mark.slow
def test_screens_import_nothing_heavy() -> None:
    code = "import sys, trainers.screens.simulated_screen, trainers.screens.splits; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "trainers.screens.readers" in loaded
    assert not {"torch", "anndata", "sklearn", "ray", "mlflow"} & set(loaded)
