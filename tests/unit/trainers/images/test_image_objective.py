"""The objective of one cell: the reconstruction's invariants on a real, small network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from trainers.abra.statistics import WorstCaseDirections
from trainers.images.image_objective import ImageBatch, ImageObjective
from trainers.images.image_settings import AugmentSettings, ImageAbraSettings
from trainers.images.network import ImageNetwork

GROUPS, ITEMS, CLASSES, SIDE, CHANNELS = 3, 4, 5, 32, 4
BASE: dict[str, Any] = {
    "backbone": "test_resnet",
    "embedding_dim": 8,
    "groups": GROUPS,
    "items": ITEMS,
    "precision": "fp32",
    "apply_probability": 1.0,
    "scale": 8.0,
}


def settings_of(**changes: Any) -> ImageAbraSettings:
    return ImageAbraSettings.model_validate(BASE | changes)


def a_batch(seed: int = 0) -> ImageBatch:
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(GROUPS * ITEMS) % CLASSES
    batches = torch.arange(GROUPS).repeat_interleave(ITEMS)
    x = torch.randn(GROUPS * ITEMS, CHANNELS, SIDE, SIDE, generator=rng) + 0.3 * batches[:, None, None, None]
    return ImageBatch(x, labels, batches)


def network_of(settings: ImageAbraSettings, seed: int = 0) -> ImageNetwork:
    return ImageNetwork(settings, channels=CHANNELS, image_size=SIDE, classes=CLASSES, seed=seed).train()


def objective_of(
    settings: ImageAbraSettings, network: ImageNetwork, strength: float = 1.0, absent: tuple[int, ...] = ()
) -> ImageObjective:
    return ImageObjective(
        settings,
        network,
        strength=strength,
        seed=1,
        absent=torch.tensor([c in absent for c in range(CLASSES)]),
        present=torch.ones(GROUPS, dtype=torch.bool),
        groups=GROUPS,
        items=ITEMS,
        channels=CHANNELS,
        image_size=SIDE,
    )


def directions_of(objective: ImageObjective) -> WorstCaseDirections:
    assert objective.directions is not None
    return objective.directions


def gradients(total: Tensor, network: ImageNetwork) -> list[Tensor]:
    found = torch.autograd.grad(total, list(network.parameters()), retain_graph=True, allow_unused=True)
    return [torch.zeros(()) if gradient is None else gradient for gradient in found]


def test_every_setting_is_described_and_unknown_keys_are_refused() -> None:
    for model in (ImageAbraSettings, AugmentSettings):
        assert all(field.description for field in model.model_fields.values())
        with pytest.raises(ValueError, match="lambda"):
            model.model_validate({"lambda": 3})
    with pytest.raises(ValueError, match="points must name 1 to 6 points, but got 0"):
        settings_of(points=())
    with pytest.raises(ValueError, match="must not repeat"):
        settings_of(points=("stem", "stem"))


def test_margin_zero_is_the_scaled_cosine_cross_entropy() -> None:
    settings = settings_of(statistics="none", critic="none")
    network, batch = network_of(settings), a_batch()
    terms = objective_of(settings, network, absent=(2,))(batch, margin=0.0, strength_factor=1.0, number=0)
    with torch.no_grad():
        cosine = functional.normalize(network(batch.x)) @ functional.normalize(network.class_vectors).T
    logits = (8.0 * cosine).masked_fill(torch.arange(CLASSES) == 2, -1e9)
    torch.testing.assert_close(terms.arc, functional.cross_entropy(logits, batch.labels), rtol=1e-5, atol=1e-3)
    assert terms.total.item() == terms.arc.item()
    wider = objective_of(settings, network)(batch, margin=0.3, strength_factor=1.0, number=0)
    assert wider.arc > objective_of(settings, network)(batch, margin=0.0, strength_factor=1.0, number=0).arc


def test_a_linear_head_is_plain_cross_entropy() -> None:
    settings = settings_of(statistics="none", critic="none", head="linear", embedding_dim=None)
    network, batch = network_of(settings), a_batch()
    terms = objective_of(settings, network)(batch, margin=0.0, strength_factor=1.0, number=0)
    assert network.class_bias is not None
    with torch.no_grad():
        expected = functional.linear(network.backbone(batch.x), network.class_vectors, network.class_bias)
    torch.testing.assert_close(terms.arc, functional.cross_entropy(expected, batch.labels))


def test_a_mixed_image_has_the_losses_of_both_classes_by_their_area() -> None:
    settings = settings_of(statistics="none", critic="none")
    network, plain = network_of(settings), a_batch()
    objective = objective_of(settings, network)
    partner = plain.labels.roll(1)
    share = torch.linspace(0.2, 1.0, len(partner))

    def losses(labels: Tensor) -> Tensor:
        with torch.no_grad():
            cosine = functional.normalize(network(plain.x)) @ functional.normalize(network.class_vectors).T
        theta = torch.arccos(cosine.gather(1, labels[:, None]))
        logits = 8.0 * cosine.scatter(1, labels[:, None], torch.cos(theta + 0.2))
        return functional.cross_entropy(logits, labels, reduction="none")

    mixed = ImageBatch(plain.x, plain.labels, plain.batches, partner, share)
    found = objective(mixed, margin=0.2, strength_factor=1.0, number=0).arc
    expected = (share * losses(plain.labels) + (1.0 - share) * losses(partner)).mean()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("critic", ["none", "ridge", "fourier", "kernel", "moments", "mlp"])
@pytest.mark.parametrize("statistics", ["none", "random", "worst_case"])
def test_lambda_scales_every_adversarial_term_and_nothing_else(critic: str, statistics: str) -> None:
    settings = settings_of(critic=critic, statistics=statistics, alignment="symmetric_kl", alignment_weight=0.5)
    network, batch = network_of(settings), a_batch()
    found = {}
    for strength in (0.0, 1.0, 3.0):
        objective = objective_of(settings, network, strength)
        found[strength] = objective(batch, margin=0.2, strength_factor=1.0, number=4)
        half = objective_of(settings, network, 2.0 * strength)(batch, margin=0.2, strength_factor=0.5, number=4)
        torch.testing.assert_close(half.total, found[strength].total)
    zero, one, three = found.values()
    assert zero.adversarial == {}
    assert torch.equal(zero.total, zero.arc)
    assert set(one.adversarial) == ({"batch"} if critic != "none" else set()) | (
        {"perturbed", "align"} if statistics != "none" else set()
    )
    align = 0.5 * float(one.adversarial.get("align", 0.0))
    slope = one.total.item() - one.arc.item() - align
    assert three.total.item() == pytest.approx(three.arc.item() + align + 3.0 * slope, rel=1e-4, abs=1e-5)
    if critic == "none" and statistics != "none":
        assert slope == pytest.approx(float(one.adversarial["perturbed"]), rel=1e-4)


def test_the_reversed_gradient_of_the_critic_has_the_other_sign() -> None:
    settings = settings_of(critic="mlp", critic_steps=0, statistics="none")
    network, batch = network_of(settings), a_batch()
    objective = objective_of(settings, network, 2.0)
    with_critic = objective(batch, margin=0.0, strength_factor=1.0, number=0)
    clean = objective_of(settings_of(critic="none", statistics="none"), network)(
        batch, margin=0.0, strength_factor=1.0, number=0
    )
    encoder = [
        a - b for a, b in zip(gradients(with_critic.total, network), gradients(clean.total, network), strict=True)
    ]
    # one step of the encoder along what it descends must make the critic worse, with the critic fixed
    with torch.no_grad():
        for parameter, gradient in zip(network.parameters(), encoder, strict=True):
            parameter -= 0.01 * gradient
    after = objective(batch, margin=0.0, strength_factor=1.0, number=0).adversarial["batch"]
    assert float(after) > float(with_critic.adversarial["batch"]) + 1e-6


def test_descending_the_ridge_term_removes_the_batch() -> None:
    settings = settings_of(critic="ridge", statistics="none", ridge_adjusted=False)
    network, batch = network_of(settings), a_batch()
    objective = objective_of(settings, network)
    terms = objective(batch, margin=0.0, strength_factor=1.0, number=0)
    ridge = (
        terms.total
        - objective_of(settings_of(critic="none", statistics="none"), network)(
            batch, margin=0.0, strength_factor=1.0, number=0
        ).total
    )
    for parameter, gradient in zip(network.parameters(), gradients(ridge, network), strict=True):
        parameter.data -= 0.002 * gradient
    after = objective(batch, margin=0.0, strength_factor=1.0, number=0).adversarial["batch"]
    assert float(after) < float(terms.adversarial["batch"]) - 1e-5


@pytest.mark.parametrize("seed", range(4))
def test_one_small_ascent_step_at_fixed_epsilon_never_lowers_the_loss(seed: int) -> None:
    settings = settings_of(critic="none", alignment="none", ascent_size=0.02, radius=0.5)
    network, batch = network_of(settings, seed), a_batch(seed)
    moved, still = (objective_of(settings, network) for _ in range(2))
    frozen = settings_of(critic="none", alignment="none", ascent_steps=0, radius=0.5)
    fixed = objective_of(frozen, network)
    before = fixed(batch, margin=0.2, strength_factor=1.0, number=seed).adversarial["perturbed"]
    after = moved(batch, margin=0.2, strength_factor=1.0, number=seed).adversarial["perturbed"]
    assert after >= before - 1e-5
    assert after > before  # it did move
    assert all(not flag.any() for flag in directions_of(still).initialised.values())
    assert all(flag.all() for flag in directions_of(moved).initialised.values())


def test_directions_without_ascent_steps_move_along_the_shared_backward_pass() -> None:
    # stage3's 2×2 map is averaged next: its deviation has no gradient but rounding
    free = {"critic": "none", "alignment": "none", "points": ("stem", "stage1", "stage2")}
    settings = settings_of(**free, ascent_steps=0)
    network, batch = network_of(settings), a_batch()
    explicit = objective_of(settings_of(**free), network)
    shared = objective_of(settings, network, strength=7.0)
    terms = shared(batch, margin=0.2, strength_factor=1.0, number=0)
    terms.total.backward()  # type: ignore[no-untyped-call]
    shared.after_backward(terms)
    explicit(batch, margin=0.2, strength_factor=1.0, number=0)
    for index, value in directions_of(explicit).direction.items():
        torch.testing.assert_close(directions_of(shared).direction[index], value, rtol=1e-3, atol=1e-5)


def test_finite_gradients_where_embeddings_meet_class_vectors() -> None:
    settings = settings_of(embedding_dim=None)
    network, batch = network_of(settings), a_batch()
    with torch.no_grad():
        network.class_vectors[:] = functional.normalize(network(batch.x))[:CLASSES]
        network.class_vectors[1] *= -1.0
    terms = objective_of(settings, network)(batch, margin=0.5, strength_factor=1.0, number=0)
    assert all(torch.isfinite(gradient).all() for gradient in gradients(terms.total, network))


@pytest.mark.parametrize("kept", ["clean", "both"])
def test_running_statistics_follow_the_clean_forwards(kept: str) -> None:
    settings = settings_of(running_statistics=kept, ascent_steps=2)
    plain, adversarial = network_of(settings), network_of(settings)
    objective_of(settings, plain, 0.0)(a_batch(), margin=0.0, strength_factor=1.0, number=0)
    objective_of(settings, adversarial)(a_batch(), margin=0.0, strength_factor=1.0, number=0)
    same = [
        torch.equal(mine, theirs)
        for mine, theirs in zip(plain.buffers(), adversarial.buffers(), strict=True)
        if mine.is_floating_point()
    ]
    assert all(same) if kept == "clean" else not any(same[:2])
    counts = {int(value) for name, value in adversarial.named_buffers() if name.endswith("num_batches_tracked")}
    assert counts == ({1} if kept == "clean" else {2})


def test_where_no_point_is_drawn_the_perturbed_view_is_the_clean_one() -> None:
    settings = settings_of(critic="none", apply_probability=0.0)
    network = network_of(settings)
    objective = objective_of(settings, network, 2.0)
    terms = objective(a_batch(), margin=0.1, strength_factor=1.0, number=0)
    assert terms.total.item() == pytest.approx(3.0 * terms.arc.item())
    assert not directions_of(objective).initialised[0].any()


def test_points_of_one_position_are_passed_over() -> None:
    settings = settings_of(critic="none", points=("stage4",))
    network = network_of(settings)
    with torch.no_grad():
        assert network.backbone.forward_features(a_batch().x).shape[2:] == (1, 1)  # type: ignore[operator]
    objective = objective_of(settings, network)
    terms = objective(a_batch(), margin=0.1, strength_factor=1.0, number=0)
    torch.testing.assert_close(terms.adversarial["perturbed"], terms.arc)
    assert np.isfinite(terms.total.item())
