"""What no configuration can mean: infinite numbers, sizes beyond any machine, names that lead out of their folder.

Judged when a configuration is read, and not when a stored one is: a store written yesterday is read today.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from sweeper.errors import ConfigError

MOST = 1e9
"""Of any number: strengths, rates and weights are far below; a float32 loses its last digits at 1e7."""
MOST_OF = {
    "batches": 10_000,
    "count": 1_000,
    "embedding_dim": 65_536,
    "folds": 1_000,
    "features": 20_000,
    "hidden_widths": 65_536,
    "critic_width": 65_536,
    "epochs": 100_000,
    "groups": 100_000,
    "items": 100_000,
    "permutations": 100_000,
    "perturbations": 1_000_000,
    "plates_per_batch": 10_000,
    "probe_folds": 1_000,
    "rounds": 1_000,
    "seed": 2**31 - 1,
    "seeds": 2**31 - 1,
    "steps": 10_000_000,
    "strengths": 10_000,
    "strengths_per_round": 10_000,
    "extra_seeds": 1_000,
    "confirm.seeds": 1_000,
    "draws": 10_000_000,
    "curves": 1_000_000,
    "controls_per_plate": 1_536,
    "positive_controls": 10_000,
    "wells_per_positive": 1_536,
    "targets": 100_000,
    "latent": 10_000,
    "crop": 100_000,
    "image_size": 100_000,
    "pack_size": 100_000,
}
"""Largest whole numbers by the key or its last part; a million for all others."""
MOST_WHOLE = 1_000_000
MOST_SIMULATED = 200_000_000
MOST_CELLS = 1_000_000
_SIMULATED = ("batches", "plates_per_batch", "wells_per_plate")
_FORBIDDEN = ("/", "\\")


def check_limits(given: BaseModel, source: str) -> None:
    """Raise `ConfigError` with source and key for a value that no sweep could have."""
    for key, value in _values(given, ""):
        at = f"{source}: {key}"
        last = next(part for part in reversed(key.split(".")) if not part.isdecimal())
        if isinstance(value, bool):
            continue
        if isinstance(value, int) and abs(value) > (most := MOST_OF.get(key, MOST_OF.get(last, MOST_WHOLE))):
            raise ConfigError(f"{at}: expected a whole number of {most:,} or less, got {_short(value)}")
        if isinstance(value, float) and not (math.isfinite(value) and abs(value) <= MOST):
            raise ConfigError(f"{at}: expected a finite number of {MOST:,.0f} or less, got {value:g}")
        if isinstance(value, str | Path) and (bad := next((c for c in str(value) if ord(c) < 32), None)) is not None:
            raise ConfigError(f"{at}: holds the control character {bad!r}; expected plain text")
    sizes = [size for name in (*_SIMULATED, "features") if isinstance(size := getattr(given, name, None), int)]
    if len(sizes) > len(_SIMULATED) and (total := math.prod(sizes)) > MOST_SIMULATED:
        raise ConfigError(f"{source}: {' × '.join((*_SIMULATED, 'features'))} is {total:,}, above {MOST_SIMULATED:,}")


def check_name(name: str, source: str) -> None:
    """Raise `ConfigError` for a name that leads elsewhere than the folder runs/<name>."""
    if name != name.strip() or name.startswith(".") or any(c in name for c in _FORBIDDEN) or len(name.encode()) > 200:
        raise ConfigError(
            f"{source}: name: expected a name without slashes, leading dots or blanks around it and of 200 bytes or "
            f"fewer, got {name[:60]!r}; `folder` says where the sweep goes"
        )


def check_cells(strengths: int, seeds: int, source: str) -> None:
    """Raise `ConfigError` for a grid that nobody would train."""
    if strengths * seeds > MOST_CELLS:
        raise ConfigError(
            f"{source}: strengths × seeds: {strengths:,} × {seeds:,} cells a split; expected {MOST_CELLS:,} or fewer"
        )


def _values(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Every plain value with its dotted key."""
    if isinstance(value, BaseModel):
        value = {name: getattr(value, name) for name in type(value).model_fields}
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _values(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from _values(inner, f"{key}.{number}")
    else:
        yield key, value


def _short(value: int) -> str:
    return f"{value:,}" if abs(value) < 10**30 else "a number of more than 30 digits"


__all__ = ["MOST_WHOLE", "check_cells", "check_limits", "check_name"]
