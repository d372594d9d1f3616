"""Backbone, neck and class vectors of one cell."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from trainers.abra.draws import Purpose, generator
from trainers.images.backbones import create_backbone, pooled
from trainers.images.image_settings import ImageAbraSettings
from trainers.images.instance_norm import use_instance_norm

Module = TypeVar("Module", bound=nn.Module)


class ImageNetwork(nn.Module):
    """(B, channels, s, s) standardised images → (B, e) embeddings, fp32, not normalised.

    Attributes:
        class_vectors: (C, e), ArcFace's class vectors or the weights of the linear head.
        class_bias: (C,) of the linear head; None for ArcFace.
    """

    def __init__(self, settings: ImageAbraSettings, *, channels: int, image_size: int, classes: int, seed: int) -> None:
        super().__init__()
        self._settings = settings
        draw = int(generator(seed, Purpose.INIT).integers(2**63))
        self.backbone = create_backbone(
            settings.backbone, channels=channels, image_size=image_size, weights=settings.weights, seed=draw
        )
        if settings.instance_norm:
            use_instance_norm(self.backbone, settings.instance_norm, channels=channels, image_size=image_size)
        features = pooled(self.backbone, channels=channels, image_size=image_size).shape[1]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(draw + 1)
            width = settings.embedding_dim
            self.neck: nn.Module = nn.Identity()
            if width is not None and settings.neck_norm:
                self.neck = nn.Sequential(nn.Linear(features, width, bias=False), nn.BatchNorm1d(width))
            elif width is not None:
                self.neck = nn.Linear(features, width)
            linear = nn.Linear(width or features, classes)
            arcface = settings.head == "arcface"
            self.class_vectors = nn.Parameter(torch.randn_like(linear.weight) if arcface else linear.weight.detach())
            self.class_bias = None if arcface else nn.Parameter(linear.bias.detach())

    def forward(self, x: Tensor) -> Tensor:
        """Embeddings of a mini-batch; autocast covers the backbone alone."""
        with autocast(self._settings, x.device):
            features = self.backbone(x)
        embedding: Tensor = self.neck(features.float())
        return embedding


def autocast(settings: ImageAbraSettings, device: torch.device) -> torch.autocast:
    """The precision of the settings, for backbones alone."""
    return torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bf16")


def to_device(module: Module, settings: ImageAbraSettings, device: torch.device) -> Module:
    """The module on the device, its convolutions in the memory format of the settings."""
    memory_format = torch.channels_last if settings.channels_last else torch.contiguous_format
    return module.to(device=device, memory_format=memory_format)  # type: ignore[call-overload, no-any-return]


@contextmanager
def running_statistics_kept(network: nn.Module) -> Iterator[None]:
    """Batch normalisation by the mini-batch as in training, without moving the running statistics."""
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


__all__ = ["ImageNetwork", "autocast", "running_statistics_kept", "to_device"]
