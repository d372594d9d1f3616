from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from trainers.abra.margin import COS_LIMIT, MarginTerms, arc_loss, class_logits, cosines

DEVICE = torch.device("cpu")


def random_cosines(seed: int, cells: int = 2, rows: int = 9, classes: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    cosine = torch.from_numpy(rng.uniform(-0.999, 0.999, (cells, rows, classes)))
    return cosine, torch.from_numpy(rng.integers(0, classes, (cells, rows)))


def test_margin_zero_is_scaled_cosine_cross_entropy() -> None:
    cosine, labels = random_cosines(0)
    loss = arc_loss(cosine, labels, MarginTerms.of([0.0, 0.0], DEVICE), scale=30.0, absent=None)
    expected = [functional.cross_entropy(30.0 * cosine[k], labels[k]).item() for k in range(2)]
    assert loss.tolist() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("margin", [0.1, 0.5, 1.2])
def test_target_logit_is_the_cosine_of_the_shifted_angle_or_its_fallback(margin: float) -> None:
    cosine, labels = random_cosines(1)
    expected = []
    for k in range(2):
        logits = 30.0 * cosine[k].numpy().copy()
        for row, label in enumerate(labels[k].tolist()):
            value = cosine[k, row, label].item()
            theta = math.acos(value)
            shifted = math.cos(theta + margin) if theta + margin < math.pi else value - margin * math.sin(margin)
            logits[row, label] = 30.0 * shifted
        log_z = np.log(np.exp(logits - 40).sum(1)) + 40
        expected.append(float(np.mean(log_z - logits[np.arange(len(logits)), labels[k].numpy()])))
    loss = arc_loss(cosine, labels, MarginTerms.of([margin, margin], DEVICE), scale=30.0, absent=None)
    assert loss.tolist() == pytest.approx(expected, rel=1e-5)  # the margin's constants are float32


def test_each_cell_has_its_own_margin() -> None:
    cosine, labels = random_cosines(2)
    both = arc_loss(cosine, labels, MarginTerms.of([0.0, 0.4], DEVICE), scale=30.0, absent=None)
    alone = arc_loss(cosine[1:], labels[1:], MarginTerms.of([0.4], DEVICE), scale=30.0, absent=None)
    assert both[1].item() == alone[0].item()
    assert both[0].item() < arc_loss(cosine, labels, MarginTerms.of([0.4] * 2, DEVICE), scale=30.0, absent=None)[0]


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("margin", [0.0, 0.5])
def test_gradients_are_finite_where_the_cosine_is_one(sign: float, margin: float) -> None:
    vectors = torch.eye(3)[None].requires_grad_()
    unit = (sign * torch.eye(3))[None].requires_grad_()
    cosine = cosines(unit, vectors)
    assert cosine.abs().max().item() <= COS_LIMIT
    loss = arc_loss(cosine, torch.arange(3)[None], MarginTerms.of([margin], DEVICE), scale=64.0, absent=None)
    gradients = torch.autograd.grad(loss.sum(), [unit, vectors])
    assert math.isfinite(loss.item())
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


def test_absent_classes_have_probability_zero_and_finite_gradients() -> None:
    cosine, _ = random_cosines(3, cells=1)
    labels = torch.zeros(1, 9, dtype=torch.int64)
    absent = torch.tensor([[[False, False, True, False, True]]])
    assert class_logits(cosine, scale=30.0, absent=absent).softmax(-1)[..., [2, 4]].max().item() == 0.0
    without = cosine[..., [0, 1, 3]]
    terms = MarginTerms.of([0.3], DEVICE)
    masked = arc_loss(cosine.requires_grad_(), labels, terms, scale=30.0, absent=absent)
    expected = arc_loss(without, labels, terms, scale=30.0, absent=None)
    assert masked.item() == pytest.approx(expected.item(), rel=1e-9)
    gradient = torch.autograd.grad(masked.sum(), cosine)[0]
    assert torch.isfinite(gradient).all()
    assert gradient[..., [2, 4]].abs().max().item() == 0.0
