"""Instance normalisation in a backbone: an image's own statistics in the place of the mini-batch's.

Stain and illumination of a batch are, to a first approximation, a location and a scale of every channel of early maps;
instance normalisation takes both out of every image (Ulyanov et al. 2016, arXiv:1607.08022). In early stages alone it
leaves contents to later ones (IBN-Net, Pan et al. 2018, arXiv:1807.09441).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from trainers.errors import InputError
from trainers.images.backbones import pooled
from trainers.images.points import point_modules


def use_instance_norm(model: nn.Module, points: Sequence[str], *, channels: int, image_size: int) -> None:
    """Replace the batch normalisations that lead to the named points, from the point before to each; in place.

    Weights and biases of a normalisation are kept, its running statistics are not.

    Raises:
        InputError: a point that the backbone does not have, one without a batch normalisation, or maps of one position,
            which have no statistics of their own.
    """
    known = point_modules(model)
    for point in points:
        if point not in known:
            raise InputError(f"instance_norm: no '{point}' in this backbone; it has {', '.join(known)}")
    leading = _leading(model, known)
    for point in points:
        if not leading[point]:
            raise InputError(f"instance_norm: no batch normalisation leads to '{point}' in this backbone; leave it out")
        for path in leading[point]:
            model.set_submodule(path, _replacement(model.get_submodule(path)))
    try:
        pooled(model, channels=channels, image_size=image_size)
    except ValueError:
        raise InputError(
            f"instance_norm: maps up to '{points[-1]}' have one position at {image_size} px, so no statistics of their "
            "own; name earlier points"
        ) from None


def _leading(model: nn.Module, known: dict[str, str]) -> dict[str, list[str]]:
    """Point → paths of the batch normalisations inside its module, or defined between it and the point before."""
    found: dict[str, list[str]] = {point: [] for point in known}
    order = list(known.items())
    passed = 0  # points whose module begins at or before the module that is looked at
    for path, module in model.named_modules():
        while passed < len(order) and path == order[passed][1]:
            passed += 1
        if not isinstance(module, nn.BatchNorm2d):
            continue
        own = [point for point, at in order if path == at or path.startswith(f"{at}.")]
        if own or passed < len(order):
            found[own[0] if own else order[passed][0]].append(path)
    return found


def _replacement(norm: nn.Module) -> nn.Module:
    """With the weights of a BatchNorm2d; timm's with an activation inside keeps that."""
    assert isinstance(norm, nn.BatchNorm2d)  # noqa: S101 - found so
    new = nn.InstanceNorm2d(norm.num_features, eps=norm.eps, affine=norm.affine)
    if norm.affine:
        with torch.no_grad():
            new.weight.copy_(norm.weight)
            new.bias.copy_(norm.bias)
    further = [getattr(norm, name) for name in ("drop", "act") if isinstance(getattr(norm, name, None), nn.Module)]
    return nn.Sequential(new, *further) if further else new


__all__ = ["use_instance_norm"]
