"""What a trainer gives of a fitted cell, so that it can be kept and other rows can go through it without a refit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

OPERATIONS: Mapping[str, tuple[str, ...]] = {
    "by_group": (),
    "standardise": ("mean", "factor"),
    "dense": ("weight", "bias"),
    "relu": (),
    "leaky_relu": (),
    "softmax": (),
    "remember": (),
    "join": (),
    "shrink": ("mean", "axes", "factor"),
    "unit": (),
}
"""Operation of `trainers.kept_layers` → the arrays that it names."""


@dataclass(frozen=True, eq=False)
class Fitted:
    """The state of one fitted cell: how it embeds a matrix of normalised features, as layers over named arrays.

    Attributes:
        layers: operations of `trainers.kept_layers`, in order; plain values.
        arrays: what the layers name.
        named: the columns of the embedding are still the features, and keep their names.
    """

    layers: tuple[Mapping[str, Any], ...]
    arrays: Mapping[str, NDArray[Any]]
    named: bool = False


@runtime_checkable
class Keepable(Protocol):
    """A pack whose finished cells can be kept."""

    def fitted(self, index: int) -> Fitted:
        """The state of cell `index`."""


__all__ = ["OPERATIONS", "Fitted", "Keepable"]
