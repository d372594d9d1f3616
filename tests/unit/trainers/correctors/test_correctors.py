"""Corrections that train nothing: exact at the ends of their dials, and refused by name where they cannot be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from trainers.base import Inputs, TrainingCell
from trainers.correctors.center import Center, CenterSettings
from trainers.correctors.sphering import Sphering, SpheringSettings
from trainers.errors import InputError
from trainers.screens.normalise import normalise

ROWS, FEATURES = 240, 12


@pytest.mark.parametrize("by", ["batch", "plate"])
def test_center_at_its_ends_is_the_input_and_standardising_bit_for_bit(inputs: Inputs, by: str, corrected: Any) -> None:
    settings = CenterSettings(by=by)
    np.testing.assert_array_equal(corrected(Center(), inputs, settings, 0.0), inputs.features)
    np.testing.assert_array_equal(
        corrected(Center(), inputs, settings, 1.0), normalise(inputs.features, inputs.wells, by)
    )
    controls = corrected(Center(), inputs, CenterSettings(by="plate", fit_on="controls"), 1.0)
    np.testing.assert_array_equal(controls, normalise(inputs.features, inputs.wells, "plate_controls"))


def test_center_takes_out_more_of_the_batch_the_more_it_is_asked_to(inputs: Inputs, corrected: Any) -> None:
    batch = inputs.batches

    def between(features: np.ndarray) -> float:
        means = np.stack([features[batch == code].mean(0) for code in range(4)])
        return float(means.var(0).sum() / features.var(0).sum())

    shares = [between(corrected(Center(), inputs, CenterSettings(), share)) for share in (0.0, 0.5, 0.9, 1.0)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 0.3
    assert shares[-1] < 1e-6
    location = corrected(Center(), inputs, CenterSettings(scale=False), 1.0)
    assert between(location) < 1e-6
    np.testing.assert_allclose(location[batch == 2].std(0), inputs.features[batch == 2].std(0), rtol=1e-4)


def test_center_reads_the_cells_own_rows_and_labels_alone(inputs: Inputs, corrected: Any) -> None:
    rows = np.arange(ROWS)
    whole = corrected(Center(), inputs, CenterSettings(), 1.0)
    fewer = corrected(Center(), inputs, CenterSettings(), 1.0, test=rows[1::4])
    assert not np.allclose(whole[rows[::2]], fewer[rows[::2]]), "a row that is in no part is not looked at"
    other = inputs.features.copy()
    other[rows[3::4]] = 1e6
    changed = Inputs(wells=inputs.wells, features=other)
    again = corrected(Center(), changed, CenterSettings(), 1.0, test=rows[1::4])
    np.testing.assert_array_equal(again[rows[::2]], fewer[rows[::2]])
    labels = np.random.default_rng(0).permutation(inputs.batches)
    for by in ("batch", "plate"):
        permuted = corrected(Center(), inputs, CenterSettings(by=by), 1.0, batches=labels)
        means = np.stack([permuted[labels == code].mean(0) for code in range(4)])
        np.testing.assert_allclose(means, 0.0, atol=1e-5)


def test_sphering_runs_from_the_centred_input_to_white_controls(inputs: Inputs, corrected: Any) -> None:
    settings = SpheringSettings()
    train = np.arange(ROWS)[::2]
    controls = train[(inputs.wells["control_type"] == "negative").to_numpy()[train]]
    centred = inputs.features - inputs.features[controls].astype(np.float64).mean(0)
    np.testing.assert_array_equal(corrected(Sphering(), inputs, settings, 0.0), centred.astype(np.float32))
    weak = corrected(Sphering(), inputs, settings, 1e-9).astype(np.float64)
    cosine = (weak * centred).sum(1) / np.linalg.norm(weak, axis=1) / np.linalg.norm(centred, axis=1)
    assert cosine.min() > 0.9995
    strong = corrected(Sphering(), inputs, settings, 1e6)[controls] * np.sqrt(1e6)
    np.testing.assert_allclose(np.cov(strong.T), np.eye(FEATURES), atol=1e-3)


@pytest.mark.parametrize("inverse", [1e-3, 2.0, 1e4])
def test_sphering_is_the_whitening_by_the_regularised_covariance(
    inputs: Inputs, inverse: float, corrected: Any
) -> None:
    """(x − μ) (Σ + ε·I)^(−1/2), by a symmetric eigendecomposition, but for √ε; more columns than rows as well."""
    wide = Inputs(wells=inputs.wells, features=np.hstack([inputs.features] * 8))
    for each in (inputs, wide):
        fitted = each.features[np.arange(ROWS)[::2]].astype(np.float64)
        values, vectors = np.linalg.eigh(np.cov(fitted.T))
        root = vectors / np.sqrt(np.clip(values, 0, None) + 1 / inverse) @ vectors.T
        expected = (each.features - fitted.mean(0)) @ root / np.sqrt(inverse)
        found = corrected(Sphering(), each, SpheringSettings(fit_on="all"), inverse)
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


def test_sphering_never_looks_at_test_rows_or_batches(inputs: Inputs, corrected: Any) -> None:
    other = inputs.features.copy()
    other[1::2] += 5
    changed = Inputs(wells=inputs.wells.assign(batch="one"), features=other)
    found = [corrected(Sphering(), each, SpheringSettings(), 10.0)[::2] for each in (inputs, changed)]
    np.testing.assert_array_equal(*found)
    assert not Sphering().reads_batches(SpheringSettings())
    assert Sphering().inductive(SpheringSettings())


@pytest.mark.parametrize("inverse", [1e-3, 1.0, 1e6])
@pytest.mark.parametrize("wide", [False, True])
def test_sphering_by_singular_values_is_what_pycytominer_does(
    inputs: Inputs, inverse: float, wide: bool, corrected: Any
) -> None:
    """V (S + ε)^−1 Vᵀ √(n − 1), the least singular value in place of those that are none, but for ε/√(n − 1)."""
    features = inputs.features
    if wide:  # more features than rows to fit on
        features = np.random.default_rng(3).standard_normal((ROWS, 150)).astype(np.float32) * np.arange(1, 151)
    screen = Inputs(wells=inputs.wells, features=features.astype(np.float32))
    fitted = screen.features[::2].astype(np.float64)
    _, singular, axes = np.linalg.svd(fitted - fitted.mean(0), full_matrices=True)
    rank = min(len(fitted) - 1, fitted.shape[1])
    whole = np.concatenate([singular[:rank], np.repeat(singular[rank - 1], fitted.shape[1] - rank)])
    expected = (screen.features - fitted.mean(0)) @ (axes.T / (whole + 1 / inverse)) @ axes / inverse
    settings = SpheringSettings(fit_on="all", regularise="singular_values")
    found = corrected(Sphering(), screen, settings, inverse)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_sphering_per_batch_whitens_every_batch_by_its_own_controls(inputs: Inputs, corrected: Any) -> None:
    settings = SpheringSettings(per="batch")
    assert not Sphering().inductive(settings)
    assert Sphering().reads_batches(settings)
    train = np.arange(ROWS)[::2]
    controls = train[(inputs.wells["control_type"] == "negative").to_numpy()[train]]
    strong = corrected(Sphering(), inputs, settings, 1e6) * 1e3
    for batch in range(4):
        own = controls[inputs.batches[controls] == batch]
        np.testing.assert_allclose(np.cov(strong[own].T), np.eye(FEATURES), atol=5e-3)
        np.testing.assert_allclose(strong[own].mean(0), 0.0, atol=5e-3)


def test_a_sphering_sweep_that_was_stored_before_keeps_its_id() -> None:
    assert Sphering().identity(SpheringSettings()) == {"fit_on": "controls"}
    changed = SpheringSettings(per="batch", regularise="singular_values")
    assert Sphering().identity(changed) == changed.model_dump()


def test_which_views_center_serves() -> None:
    assert Center().inductive(CenterSettings(fit_on="controls"))
    assert not Center().inductive(CenterSettings())


def test_what_cannot_be_corrected_is_refused_by_name_and_costs_its_cell_alone(inputs: Inputs, cell: Any) -> None:
    none = Inputs(wells=inputs.wells.assign(control_type=None), features=inputs.features)
    with pytest.raises(InputError, match="batch A has 0 negative controls, 2 are needed"):
        Center().try_out(none, CenterSettings(fit_on="controls"))
    with pytest.raises(InputError, match="name the screen's negative controls"):
        Sphering().try_out(none, SpheringSettings())
    Sphering().try_out(none, SpheringSettings(fit_on="all"))
    single = inputs.wells.assign(batch=["Z", *inputs.wells["batch"][1:]])
    with pytest.raises(InputError, match="batch Z has 1 well,"):
        Center().try_out(Inputs(wells=single, features=inputs.features), CenterSettings())
    lonely = cell(1.0, train=np.arange(1), test=np.arange(100, ROWS))
    pack = Center().pack(inputs, [lonely, cell(1.0)], CenterSettings())
    pack.advance(2)
    assert "batch A has 1 well," in str(pack.diverged(0))
    assert pack.diverged(1) is None


def test_numbers_that_are_not_finite_are_a_failure(inputs: Inputs, cell: Any) -> None:
    class Broken(Center):
        def correct(self, inputs: Inputs, cell: TrainingCell, settings: CenterSettings) -> Any:
            return super().correct(inputs, cell, settings) / np.float32(cell.dials[0])

    pack = Broken().pack(inputs, [cell(0.5), cell(0.0)], CenterSettings())
    with np.errstate(divide="ignore", invalid="ignore"):
        pack.advance(2)
    assert pack.diverged(0) is None
    assert "not finite" in str(pack.diverged(1))
