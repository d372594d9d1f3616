from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from trainers.base import FloatArray
from trainers.errors import InputError
from trainers.screens.normalise import NORMALISATIONS, normalise

Wells = Callable[..., pd.DataFrame]


@pytest.fixture
def shifted(wells: Wells) -> tuple[FloatArray, pd.DataFrame]:
    table = wells()
    rng = np.random.default_rng(1)
    plate = pd.factorize(table["plate"])[0][:, None]
    return (rng.standard_normal((len(table), 3)) * (1 + plate) + 5 * plate).astype(np.float32), table


@pytest.mark.parametrize("mode", ["batch", "plate"])
def test_every_group_gets_mean_0_and_std_1(shifted: tuple[FloatArray, pd.DataFrame], mode: str) -> None:
    features, table = shifted
    result = normalise(features, table, mode)  # type: ignore[arg-type]
    assert result.dtype == np.float32
    for rows in table.groupby(mode).indices.values():
        np.testing.assert_allclose(result[rows].mean(axis=0), 0.0, atol=1e-5)
        np.testing.assert_allclose(result[rows].std(axis=0), 1.0, atol=1e-5)


def test_controls_set_the_scale_of_their_plate(shifted: tuple[FloatArray, pd.DataFrame]) -> None:
    features, table = shifted
    result = normalise(features, table, "plate_controls")
    rows = (table["plate"] == "b1p2").to_numpy()
    controls = rows & (table["control_type"] == "negative").to_numpy()
    expected = (features[rows] - features[controls].mean(axis=0)) / features[controls].std(axis=0)
    np.testing.assert_allclose(result[rows], expected, rtol=1e-4, atol=1e-4)


def test_perturbations_are_never_looked_at(shifted: tuple[FloatArray, pd.DataFrame]) -> None:
    features, table = shifted
    renamed = table.assign(perturbation=np.random.default_rng(0).permutation(table["perturbation"]), target=pd.NA)
    for mode in NORMALISATIONS:
        np.testing.assert_array_equal(normalise(features, table, mode), normalise(features, renamed, mode))


def test_none_changes_nothing(shifted: tuple[FloatArray, pd.DataFrame]) -> None:
    assert normalise(*shifted, "none") is shifted[0]


def test_a_constant_feature_becomes_0_whatever_its_rounding(wells: Wells) -> None:
    table = wells()
    features = np.full((len(table), 2), 0.1, dtype=np.float32)
    features[:, 1] = 1e7
    np.testing.assert_allclose(normalise(features, table, "batch"), 0.0, atol=1e-6)


def test_too_few_controls_name_the_plate(wells: Wells) -> None:
    table = wells()
    rows = ((table["plate"] == "b2p0") & (table["control_type"] == "negative")).to_numpy().nonzero()[0]
    table.loc[rows[:1], "control_type"] = "treatment"
    with pytest.raises(InputError, match="plate 'b2p0' has 1 negative controls, plate_controls needs 2"):
        normalise(np.zeros((len(table), 2), np.float32), table, "plate_controls")
    with pytest.raises(InputError, match="'well' is none of none, screen, batch"):
        normalise(np.zeros((len(table), 2), np.float32), table, "well")  # type: ignore[arg-type]
