"""Features with missing values."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from trainers.screens.feature_choice import FeatureChoice, choose_features
from trainers.screens.missing import complete


@pytest.fixture
def choice() -> FeatureChoice:
    """8 rows × 4 features: F1 lacks a value, F2 is infinite twice, F3 has none at all."""
    frame = pd.DataFrame(np.arange(32.0).reshape(8, 4) ** 1.5, columns=["F0", "F1", "F2", "F3"])
    frame.loc[2, "F1"], frame.loc[[4, 5], "F2"], frame["F3"] = np.nan, [np.inf, -np.inf], np.nan
    return choose_features(frame)


def test_refused_with_the_first_place_and_the_remedies(choice: FeatureChoice) -> None:
    found = complete(choice, "refuse", np.arange(8))
    assert found.problem.startswith("11 feature values in 3 columns are NaN or infinite (first: column 'F1', row 3)")
    for remedy in ("drop_features", "drop_rows", "median"):
        assert remedy in found.problem


def test_rows_left_out_beforehand_do_not_count(choice: FeatureChoice) -> None:
    kept = choice.without([3], "test")
    rows = np.array([0, 1, 3, 6, 7])
    assert not complete(kept, "refuse", rows).problem
    assert "row 6)" in complete(kept, "refuse", np.array([0, 5, 7])).problem


def test_features_with_a_gap_are_dropped(choice: FeatureChoice) -> None:
    found = complete(choice, "drop_features", np.arange(8))
    assert found.choice.names == ("F0",)
    assert found.choice.left_out["missing values"] == ("F1", "F2", "F3")
    assert found.rows.tolist() == list(range(8))
    assert found.done.startswith("11 feature values in 3 columns missing: these features are left out")


def test_rows_with_a_gap_are_dropped_but_not_for_a_hollow_feature(choice: FeatureChoice) -> None:
    found = complete(choice, "drop_rows", np.arange(8))
    assert found.rows.tolist() == [0, 1, 3, 6, 7]
    assert found.choice.names == ("F0", "F1", "F2")
    assert found.choice.left_out["no value at all"] == ("F3",)
    np.testing.assert_array_equal(found.choice.features, choice.features[[0, 1, 3, 6, 7], :3])


def test_gaps_take_the_median_of_what_is_known(choice: FeatureChoice) -> None:
    found = complete(choice, "median", np.arange(8)).choice
    assert np.isfinite(found.features).all()
    assert found.features[2, 1] == np.median(np.delete(choice.features[:, 1], 2))
    assert found.features[4, 2] == found.features[5, 2] == np.median(choice.features[[0, 1, 2, 3, 6, 7], 2])
    known = np.isfinite(choice.features[:, :3])
    np.testing.assert_array_equal(found.features[known], choice.features[:, :3][known])


@pytest.mark.parametrize("mode", ["drop_features", "drop_rows", "median"])
def test_nothing_left_is_a_problem(mode: str) -> None:
    every = pd.DataFrame(np.full((6, 3), np.nan), columns=["F0", "F1", "F2"])
    every.iloc[0] = [np.inf, np.nan, np.nan]
    assert "no feature is left" in complete(choose_features(every), mode, np.arange(6)).problem  # type: ignore[arg-type]
