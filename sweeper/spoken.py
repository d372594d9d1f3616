"""The dials of the swept trainer in what people read.

Sentences are written for the strength λ and the margin of the trainer that came first. This turns a finished text into
the words of another trainer's dials; texts that hold names from the data are written with the symbol instead.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from typing import Any, TypeVar

from trainers.errors import InputError
from trainers.registry import DEFAULT, trainer
from trainers.trainer import Dial

Value = TypeVar("Value")


def dials_of(name: str | None) -> tuple[Dial, ...]:
    """The dials of a trainer, its strength first; those of the first trainer where none of this name is installed."""
    try:
        return trainer(name or DEFAULT).dials
    except InputError:
        return trainer(DEFAULT).dials


def dial_of(name: str | None) -> Dial:
    """The strength dial of a trainer, as `dials_of`."""
    return dials_of(name)[0]


def at_its_end(name: str | None, weight: float | None) -> bool:
    """Whether a trainer's strength dial can be turned no further."""
    return weight is not None and weight >= dial_of(name).high


def strength_text(name: str, weight: float, margin: float) -> str:
    """One strength of a trainer: "λ=3 m=0.3", or "α=0.5" where it has one dial."""
    dials = dials_of(name)  # a rung's name, or that of a trainer that is not installed, has the first trainer's
    return " ".join(f"{dial.symbol}={setting:g}" for dial, setting in zip(dials, (weight, margin), strict=False))


def spoken(text: str, dials: Sequence[Dial]) -> str:
    """A text about λ and the margin, in the words of `dials`."""
    weight, margin = trainer(DEFAULT).dials
    if tuple(dials) == (weight, margin):
        return text
    text = text.replace(weight.name, dials[0].name).replace(weight.symbol, dials[0].symbol)
    text = _with_own(text, weight.by, dials[0].by)
    if len(dials) == 1:
        return text.replace(f" at this {margin.word}", "")
    word = dials[1].word
    text = re.sub(rf"\b({margin.name}|{margin.word})(?=s?\b)", word, text)
    return re.sub(rf"\b{margin.word.capitalize()}(?=s?\b)", word[0].upper() + word[1:], text)


def _with_own(text: str, first: str, own: str) -> str:
    """Advice to set another critic: what a trainer sets in its place, or another method where it sets nothing."""
    if own:
        return re.sub(rf"\b{first}\b", own, text)
    text = re.sub(rf"\ba {first} that [^,.]*, (?=another method)", "", text)
    return re.sub(rf"\banother {first}( or method)?\b", "another method", text)


def spoken_values(value: Value, dials: Sequence[Dial]) -> Value:
    """A value with every text inside it `spoken`: mappings (not their keys), sequences and dataclasses."""
    first = trainer(DEFAULT).dials
    if tuple(dials) == first:
        return value
    codes = (first[0].symbol, first[1].word)  # alone: a unit, and what a condition is about
    found: Any = value
    if isinstance(value, Enum):
        return value
    if isinstance(value, str):
        found = value if value in codes else spoken(value, dials)
    elif isinstance(value, Mapping):
        found = {key: spoken_values(item, dials) for key, item in value.items()}
    elif isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        found = type(value)(spoken_values(item, dials) for item in value)
    elif is_dataclass(value) and not isinstance(value, type):
        own = {each.name: spoken_values(getattr(value, each.name), dials) for each in fields(value) if each.init}
        found = replace(value, **own)
    return found  # type: ignore[no-any-return]


__all__ = ["at_its_end", "dial_of", "dials_of", "spoken", "spoken_values", "strength_text"]
