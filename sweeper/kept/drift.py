"""Is a new batch like those that a kept model was tested on? Each of its distances against those of training units."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweeper.kept.distances import FEWEST, distances, embedding_distance, feature_shifts, limit, summarise
from sweeper.kept.exchanged import Exchange, explaining_exchange
from sweeper.kept.model_file import KeptModel
from sweeper.kept.nearest_mean import ClassMeans
from sweeper.kept.reference import ALL, CONTROLS, structure_from, summary_from
from trainers.base import FloatArray

KINDS = {
    "location": "where its features lie",
    "scale": "how much its features vary",
    "structure": "how its features go together",
    "embedding": "where it lies in the embedding",
}
LISTED = 5


@dataclass(frozen=True)
class Measured:
    """One distance of a unit.

    Attributes:
        value: its own; limit: the largest that is inside; None where there is nothing to hold it against.
        farthest: that of the training unit that lies farthest, `farthest_unit`.
    """

    kind: str
    value: float
    limit: float | None
    farthest: float | None
    farthest_unit: str | None

    @property
    def outside(self) -> bool:
        """Beyond the limit."""
        return self.limit is not None and self.value > self.limit


@dataclass(frozen=True)
class UnitDrift:
    """What is known of one unit of a new table.

    Attributes:
        unit: its name; rows, and how many of them are negative controls.
        compared: "controls" or "all": the rows that are compared.
        distances: one a kind that could be measured.
        features: those that lie farthest: (name, shift of location, shift of log scale), in usual unit-to-unit standard
            deviations.
        accuracy: of the nearest class mean over the perturbations that the model knows; None without any.
        known, perturbations: how many of the unit's perturbations those are.
        outside: why it lies outside what was tested, one line each; empty: it does not.
        notes: what else is known of it.
    """

    unit: str
    rows: int
    controls: int
    compared: str
    distances: tuple[Measured, ...]
    features: tuple[tuple[str, float, float], ...]
    accuracy: float | None
    known: int
    perturbations: int
    outside: tuple[str, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def unit_drift(
    model: KeptModel, unit: str, features: FloatArray, wells: pd.DataFrame, embedded: FloatArray
) -> UnitDrift:
    """Hold one unit against the training units.

    Args:
        features: (n, d) as they came.
        wells: n rows.
        embedded: (n, e) by the first seed of the model.
    """
    drift = model.facts.drift
    negative = (wells["control_type"] == "negative").to_numpy(dtype=bool)
    by_controls = CONTROLS in drift["sets"] and negative.sum() >= FEWEST
    compared = CONTROLS if by_controls else ALL
    chosen = negative if by_controls else np.ones(len(wells), dtype=bool)
    perturbations = wells["perturbation"].to_numpy(dtype=str)
    classes = ClassMeans(tuple(drift["classes"]), model.arrays["drift.centre"], model.arrays["drift.classes"])
    accuracy, known = classes.accuracy(embedded, perturbations)
    outside, notes = _before(model, wells, compared)
    found: tuple[Measured, ...] = ()
    listed: tuple[tuple[str, float, float], ...] = ()
    if chosen.sum() < FEWEST or compared not in drift["sets"]:
        outside.append(f"{int(chosen.sum())} wells are too few to be compared, {FEWEST} are needed")
    else:
        found, listed = _measured(model, compared, features[chosen], embedded[chosen])
        if len(drift["sets"][compared]["units"]) < 2:
            outside.append(f"the model was trained on one {drift['axis']} alone: there is nothing to hold it against")
        outside += [_beyond(item, drift["axis"]) for item in found if item.outside]
        outside += _exchanged(model, compared, features[chosen], found)
    here = set(perturbations)
    if compared == ALL and (strange := here - set(classes.names)):
        notes.append(
            f"{len(strange)} of {len(here)} perturbations are new to the model, and all wells are compared: some of "
            "the distance is theirs; with negative controls it would not be"
        )
    return UnitDrift(
        unit=unit,
        rows=len(wells),
        controls=int(negative.sum()),
        compared=compared,
        distances=found,
        features=listed,
        accuracy=accuracy,
        known=known,
        perturbations=len(here),
        outside=tuple(outside),
        notes=tuple(notes),
    )


def _before(model: KeptModel, wells: pd.DataFrame, compared: str) -> tuple[list[str], list[str]]:
    """What puts a unit outside before anything is measured, and what is noted."""
    drift = model.facts.drift
    outside, notes = [], []
    if drift["view"] is None:
        outside.append("the sweep measured no new-batch view: no new batch was tested (views: held_out_batches)")
    kinds = sorted(set(wells["cell_type"].dropna().astype(str)) - set(drift["cell_types"]))
    if kinds and drift["cell_types"] and drift["axis"] != "cell_type":
        outside.append(f"cell type {', '.join(kinds)} is new, and the axis that was tested is {drift['axis']}")
    if again := sorted(set(wells["batch"]) & set(drift["batches"])):
        notes.append(f"the model was trained on batch {', '.join(again)}: it is not new")
    if compared == ALL and not (wells["control_type"] == "negative").any():
        notes.append("no negative controls: all wells are compared")
    if drift["apart"]:
        notes.append(f"the embedding is held against nothing: {drift['apart']}")
    return outside, notes


def _measured(
    model: KeptModel, compared: str, features: NDArray[Any], embedded: FloatArray
) -> tuple[tuple[Measured, ...], tuple[tuple[str, float, float], ...]]:
    of = model.facts.drift["sets"][compared]
    reference = summary_from(model.arrays, of["units"], f"drift.{compared}.")
    own = summarise(features, np.zeros(len(features), np.int64))
    apart = distances(own, reference)
    structure = structure_from(model.arrays, f"drift.{compared}.").distance(features)
    values = {"location": apart.location, "scale": apart.scale, "structure": structure}
    known = {
        kind: {unit: each[kind] for unit, each in zip(of["units"], of["features"], strict=False)} for kind in values
    }
    if of["embedding"]:
        middle = model.arrays[f"drift.{compared}.middle"]
        values["embedding"] = embedding_distance(embedded, middle, of["within"])
        known["embedding"] = of["embedding"]
    found = tuple(_held(kind, value, known[kind]) for kind, value in values.items())
    place, scale = feature_shifts(own, reference)
    order = np.argsort(-np.maximum(np.abs(place), np.abs(scale)), kind="stable")[:LISTED]
    names = model.facts.features
    return found, tuple((names[at], round(float(place[at]), 2), round(float(scale[at]), 2)) for at in order)


def _exchanged(model: KeptModel, compared: str, features: NDArray[Any], distances: tuple[Measured, ...]) -> list[str]:
    """In a line, where the unit fits better with the features of two words under each other's names."""
    told = model.facts.drift["sets"][compared].get("exchanges", ())  # absent from models of before
    known = {Exchange((one, other), each["alone"]): each["least"] for each in told for one, other in [each["words"]]}
    within = next(item.limit for item in distances if item.kind == "structure")
    structure = structure_from(model.arrays, f"drift.{compared}.")
    names = model.facts.features
    found = None if within is None else explaining_exchange(known, structure, features, names, within)
    if found is None:
        return []
    (one, other), (exchange, better) = found[0].words, found
    axis, least = model.facts.drift["axis"], math.exp(known[exchange])
    return [
        f"names exchanged: under each other's names its features of {one} and {other} fit {better:.2f} times better; "
        f"those of every training {axis} fit worse so, {least:.2f} times or more"
    ]


def _held(kind: str, value: float, known: dict[str, float]) -> Measured:
    farthest = max(known, key=lambda unit: known[unit], default=None)
    return Measured(
        kind=kind,
        value=value,
        limit=limit(list(known.values())),
        farthest=None if farthest is None else known[farthest],
        farthest_unit=farthest,
    )


def _beyond(item: Measured, axis: str) -> str:
    return (
        f"{KINDS[item.kind]}: {item.value:.2f}, inside is up to {item.limit:.2f} (the farthest training {axis}, "
        f"{item.farthest_unit}, lies at {item.farthest:.2f} from the others)"
    )


__all__ = ["KINDS", "Measured", "UnitDrift", "unit_drift"]
