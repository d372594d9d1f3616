"""The profile encoder: an MLP on feature vectors, K of them stacked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from trainers.base import FloatArray

Hook = Callable[[int, Tensor], Tensor]
"""(layer number, (K, B, width) activations) → activations; layer 0 is the input, i the output of hidden layer i."""


def encoder_shapes(features: int, hidden: tuple[int, ...], embedding: int) -> dict[str, tuple[int, ...]]:
    """Parameter shapes of one cell: weight<i> (in, out) and bias<i> (1, out), i = 0 … len(hidden)."""
    widths = (features, *hidden, embedding)
    shapes: dict[str, tuple[int, ...]] = {}
    for i, (fan_in, fan_out) in enumerate(pairwise(widths)):
        shapes[f"weight{i}"] = (fan_in, fan_out)
        shapes[f"bias{i}"] = (1, fan_out)
    return shapes


def initial_values(shapes: Mapping[str, tuple[int, ...]], rng: np.random.Generator) -> dict[str, FloatArray]:
    """He-uniform weights (He et al. 2015, arXiv:1502.01852) and zero biases, drawn in the order of `shapes`."""
    return {
        name: np.zeros(shape, np.float32)
        if name.startswith("bias")
        else rng.uniform(-1.0, 1.0, shape).astype(np.float32) * np.float32(np.sqrt(6.0 / shape[0]))
        for name, shape in shapes.items()
    }


def encode(parameters: Mapping[str, Tensor], x: Tensor, hook: Hook | None = None) -> Tensor:
    """(K, B, d) standardised features → (K, B, e) embeddings, not normalised. Row by row when there is no hook."""
    layers = sum(name.startswith("weight") for name in parameters)
    h = x if hook is None else hook(0, x)
    for i in range(layers):
        h = torch.baddbmm(parameters[f"bias{i}"], h, parameters[f"weight{i}"])
        if i + 1 < layers:
            h = torch.relu(h)
            if hook is not None:
                h = hook(i + 1, h)
    return h


__all__ = ["Hook", "encode", "encoder_shapes", "initial_values"]
