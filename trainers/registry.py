"""The trainers there are: those of this package by name, others by entry points of the group `sweeper.trainers`.

An entry point names a `Trainer`, or a function or class without arguments that makes one::

    [project.entry-points."sweeper.trainers"]
    shrink = "my_package.shrink:Shrink"
"""

from __future__ import annotations

import difflib
import re
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

from trainers.errors import InputError
from trainers.trainer import Trainer

GROUP = "sweeper.trainers"
DEFAULT = "abra"
_OWN = {
    "abra": "trainers.abra.abra_trainer:AbraTrainer",
    "abra_images": "trainers.images.image_trainer:ImageTrainer",
    "cpdistiller": "trainers.cpdistiller.cpdistiller_trainer:CpDistillerTrainer",
    "center": "trainers.correctors.center:Center",
    "combat": "trainers.correctors.combat:Combat",
    "harmony": "trainers.correctors.harmony:Harmony",
    "sphering": "trainers.correctors.sphering:Sphering",
}
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


@cache
def _points() -> dict[str, EntryPoint]:
    own = {name: EntryPoint(name, value, GROUP) for name, value in _OWN.items()}
    return {**{point.name: point for point in entry_points(group=GROUP)}, **own}


def trainer_names() -> tuple[str, ...]:
    """Names of all trainers: this package's first, then those of others in alphabetical order."""
    return (*_OWN, *sorted(set(_points()) - set(_OWN)))


@cache
def trainer(name: str) -> Trainer:
    """The trainer of this name.

    Raises:
        InputError: there is none (the nearest names are offered), its package cannot be imported, or what it says of
            itself cannot be.
    """
    point = _points().get(name)
    if point is None:
        near = difflib.get_close_matches(name, trainer_names(), n=1, cutoff=0.5)
        offer = f"; did you mean '{near[0]}'?" if near else ""
        raise InputError(f"trainer: there is no '{name}', there are {', '.join(trainer_names())}{offer}")
    module, _, attribute = point.value.partition(":")
    try:
        found = getattr(import_module(module), attribute.strip())
    except (ImportError, AttributeError) as error:
        raise InputError(f"trainer: {name} is registered as {point.value}, which fails to load ({error})") from None
    made = found if isinstance(found, Trainer) else found()
    if not isinstance(made, Trainer):
        raise InputError(f"trainer: {name} is registered as {point.value}, which is no trainers.trainer.Trainer")
    _check(name, made)
    return made


def trainer_package(name: str) -> dict[str, str]:
    """The package that a trainer of another one comes from, and its version; {} for this package's own."""
    point = _points().get(name)
    return {} if point is None or point.dist is None else {point.dist.name: point.dist.version}


def usable_trainers() -> tuple[Trainer, ...]:
    """Every trainer that can be loaded; one that cannot is told of when it is asked for."""
    found = []
    for name in trainer_names():
        try:
            found.append(trainer(name))
        except InputError:
            continue
    return tuple(found)


def _check(name: str, made: Trainer) -> None:
    where = f"trainer: {name}"
    if made.name != name or not _NAME.fullmatch(name):
        raise InputError(f"{where} calls itself {made.name!r}; both must be one name of lower case, digits and _")
    if not 1 <= len(made.dials) <= 2:
        raise InputError(f"{where} has {len(made.dials)} dials; it must have one or two")
    if made.dials[0].none != 0.0:
        raise InputError(f"{where}: 0 of its first dial, {made.dials[0].title}, must be no correction")


__all__ = ["DEFAULT", "GROUP", "trainer", "trainer_names", "trainer_package", "usable_trainers"]
