"""Files of a store read as what may have been cut off, mixed up or edited since: the value, or the file and its fault."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, ValidationError

from sweeper.config.wording import one_line
from sweeper.errors import InputError


class DamagedFileError(InputError):
    """A file of the store cannot be used; the message names it, below the sweep's folder, and says what it is."""

    def __init__(self, path: Path, reason: str) -> None:
        """`path`: the file; `reason`: "cut off", "missing", …."""
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = path, reason


class _Stored(BaseModel):
    model_config = ConfigDict(extra="allow", allow_inf_nan=False)


class _StoredMetric(_Stored):
    metric: str
    role: Literal["technical", "biological"]
    value: float | None
    floor: float | None = None
    ceiling: float | None = None
    raw: float | None = None
    chance: float | None = None
    primary: bool = False
    reason: str | None = None


class _StoredRecord(_Stored):
    """What every result record has; older ones may lack what is not here."""

    cell_id: str
    trainer: str
    adversarial_weight: float | None
    margin: float | None
    seed: int
    view: str
    fold: int
    split: str
    status: Literal["ok", "failed", "collapsed", "oom"]
    reason: str | None
    metrics: tuple[_StoredMetric, ...]
    seconds: Mapping[str, float]


def read_json(path: Path) -> Any:
    """The value of a JSON file; raises `DamagedFileError`."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DamagedFileError(path, "missing") from None
    except UnicodeDecodeError:
        raise DamagedFileError(path, "not text") from None
    except OSError as error:
        raise DamagedFileError(path, str(error.strerror)) from None
    if not text.strip():
        raise DamagedFileError(path, "empty")
    try:
        return json.loads(text, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        cut = not text[error.pos :].strip() or error.msg.startswith("Unterminated")
        reason = "cut off" if cut else f"line {error.lineno}: not valid JSON ({error.msg})"
        raise DamagedFileError(path, reason) from None
    except RecursionError:
        raise DamagedFileError(path, "not valid JSON (nested too deeply)") from None
    except ValueError as error:  # NaN, or a number of thousands of digits
        raise DamagedFileError(path, f"not valid JSON ({error})") from None


def read_object(path: Path) -> dict[str, Any]:
    """The keys and values of a JSON file; raises `DamagedFileError`."""
    data = read_json(path)
    if not isinstance(data, dict):
        raise DamagedFileError(path, f"expected keys and values, got {type(data).__name__}")
    return data


def read_record(folder: Path) -> dict[str, Any]:
    """The result record in a finished cell's folder; raises `DamagedFileError`."""
    data = read_object(folder / "record.json")
    if (reason := _record_fault(data, folder.name)) is not None:
        raise DamagedFileError(folder / "record.json", reason)
    return data


def record_fault(folder: Path) -> str | None:
    """Why a cell's record cannot be used, or None; read once for as long as the file stays as it is."""
    try:
        status = (folder / "record.json").stat()
    except OSError:
        return "missing"
    return _kept_fault(folder, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=100_000)
def _kept_fault(folder: Path, _changed: int, _size: int) -> str | None:
    try:
        read_record(folder)
    except DamagedFileError as error:
        return error.reason
    return None


def _record_fault(data: Mapping[str, Any], cell_id: str) -> str | None:
    try:
        found = _StoredRecord.model_validate(data)
    except ValidationError as error:
        return one_line(error, "not a result record", _StoredRecord)
    if found.cell_id != cell_id:
        return f"is the record of cell {found.cell_id!r}"
    return None


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def finite(value: Any) -> bool:
    """Whether it is a finite number and no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


__all__ = ["DamagedFileError", "finite", "read_json", "read_object", "read_record", "record_fault"]
