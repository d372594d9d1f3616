"""Which methods are compared, and the sweep of each: from a configuration with `methods`, or from a table alone.

A configuration is that of a sweep with `methods` in the place of `trainer` and `strengths`::

    methods: [harmony, combat, center]                     # each on the grid that its dials propose
    methods: {harmony: {margin: [1, 2, 4]}, center: {}}    # or with the keys of `strengths` for some of them

All else is the same for every method, so that all are scored on the same rows. What is claimed of each holds for all of
them at once: one-sided levels are divided by the number of methods (Bonferroni).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sweeper.config.given import parse_yaml, read_text, with_overrides
from sweeper.config.limits import check_name
from sweeper.config.sections import Strengths
from sweeper.config.sweep_config import SweepConfig, located, read
from sweeper.content import content_hash
from sweeper.decision.input.decision_settings import DecisionSettings
from sweeper.decision.methods.simplicity import by_simplicity
from sweeper.errors import ConfigError
from trainers.errors import InputError
from trainers.registry import trainer
from trainers.screens.place import is_url

KEY = "methods"
MEANING = (
    "In the place of trainer and strengths: several methods, each swept on its own dial and all compared. Names of "
    "trainers, or name: keys of strengths ({harmony: {margin: [1, 2, 4]}, center: {}})."
)
INSTEAD = ("trainer", "strengths", "ladder")
"""Keys of a sweep that a comparison does not have."""
FOLDER = "methods"
"""Of the methods' own sweeps, inside that of the comparison."""
CONFIDENCE = DecisionSettings.model_fields["confidence"].default
QUICK_SEEDS = 3
TABLES = (".parquet", ".csv", ".tsv", ".gz", ".h5ad", ".gct", ".npz")


@dataclass(frozen=True)
class MethodsConfig:
    """A comparison.

    Attributes:
        name: of it.
        output: its folder, absolute.
        sweeps: method → its sweep, the simplest first.
        confidence: one-sided, of everything that is claimed at once; each sweep's own is higher.
        given: the configuration as it was given, for the record.
        quick: made for a table: what is not given follows what the screen is like.
    """

    name: str
    output: Path
    sweeps: Mapping[str, SweepConfig]
    confidence: float
    given: Mapping[str, Any]
    quick: bool = False

    @property
    def first(self) -> SweepConfig:
        """The simplest method's sweep: what all have in common is read from it."""
        return next(iter(self.sweeps.values()))

    @property
    def comparison_id(self) -> str:
        """The same however many methods there are: one can be added later."""
        first = self.first
        source = first.screen or first.simulate or first.images
        assert source is not None  # noqa: S101 - a configuration has one of them
        return content_hash(["methods/1", self.name, source.model_dump(mode="json")])


def is_table(path: Path) -> bool:
    """Whether a path names a table rather than a configuration."""
    return path.suffix.lower() in TABLES


def has_methods(data: Mapping[str, Any]) -> bool:
    """Whether plain values are of a comparison."""
    return KEY in data


def load_methods(path: Path | str, overrides: Sequence[str] = ()) -> MethodsConfig:
    """Read the YAML of a comparison; raises `ConfigError`, one line with file and key."""
    path = Path(path)
    return _overridden(parse_yaml(read_text(path), str(path)), overrides, path)


def _overridden(data: Mapping[str, Any], overrides: Sequence[str], path: Path) -> MethodsConfig:
    return with_overrides(lambda given, _: build_methods(given, path), data, overrides, str(path))


