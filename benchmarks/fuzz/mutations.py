"""What may have happened to a file, a table or a setting: pure functions of a generator and of what was whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

HOSTILE: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 10**8, 10**12, 10**40, -(10**40), 0.5, -0.5, 1e300, -1e300, 1e-300),
    *(float("inf"), float("-inf"), float("nan")),
    *("", " ", "NA", "nan", "null", "true", "0", "-1", "1e999", "1,5", "1.5", "a" * 5000, "../../x", "/etc/passwd"),
    *("\x00", "\u202e", "é", "日本", "{batch}", "[a", "a: b", "@x", "=1+1", "<script>", "%s", "{}", "$HOME", "~"),
    *([], {}, [1], ["a", "b"], {"a": 1}, [[1, 2], [3]], {"low": 1, "high": 0, "count": 3}),
    *("2021-13-45", "1_000", "0x10", "12:30:45", "!!python/name:os.system", "&a", "*a", "- a", "|", "? a"),
)
"""Values that are no good almost everywhere."""
SCALARS = tuple(value for value in HOSTILE if not isinstance(value, list | dict))


def pick(rng: np.random.Generator, values: Any) -> Any:
    """One of the values."""
    return values[int(rng.integers(len(values)))]


def damaged(rng: np.random.Generator, content: bytes) -> bytes:
    """Bytes as a full disk, a bad copy or an editor leaves them."""
    if not content:
        return b"\x00"
    at, end = sorted(int(x) for x in rng.integers(0, len(content) + 1, 2))
    return pick(
        rng,
        (
            lambda: content[:at],
            lambda: content[at:],
            lambda: content[:at] + content[end:],
            lambda: content[:end] + content[at:],
            lambda: content[:at] + bytes(min(end - at, 64)) + content[at + min(end - at, 64) :],
            lambda: content[:at] + rng.bytes(int(rng.integers(1, 9))) + content[at:],
            lambda: _flipped(rng, content),
            lambda: b"",
            lambda: rng.bytes(int(rng.integers(1, 200))),
            lambda: b"\xef\xbb\xbf" + content,
            lambda: content.replace(b"\n", b"\r\n"),
        ),
    )()


def _flipped(rng: np.random.Generator, content: bytes) -> bytes:
    """One to eight bytes replaced."""
    changed = bytearray(content)
    for at in rng.integers(0, len(changed), int(rng.integers(1, 9))):
        changed[int(at)] = int(rng.integers(256))
    return bytes(changed)


def changed_value(rng: np.random.Generator, data: Any) -> Any:
    """Nested plain values with one place changed, dropped, doubled or added."""
    places = list(_places(data, ()))
    path = pick(rng, places)
    return _put(rng, data, path)


def _places(data: Any, path: tuple[Any, ...]) -> Any:
    if path:
        yield path
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        yield from _places(value, (*path, key))


def _put(rng: np.random.Generator, data: Any, path: tuple[Any, ...]) -> Any:
    copied = dict(data) if isinstance(data, dict) else list(data)
    key = path[0]
    if len(path) > 1:
        copied[key] = _put(rng, data[key], path[1:])
        return copied
    action = int(rng.integers(5))
    if action == 0:
        del copied[key]
    elif action == 1 and isinstance(copied, dict):
        copied[pick(rng, ("x", f"{key}s", str(key).upper(), 3, "", str(key)[:-1] or "y"))] = copied.pop(key)
    elif action == 2 and isinstance(copied, list):
        copied.append(data[key])
    else:
        copied[key] = pick(rng, HOSTILE)
    return copied


Frame = tuple[pd.DataFrame, tuple[str, ...]]
"""A changed table, and the names of the columns that were touched."""


def changed_table(rng: np.random.Generator, table: pd.DataFrame) -> Frame:
    """A table with one thing wrong, odd or merely different."""
    names = list(table.columns)
    name = str(pick(rng, names))
    changes: tuple[Callable[[], Frame], ...] = (
        lambda: (table.drop(columns=name), (name,)),
        lambda: _renamed(rng, table, name),
        lambda: _with(rng, table, name, pick(rng, SCALARS)),
        lambda: _with(rng, table, name, pick(rng, SCALARS)),
        lambda: (table.assign(**{name: [pick(rng, SCALARS)] * len(table)}), (name,)),
        lambda: (table.assign(**{name: table[name].astype(str).str.replace(".", ",", regex=False)}), (name,)),
        lambda: (table.assign(**{name: [[1.0, 2.0]] * len(table)}), (name,)),
        lambda: (pd.concat([table, table[[name]]], axis=1), (name,)),
        lambda: (table.iloc[:0], ()),
        lambda: (table.iloc[: int(rng.integers(1, 5))], ()),
        lambda: (pd.concat([table, table.iloc[[int(rng.integers(len(table)))]]]), ()),
        lambda: (table.iloc[rng.permutation(len(table))], ()),
        lambda: (table[list(rng.permutation(names))], ()),
        lambda: _added(rng, table),
        lambda: _added(rng, table),
        lambda: (table.assign(**{name: rng.permutation(table[name].to_numpy())}), (name,)),
    )
    return changes[int(rng.integers(len(changes)))]()


def _renamed(rng: np.random.Generator, table: pd.DataFrame, name: str) -> Frame:
    new = str(pick(rng, ("", " ", name.lower(), f" {name}", f"{name}.1", "Metadata_", "a" * 300, "0", f"x{name}", "é")))
    return table.rename(columns={name: new}), (name, new)


def _with(rng: np.random.Generator, table: pd.DataFrame, name: str, value: Any) -> Frame:
    """One entry replaced."""
    column = table[name].astype(object).copy()
    column.iloc[int(rng.integers(len(table)))] = value
    return table.assign(**{name: column}), (name,)


def _added(rng: np.random.Generator, table: pd.DataFrame) -> Frame:
    """A further column, of the kinds that tables of the field carry beside features."""
    count = len(table)
    kinds: dict[str, Any] = {
        "ImageNumber": np.arange(count),
        "Unnamed: 0": np.arange(count),
        "__index_level_0__": np.arange(count),
        "ObjectNumber": rng.integers(0, 9, count),
        "Image_Metadata_Site": rng.integers(1, 5, count),
        "Metadata_extra": rng.standard_normal(count),
        "Cells_Location_Center_X": rng.uniform(0, 500, count),
        "notes": ["x"] * count,
        "flag": rng.integers(0, 2, count).astype(bool),
        "when": pd.Timestamp("2024-01-01"),
        "empty": np.nan,
        "constant": 1.0,
        "embedding": [[0.0, 1.0, 2.0]] * count,
    }
    name = str(pick(rng, list(kinds)))
    return table.assign(**{name: kinds[name]}), (name,)


__all__ = ["HOSTILE", "SCALARS", "changed_table", "changed_value", "damaged", "pick"]
