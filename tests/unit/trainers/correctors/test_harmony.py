"""Harmony: exact at 0, smooth along its dial, harmonypy's own numbers, and one clear line where that is absent."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from sklearn.decomposition import PCA

from trainers.base import Inputs
from trainers.correctors.harmony import Harmony, HarmonySettings
from trainers.errors import InputError

harmonypy = pytest.importorskip("harmonypy", reason="the extra sweeper[harmony] is not installed")
THETA = 2.0


def components(inputs: Inputs, count: int) -> np.ndarray:
    """The screen's principal components by scikit-learn, on standardised features."""
    features = inputs.features.astype(float)
    return PCA(count, svd_solver="full").fit_transform((features - features.mean(0)) / features.std(0))


def test_at_zero_it_is_the_untouched_principal_components_whatever_theta(inputs: Inputs, corrected: Any) -> None:
    settings = HarmonySettings(components=5)
    found = corrected(Harmony(), inputs, settings, 0.0, margin=THETA)
    assert found.shape == (240, 5)
    np.testing.assert_allclose(np.abs(found), np.abs(components(inputs, 5)), atol=1e-4)
    np.testing.assert_array_equal(found, corrected(Harmony(), inputs, settings, 0.0, margin=4.0))
    weak = corrected(Harmony(), inputs, settings, 1e-7, margin=THETA)
    np.testing.assert_allclose(weak, found, atol=1e-3)


def test_it_is_harmonypy_at_the_penalty_that_the_dial_is_the_inverse_of(inputs: Inputs, corrected: Any) -> None:
    scores = corrected(Harmony(), inputs, HarmonySettings(), 0.0, margin=THETA)
    theirs = harmonypy.run_harmony(
        scores.astype(float), inputs.wells, ["batch"], theta=THETA, lamb=0.5, nclust=8, verbose=False, ncores=1
    ).Z_corr
    found = corrected(Harmony(), inputs, HarmonySettings(), 2.0, margin=THETA)
    np.testing.assert_allclose(found, theirs, rtol=1e-5, atol=1e-5)


def test_more_of_the_batch_goes_the_more_it_is_asked_to(inputs: Inputs, corrected: Any) -> None:
    rng = np.random.default_rng(2)
    shift = 0.7 * rng.standard_normal((4, 12))
    features = rng.standard_normal((240, 12)) + shift[inputs.batches]
    screen = Inputs(wells=inputs.wells, features=features.astype(np.float32))

    def between(weight: float) -> float:
        found = corrected(Harmony(), screen, HarmonySettings(), weight, margin=THETA)
        means = np.stack([found[inputs.batches == code].mean(0) for code in range(4)])
        return float(means.var(0).sum() / found.var(0).sum())

    shares = [between(weight) for weight in (0.0, 1e-3, 1e-2, 1.0)]
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] < 0.25 * shares[0]


def test_it_reads_the_cells_own_rows_and_labels_alone(inputs: Inputs, corrected: Any) -> None:
    rows = np.arange(240)
    other = inputs.features.copy()
    other[rows[3::4]] = 1e6
    parts = {"margin": THETA, "test": rows[1::4]}
    settings = HarmonySettings()
    first = corrected(Harmony(), inputs, settings, 1.0, **parts)
    second = corrected(Harmony(), Inputs(wells=inputs.wells, features=other), settings, 1.0, **parts)
    np.testing.assert_array_equal(first, second)
    permuted = np.random.default_rng(0).permutation(inputs.batches)
    assert not np.allclose(first, corrected(Harmony(), inputs, settings, 1.0, batches=permuted, **parts), atol=0.1)


def test_more_features_than_rows(inputs: Inputs, corrected: Any) -> None:
    wide = Inputs(wells=inputs.wells, features=np.hstack([inputs.features] * 30))
    found = corrected(Harmony(), wide, HarmonySettings(components=8), 0.0, margin=THETA)
    np.testing.assert_allclose(np.abs(found), np.abs(components(wide, 8)), rtol=1e-3, atol=1e-2)


def test_what_it_cannot_do_is_one_line(inputs: Inputs, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not Harmony().inductive(HarmonySettings())
    with pytest.raises(InputError, match=r"harmony\.by: the screen has no column 'lab'"):
        Harmony().try_out(inputs, HarmonySettings(by=("lab",)))
    monkeypatch.setitem(sys.modules, "harmonypy", None)
    with pytest.raises(InputError, match=r"^harmony: needs harmonypy, .*; pip install 'sweeper\[harmony\]'$"):
        Harmony().try_out(inputs, HarmonySettings())