def build_methods(data: Mapping[str, Any], path: Path) -> MethodsConfig:
    """A comparison from plain values; `path` is the file that relative paths in them start from, and errors name."""
    source = str(path)
    for key in INSTEAD:
        if key in data:
            where = "methods.<name>" if key == "strengths" else KEY
            raise ConfigError(f"{source}: {key}: with {KEY} every method is swept on its own; give it under {where}")
    asked = _asked(data.get(KEY), source)
    common = {key: value for key, value in data.items() if key != KEY}
    name, given = common.get("name"), common.get("decision")
    if not isinstance(name, str) or not name:
        raise ConfigError(f"{source}: name: expected text, got {name!r}")
    check_name(name, source)
    if is_url(folder := common.get("folder")):
        raise ConfigError(
            f"{source}: folder: {folder}: a comparison of methods is kept in a folder; name one, or sweep each method "
            "on its own, which may lie at a URL"
        )
    output = Path(folder or Path("runs") / name).absolute()
    decision = dict(given) if isinstance(given, Mapping) else {}
    confidence = decision.get("confidence", CONFIDENCE)
    if isinstance(confidence, int | float) and 0.5 < confidence < 1:
        decision["confidence"] = 1.0 - (1.0 - confidence) / len(asked)
    sweeps = {}
    for method, strengths in asked.items():
        own = common.get(method, {})
        values = {
            **common,
            "name": f"{name}-{method}",
            "folder": str(output / FOLDER / method),
            "trainer": method,
            "strengths": {**_second_dial(method), **strengths},
            "decision": decision,
            method: {**trainer(method).as_published, **own} if isinstance(own, Mapping) else own,
        }
        try:
            sweeps[method] = located(read(SweepConfig, values, source), path)
        except ConfigError as error:
            raise ConfigError(str(error).replace("strengths.", f"{KEY}.{method}.", 1)) from None
    return MethodsConfig(name, output, sweeps, float(confidence), dict(data))


def table_methods(
    table: Path | str, methods: Sequence[str], *, folder: Path | str | None = None, overrides: Sequence[str] = ()
) -> MethodsConfig:
    """A comparison on a table without a configuration: what is usual, on the columns that are found.

    Args:
        table: the table; the results go beside it, into <name>_methods, unless `folder` says where.
        methods: names of trainers.
        overrides: KEY=VALUE of a configuration.

    Raises:
        InputError: an unknown method, a key or value that cannot be, or no such table.
    """
    path = Path(table).absolute()
    if not path.exists():
        raise InputError(f"{path}: no such file")
    name = f"{path.name.split('.')[0]}_methods"
    data: dict[str, Any] = {
        "name": name,
        "folder": str(folder if is_url(folder) else Path(folder).absolute() if folder else path.parent / name),
        "screen": {"path": str(path)},
        "views": [{"view": "held_out_plates"}],
        "seeds": QUICK_SEEDS,
        KEY: list(methods),
    }
    return replace(_overridden(data, overrides, path), quick=True)


def _asked(given: Any, source: str) -> dict[str, dict[str, Any]]:
    """Method → what is given of its strengths, the simplest first."""
    named = {str(name): {} for name in given} if isinstance(given, list | tuple) else given
    if isinstance(given, list | tuple) and len(named) != len(given):
        raise ConfigError(f"{source}: {KEY}: a method is named twice: {', '.join(map(str, given))}")
    if not isinstance(named, Mapping) or not named:
        raise ConfigError(f"{source}: {KEY}: expected names of methods, [harmony, combat, center], got {given!r}")
    found: dict[str, dict[str, Any]] = {}
    for method in by_simplicity([str(name) for name in named]):
        try:
            trainer(method)
        except InputError as error:
            raise ConfigError(f"{source}: {KEY}: {str(error).removeprefix('trainer: ')}") from None
        strengths = named[method] or {}
        if not isinstance(strengths, Mapping) or (unknown := set(strengths) - set(Strengths.model_fields)):
            wrong = f"{sorted(unknown)[0]!r}" if isinstance(strengths, Mapping) else repr(strengths)
            expected = " and ".join(Strengths.model_fields)
            raise ConfigError(f"{source}: {KEY}.{method}: expected {expected}, got {wrong}")
        found[method] = dict(strengths)
    return found


def _second_dial(method: str) -> dict[str, Any]:
    """A second dial stays at what its authors publish: a comparison turns one dial a method unless told otherwise."""
    _, *further = trainer(method).dials
    return {"margin": [further[0].published]} if further and further[0].published is not None else {}


__all__ = [
    "FOLDER",
    "KEY",
    "MEANING",
    "MethodsConfig",
    "build_methods",
    "has_methods",
    "is_table",
    "load_methods",
    "table_methods",
]
