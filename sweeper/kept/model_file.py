"""A kept model on disk: a folder of weights in safetensors and everything else in JSON. Reading it executes nothing.

::

    <folder>/model.json           features in their order, layers, settings, provenance, what drift is held to
    <folder>/weights.safetensors  the arrays that these name
    <folder>/card.txt             the same for people
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sweeper.config.wording import one_line
from sweeper.errors import InputError
from sweeper.store.reading import DamagedFileError, read_object
from sweeper.store.store import dump_json, write_atomically
from trainers.kept import OPERATIONS

SCHEMA, VERSION = "kept-model", 2
MODEL, WEIGHTS, CARD = "model.json", "weights.safetensors", "card.txt"
Arrays = Mapping[str, NDArray[Any]]


class ModelFacts(BaseModel):
    """model.json: plain values."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    version: str = Field(alias="schema", description="kept-model/2.")
    name: str = Field(description="Of its folder.")
    identity: str = Field(description="Content hash of what it depends on: a model that is there is not made again.")
    sweep: dict[str, str] = Field(description="Name and id of the sweep.")
    cell: str | None = Field(description="The finished cell that it is; None: refitted on all wells that may be used.")
    trainer: str
    settings: dict[str, Any]
    weight: float = Field(description="First dial.")
    margin: float = Field(description="Second dial; 0 where there is none.")
    strength: str = Field(description="The same for people.")
    advised: bool = Field(description="It was the advised strength when it was kept.")
    seeds: tuple[int, ...] = Field(min_length=1, description="Whose weights are kept; equal ones once.")
    features: tuple[str, ...] = Field(min_length=1, description="Names, in the order of the matrix.")
    columns: tuple[str, ...] = Field(min_length=1, description="Names of the embedding's columns.")
    reading: dict[str, Any] = Field(description="How the screen's table was read, without its path.")
    normalise: str
    prepare: tuple[dict[str, Any], ...] = Field(description="Layers before the encoder, shared by the seeds.")
    layers: tuple[dict[str, Any], ...] = Field(description="Layers of the encoder; arrays are `seed<i>.<name>`.")
    trained_on: dict[str, Any] = Field(description="Rows, batches, plates, perturbations and why these.")
    screen: str = Field(description="Fingerprint of the screen.")
    decision: dict[str, Any] | None = Field(description="What held-out data said; None: nothing was decided yet.")
    drift: dict[str, Any] = Field(description="What new batches are held against; see sweeper.kept.reference.")
    versions: dict[str, str]
    weights: str = Field(description="SHA-256 of weights.safetensors.")


@dataclass(frozen=True, eq=False)
class KeptModel:
    """A model that was kept: facts and arrays."""

    folder: Path
    facts: ModelFacts
    arrays: Arrays

    def seed_arrays(self, place: int) -> dict[str, NDArray[Any]]:
        """Arrays of the `place`-th kept seed, by the names that the layers use."""
        mark = f"seed{place}."
        return {name.removeprefix(mark): array for name, array in self.arrays.items() if name.startswith(mark)}


def write_model(folder: Path, facts: Mapping[str, Any], arrays: Arrays, card: str) -> None:
    """Write a model whole, in place of one that is there. `facts` lack schema and weights' digest, which are added."""
    from safetensors.numpy import save

    weights = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    found = {**facts, "schema": f"{SCHEMA}/{VERSION}", "weights": hashlib.sha256(weights).hexdigest()}
    ModelFacts.model_validate(found)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary, earlier = (folder.with_name(f".{folder.name}.{os.getpid()}.{part}") for part in ("tmp", "old"))
    for path in (temporary, earlier):
        shutil.rmtree(path, ignore_errors=True)
    try:
        temporary.mkdir()
        write_atomically(temporary / WEIGHTS, weights)
        write_atomically(temporary / CARD, card)
        write_atomically(temporary / MODEL, dump_json(found))
        if folder.exists():
            folder.rename(earlier)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(earlier, ignore_errors=True)


def read_facts(folder: Path) -> ModelFacts:
    """model.json of a kept model.

    Raises:
        InputError: no model, one of a newer version, or a damaged file; one line.
    """
    path = folder / MODEL
    if not path.exists():
        raise InputError(f"{folder}: no kept model here ({MODEL} is missing); `sweeper keep SWEEP` makes one")
    data = read_object(path)
    kind, _, number = str(data.get("schema")).partition("/")
    if kind != SCHEMA or not number.isdecimal():
        raise DamagedFileError(path, f"no kept model (schema {data.get('schema')!r})")
    if int(number) > VERSION:
        raise InputError(
            f"{path}: written by a newer version of sweeper ({SCHEMA}/{number}; this one reads up to {VERSION}); "
            "update sweeper, or keep the model again with this one"
        )
    if int(number) < VERSION:
        raise InputError(f"{path}: kept by an earlier version of sweeper; keep the model again: `sweeper keep SWEEP`")
    try:
        return ModelFacts.model_validate(data)
    except ValidationError as error:
        raise DamagedFileError(path, one_line(error, "not a kept model", ModelFacts)) from None


def read_model(folder: Path) -> KeptModel:
    """A kept model, whole.

    Raises:
        InputError: as `read_facts`; also weights that are missing, damaged or not those of model.json.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    facts = read_facts(folder)
    path = folder / WEIGHTS
    again = "keep the model again: `sweeper keep SWEEP`"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; {again}") from None
    if hashlib.sha256(data).hexdigest() != facts.weights:
        raise InputError(f"{path}: damaged (not the weights that {MODEL} was written with); {again}")
    try:
        arrays = load(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise InputError(f"{path}: damaged ({' '.join(str(error).split())[:120]}); {again}") from None
    model = KeptModel(folder, facts, arrays)
    if fault := _fault(model):
        raise InputError(f"{folder / MODEL}: {fault}; {again}")
    return model


def _fault(model: KeptModel) -> str | None:
    """What does not fit together."""
    for layer in (*model.facts.prepare, *model.facts.layers):
        if layer.get("op") not in OPERATIONS:
            return f"layer {layer.get('op')!r} is none that this version knows"
    for place in range(len(model.facts.seeds)):
        have = model.seed_arrays(place)
        for layer in model.facts.layers:
            for key in OPERATIONS[layer["op"]]:
                if layer.get(key) not in have:
                    return f"layer {layer['op']} lacks its {key}"
    return None


__all__ = ["CARD", "MODEL", "WEIGHTS", "Arrays", "KeptModel", "ModelFacts", "read_facts", "read_model", "write_model"]
