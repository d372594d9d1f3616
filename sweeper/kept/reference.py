"""What a new batch will be held against, measured when a model is kept: every training unit as if it were new.

Features are compared as they came. The embedding of a training unit is that of an encoder fitted without it (one seed,
`MOST_UNITS` units at most): the kept encoder has seen the unit, and removing its batch was its task.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweeper.config.sweep_config import SweepConfig
from sweeper.errors import InputError, SweepFailedError
from sweeper.kept.distances import (
    FEWEST,
    Structure,
    Summary,
    distances,
    embedding_distance,
    embedding_middle,
    summarise,
)
from sweeper.kept.exchanged import told_apart
from sweeper.kept.fitting import UsedRows, cell_on, fit
from sweeper.kept.nearest_mean import ClassMeans
from trainers.base import FloatArray, Inputs, IntArray

MOST_UNITS = 12
ALL, CONTROLS = "all", "controls"
NEW_BATCH_VIEWS = ("held_out_batches", "held_out_cell_types")


@dataclass(frozen=True, kw_only=True, eq=False)
class Held:
    """What a model is fitted on, as its reference needs it.

    Attributes:
        features: (n, d) the screen's features as they came; `inputs` holds them normalised. `names`: theirs.
        rows: learnt from.
        embed: (k,) rows → (k, e) embeddings by the kept encoder of the first seed.
    """

    config: SweepConfig
    features: FloatArray
    names: tuple[str, ...]
    wells: pd.DataFrame
    inputs: Inputs
    rows: UsedRows
    strength: tuple[float, float]
    seed: int
    embed: Callable[[IntArray], FloatArray]


def new_batch_axis(config: SweepConfig) -> tuple[str, str | None]:
    """The column whose values a new-batch view holds out, and that view; ("batch", None) where none was measured."""
    for spec in config.views:
        if spec.view in NEW_BATCH_VIEWS:
            return spec.column, spec.view
    return "batch", None


def measure_reference(
    held: Held, *, apart: bool, tick: Callable[[], None] = lambda: None
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """What model.json and the weights keep of it.

    Args:
        apart: fit encoders without each unit; without them the embedding is held against nothing.
    """
    axis, view = new_batch_axis(held.config)
    train = held.rows.train
    units = held.wells[axis].astype(str).to_numpy()
    perturbations = held.wells["perturbation"].to_numpy(dtype=str)
    negative = (held.wells["control_type"] == "negative").to_numpy(dtype=bool)
    embedded = held.embed(train)
    found, reason = _apart(held, units, tick) if apart else ({}, "no encoder was fitted without a unit")
    classes = ClassMeans.of(embedded, perturbations[train])
    arrays: dict[str, NDArray[Any]] = {"drift.centre": classes.centre, "drift.classes": classes.means}
    sets: dict[str, Any] = {}
    for name, chosen in ((ALL, np.ones(len(train), dtype=bool)), (CONTROLS, negative[train])):
        counts = pd.Series(units[train][chosen]).value_counts()
        few = len(counts) < len(set(units[train])) or (counts < FEWEST).any()
        if few and (name == CONTROLS or (counts >= FEWEST).sum() < 1):
            continue
        at = train[chosen]
        summary = summarise(held.features[at], units[at])
        middle, within = embedding_middle(embedded[chosen], units[at])
        kept = np.isin(units[at], summary.units)
        structure = Structure.of(held.features[at[kept]], units[at[kept]])
        arrays |= summary_arrays(summary, f"drift.{name}.") | {f"drift.{name}.middle": middle}
        arrays |= structure_arrays(structure, f"drift.{name}.")
        sets[name] = {
            "units": list(summary.units),
            "within": within,
            "features": unit_distances(summary, held.features[at[kept]], units[at[kept]]),
            "exchanges": [
                {"words": list(each.words), "alone": each.alone, "least": least}
                for each, least in told_apart(held.features[at[kept]], units[at[kept]], held.names).items()
            ],
            "embedding": {
                unit: _place(embeddings, negative if name == CONTROLS else None, units, unit, train)
                for unit, embeddings in found.items()
            },
        }
    return (
        {
            "axis": axis,
            "view": view,
            "sets": sets,
            "apart": reason,
            "accuracy": {unit: _accuracy(item, perturbations, units, unit, train) for unit, item in found.items()},
            "accuracy_drop": held.config.decision.ready.accuracy_drop,
            "classes": list(classes.names),
            "batches": sorted(set(held.wells["batch"].iloc[train].astype(str))),
            "cell_types": sorted(set(held.wells["cell_type"].iloc[train].dropna().astype(str))),
        },
        arrays,
    )


def unit_distances(summary: Summary, features: NDArray[Any], units: NDArray[Any]) -> list[dict[str, float]]:
    """Of every unit from all others, by kind; none where there is one unit alone."""
    if len(summary.units) < 2:
        return []
    found = []
    for place, name in enumerate(summary.units):
        apart = distances(summary.take([place]), summary.without(place))
        own = units == name
        structure = Structure.of(features[~own], units[~own]).distance(features[own])
        found.append({"location": apart.location, "scale": apart.scale, "structure": structure})
    return found


def structure_arrays(structure: Structure, mark: str) -> dict[str, NDArray[Any]]:
    """A structure as named arrays."""
    return {
        f"{mark}structure_mean": structure.mean,
        f"{mark}structure_scale": structure.scale,
        f"{mark}structure_whitening": structure.whitening,
    }


def structure_from(arrays: Mapping[str, NDArray[Any]], mark: str) -> Structure:
    """Inverse of `structure_arrays`."""
    return Structure(*(arrays[f"{mark}structure_{name}"] for name in ("mean", "scale", "whitening")))


def summary_arrays(summary: Summary, mark: str) -> dict[str, NDArray[Any]]:
    """A summary as named arrays."""
    return {
        f"{mark}rows": summary.rows,
        f"{mark}means": summary.means,
        f"{mark}logs": summary.logs,
    }


def summary_from(arrays: Mapping[str, NDArray[Any]], units: list[str], mark: str) -> Summary:
    """Inverse of `summary_arrays`."""
    return Summary(
        tuple(units),
        arrays[f"{mark}rows"],
        arrays[f"{mark}means"],
        arrays[f"{mark}logs"],
    )


def _apart(held: Held, units: NDArray[Any], tick: Callable[[], None]) -> tuple[dict[str, FloatArray], str | None]:
    """Unit → (n, e) embeddings of the screen by an encoder fitted without it; and why there are none."""
    config, train = held.config, held.rows.train
    batch = held.wells["batch"].to_numpy(dtype=str)
    names = sorted(set(units[train]))
    if len(names) > MOST_UNITS:
        drawn = np.random.default_rng(0).permutation(np.array(names, dtype=object))[:MOST_UNITS]
        names = sorted(str(name) for name in drawn)
    without: dict[int, list[tuple[str, UsedRows]]] = {}
    for name in names:
        hidden = np.isin(batch, batch[train][units[train] == name])
        rest = replace(held.rows, train=train[~hidden[train]], validation=_outside(held.rows.validation, hidden))
        left = len(set(batch[rest.train]))
        if left < (2 if held.strength[0] and config.reads_batches else 1):
            return {}, f"without {name} there are {left} batches to learn from"
        without.setdefault(left, []).append((name, rest))
    found: dict[str, FloatArray] = {}
    try:
        for members in without.values():  # a pack's cells have the same number of batches
            cells = [
                cell_on(rest, wells=len(batch), key=f"without {name}", strength=held.strength, seed=held.seed)
                for name, rest in members
            ]
            pack = fit(config, held.inputs, cells, tick=tick)
            everything = np.arange(len(batch))
            found |= {name: pack.embed(index, everything) for index, (name, _) in enumerate(members)}
    except (InputError, SweepFailedError) as error:
        return {}, str(error)
    return found, None


def _outside(rows: IntArray, hidden: NDArray[np.bool_]) -> IntArray:
    return rows[~hidden[rows]]


def _place(
    embeddings: FloatArray, only: NDArray[np.bool_] | None, units: NDArray[Any], unit: str, train: IntArray
) -> float:
    """How far a unit lies from the others in the embedding of an encoder that has not seen it."""
    rows = train if only is None else train[only[train]]
    own = rows[units[rows] == unit]
    rest = rows[units[rows] != unit]
    middle, within = embedding_middle(embeddings[rest], units[rest])
    return embedding_distance(embeddings[own], middle, within)


def _accuracy(
    embeddings: FloatArray, perturbations: NDArray[Any], units: NDArray[Any], unit: str, train: IntArray
) -> float | None:
    """Of the nearest mean on a unit that the encoder has not seen."""
    own, rest = train[units[train] == unit], train[units[train] != unit]
    return ClassMeans.of(embeddings[rest], perturbations[rest]).accuracy(embeddings[own], perturbations[own])[0]


__all__ = [
    "ALL",
    "CONTROLS",
    "Held",
    "measure_reference",
    "new_batch_axis",
    "structure_arrays",
    "structure_from",
    "summary_arrays",
    "summary_from",
    "unit_distances",
]
