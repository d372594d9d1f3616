"""One value where a list is declared is a list of one: `margin: 0.3`, `negative_controls: DMSO`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, get_args, get_origin

from pydantic import BaseModel


def listed(data: Any, model: type[BaseModel]) -> Any:
    """The values with single ones made lists, wherever the model declares a list of any length.

    A key with a reading of its own (`seeds: 3` counts) is left to it.
    """
    if not isinstance(data, Mapping):
        return data
    decorators = model.__pydantic_decorators__.field_validators.values()
    own = {name for found in decorators if found.info.mode == "before" for name in found.info.fields}
    return {
        key: _listed(value, model.model_fields[key].annotation)
        if key in model.model_fields and key not in own
        else value
        for key, value in data.items()
    }


def _listed(value: Any, annotation: Any) -> Any:
    branches = list(_branches(annotation))
    models = [branch for branch in branches if _is_model(branch)]
    items = [get_args(branch)[0] for branch in branches if get_origin(branch) is tuple and ... in get_args(branch)]
    if isinstance(value, Mapping) and models:
        return listed(value, models[0]) if len(models) == 1 else value
    if not items or value is None or isinstance(value, bool):
        return value
    if isinstance(value, list | tuple):
        return [_listed(item, items[0]) for item in value]
    if isinstance(value, Mapping) and not any(map(_is_model, _branches(items[0]))):
        return value
    return [_listed(value, items[0])]


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _branches(annotation: Any) -> Iterator[Any]:
    """The types that a value may have, without what annotates them."""
    if get_origin(annotation) is tuple or not get_args(annotation):
        yield annotation
    else:
        for inner in get_args(annotation):
            yield from _branches(inner)


__all__ = ["listed"]
