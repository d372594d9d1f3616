"""Closed-form critics that are not linear: definition, gradient, chance level, and what each of them sees."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from trainers.abra.abra_settings import AbraSettings
from trainers.abra.adversary import ridge_r2
from trainers.abra.batch_adversary import BatchAdversary
from trainers.abra.dependence import between_batches, within_classes
from trainers.abra.fourier_critic import fourier_draws, fourier_features, fourier_r2
from trainers.abra.kernel_critic import kernel_share
from trainers.abra.moments_critic import moment_share

GROUPS, ITEMS, CLASSES = 6, 12, 4
Critic = Callable[[Tensor, Tensor], Tensor]


def fourier(unit: Tensor, labels: Tensor, *, groups: int = GROUPS) -> Tensor:
    del labels
    axes, phases = fourier_draws(list(range(len(unit))), 3, width=unit.shape[2], like=unit)
    return fourier_r2(unit, axes, phases, groups=groups, penalty=1.0)


CRITICS: dict[str, Critic] = {
    "fourier": fourier,
    "kernel": partial(kernel_share, groups=GROUPS),
    "moments": partial(moment_share, groups=GROUPS),
}
ALL = pytest.mark.parametrize("name", CRITICS)


def classes(cells: int, seed: int = 0, rows: int = GROUPS * ITEMS, number: int = CLASSES) -> Tensor:
    return torch.from_numpy(np.random.default_rng([seed, 1]).integers(0, number, (cells, rows)))


def embeddings(cells: int, width: int, *, shift: float = 0.0, scale: float = 0.0, seed: int = 0) -> Tensor:
    """Unit embeddings of noise, its mean moved and its spread multiplied bio-batch by bio-batch."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((cells, GROUPS, ITEMS, width))
    noise *= np.exp(scale * rng.standard_normal((cells, GROUPS, 1, width)))
    noise += shift * rng.standard_normal((cells, GROUPS, 1, width))
    return functional.normalize(torch.from_numpy(noise.reshape(cells, -1, width)), dim=-1)


