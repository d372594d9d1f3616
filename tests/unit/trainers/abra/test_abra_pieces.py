"""Settings, schedules, sampler, encoder, alignment and the stacked optimiser."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from trainers.abra.abra_settings import AbraSettings
from trainers.abra.alignment import coral, mmd, symmetric_kl
from trainers.abra.draws import Purpose, generator
from trainers.abra.encoder import encode, encoder_shapes, initial_values
from trainers.abra.sampler import CHUNK, GroupSampler, mini_batch_groups
from trainers.abra.schedule import learning_rate, margin_factor, strength_factor
from trainers.abra.stacked import StackedParameters


def test_every_setting_is_described_and_unknown_keys_are_refused() -> None:
    assert all(field.description for field in AbraSettings.model_fields.values())
    with pytest.raises(ValidationError, match="lambda"):
        AbraSettings.model_validate({"lambda": 3})
    with pytest.raises(ValidationError, match="hidden_widths must be positive"):
        AbraSettings(hidden_widths=(0,))


def test_points_must_exist_in_the_encoder() -> None:
    with pytest.raises(ValidationError, match="no 'hidden2' in an encoder with input, hidden1"):
        AbraSettings(statistics="random", points=("hidden2",))
    with pytest.raises(ValidationError, match="must not repeat"):
        AbraSettings(points=("input", "input"))
    deep = AbraSettings(statistics="random", hidden_widths=(8, 8), points=("hidden2", "input"))
    assert deep.perturbed_layers() == (0, 2)


def test_schedules() -> None:
    settings = AbraSettings(
        steps=100, learning_rate=2.0, learning_rate_warmup=0.1, margin_warmup=0.5, strength_schedule="ganin"
    )
    rates = [learning_rate(step, settings) for step in range(100)]
    assert rates[0] == pytest.approx(2.0 / 11)
    assert rates[10] == 2.0
    assert max(rates) == 2.0
    assert rates[55] == pytest.approx(1.0)
    assert 0.0 < rates[99] < 0.01
    assert [margin_factor(step, settings) for step in (0, 25, 50, 99)] == [0.0, 0.5, 1.0, 1.0]
    assert margin_factor(0, AbraSettings(margin_warmup=0.0)) == 1.0
    assert strength_factor(0, settings) == 0.0
    assert strength_factor(50, settings) == pytest.approx(math.tanh(2.5))
    assert strength_factor(0, AbraSettings()) == 1.0


@pytest.fixture
def screen() -> tuple[np.ndarray, np.ndarray]:
    batches = np.repeat([0, 1, 2, 5], [40, 3, 17, 60]).astype(np.int64)
    return np.flatnonzero(np.arange(120) % 7 != 0), batches


def test_a_mini_batch_is_groups_times_items_of_distinct_bio_batches(screen: tuple[np.ndarray, np.ndarray]) -> None:
    train, batches = screen
    rows = GroupSampler(train, batches, groups=3, items=4, seed=1).chunk(0)
    assert rows.shape == (CHUNK, 12)
    assert np.isin(rows, train).all()
    for mini_batch in rows:
        origin = batches[mini_batch].reshape(3, 4)
        assert (origin == origin[:, :1]).all()
        assert len(set(origin[:, 0])) == 3
        for group, members in zip(origin[:, 0], mini_batch.reshape(3, 4), strict=True):
            assert len(set(members)) == min(4, np.sum(batches[train] == group))


def test_rows_of_a_bio_batch_are_drawn_equally_often(screen: tuple[np.ndarray, np.ndarray]) -> None:
    train, batches = screen
    sampler = GroupSampler(train, batches, groups=4, items=4, seed=1)
    drawn = np.bincount(np.concatenate([sampler.chunk(i).ravel() for i in range(20)]), minlength=len(batches))
    for batch in np.unique(batches):
        counts = drawn[train[batches[train] == batch]]
        assert counts.min() > 0.7 * counts.mean()
        assert counts.max() < 1.3 * counts.mean()


def test_draws_are_a_function_of_seed_purpose_and_count(screen: tuple[np.ndarray, np.ndarray]) -> None:
    train, batches = screen

    def sampler(seed: int) -> GroupSampler:
        return GroupSampler(train, batches, groups=2, items=4, seed=seed)

    first = sampler(1)
    first.chunk(0)
    np.testing.assert_array_equal(first.chunk(3), sampler(1).chunk(3))
    assert not np.array_equal(sampler(1).chunk(3), sampler(2).chunk(3))
    assert not np.array_equal(sampler(1).chunk(3), sampler(1).chunk(4))
    streams = {generator(1, purpose).random() for purpose in Purpose}
    assert len(streams) == len(Purpose)


def test_groups_are_limited_by_the_training_bio_batches() -> None:
    assert mini_batch_groups(np.array([4, 4, 7, 7, 9]), 9) == 3
    assert mini_batch_groups(np.array([4, 4, 7, 7, 9]), 2) == 2


def test_encoder_is_the_mlp_written_out() -> None:
    shapes = encoder_shapes(6, (5, 4), 3)
    values = initial_values(shapes, np.random.default_rng(0))
    values["bias1"] = np.full((1, 4), 0.3, np.float32)
    x = np.random.default_rng(1).standard_normal((7, 6)).astype(np.float32)
    expected = np.maximum(x @ values["weight0"], 0.0)
    expected = np.maximum(expected @ values["weight1"] + 0.3, 0.0) @ values["weight2"]
    stacked = {name: torch.from_numpy(np.stack([np.zeros_like(value), value])) for name, value in values.items()}
    out = encode(stacked, torch.from_numpy(np.stack([x, x])))
    np.testing.assert_allclose(out[1].numpy(), expected, rtol=1e-4, atol=1e-5)
    assert out[0].abs().max().item() == 0.0
    assert values["weight0"].std() == pytest.approx(math.sqrt(2 / 6), rel=0.3)


def test_alignment_is_zero_for_equal_views_and_grows_with_their_distance() -> None:
    rng = torch.Generator().manual_seed(0)
    clean = torch.nn.functional.normalize(torch.randn(2, 20, 6, generator=rng), dim=-1)
    direction = torch.randn(2, 1, 6, generator=rng)
    for measure in (symmetric_kl, mmd, coral):
        values = [
            measure(clean, torch.nn.functional.normalize(clean + size * direction, dim=-1)) for size in (0.0, 0.3, 1.0)
        ]
        assert values[0].shape == (2,)
        assert values[0].abs().max().item() < 1e-6
        assert (values[1] > 1e-4).all()
        assert (values[2] > values[1]).all()


def test_symmetric_kl_is_the_definition_and_finite_with_absent_classes() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 1, 4, 3))
    p, q = (np.exp(x) / np.exp(x).sum(-1, keepdims=True) for x in (a, b))
    expected = 0.5 * (p * np.log(p / q) + q * np.log(q / p)).sum(-1).mean()
    assert symmetric_kl(torch.from_numpy(a), torch.from_numpy(b)).item() == pytest.approx(expected)
    absent = np.array([0.0, 0.0, 0.0, -1e9])
    wide = [torch.from_numpy(np.concatenate([x, x[..., :1]], -1) + absent).float().requires_grad_() for x in (a, b)]
    for logits in wide:
        logits.data[..., 3] = -1e9
    value = symmetric_kl(*wide)
    assert value.item() == pytest.approx(expected, rel=1e-5)
    assert all(torch.isfinite(g).all() for g in torch.autograd.grad(value.sum(), wide))


def test_the_update_is_adamw_for_each_cell_and_leaves_failed_and_stopped_ones() -> None:
    stack = StackedParameters({"weight": (3, 5), "bias": (1, 5)}, 3, torch.device("cpu"))
    rng = np.random.default_rng(0)
    for cell in range(3):
        initial = {name: rng.standard_normal(view.shape[1:]).astype(np.float32) for name, view in stack.views.items()}
        stack.fill(cell, initial)
    start = {name: view.detach().clone() for name, view in stack.views.items()}
    expected = np.concatenate([view[0].ravel() for view in start.values()]).astype(np.float64)
    first, second = np.zeros_like(expected), np.zeros_like(expected)
    for count in range(1, 6):
        gradients = [torch.from_numpy(rng.standard_normal(v.shape).astype(np.float32)) for v in stack.views.values()]
        own = np.concatenate([gradient[0].numpy().ravel() for gradient in gradients]).astype(np.float64)
        gradients[0][2, 1, 1] = float("nan")
        finite = stack.update(
            gradients,
            count=count,
            rate=0.01,
            weight_decay=0.1,
            clip_norm=2.0,
            loss=torch.zeros(3),
            training=torch.tensor([True, False, True]),
        )
        assert finite.tolist() == [True, False, False]
        # Loshchilov & Hutter 2019, algorithm 2, on the clipped gradient
        own *= min(1.0, 2.0 / np.linalg.norm(own))
        first, second = 0.9 * first + 0.1 * own, 0.999 * second + 0.001 * own**2
        step = (first / (1 - 0.9**count)) / (np.sqrt(second / (1 - 0.999**count)) + 1e-8)
        expected = expected * (1 - 0.01 * 0.1) - 0.01 * step
    moved = np.concatenate([view[0].detach().numpy().ravel() for view in stack.views.values()])
    np.testing.assert_allclose(moved, expected, rtol=1e-4, atol=1e-6)
    for name, view in stack.views.items():
        assert torch.equal(view[1:], start[name][1:])
