"""The dial of the swept trainer in what people read.

Sentences are written for the strength λ of the trainer that came first. This turns a finished text into the words of
another trainer's dial; texts that hold names from the data are written with the symbol instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from typing import Any, TypeVar

from trainers.errors import InputError
from trainers.registry import DEFAULT, trainer
from trainers.trainer import Dial

Value = TypeVar("Value")


def dial_of(name: str | None) -> Dial:
    """The strength dial of a trainer; that of the first trainer where none of this name is installed."""
    try:
        return trainer(name or DEFAULT).dials[0]
    except InputError:
        return trainer(DEFAULT).dials[0]


def at_its_end(name: str | None, weight: float | None) -> bool:
    """Whether a trainer's strength dial can be turned no further."""
    return weight is not None and weight >= dial_of(name).high


def strength_text(name: str, weight: float, margin: float) -> str:
    """One strength of a trainer: "λ=3 m=0.3", or "α=0.5" where it has one dial."""
    try:
        dials = trainer(name).dials
    except InputError:  # a rung's name, or that of a trainer that is not installed
        dials = trainer(DEFAULT).dials
    return " ".join(f"{dial.symbol}={setting:g}" for dial, setting in zip(dials, (weight, margin), strict=False))


def spoken(text: str, dial: Dial) -> str:
    """A text about λ, in the words of `dial`."""
    first = trainer(DEFAULT).dials[0]
    return text.replace(first.name, dial.name).replace(first.symbol, dial.symbol)


def spoken_values(value: Value, dial: Dial) -> Value:
    """A value with every text inside it `spoken`: mappings (not their keys), sequences and dataclasses."""
    if dial == trainer(DEFAULT).dials[0]:
        return value
    found: Any = value
    if isinstance(value, Enum):
        return value
    if isinstance(value, str):
        found = value if value == trainer(DEFAULT).dials[0].symbol else spoken(value, dial)  # alone: a unit's code
    elif isinstance(value, Mapping):
        found = {key: spoken_values(item, dial) for key, item in value.items()}
    elif isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        found = type(value)(spoken_values(item, dial) for item in value)
    elif is_dataclass(value) and not isinstance(value, type):
        own = {each.name: spoken_values(getattr(value, each.name), dial) for each in fields(value) if each.init}
        found = replace(value, **own)
    return found  # type: ignore[no-any-return]


__all__ = ["at_its_end", "dial_of", "spoken", "spoken_values", "strength_text"]
