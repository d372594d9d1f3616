"""Validation errors in our own words: one line with the source, the key, what it holds and what would be right."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 60
_SHORT.maxlevel = 2

_EXPECTED = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number of reasonable size",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "string_sub_type": "text",
    "string_unicode": "text",
    "path_type": "a path",
    "tuple_type": "a list",
    "list_type": "a list",
    "set_type": "a list",
    "dict_type": "keys and values",
    "mapping_type": "keys and values",
    "model_type": "keys and values",
    "model_attributes_type": "keys and values",
    "dataclass_type": "keys and values",
    "invalid_key": "a key that is text",
    "recursion_loop": "values that do not hold themselves",
    "none_required": "null",
    "is_instance_of": "another value",
}
_BOUNDS = {
    "greater_than": ("gt", "a number above {}"),
    "greater_than_equal": ("ge", "a number of {} or more"),
    "less_than": ("lt", "a number below {}"),
    "less_than_equal": ("le", "a number of {} or less"),
    "multiple_of": ("multiple_of", "a multiple of {}"),
    "too_short": ("min_length", "{} or more values"),
    "too_long": ("max_length", "{} values or fewer"),
    "string_too_short": ("min_length", "text of {} or more characters"),
    "string_too_long": ("max_length", "text of {} characters or fewer"),
    "string_pattern_mismatch": ("pattern", "text that matches {}"),
    "literal_error": ("expected", "{}"),
    "enum": ("expected", "{}"),
    "union_tag_invalid": ("expected_tags", "one of {}"),
}


def one_line(error: ValidationError, source: str, root: type[BaseModel]) -> str:
    """The error that says most, as one line."""
    # Of a union the branch that got deepest is the one that was meant.
    found = error.errors(include_url=False)
    first = next((e for e in found if e["type"] == "extra_forbidden"), None)
    first = first or max(found, key=lambda e: len(_place(e["loc"])))
    unknown = first["type"] == "extra_forbidden"
    # The last part of an unknown key is the user's own, whatever it looks like.
    location = (*_place(first["loc"][:-1]), first["loc"][-1]) if unknown else _place(first["loc"])
    key = ".".join(str(part) for part in location)
    at = f"{source}: {key}" if key else source
    if unknown:
        return f"{source}: unknown key '{key}'{_nearest(str(location[-1]), _known_keys(root, location))}"
    if first["type"] == "missing":
        return f"{at}: is missing"
    if first["type"] in ("value_error", "assertion_error"):
        text = first["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
        return f"{at}: {text}"
    same = [e for e in found if _place(e["loc"]) == location]
    expected = " or ".join(dict.fromkeys(_expected(e) for e in same))
    return f"{at}: expected {expected}, got {_given(first['input'])}{_remedy(first)}"


def _expected(error: Mapping[str, Any]) -> str:
    """What would be right, for an error of one branch."""
    if error["type"] in _EXPECTED:
        return _EXPECTED[error["type"]]
    if error["type"] in _BOUNDS:
        name, text = _BOUNDS[error["type"]]
        bound = error.get("ctx", {}).get(name, "?")
        return text.format(f"{bound:g}" if isinstance(bound, float) else bound)
    message = str(error["msg"])
    return message.removeprefix("Input should be ").removeprefix("a valid ") or "another value"


def _given(value: Any) -> str:
    """The value, shortened."""
    try:
        return _SHORT.repr(value)
    except ValueError:  # Python writes no number of more than 4300 digits
        return "a number of thousands of digits"


def _remedy(error: Mapping[str, Any]) -> str:
    """Numbers, truths and dates that YAML makes of unquoted text."""
    given = error["input"]
    if error["type"] != "string_type" or isinstance(given, Mapping | list | tuple) or given is None:
        return ""
    return '; YAML reads it so unless it is in quotes: "…"'


def _place(location: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Where an error is, without the names that the validator gives to branches of a union."""
    return tuple(
        part
        for number, part in enumerate(location)
        if not (isinstance(part, str) and ("[" in part or part in {"SpacedRange", "int", "float", "str", "bool"}))
        and not (number == 1 and location[0] == "images")  # the layout, as the branch of the union is named
    )


def _nearest(name: str, known: Iterable[str]) -> str:
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean '{matches[0]}'?" if matches else ""


def _known_keys(root: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Keys of the section that holds `location`, for a suggestion."""
    model: Any = root
    for part in location[:-1]:
        if isinstance(part, int):
            continue
        field = model.model_fields.get(part) if hasattr(model, "model_fields") else None
        if field is None:
            return []
        candidates = [field.annotation, *getattr(field.annotation, "__args__", ())]
        model = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)
    return list(model.model_fields) if hasattr(model, "model_fields") else []


__all__ = ["one_line"]
