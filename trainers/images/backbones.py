"""Backbones: any timm model as an encoder of n-channel images into pooled features."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trainers.errors import InputError
from trainers.images.weights import read_weights, weights_file


def check_backbone(name: str) -> None:
    """Raise InputError, offering the nearest names, unless timm has a model of this name (and tag)."""
    import timm

    model, _, tag = name.partition(".")
    if timm.is_model(model):
        if not tag or name in timm.list_pretrained(f"{model}.*"):
            return
        known = timm.list_pretrained(f"{model}.*")
    else:
        known = timm.list_models()
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.3) or known[:3]
    offer = f"; did you mean {', '.join(near)}?" if near else f"; '{model}' has no pretrained weights at all"
    raise InputError(f"backbone: timm has no '{name}'{offer}")


def has_one_size(name: str) -> bool:
    """Whether the model takes images of one size alone (most transformers)."""
    import timm

    config = timm.get_pretrained_cfg(name)
    return config is not None and bool(config.fixed_input_size)


def create_backbone(name: str, *, channels: int, image_size: int, weights: str | None, seed: int) -> nn.Module:
    """A timm model without its classifier: (B, channels, image_size, image_size) → (B, features).

    Args:
        weights: None = random initialisation drawn from `seed`; else as `weights_file` takes it. The first convolution
            of weights with other channels is repeated and rescaled by timm (mean response preserved).

    Raises:
        InputError: an unknown name, weights that are absent or do not fit, a size the model cannot take.
    """
    check_backbone(name)
    options: dict[str, Any] = {"in_chans": channels, "num_classes": 0}
    if has_one_size(name):
        options["img_size"] = image_size
    path = None if weights is None else weights_file(name, weights)
    try:
        model = _created(name, options, seed)
        if path is not None:
            random = model
            overlay = {"pretrained": True, "pretrained_cfg_overlay": {"state_dict": read_weights(path)}}
            model = _created(name, options | overlay, seed)
            _check_loaded(model, random, name, path)
        features = pooled(model, channels=channels, image_size=image_size)
    except (RuntimeError, AssertionError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())[:300]
        where = f"{channels} channels of {image_size} px and weights {weights or 'null'}"
        raise InputError(f"backbone: '{name}' with {where} cannot be made: {reason}") from error
    if features.ndim != 2:
        raise InputError(f"backbone: '{name}' gives {tuple(features.shape)} features an image, not one pooled vector")
    return model


@torch.no_grad()
def pooled(model: nn.Module, *, channels: int, image_size: int) -> Tensor:
    """(1, features) of an empty image, in eval mode; hooks see its feature maps."""
    training = model.training
    model.eval()
    try:
        features: Tensor = model(
            torch.zeros(1, channels, image_size, image_size, device=next(model.parameters()).device)
        )
        return features
    finally:
        model.train(training)


def _created(name: str, options: Mapping[str, Any], seed: int) -> nn.Module:
    import timm

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: nn.Module = timm.create_model(name, **options)
        return model


def _check_loaded(model: nn.Module, random: nn.Module, name: str, path: Path) -> None:
    """Timm passes over what a weight file lacks: a matrix that is still its random start was not loaded."""
    start = dict(random.named_parameters())
    left = [key for key, value in model.named_parameters() if value.ndim > 1 and torch.equal(value, start[key])]
    if left:
        raise InputError(
            f"weights: {path} has no {', '.join(left[:3])}{' …' * (len(left) > 3)} for '{name}'; is it another model's?"
        )


__all__ = ["check_backbone", "create_backbone", "has_one_size", "pooled"]
