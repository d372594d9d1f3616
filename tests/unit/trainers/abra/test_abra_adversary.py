from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from trainers.abra.adversary import MlpCritic, reverse_gradient, ridge_r2

GROUPS = 9


def reference_r2(z: np.ndarray, groups: int, penalty: float, adjusted: bool) -> float:
    """The definition, term by term, in float64."""
    rows, width = z.shape
    z = z - z.mean(0)
    y = np.kron(np.eye(groups), np.ones((rows // groups, 1)))
    y = y - y.mean(0)
    alpha = penalty * np.trace(z.T @ z) / width
    hat = z @ np.linalg.inv(z.T @ z + alpha * np.eye(width)) @ z.T
    r2 = np.trace(y.T @ hat @ y) / np.trace(y.T @ y)
    chance = np.trace(hat) / (rows - 1)
    return float((r2 - chance) / (1 - chance)) if adjusted else float(r2)


def embeddings(cells: int, width: int, *, effect: float, seed: int, items: int = 8) -> Tensor:
    """Unit embeddings, the bio-batch's centre moved by `effect` noise deviations."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((cells, GROUPS, items, width))
    centres = effect * rng.standard_normal((cells, GROUPS, 1, width))
    return functional.normalize(torch.from_numpy((noise + centres).reshape(cells, -1, width)), dim=-1)


@pytest.mark.parametrize("adjusted", [True, False])
@pytest.mark.parametrize("width", [3, 12, 40])  # 40 > 27 rows: the dual system
@pytest.mark.parametrize("penalty", [0.01, 1.0])
def test_r2_is_the_definition(width: int, penalty: float, adjusted: bool) -> None:
    z = embeddings(2, width, effect=0.5, seed=width, items=3)
    value = ridge_r2(z, groups=GROUPS, penalty=penalty, adjusted=adjusted)
    expected = [reference_r2(cell.numpy(), GROUPS, penalty, adjusted) for cell in z]
    assert value.tolist() == pytest.approx(expected, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("adjusted", [True, False])
@pytest.mark.parametrize("width", [4, 15])
def test_gradient_is_that_of_finite_differences(width: int, adjusted: bool) -> None:
    z = torch.randn(2, 12, width, dtype=torch.float64, generator=torch.Generator().manual_seed(width)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: ridge_r2(x, groups=3, penalty=0.3, adjusted=adjusted), z)


def test_r2_does_not_change_with_scale_or_rotation() -> None:
    z = embeddings(1, 16, effect=0.5, seed=1)
    rotation = torch.linalg.qr(torch.randn(16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))).Q
    value = ridge_r2(z, groups=GROUPS, penalty=1.0).item()
    assert ridge_r2(0.01 * z, groups=GROUPS, penalty=1.0).item() == pytest.approx(value, rel=1e-3)
    assert ridge_r2(z @ rotation, groups=GROUPS, penalty=1.0).item() == pytest.approx(value, rel=1e-9)


def test_an_embedding_that_knows_nothing_has_value_and_mean_gradient_near_zero() -> None:
    """72 rows and 64 dimensions, as in training: the plain R² is far from 0 by chance, the adjusted one is not."""
    nothing, effect = (embeddings(200, 64, effect=size, seed=3).requires_grad_() for size in (0.0, 0.5))
    plain = ridge_r2(nothing, groups=GROUPS, penalty=1.0, adjusted=False).mean().item()
    adjusted = ridge_r2(nothing, groups=GROUPS, penalty=1.0)
    real = ridge_r2(effect, groups=GROUPS, penalty=1.0)
    assert plain > 0.3
    assert adjusted.mean().item() == pytest.approx(0.0, abs=0.01)
    assert real.mean().item() > 0.3
    # a descent step moves a real effect's value many times as far as chance's
    slope_real = torch.autograd.grad(real.sum(), effect)[0].square().sum((1, 2)).mean()
    slope_nothing = torch.autograd.grad(adjusted.sum(), nothing)[0].mean(0).square().sum()
    assert (slope_nothing / slope_real).item() < 0.02


def test_adjustment_is_the_expectation_over_permuted_bio_batches() -> None:
    z = embeddings(1, 20, effect=0.7, seed=4)
    orders = [np.random.default_rng(i).permutation(z.shape[1]) for i in range(400)]
    permuted = torch.cat([z[:, order] for order in orders])
    assert ridge_r2(permuted, groups=GROUPS, penalty=0.1).mean().item() == pytest.approx(0.0, abs=0.01)


def test_descending_r2_removes_the_batch() -> None:
    z = embeddings(1, 16, effect=1.0, seed=5)
    values = []
    for _ in range(40):
        z = z.detach().requires_grad_()
        value = ridge_r2(z, groups=GROUPS, penalty=1.0)
        values.append(value.item())
        z = z - 5.0 * torch.autograd.grad(value.sum(), z)[0]
    assert values[0] > 0.2
    assert values[-1] < 0.05


def test_a_collapsed_or_broken_cell_stays_alone() -> None:
    z = embeddings(3, 8, effect=0.5, seed=6).float()
    alone = ridge_r2(z[2:], groups=GROUPS, penalty=1.0)
    z[0] = 0.5
    z[1, 0, 0] = float("nan")
    values = ridge_r2(z.requires_grad_(), groups=GROUPS, penalty=1.0)
    gradient = torch.autograd.grad(values.sum(), z)[0]
    assert np.isfinite(values[0].item())
    assert not np.isfinite(values[1].item())
    assert values[2].item() == alone.item()
    assert torch.isfinite(gradient[[0, 2]]).all()


def test_reversed_gradient_keeps_the_value_and_turns_the_sign() -> None:
    x = torch.randn(5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    weight = torch.tensor(300.0)
    y = reverse_gradient(x, weight)
    assert torch.equal(y, x)
    assert torch.allclose(torch.autograd.grad(y.sum(), x)[0], torch.full((5,), -300.0))


def mlp(seeds: list[int], present: Tensor | None = None) -> MlpCritic:
    everything = torch.ones(len(seeds), GROUPS, dtype=torch.bool) if present is None else present
    return MlpCritic(seeds, everything, embedding_dim=16, width=32, rate=3e-3, clip_norm=5.0)


def truth(cells: int, items: int = 8) -> Tensor:
    return torch.arange(GROUPS).repeat_interleave(items).expand(cells, -1)


def test_critic_learns_to_tell_the_bio_batch() -> None:
    z = embeddings(2, 16, effect=1.0, seed=0).float()
    critic = mlp([0, 1])
    before, _ = critic.losses(z, truth(2))
    critic.fit(z, truth(2), steps=150)
    after, _ = critic.losses(z, truth(2))
    assert before.tolist() == pytest.approx([np.log(GROUPS)] * 2, abs=0.5)
    assert (after < 0.5).all()


@pytest.mark.parametrize("reversed_gradient", [True, False])
def test_an_encoder_step_raises_the_loss_of_a_fixed_critic(reversed_gradient: bool) -> None:
    """The sign: descending the encoder's objective must make the bio-batch harder to tell."""
    z = embeddings(1, 16, effect=1.0, seed=0).float().requires_grad_()
    critic = mlp([0])
    critic.fit(z, truth(1), steps=60)
    before, confusion = critic.losses(z, truth(1))
    if reversed_gradient:
        objective, _ = critic.losses(reverse_gradient(z, torch.tensor(2.0)), truth(1))
    else:
        objective = confusion
    gradient = torch.autograd.grad(objective.sum(), z)[0]
    after, _ = critic.losses((z - 0.5 * gradient / gradient.norm()).detach(), truth(1))
    assert after.item() > before.item() + 0.02


def test_confusion_is_least_where_the_critic_is_uniform_over_present_bio_batches() -> None:
    present = torch.ones(1, GROUPS, dtype=torch.bool)
    present[0, 6:] = False
    critic = mlp([0], present)
    for leaf in critic.leaves:
        with torch.no_grad():
            leaf.zero_()
    _, confusion = critic.losses(embeddings(1, 16, effect=1.0, seed=0).float(), truth(1) % 6)
    assert confusion.item() == pytest.approx(np.log(6), rel=1e-5)


def test_a_critic_does_not_depend_on_its_companions() -> None:
    z = embeddings(3, 16, effect=1.0, seed=2).float()
    packed, alone = mlp([5, 6, 7]), mlp([6])
    packed.fit(z, truth(3), steps=20)
    alone.fit(z[1:2], truth(1), steps=20)
    assert packed.losses(z, truth(3))[0][1].item() == pytest.approx(alone.losses(z[1:2], truth(1))[0].item(), abs=1e-5)
