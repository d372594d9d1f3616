from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from trainers.abra.encoder import encode, encoder_shapes, initial_values
from trainers.abra.margin import MarginTerms, arc_loss, cosines
from trainers.abra.statistics import (
    StyleDraw,
    StyleDraws,
    WorstCaseDirections,
    bio_batch_moments,
    random_hook,
    restyle,
    spread,
)

DEVICE = torch.device("cpu")
CELLS, GROUPS, ITEMS, WIDTH, HIDDEN, CLASSES = 3, 4, 6, 7, 10, 4
WIDTHS = {0: WIDTH, 1: HIDDEN}


def activations(seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(CELLS, GROUPS * ITEMS, WIDTH, generator=generator) * 2.0 + 1.0


def draw(seed: int = 0, scale: float = 1.0, applied: tuple[bool, bool, bool] = (True, True, True)) -> StyleDraw:
    generator = torch.Generator().manual_seed(seed)
    epsilon = {k: scale * torch.randn(CELLS, 2, GROUPS, w, generator=generator) for k, w in WIDTHS.items()}
    return StyleDraw(epsilon, {k: torch.tensor(applied) for k in WIDTHS})


def directions(radius: float = 1.0, ascent_size: float = 0.2) -> WorstCaseDirections:
    return WorstCaseDirections(CELLS, WIDTHS, groups=GROUPS, radius=radius, ascent_size=ascent_size, device=DEVICE)


def loss_of(x: Tensor, seed: int = 3) -> tuple[dict[str, Tensor], Tensor]:
    rng = np.random.default_rng(seed)
    shapes = encoder_shapes(WIDTH, (HIDDEN,), 5)
    values = [initial_values(shapes, rng) for _ in range(CELLS)]
    parameters = {k: torch.from_numpy(np.stack([v[k] for v in values])).requires_grad_() for k in shapes}
    parameters["vectors"] = torch.from_numpy(rng.standard_normal((CELLS, CLASSES, 5)).astype(np.float32))
    labels = torch.from_numpy(rng.integers(0, CLASSES, x.shape[:2]))
    return parameters, labels


def perturbed_loss(x: Tensor, parameters: dict[str, Tensor], labels: Tensor, hook: object) -> Tensor:
    encoder = {name: value for name, value in parameters.items() if name != "vectors"}
    unit = functional.normalize(encode(encoder, x, hook), dim=-1)  # type: ignore[arg-type]
    cosine = cosines(unit, parameters["vectors"])
    return arc_loss(cosine, labels, MarginTerms.of([0.2] * CELLS, DEVICE), scale=8.0, absent=None)


def test_moments_and_spread_are_those_of_numpy() -> None:
    z = activations()
    grouped = z.view(CELLS, GROUPS, ITEMS, WIDTH)
    mean, sigma, centred = bio_batch_moments(grouped)
    reference = grouped.numpy().astype(np.float64)
    np.testing.assert_allclose(mean.numpy(), reference.mean(2, keepdims=True), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(sigma.numpy(), np.sqrt(reference.var(2, keepdims=True) + 1e-6), rtol=1e-5)
    np.testing.assert_allclose(centred.numpy(), reference - reference.mean(2, keepdims=True), rtol=1e-4, atol=1e-5)
    expected = np.sqrt(reference.mean(2, keepdims=True).var(1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(spread(mean).numpy(), expected, rtol=1e-4)


def test_restyled_features_have_the_asked_mean_and_deviation() -> None:
    grouped = activations().view(CELLS, GROUPS, ITEMS, WIDTH)
    mean, sigma, centred = bio_batch_moments(grouped)
    shift = torch.linspace(-2, 2, CELLS * GROUPS * WIDTH).view_as(mean)
    new = restyle(centred, mean, sigma, shift, shift.abs())
    np.testing.assert_allclose(new.mean(2, keepdim=True).numpy(), (mean + shift).numpy(), atol=1e-5)
    deviation = new.std(2, correction=0, keepdim=True).numpy()
    np.testing.assert_allclose(deviation, (sigma + shift.abs()).numpy(), rtol=1e-4, atol=1e-5)


def test_sigma_stays_positive() -> None:
    grouped = activations().view(CELLS, GROUPS, ITEMS, WIDTH)
    mean, sigma, centred = bio_batch_moments(grouped)
    new = restyle(centred, mean, sigma, torch.zeros_like(mean), -10.0 * sigma)
    deviation = new.std(2, correction=0)
    assert deviation.max().item() < 1e-5
    np.testing.assert_allclose(new.numpy(), mean.expand_as(new).numpy(), atol=1e-4)


@pytest.mark.parametrize("worst", [False, True])
def test_epsilon_zero_returns_the_features(worst: bool) -> None:
    z = activations()
    none = draw(scale=0.0)
    hook = directions().hook(none) if worst else random_hook(none, groups=GROUPS, radius=3.0)
    np.testing.assert_allclose(hook(0, z).numpy(), z.numpy(), atol=2e-6)


def test_a_coin_that_fell_otherwise_returns_the_features() -> None:
    z = activations()
    new = random_hook(draw(applied=(True, False, True)), groups=GROUPS, radius=1.0)(0, z)
    np.testing.assert_allclose(new[1].numpy(), z[1].numpy(), atol=2e-6)
    assert (new[0] - z[0]).abs().max().item() > 0.1
    assert torch.equal(random_hook(draw(), groups=GROUPS, radius=1.0)(5, z), z)  # a layer that is no point


def test_random_shift_is_epsilon_times_the_spread() -> None:
    z = activations()
    one = draw(5)
    new = random_hook(one, groups=GROUPS, radius=0.7)(0, z).view(CELLS, GROUPS, ITEMS, WIDTH)
    means = z.view(CELLS, GROUPS, ITEMS, WIDTH).numpy().astype(np.float64).mean(2)
    expected = means + one.epsilon[0][:, 0].numpy() * 0.7 * np.sqrt(means.var(1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(new.mean(2).numpy(), expected, atol=1e-4)


def test_worst_case_magnitude_is_bounded_by_the_spread() -> None:
    z = activations()
    worst = directions(radius=0.5)
    worst.direction[0] = torch.randn(CELLS, 2, WIDTH, generator=torch.Generator().manual_seed(1)) * 100.0
    worst.initialised[0] = torch.ones(CELLS, dtype=torch.bool)
    ones = StyleDraw({k: torch.ones(CELLS, 2, GROUPS, w) for k, w in WIDTHS.items()}, draw().applied)
    shift = (worst.hook(ones)(0, z) - z).view(CELLS, GROUPS, ITEMS, WIDTH).mean(2)[:, 0]
    means = z.view(CELLS, GROUPS, ITEMS, WIDTH).numpy().mean(2)
    bound = 0.5 * np.linalg.norm(np.sqrt(means.var(1) + 1e-6), axis=-1)
    np.testing.assert_allclose(np.linalg.norm(shift.numpy(), axis=-1), bound, rtol=1e-3)


def test_a_direction_starts_as_the_spread() -> None:
    z = activations()
    once = draw(2)
    random = random_hook(once, groups=GROUPS, radius=1.0)(0, z)
    np.testing.assert_allclose(directions().hook(once)(0, z).numpy(), random.numpy(), atol=1e-5)


@pytest.mark.parametrize("seed", range(8))
def test_one_small_ascent_step_at_fixed_epsilon_never_lowers_the_loss(seed: int) -> None:
    x = activations(seed)
    parameters, labels = loss_of(x, seed)
    worst, once = directions(ascent_size=0.02), draw(seed)
    before = perturbed_loss(x, parameters, labels, worst.hook(once)).detach()
    worst.ascend(lambda hook: perturbed_loss(x, parameters, labels, hook), once)
    after = perturbed_loss(x, parameters, labels, worst.hook(once)).detach()
    assert (after >= before - 1e-5).all(), (before, after)
    assert (after > before + 1e-5).any()


def test_only_applied_directions_move_and_parameters_get_no_gradient() -> None:
    x = activations()
    parameters, labels = loss_of(x)
    worst = directions()
    worst.ascend(lambda hook: perturbed_loss(x, parameters, labels, hook), draw(applied=(True, False, True)))
    for layer in WIDTHS:
        assert worst.initialised[layer].tolist() == [True, False, True]
        assert worst.direction[layer][1].abs().max().item() == 0.0
        assert worst.direction[layer][0].abs().max().item() > 0.0
    assert all(value.grad is None for value in parameters.values())


def test_dead_units_give_finite_gradients() -> None:
    z = torch.zeros(CELLS, GROUPS * ITEMS, WIDTH, requires_grad=True)
    for hook in (random_hook(draw(), groups=GROUPS, radius=1.0), directions().hook(draw())):
        gradient = torch.autograd.grad(hook(0, z).square().sum(), z)[0]
        assert torch.isfinite(gradient).all()


def test_draws_depend_on_seed_and_step_alone() -> None:
    def at(seeds: list[int], step: int) -> StyleDraw:
        return StyleDraws(seeds, WIDTHS, groups=GROUPS, probability=0.5, device=DEVICE).at(step)

    alone, packed = at([4], 11), at([9, 4, 4], 11)
    for layer in WIDTHS:
        assert torch.equal(alone.epsilon[layer][0], packed.epsilon[layer][1])
        assert torch.equal(alone.epsilon[layer][0], packed.epsilon[layer][2])
        assert not torch.equal(alone.epsilon[layer][0], packed.epsilon[layer][0])
        assert alone.applied[layer][0] == packed.applied[layer][1]
    walked = StyleDraws([4], WIDTHS, groups=GROUPS, probability=0.5, device=DEVICE)
    coins = []
    for step in range(400):
        once = walked.at(step)
        if step == 11:
            assert torch.equal(once.epsilon[1], alone.epsilon[1])
        coins.append([bool(once.applied[layer][0]) for layer in WIDTHS])
    assert np.mean(coins, axis=0) == pytest.approx([0.5, 0.5], abs=0.1)
    assert np.corrcoef(np.transpose(coins))[0, 1] == pytest.approx(0.0, abs=0.15)
