"""Frozen values to plain JSON and back: the types of a decision say what its file holds, and nothing else does.

A field is written under its own name, or under the key of its metadata (`under`) where the file's key is another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import Field, fields, is_dataclass
from enum import Enum
from functools import cache
from math import inf, isfinite
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np
from pydantic import BaseModel, ValidationError

from trainers.errors import InputError

UNWRITTEN: Mapping[str, bool] = {"written": False}
"""Metadata of a field that is passed on in memory and not written to JSON."""


MAY_LACK: Mapping[str, bool] = {"may_lack": True}
"""Metadata of a field that older files do not have: its default is what that means."""


def under(key: str) -> Mapping[str, str]:
    """Metadata of a field that JSON holds under another key than its name."""
    return {"key": key}


def plain(value: Any) -> Any:
    """`value` as JSON types: null for NaN and infinities, text for anything unknown."""
    if is_dataclass(value) and not isinstance(value, type):
        return {key: plain(getattr(value, one.name)) for key, one in _written(type(value))}
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


def read(kind: Any, data: Any, where: str) -> Any:
    """Inverse of `plain`: a value of type `kind`.

    A number that is always there is null in JSON only where it is infinite, and is read as such.

    Args:
        where: names the value in messages: "decision.rule".

    Raises:
        InputError: a key is missing or unknown, or a value is of another type; one line that names it.
    """
    if kind is Any:
        return data
    if kind is float and data is None:
        return inf
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return _one_of(inner, data, where)
    if origin is Literal:
        return data if data in inner else _refuse(where, f"one of {', '.join(map(repr, inner))}", data)
    if origin is tuple:
        items = _expect(list, data, where, "a list")
        kinds = inner[:1] * len(items) if inner[-1] is Ellipsis else inner
        if len(kinds) != len(items):
            _refuse(where, f"{len(kinds)} values", data)
        return tuple(read(one, item, f"{where}[{at}]") for at, (one, item) in enumerate(zip(kinds, items, strict=True)))
    if origin is Mapping:
        found = _expect(dict, data, where, "an object")
        return {key: read(inner[1], item, f"{where}.{key}") for key, item in found.items()}
    if isinstance(kind, type) and is_dataclass(kind):
        return _fields(kind, _expect(dict, data, where, "an object"), where)
    if issubclass(kind, BaseModel):
        return _model(kind, data, where)
    if issubclass(kind, Enum):
        return kind(data) if data in [item.value for item in kind] else _refuse(where, f"a {kind.__name__}", data)
    return _scalar(kind, data, where)


def _one_of(kinds: tuple[Any, ...], data: Any, where: str) -> Any:
    if data is None and NoneType in kinds:
        return None
    others = [kind for kind in kinds if kind is not NoneType]
    return read(str if str in others and isinstance(data, str) else others[-1], data, where)


def _scalar(kind: type, data: Any, where: str) -> Any:
    if kind is float and isinstance(data, int) and not isinstance(data, bool):
        return float(data)
    if isinstance(data, kind) and (kind is bool or not isinstance(data, bool)):
        return data
    return _refuse(where, {float: "a number", int: "a whole number", bool: "true or false", str: "a text"}[kind], data)


def _model(kind: type[BaseModel], data: Any, where: str) -> BaseModel:
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
    raise InputError(f"{'.'.join([where, *map(str, first['loc'])])}: {first['msg']}")


def _fields(kind: type, data: Mapping[str, Any], where: str) -> Any:
    hints, written = _hints(kind), dict(_written(kind))
    unknown = sorted(set(data) - set(written))
    if unknown:
        raise InputError(f"{where}: unknown key {unknown[0]!r}")
    missing = [key for key, one in written.items() if key not in data and not one.metadata.get("may_lack")]
    if missing:
        raise InputError(f"{where}: key {missing[0]!r} is missing")
    given = {key: one.name for key, one in written.items() if key in data}
    return kind(**{name: read(hints[name], data[key], f"{where}.{key}") for key, name in given.items()})


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _written(kind: type) -> Iterator[tuple[str, Field[Any]]]:
    """Key and field of everything that is written of a dataclass."""
    for one in fields(kind):
        if one.metadata.get("written", True):
            yield one.metadata.get("key", one.name), one


def _expect(kind: type, data: Any, where: str, what: str) -> Any:
    return data if isinstance(data, kind) else _refuse(where, what, data)


def _refuse(where: str, expected: str, data: Any) -> Any:
    raise InputError(f"{where}: expected {expected}, got {str(data)[:60]!r}")
