"""Every loss against its equation in NumPy, and the gradients that λ turns around."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from trainers.cpdistiller import distiller_losses as losses
from trainers.cpdistiller.cpdistiller_settings import CpDistillerSettings
from trainers.cpdistiller.discriminators import EffectLevels, discriminator_shapes, initial_discriminators
from trainers.cpdistiller.distiller_objective import DistillerBatch, DistillerObjective
from trainers.cpdistiller.levels import soft_labels
from trainers.cpdistiller.mixture_vae import infer, initial_linear, vae_shapes

CELLS, ROWS = 2, 7


def drawn(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape)


def test_reconstruction_is_the_squared_error_of_a_row() -> None:
    x, y = drawn(CELLS, ROWS, 9), drawn(CELLS, ROWS, 9, seed=1)
    found = losses.reconstruction_rows(torch.from_numpy(x), torch.from_numpy(y))
    np.testing.assert_allclose(found, ((x - y) ** 2).sum(-1))


def test_the_latents_density_is_that_of_a_diagonal_normal() -> None:
    z, mean, variance = drawn(CELLS, ROWS, 4), drawn(CELLS, ROWS, 4, seed=1), np.exp(drawn(CELLS, ROWS, 4, seed=2))
    found = losses.log_normal(*(torch.from_numpy(part) for part in (z, mean, variance)))
    expected = stats.norm.logpdf(z, mean, np.sqrt(variance)).sum(-1)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_the_categorys_term_is_the_divergence_from_the_uniform_one() -> None:
    logits = drawn(CELLS, ROWS, 10)
    q = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    expected = (q * np.log(q)).sum(-1) - np.log(0.1)
    np.testing.assert_allclose(losses.category_rows(torch.from_numpy(logits)), expected)
    even, certain = torch.zeros(1, 1, 10), torch.tensor([[[80.0] + 9 * [0.0]]])
    assert losses.category_rows(even).item() == pytest.approx(0.0, abs=1e-6)
    assert losses.category_rows(certain).item() == pytest.approx(np.log(10))


def test_a_triplet_costs_what_its_margin_lacks() -> None:
    a, p, n = (drawn(CELLS, ROWS, 5, seed=seed) for seed in range(3))
    near, far = (np.sqrt(((a - other + 1e-6) ** 2).sum(-1)) for other in (p, n))
    found = losses.triplet_rows(*(torch.from_numpy(part) for part in (a, p, n)), margin=1.0)
    np.testing.assert_allclose(found, np.maximum(near - far + 1.0, 0.0))
    assert (found == 0).any()
    assert (found > 0).any()


def test_a_discriminators_loss_is_smoothed_by_nine_to_one() -> None:
    logits, soft = drawn(CELLS, ROWS, 6), soft_labels(6, 0.75).astype(np.float64)
    levels = np.random.default_rng(3).integers(0, 6, (CELLS, ROWS))
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    true = -np.take_along_axis(log_p, levels[..., None], -1)[..., 0]
    expected = 0.9 * true + 0.1 * -(soft[levels] * log_p).sum(-1)
    given = (torch.from_numpy(part) for part in (logits, levels, soft[levels]))
    np.testing.assert_allclose(losses.smoothed_rows(*given, smoothing=0.1), expected)


@pytest.mark.parametrize("levels", [1, 2, 3, 16, 24])
def test_a_soft_label_falls_geometrically_from_the_true_level(levels: int) -> None:
    found = soft_labels(levels, 0.75).astype(np.float64)
    np.testing.assert_allclose(found.sum(1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(np.diag(found), 1.0 if levels == 1 else 0.75, rtol=1e-6)
    for level in range(levels):
        after = found[level, level:]
        ratios = np.concatenate([after[1:] / after[:-1], found[level, :level] / found[level, 1 : level + 1]])
        np.testing.assert_allclose(ratios, ratios[0] if len(ratios) else 1.0, rtol=1e-5)
    if levels == 2:
        np.testing.assert_allclose(found, [[0.75, 0.25], [0.25, 0.75]], rtol=1e-6)


def test_the_autoencoder_is_that_of_plain_torch_modules() -> None:
    """Two stacked cells against torch.nn with the same weights, with and without noise."""
    shapes = vae_shapes(9, hidden=8, latent=3, categories=4)
    own = [initial_linear(shapes, np.random.default_rng(seed)) for seed in (0, 1)]
    parameters = {name: torch.from_numpy(np.stack([cell[name] for cell in own])) for name in shapes}
    x, gumbel = torch.from_numpy(drawn(2, 5, 9)).float(), torch.from_numpy(drawn(2, 5, 4, seed=5)).float()
    temperature = torch.tensor([1.0, 0.5])
    noisy = infer(parameters, x, gumbel=gumbel, temperature=temperature[:, None, None])
    plain = infer(parameters, x)
    for cell in (0, 1):

        def layer(name: str, given: torch.Tensor, cell: int = cell) -> torch.Tensor:
            weight, bias = parameters[f"{name}.weight"][cell], parameters[f"{name}.bias"][cell, 0]
            return torch.nn.functional.linear(given, weight.T, bias)

        def twice(name: str, given: torch.Tensor, layer: Any = layer) -> torch.Tensor:
            activation = torch.nn.LeakyReLU()
            found: torch.Tensor = activation(layer(f"{name}1", activation(layer(f"{name}0", given))))
            return found

        logits = layer("logits", twice("category", x[cell]))
        for found, category in (
            (noisy, torch.softmax((logits + gumbel[cell]) / temperature[cell], -1)),
            (plain, torch.softmax(logits, -1)),
        ):
            hidden = twice("latent", torch.cat([x[cell], category], 1))
            torch.testing.assert_close(found.category[cell], category)
            torch.testing.assert_close(found.mean[cell], layer("mean", hidden))
            torch.testing.assert_close(found.variance[cell], torch.nn.Softplus()(layer("variance", hidden)))
    limits = [np.abs(own[0][f"{name}.weight"]).max() * np.sqrt(fan) for name, fan in (("mean", 8), ("decoder2", 8))]
    assert all(0.8 < limit <= 1.0 for limit in limits), "as torch.nn.Linear starts"


@pytest.fixture(scope="module")
def made() -> Any:
    """An objective of two cells with the same weights and mini-batch; the first's λ is 0."""
    settings = CpDistillerSettings(hidden_width=8, embedding_dim=3, categories=4, discriminator_width=6)
    codes = {"batch": np.arange(20) % 2, "row": np.arange(20) % 5, "column": np.arange(20) // 5}
    train = np.arange(20)
    levels = {name: EffectLevels([code] * 2, [train] * 2, 0.75, "cpu") for name, code in codes.items()}
    shapes = vae_shapes(9, hidden=8, latent=3, categories=4)
    other = discriminator_shapes(levels, latent=3, width=6)

    def stacked(values: Any) -> dict[str, torch.Tensor]:
        return {name: torch.from_numpy(np.stack([part, part])).requires_grad_() for name, part in values.items()}

    vae = stacked(initial_linear(shapes, np.random.default_rng(0)))
    discriminators = stacked(initial_discriminators(other, settings.effects, 0))
    rng = np.random.default_rng(4)

    def same(*shape: int) -> torch.Tensor:
        return torch.from_numpy(rng.standard_normal(shape).astype(np.float32)).expand(2, *shape)

    rows = torch.from_numpy(rng.permutation(20)[:6]).expand(2, 6)
    weights = torch.full((2, 6), 1 / 6)
    batch = DistillerBatch(same(18, 9), rows, weights, same(18, 3), same(18, 4))
    objective = DistillerObjective(settings, levels, torch.tensor([1.0, 1.0]))
    return objective, vae, discriminators, batch


def test_the_whole_is_the_weighted_sum_of_its_terms(made: Any) -> None:
    objective, vae, discriminators, batch = made
    terms = objective.terms(vae, discriminators, batch, temperature=torch.ones(2), reversal=torch.tensor([0.0, 3.0]))
    assert set(terms) == {"reconstruction", "latent", "category", "triplets", "batch", "row", "column"}
    told = {name: value[0].item() for name, value in terms.items()}
    expected = told["reconstruction"] + told["latent"] + told["category"]
    expected += 9 / 35 * (told["triplets"] + told["batch"] + told["row"] + told["column"])
    total = objective.total(terms, 9)
    assert total.tolist() == pytest.approx([expected, expected], rel=1e-5), "λ changes gradients, no value"
    half = DistillerObjective(objective.settings, objective.levels, torch.tensor([0.5, 0.0])).total(terms, 9)
    np.testing.assert_allclose(
        (total - half).detach(), 9 / 35 * np.array([0.5, 1.0]) * terms["triplets"].detach().numpy(), rtol=1e-4
    )


def test_lambda_turns_the_encoders_gradient_around_and_leaves_the_discriminators(made: Any) -> None:
    objective, vae, discriminators, batch = made
    strength = 3.0
    terms = objective.terms(
        vae, discriminators, batch, temperature=torch.ones(2), reversal=torch.tensor([0.0, strength])
    )
    names = [name for name in vae if not name.startswith(("decoder", "prior", "projection"))]
    adversary = 9 / 35 * (terms["batch"] + terms["row"] + terms["column"])

    def gradients(value: torch.Tensor, parameters: Any, chosen: Any) -> dict[str, torch.Tensor]:
        found = torch.autograd.grad(
            value.sum(), [parameters[name] for name in chosen], retain_graph=True, allow_unused=True
        )
        return dict(zip(chosen, found, strict=True))

    whole = gradients(objective.total(terms, 9), vae, names)
    without = gradients(objective.total(terms, 9) - adversary, vae, names)
    turned = gradients(adversary, vae, names)
    felt = objective.terms(vae, discriminators, batch, temperature=torch.ones(2), reversal=torch.tensor([-1.0, -1.0]))
    straight = gradients(9 / 35 * (felt["batch"] + felt["row"] + felt["column"]), vae, names)
    for name in names:
        assert torch.equal(turned[name][0], torch.zeros_like(turned[name][0])), "λ = 0: the encoder feels nothing"
        torch.testing.assert_close(whole[name][0], without[name][0])
        torch.testing.assert_close(turned[name][1], -strength * straight[name][1], rtol=1e-4, atol=1e-6)
    assert max(straight[name].abs().max().item() for name in names) > 0
    for value in gradients(adversary, discriminators, list(discriminators)).values():
        torch.testing.assert_close(value[0], value[1])