def test_dependence_is_the_definition_and_its_chance_the_mean_over_permutations_within_classes() -> None:
    rows, groups = 30, 5
    z = np.random.default_rng(0).standard_normal((rows, 4))
    labels = classes(1, rows=rows, number=3)[0].numpy()
    kernel = np.exp(-((z[:, None] - z[None]) ** 2).sum(-1) / 4)
    centred = np.eye(rows)
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        centred[np.ix_(own, own)] -= 1 / len(own)
    within = centred @ kernel @ centred

    def share(order: np.ndarray) -> float:
        own = np.kron(np.eye(groups), np.ones((rows // groups, rows // groups)))[np.ix_(order, order)] * groups / rows
        return float(np.trace(own @ within) / np.trace(within))

    rng, drawn = np.random.default_rng(1), []
    for _ in range(4000):
        order = np.arange(rows)
        for label in np.unique(labels):
            own = np.flatnonzero(labels == label)
            order[own] = rng.permutation(own)
        drawn.append(share(order))
    chance = float(np.mean(drawn))
    value = between_batches(torch.from_numpy(kernel)[None], torch.from_numpy(labels)[None], groups=groups).item()
    expected = (share(np.arange(rows)) - chance) / (1 - chance)
    assert value == pytest.approx(expected, abs=4 * np.std(drawn) / np.sqrt(len(drawn)))


@ALL
@pytest.mark.parametrize("width", [3, 9])
def test_gradient_is_that_of_finite_differences(name: str, width: int) -> None:
    z = embeddings(2, width, shift=0.5, scale=0.3, seed=width)[:, ::4].clone().requires_grad_()
    labels = classes(2)[:, ::4]
    assert torch.autograd.gradcheck(lambda x: CRITICS[name](x, labels), z)


@ALL
def test_value_does_not_change_with_scale_or_rotation(name: str) -> None:
    z, labels = embeddings(1, 8, shift=0.5, scale=0.5), classes(1)
    value = CRITICS[name](z, labels).item()
    assert CRITICS[name](0.01 * z, labels).item() == pytest.approx(value, rel=0.02)
    turn = torch.linalg.qr(torch.randn(8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))).Q
    if name != "fourier":  # whose axes are drawn, not invariant
        assert CRITICS[name](z @ turn, labels).item() == pytest.approx(value, rel=1e-6)


@ALL
def test_nothing_to_tell_has_value_zero_on_average_and_an_effect_does_not(name: str) -> None:
    """Rows that are the class's own, the classes unevenly dealt: the class is not the batch."""
    labels = classes(300, 5)
    rng = np.random.default_rng(2)
    offsets = torch.from_numpy(rng.standard_normal((300, CLASSES, 8)))
    own = offsets.gather(1, labels[..., None].expand(-1, -1, 8))
    nothing = functional.normalize(2 * embeddings(300, 8, seed=3) + (0.0 if name == "fourier" else 1.0) * own, dim=-1)
    values = CRITICS[name](nothing, labels)
    error = values.std().item() / np.sqrt(len(values))
    assert abs(values.mean().item()) < 4 * error
    assert error < 0.01
    assert CRITICS[name](embeddings(300, 8, shift=0.7, seed=4), labels).mean().item() > 0.1


@ALL
def test_a_spread_is_seen_that_a_ridge_does_not_see(name: str) -> None:
    labels = classes(200, 6)
    noise, spread = embeddings(200, 8, seed=7), embeddings(200, 8, scale=0.8, seed=8)

    def apart(critic: Critic) -> float:
        quiet, told = critic(noise, labels), critic(spread, labels)
        return float((told.mean() - quiet.mean()) / quiet.std())

    linear = apart(lambda unit, _: ridge_r2(unit, groups=GROUPS, penalty=1.0))
    assert abs(linear) < 0.5
    assert apart(CRITICS[name]) > linear + 0.5


@ALL
def test_descending_it_removes_what_it_sees(name: str) -> None:
    z, labels = embeddings(1, 8, shift=0.7, scale=0.5, seed=9), classes(1, 9)
    values = []
    for _ in range(60):
        z = z.detach().requires_grad_()
        value = CRITICS[name](z, labels)
        values.append(value.item())
        z = functional.normalize(z - 2.0 * torch.autograd.grad(value.sum(), z)[0], dim=-1)
    assert values[0] > 0.1
    assert values[-1] < 0.5 * values[0]


@ALL
def test_a_collapsed_or_broken_cell_stays_alone(name: str) -> None:
    z, labels = embeddings(3, 8, shift=0.5, seed=6).float(), classes(3)
    alone = CRITICS[name](torch.cat([z[2:]] * 3), torch.cat([labels[2:]] * 3))[2]
    z[0] = 0.5
    z[1, 0, 0] = float("nan")
    labels[:] = labels[2]
    values = CRITICS[name](z.requires_grad_(), labels)
    gradient = torch.autograd.grad(values.sum(), z)[0]
    assert np.isfinite(values[0].item())
    assert not np.isfinite(values[1].item())
    assert values[2].item() == pytest.approx(alone.item(), abs=1e-6)
    assert torch.isfinite(gradient[[0, 2]]).all()


@pytest.mark.parametrize("name", ["kernel", "moments"])
def test_where_no_class_occurs_twice_there_is_nothing_to_compare(name: str) -> None:
    z = embeddings(1, 8, shift=1.0).requires_grad_()
    value = CRITICS[name](z, torch.arange(GROUPS * ITEMS)[None])
    assert value.item() == 0.0
    assert torch.equal(torch.autograd.grad(value.sum(), z)[0], torch.zeros_like(z))


def test_rows_less_their_class_mean_sum_to_zero_in_each_class() -> None:
    z, labels = embeddings(2, 5), classes(2)
    left = within_classes(z, labels)
    for cell in range(2):
        for label in range(CLASSES):
            assert left[cell][labels[cell] == label].sum(0).abs().max() < 1e-12


def test_fourier_features_are_of_the_stated_kernel() -> None:
    z = embeddings(1, 6)
    many = [fourier_draws([seed], 0, width=6, like=z) for seed in range(200)]
    axes, phases = torch.cat([a for a, _ in many], 2), torch.cat([p for _, p in many], 1)
    features = fourier_features(z, axes, phases)[0]
    scaled, waves = features[:, :6], features[:, 6:]
    assert scaled.square().sum(1).mean().item() == pytest.approx(1.0, rel=1e-5)
    kernel = torch.exp(-torch.cdist(scaled, scaled).square() / 2)
    assert (waves @ waves.T - kernel).abs().max() < 0.06


def test_fourier_draws_hang_on_seed_and_step_alone() -> None:
    like = torch.zeros(1)
    both, alone = fourier_draws([4, 5], 2, width=3, like=like), fourier_draws([5], 2, width=3, like=like)
    assert torch.equal(both[0][1], alone[0][0])
    assert torch.equal(both[1][1], alone[1][0])
    assert not torch.equal(fourier_draws([5], 3, width=3, like=like)[0], alone[0])


@pytest.mark.parametrize("critic", ["ridge", "fourier", "kernel", "moments"])
def test_the_weight_scales_the_loss_and_not_the_value(critic: str) -> None:
    settings = AbraSettings(critic=critic)  # type: ignore[arg-type]
    z, labels = embeddings(2, 8, shift=0.5).float(), classes(2)
    adversary = BatchAdversary(settings, [0, 1], torch.ones(2, GROUPS) > 0, embedding_dim=8, groups=GROUPS)
    batches = torch.arange(GROUPS).repeat_interleave(ITEMS).expand(2, -1)
    loss, value = adversary(z, labels=labels, batches=batches, weight=torch.tensor([2.0, 5.0]), step=0)
    assert loss.tolist() == pytest.approx((torch.tensor([2.0, 5.0]) * value).tolist())
    assert not adversary.leaves
    assert adversary.state_dict() is None
