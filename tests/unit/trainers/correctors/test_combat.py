"""ComBat against its paper's equations written out feature by feature, and what must never enter it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from trainers.base import Inputs
from trainers.correctors.combat import Combat, CombatSettings
from trainers.errors import InputError


def combat_by_the_paper(features: np.ndarray, batch: np.ndarray, *, mean_only: bool = False) -> np.ndarray:
    """Johnson, Li & Rabinovic 2007, equations 3.1 to 3.3, in loops over features g and batches i, to convergence."""
    n, genes = features.shape
    sizes = [int((batch == i).sum()) for i in range(batch.max() + 1)]
    adjusted = np.empty_like(features)
    alpha, sigma = np.empty(genes), np.empty(genes)
    z = np.empty_like(features)
    for g in range(genes):
        of_batch = [features[batch == i, g].mean() for i in range(len(sizes))]
        alpha[g] = sum(size * mean for size, mean in zip(sizes, of_batch, strict=True)) / n
        sigma[g] = np.sqrt(sum((features[j, g] - of_batch[batch[j]]) ** 2 for j in range(n)) / n)
        z[:, g] = (features[:, g] - alpha[g]) / sigma[g]
    for i, size in enumerate(sizes):
        rows = z[batch == i]
        gamma_hat = rows.mean(axis=0)
        gamma_bar, tau2 = gamma_hat.mean(), gamma_hat.var(ddof=1)
        delta2_hat = rows.var(axis=0, ddof=1)
        v, s2 = delta2_hat.mean(), delta2_hat.var(ddof=1)
        lam, theta = (v**2 + 2 * s2) / s2, (v**3 + v * s2) / s2
        for g in range(genes):
            gamma, delta2 = gamma_hat[g], delta2_hat[g]
            if mean_only:
                gamma, delta2 = (tau2 * gamma_hat[g] + gamma_bar) / (tau2 + 1), 1.0
            for _ in range(0 if mean_only else 5000):
                gamma = (size * tau2 * gamma_hat[g] + delta2 * gamma_bar) / (size * tau2 + delta2)
                delta2 = (theta + 0.5 * ((rows[:, g] - gamma) ** 2).sum()) / (size / 2 + lam - 1)
            adjusted[batch == i, g] = sigma[g] / np.sqrt(delta2) * (rows[:, g] - gamma) + alpha[g]
    return adjusted


@pytest.mark.parametrize("mean_only", [False, True])
def test_combat_at_its_ends_is_the_input_and_the_papers_equations(
    inputs: Inputs, corrected: Any, mean_only: bool
) -> None:
    settings = CombatSettings(mean_only=mean_only)
    np.testing.assert_array_equal(corrected(Combat(), inputs, settings, 0.0), inputs.features)
    expected = combat_by_the_paper(inputs.features.astype(float), inputs.batches, mean_only=mean_only)
    whole = corrected(Combat(), inputs, settings, 1.0)
    np.testing.assert_allclose(whole, expected, rtol=2e-4, atol=2e-4 * np.abs(expected).max())
    half = corrected(Combat(), inputs, settings, 0.5)
    np.testing.assert_allclose(half, 0.5 * inputs.features + 0.5 * whole, rtol=1e-4, atol=1e-3)


def test_combat_with_the_perturbation_never_reads_the_label_of_a_row_that_is_scored(
    inputs: Inputs, corrected: Any
) -> None:
    settings = CombatSettings(covariates="perturbation")
    names = inputs.wells["perturbation"].to_numpy().copy()
    names[1::2] = np.random.default_rng(1).permutation(names[1::2])
    shuffled = Inputs(wells=inputs.wells.assign(perturbation=names), features=inputs.features)
    first, second = (corrected(Combat(), each, settings, 1.0) for each in (inputs, shuffled))
    np.testing.assert_array_equal(first, second)
    assert not np.allclose(first, corrected(Combat(), inputs, CombatSettings(), 1.0))


def test_the_covariate_keeps_a_difference_that_unequal_batches_would_take_out(corrected: Any, inputs: Inputs) -> None:
    """A perturbation that is commoner in one batch: without the covariate its effect passes for the batch's."""
    rng = np.random.default_rng(3)
    batch = inputs.batches
    share = np.where(batch == 0, 0.9, 0.3)
    strong = rng.random(len(batch)) < share
    features = rng.standard_normal(inputs.features.shape) + 2.0 * strong[:, None]
    wells = inputs.wells.assign(perturbation=np.where(strong, "strong", "none"))
    screen = Inputs(wells=wells, features=features.astype(np.float32))

    def shift(settings: CombatSettings) -> float:
        found = corrected(Combat(), screen, settings, 1.0)
        return float(found[strong & (batch == 0)].mean() - found[strong & (batch != 0)].mean())

    assert abs(shift(CombatSettings(covariates="perturbation"))) < 0.5 * abs(shift(CombatSettings()))


def test_confounded_batches_and_single_wells_are_refused_in_one_line(inputs: Inputs, corrected: Any, cell: Any) -> None:
    alone = Inputs(wells=inputs.wells.assign(perturbation=inputs.wells["batch"].to_numpy()), features=inputs.features)
    pack = Combat().pack(alone, [cell(1.0)], CombatSettings(covariates="perturbation"))
    pack.advance(1)
    assert "confounded in the training rows" in str(pack.diverged(0))
    single = inputs.wells.assign(batch=["Z", *inputs.wells["batch"][1:]])
    with pytest.raises(InputError, match=r"^combat: batch Z has 1 well, 2 are needed; leave it out"):
        Combat().try_out(Inputs(wells=single, features=inputs.features), CombatSettings())


def test_a_feature_that_never_varies_stays_as_it_is(inputs: Inputs, corrected: Any) -> None:
    features = inputs.features.copy()
    features[:, 3] = 7.25
    found = corrected(Combat(), Inputs(wells=inputs.wells, features=features), CombatSettings(), 1.0)
    np.testing.assert_allclose(found[:, 3], 7.25, atol=1e-3)
    assert np.isfinite(found).all()
