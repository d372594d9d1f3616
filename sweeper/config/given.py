"""What a user gave, as plain values: a YAML text, and key=value overrides of it; only their form is judged here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml

from sweeper.errors import ConfigError, InputError
from trainers.screens.place import without_credentials

Parsed = TypeVar("Parsed")
MOST_BYTES = 1_000_000
MOST_VALUES = 100_000
_DEEPEST = 50
_LONGEST = 80


class _UniqueKeyLoader(yaml.SafeLoader):
    """Safe YAML that refuses a key given twice (plain YAML keeps the last one in silence)."""


def _mapping_without_repeats(loader: _UniqueKeyLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[str] = set()
    for key_node, _ in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            raise yaml.constructor.ConstructorError(None, None, "a key must be a plain text", key_node.start_mark)
        if key_node.value in seen:
            raise yaml.constructor.ConstructorError(
                None, None, f"key '{key_node.value}' is given twice", key_node.start_mark
            )
        seen.add(key_node.value)
    return dict(loader.construct_mapping(node, deep=True))


_UniqueKeyLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping_without_repeats)


class _NotYamlError(Exception):
    """The text is no YAML that a configuration could mean."""


def _load(text: str) -> Any:
    """The value of a YAML text; `_NotYamlError` has the reason, with the line where there is one."""
    try:
        value = yaml.load(text, Loader=_UniqueKeyLoader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        reason = getattr(error, "problem", None) or " ".join(str(error).split())
        raise _NotYamlError(f"{where}: not valid YAML: {reason}") from None
    except RecursionError:
        raise _NotYamlError(": not valid YAML: nested too deeply") from None
    except (ValueError, OverflowError, TypeError) as error:  # a date that is none, a number of thousands of digits
        raise _NotYamlError(f": not valid YAML: {error}") from None
    _count(value)
    return value


def _count(value: Any) -> None:
    """Refuse what anchors blow up: a few lines of YAML may stand for more values than there is memory."""
    waiting, seen = [(value, 0)], 0
    while waiting:
        item, depth = waiting.pop()
        seen += 1
        if seen > MOST_VALUES or depth > _DEEPEST:
            raise _NotYamlError(f": more than {MOST_VALUES:,} values, or nested more than {_DEEPEST} deep")
        if isinstance(item, Mapping):
            waiting.extend((inner, depth + 1) for inner in item.values())
        elif isinstance(item, list | set | tuple):
            waiting.extend((inner, depth + 1) for inner in item)


def parse_yaml(text: str, source: str) -> dict[str, Any]:
    """Parse safe YAML whose top level is a mapping; `ConfigError` names `source` and the line."""
    try:
        data = _load(text)
    except _NotYamlError as reason:
        raise ConfigError(f"{source}{reason}") from None
    if not isinstance(data, dict):
        found = "nothing" if data is None else type(data).__name__
        raise ConfigError(f"{source}: expected keys and values at the top level, got {found}")
    return data


def read_text(path: Path) -> str:
    """The text of a configuration; `ConfigError` says why there is none."""
    try:
        if (size := path.stat().st_size) > MOST_BYTES:
            raise ConfigError(f"{path}: cannot read the configuration: {size / 1e6:.0f} MB; expected a YAML of a page")
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ConfigError(f"{path}: cannot read the configuration: {reason}") from None


def apply_overrides(data: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Set dotted keys, `abra.steps=200`, `views.0.folds=4`; the value is YAML, and what is no YAML is text.

    Raises:
        ConfigError: not key=value, or a key that leads into a value which has none.
    """
    merged: dict[str, Any] = dict(data)
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not all(key.split(".")):
            raise ConfigError(f"{_option(override)}: expected key=value, e.g. --set abra.steps=200")
        *path, last = key.split(".")
        node: dict[str, Any] | list[Any] = merged
        for depth, part in enumerate(path):
            node = _entered(node, part, _option(override), ".".join(path[: depth + 1]))
        if isinstance(node, list):
            node[_number(node, last, _option(override), ".".join(path))] = _value(text)
        else:
            node[last] = _value(text)
    return merged


def with_overrides(
    parse: Callable[[dict[str, Any], str], Parsed], data: Mapping[str, Any], overrides: Sequence[str], source: str
) -> Parsed:
    """What `parse` makes of the data with the overrides set; an error names the override that brings it about.

    Args:
        parse: values and their source, which its errors begin with → what they mean.
        data: of the file.
        overrides: key=value.
        source: the file.

    Raises:
        InputError: as `parse` or `apply_overrides`.
    """
    try:
        return parse(apply_overrides(data, overrides), source)
    except InputError as error:
        if not str(error).startswith(f"{source}: "):
            raise
        reason = str(error).removeprefix(source)
        counts = range(len(overrides) + 1)
        guilty = next(count for count in counts if _error(parse, data, overrides[:count], source) == str(error))
        raise ConfigError(f"{_option(overrides[guilty - 1]) if guilty else source}{reason}") from None


def _error(
    parse: Callable[[dict[str, Any], str], object], data: Mapping[str, Any], overrides: Sequence[str], source: str
) -> str:
    """What `parse` says against the data with these overrides; "" where nothing."""
    try:
        parse(apply_overrides(data, overrides), source)
    except InputError as error:
        return str(error)
    return ""


def _option(override: str) -> str:
    """An override as it was given, shortened, without credentials."""
    told = without_credentials(override)
    return f"--set {told}" if len(told) <= _LONGEST else f"--set {told[:_LONGEST]}…"


def _entered(node: dict[str, Any] | list[Any], part: str, source: str, key: str) -> dict[str, Any] | list[Any]:
    """A copy of what is under `part`, in its place."""
    at: Any = _number(node, part, source, key.rpartition(".")[0]) if isinstance(node, list) else part
    child = node[at] if isinstance(node, list) else node.get(at)
    if child is None:
        child = {}
    if not isinstance(child, Mapping | list):
        raise ConfigError(f"{source}: {key} is {child!r}, which has no keys")
    copied: dict[str, Any] | list[Any] = list(child) if isinstance(child, list) else dict(child)
    node[at] = copied
    return copied


def _number(items: list[Any], part: str, source: str, key: str) -> int:
    """Which item of a list `part` names."""
    if not part.isdecimal() or int(part[:9]) >= len(items):
        last = f"{key}.0 to {key}.{len(items) - 1}" if len(items) > 1 else f"{key}.0"
        raise ConfigError(f"{source}: {key} is a list; name one of its items, {last}")
    return int(part)


def _value(text: str) -> Any:
    """`[a, b]`, `{k: v}`, 3, true and null as YAML means them; a path with {fields} and the like as they stand."""
    try:
        value = _load(text)
    except _NotYamlError:
        return text
    # A lone `{batch}` is YAML for {batch: null}, and a pattern to everybody else; `&a` is an anchor of nothing.
    pattern = isinstance(value, dict) and value and ":" not in text
    nothing = value is None and text.strip().lower() not in ("", "~", "null")
    return text if pattern or nothing else value


__all__ = ["apply_overrides", "parse_yaml", "read_text", "with_overrides"]
