"""The Gaussian-mixture variational autoencoder, K of them stacked.

q(y|x), q(z|x, y), p(z|y), p(x|z), and a projection of z that the triplets alone see. Every hidden layer is followed by
a leaky ReLU; variances by a softplus.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from trainers.base import FloatArray

Shapes = dict[str, tuple[int, ...]]
_SPREAD_FLOOR = 1e-10


ENCODER = ("category0", "category1", "logits", "latent0", "latent1", "mean")
"""The linear layers that lead from features to the mean of the latent."""
_SLOPE = 0.01  # of the leaky ReLU


def linear_shapes(layers: Mapping[str, tuple[int, int]]) -> Shapes:
    """Name → (in, out) as the shapes of name.weight (in, out) and name.bias (1, out)."""
    shapes: Shapes = {}
    for name, (fan_in, fan_out) in layers.items():
        shapes[f"{name}.weight"] = (fan_in, fan_out)
        shapes[f"{name}.bias"] = (1, fan_out)
    return shapes


def vae_shapes(features: int, *, hidden: int, latent: int, categories: int) -> Shapes:
    """Parameter shapes of one cell."""
    return linear_shapes(
        {
            "category0": (features, hidden),
            "category1": (hidden, hidden),
            "logits": (hidden, categories),
            "latent0": (features + categories, hidden),
            "latent1": (hidden, hidden),
            "mean": (hidden, latent),
            "variance": (hidden, latent),
            "projection": (latent, latent),
            "prior_mean": (categories, latent),
            "prior_variance": (categories, latent),
            "decoder0": (latent, hidden),
            "decoder1": (hidden, hidden),
            "decoder2": (hidden, features),
        }
    )


def initial_linear(shapes: Mapping[str, tuple[int, ...]], rng: np.random.Generator) -> dict[str, FloatArray]:
    """Weights and biases uniform in ±1/√(inputs), as torch starts a linear layer.

    A layer's outputs are drawn one after the other, so that further outputs change none before them.
    """
    found: dict[str, FloatArray] = {}
    for name, (fan_in, fan_out) in ((n.removesuffix(".weight"), s) for n, s in shapes.items() if n.endswith(".weight")):
        drawn = rng.uniform(-1.0, 1.0, (fan_out, fan_in + 1)).astype(np.float32) / np.float32(np.sqrt(fan_in))
        found[f"{name}.weight"], found[f"{name}.bias"] = drawn[:, :-1].T, drawn[None, :, -1]
    return found


def linear(parameters: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    """(K, B, in) → (K, B, out)."""
    return torch.baddbmm(parameters[f"{name}.bias"], x, parameters[f"{name}.weight"])


def hidden_layer(parameters: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    """The same, with its leaky ReLU."""
    return functional.leaky_relu(linear(parameters, name, x), _SLOPE)


@dataclass(frozen=True, eq=False)
class Inferred:
    """What the encoder says of (K, B) rows.

    Attributes:
        logits: (K, B, C) of q(y|x).
        category: (K, B, C) y, soft.
        mean, variance: (K, B, Z) of q(z|x, y).
    """

    logits: Tensor
    category: Tensor
    mean: Tensor
    variance: Tensor

    def sample(self, normal: Tensor) -> Tensor:
        """(K, B, Z) z = mean + normal · spread."""
        return self.mean + normal * torch.sqrt(self.variance + _SPREAD_FLOOR)


def infer(
    parameters: Mapping[str, Tensor], x: Tensor, *, gumbel: Tensor | None = None, temperature: Tensor | float = 1.0
) -> Inferred:
    """q(y|x) and q(z|x, y) of (K, B, D) rows.

    Args:
        gumbel: (K, B, C) noise of the Gumbel-softmax (arXiv:1611.01144); None: y is the softmax of the logits, a pure
            function of the row.
        temperature: of the Gumbel-softmax; not looked at without noise.
    """
    logits = linear(parameters, "logits", _two_layers(parameters, "category", x))
    category = torch.softmax(logits if gumbel is None else (logits + gumbel) / temperature, dim=-1)
    hidden = _two_layers(parameters, "latent", torch.cat([x, category], dim=-1))
    variance = functional.softplus(linear(parameters, "variance", hidden))
    return Inferred(logits, category, linear(parameters, "mean", hidden), variance)


def encoder_layers(*, location: str, factor: str) -> tuple[dict[str, str | float], ...]:
    """What `infer` does without noise, up to the mean, as layers of `trainers.kept_layers`.

    Args:
        location, factor: the arrays that features are standardised by.
    """

    def dense(name: str) -> dict[str, str | float]:
        return {"op": "dense", "weight": f"{name}.weight", "bias": f"{name}.bias"}

    def hidden(name: str) -> tuple[dict[str, str | float], ...]:
        leaky: dict[str, str | float] = {"op": "leaky_relu", "slope": _SLOPE}
        return dense(f"{name}0"), leaky, dense(f"{name}1"), leaky

    return (
        {"op": "standardise", "mean": location, "factor": factor},
        {"op": "remember"},
        *hidden("category"),
        dense("logits"),
        {"op": "softmax"},
        {"op": "join"},
        *hidden("latent"),
        dense("mean"),
    )


def prior(parameters: Mapping[str, Tensor], category: Tensor) -> tuple[Tensor, Tensor]:
    """(K, B, Z) mean and variance of p(z|y)."""
    mean = linear(parameters, "prior_mean", category)
    return mean, functional.softplus(linear(parameters, "prior_variance", category))


def decode(parameters: Mapping[str, Tensor], z: Tensor) -> Tensor:
    """(K, B, D) mean of p(x|z)."""
    return linear(parameters, "decoder2", _two_layers(parameters, "decoder", z))


def project(parameters: Mapping[str, Tensor], z: Tensor) -> Tensor:
    """(K, B, Z) where the triplets' distances are taken."""
    return hidden_layer(parameters, "projection", z)


def _two_layers(parameters: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    return hidden_layer(parameters, f"{name}1", hidden_layer(parameters, f"{name}0", x))


__all__ = [
    "ENCODER",
    "Inferred",
    "Shapes",
    "decode",
    "encoder_layers",
    "hidden_layer",
    "infer",
    "initial_linear",
    "linear",
    "linear_shapes",
    "prior",
    "project",
    "vae_shapes",
]
